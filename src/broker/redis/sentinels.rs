//! Which server the sentinels name at the moment. Asked by [`super::Server`] before it connects, and again and again
//! while a connection is used: in a failover that somebody asked for the old master stays, and takes messages that the
//! new one never sees.
//!
//! Each is asked by itself: one that is silent holds up no other. At the start the word of most of them will do.
//!
//! Invariant: of several that differ the one with the highest configuration epoch is believed. Each failover has an
//! epoch of its own, and a sentinel that is cut off from the others keeps an old one. What one has said counts until he
//! says something else, or nothing.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ErrorKind, RedisError, RedisResult, pipe};
use tokio::time::{sleep, timeout};

/// Between two looks at what they say. What the old master confirms meanwhile may be lost.
const PULSE: Duration = Duration::from_millis(250);

/// Who has not answered by then, the connection included, is not asked this time.
const PATIENCE: Duration = Duration::from_secs(1);

pub struct Sentinels {
    all: Vec<Sentinel>,
    /// What each of them said last, if it answered.
    said: Vec<Option<Word>>,
    /// What they call the server.
    master: String,
    /// The server that was named last.
    named: Option<(String, u16)>,
}

struct Sentinel {
    client: Client,
    /// Until it does not answer.
    connection: Option<MultiplexedConnection>,
}

/// What one of them says.
struct Word {
    epoch: u64,
    server: (String, u16),
}

impl Sentinels {
    pub fn new(clients: impl IntoIterator<Item = Client>, master: &str) -> Self {
        let all: Vec<_> = clients.into_iter().map(|client| Sentinel { client, connection: None }).collect();
        let said = all.iter().map(|_| None).collect();
        Self { all, said, master: master.to_owned(), named: None }
    }

    /// The server that they name now, as soon as most of them have answered.
    ///
    /// # Errors
    ///
    /// When none of them answers, or none knows it: the word of the last one.
    pub async fn look(&mut self) -> RedisResult<(String, u16)> {
        let (most, mut answered, mut failure) = (self.all.len() / 2 + 1, 0, None);
        let all = self.all.iter_mut().enumerate();
        let mut asking: FuturesUnordered<_> =
            all.map(|(at, sentinel)| sentinel.ask_after(Duration::ZERO, at, &self.master)).collect();
        while answered < most
            && let Some((_, at, answer)) = asking.next().await
        {
            match answer {
                Ok(word) => {
                    self.said[at] = Some(word);
                    answered += 1;
                }
                Err(error) => {
                    self.said[at] = None;
                    failure = Some(error);
                }
            }
        }
        drop(asking);
        self.named = newest(&self.said).cloned();
        self.named.clone().ok_or_else(|| failure.unwrap_or_else(|| error("there is no sentinel", String::new())))
    }

    /// Returns when they name another server than at the last [`look`](Self::look). While none of them answers that
    /// one is as good as it was.
    pub async fn name_another(&mut self) -> RedisError {
        let all = self.all.iter_mut().enumerate();
        let mut asking: FuturesUnordered<_> =
            all.map(|(at, sentinel)| sentinel.ask_after(PULSE, at, &self.master)).collect();
        while let Some((sentinel, at, answer)) = asking.next().await {
            self.said[at] = answer.ok();
            match newest(&self.said) {
                Some(server) if self.named.as_ref() != Some(server) => {
                    let (host, port) = server;
                    return error("the sentinels name another server", format!("{host}:{port}"));
                }
                _ => asking.push(sentinel.ask_after(PULSE, at, &self.master)),
            }
        }
        std::future::pending().await
    }
}

/// The server of the highest epoch.
fn newest(said: &[Option<Word>]) -> Option<&(String, u16)> {
    let newest = said.iter().flatten().reduce(|newest, word| if newest.epoch < word.epoch { word } else { newest });
    newest.map(|word| &word.server)
}

impl Sentinel {
    /// Its answer, and itself, to be asked again.
    async fn ask_after(&mut self, pause: Duration, at: usize, master: &str) -> (&mut Self, usize, RedisResult<Word>) {
        sleep(pause).await;
        let answer = timeout(PATIENCE, self.ask(master)).await;
        let answer =
            answer.unwrap_or_else(|_| Err(error("a sentinel does not answer", format!("within {PATIENCE:?}"))));
        if answer.is_err() {
            self.connection = None;
        }
        (self, at, answer)
    }

    async fn ask(&mut self, master: &str) -> RedisResult<Word> {
        let mut connection = match &self.connection {
            Some(connection) => connection.clone(),
            None => {
                let patient = AsyncConnectionConfig::new()
                    .set_connection_timeout(Some(PATIENCE))
                    .set_response_timeout(Some(PATIENCE));
                self.connection
                    .insert(self.client.get_multiplexed_async_connection_with_config(&patient).await?)
                    .clone()
            }
        };
        let mut asking = pipe();
        // The first names the new server as soon as it is promoted, the second when all replicas follow it.
        asking.cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(master);
        asking.cmd("SENTINEL").arg("MASTER").arg(master);
        let (server, facts): (Option<_>, HashMap<String, String>) = asking.query_async(&mut connection).await?;
        let epoch = facts.get("config-epoch").and_then(|epoch| epoch.parse().ok());
        let (Some(server), Some(epoch)) = (server, epoch) else {
            return Err(error("a sentinel does not know the master", master.to_owned()));
        };
        Ok(Word { epoch, server })
    }
}

fn error(what: &'static str, detail: String) -> RedisError {
    RedisError::from((ErrorKind::Io, what, detail))
}
