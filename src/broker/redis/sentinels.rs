//! Which server the sentinels name at the moment. Asked by [`super::Server`] before it connects, and again and again
//! while a connection is used: in a failover that somebody asked for the old master stays, and takes messages that the
//! new one never sees.
//!
//! Invariant: of several that differ the one with the highest configuration epoch is believed. Each failover has an
//! epoch of its own, and a sentinel that is cut off from the others keeps an old one.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::future::join_all;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ErrorKind, RedisError, RedisResult, pipe};
use tokio::time::{sleep, timeout};

/// Between two looks at what they say. What the old master confirms meanwhile may be lost.
const PULSE: Duration = Duration::from_millis(250);

/// Who has not answered by then, the connection included, is not asked this time.
const PATIENCE: Duration = Duration::from_secs(1);

pub struct Sentinels {
    all: Vec<Sentinel>,
    /// What they call the server.
    master: String,
    /// The server that was named last.
    named: Option<(String, u16)>,
}

struct Sentinel {
    client: Client,
    /// Once it has answered.
    connection: Option<MultiplexedConnection>,
}

/// What one of them says.
struct Word {
    epoch: u64,
    server: (String, u16),
}

impl Sentinels {
    pub fn new(clients: impl IntoIterator<Item = Client>, master: &str) -> Self {
        let all = clients.into_iter().map(|client| Sentinel { client, connection: None }).collect();
        Self { all, master: master.to_owned(), named: None }
    }

    /// The server that they name now.
    ///
    /// # Errors
    ///
    /// When none of them answers, or none knows it: the word of the last one.
    pub async fn look(&mut self) -> RedisResult<(String, u16)> {
        let server = self.ask().await?;
        self.named = Some(server.clone());
        Ok(server)
    }

    /// Returns when they name another server than at the last [`look`](Self::look). While none of them answers that
    /// one is as good as it was.
    pub async fn name_another(&mut self) -> RedisError {
        loop {
            sleep(PULSE).await;
            match self.ask().await {
                Ok(server) if self.named.as_ref() != Some(&server) => {
                    let (host, port) = server;
                    return error("the sentinels name another server", format!("{host}:{port}"));
                }
                _ => {}
            }
        }
    }

    async fn ask(&mut self) -> RedisResult<(String, u16)> {
        let master = &self.master;
        let (mut newest, mut failure): (Option<Word>, _) = (None, None);
        for answer in join_all(self.all.iter_mut().map(|sentinel| sentinel.ask_in_time(master))).await {
            match answer {
                Ok(word) if newest.as_ref().is_none_or(|newest| newest.epoch < word.epoch) => newest = Some(word),
                Ok(_) => {}
                Err(error) => failure = Some(error),
            }
        }
        match newest {
            Some(word) => Ok(word.server),
            None => Err(failure.unwrap_or_else(|| error("there is no sentinel", String::new()))),
        }
    }
}

impl Sentinel {
    async fn ask_in_time(&mut self, master: &str) -> RedisResult<Word> {
        let answer = timeout(PATIENCE, self.ask(master)).await;
        answer.unwrap_or_else(|_| Err(error("a sentinel does not answer", format!("within {PATIENCE:?}"))))
    }

    /// Its connection is kept when it has answered, and only then.
    async fn ask(&mut self, master: &str) -> RedisResult<Word> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let patient = AsyncConnectionConfig::new()
                    .set_connection_timeout(Some(PATIENCE))
                    .set_response_timeout(Some(PATIENCE));
                self.client.get_multiplexed_async_connection_with_config(&patient).await?
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
        self.connection = Some(connection);
        Ok(Word { epoch, server })
    }
}

fn error(what: &'static str, detail: String) -> RedisError {
    RedisError::from((ErrorKind::Io, what, detail))
}
