//! The servers of a Redis Cluster that the settings name, of which any passes on what is published to all. Asked by
//! [`super::Server`] for the next one before it connects, and each second whether the one that is used still is one of
//! them: who was removed from the cluster, or is cut off from it, lets in and answers, takes what is published, and
//! hears nothing of the others.
//!
//! Invariant: a server is left only while another one has a cluster. A cluster that misses slots is `fail` for all of
//! them, and passes on what is published nevertheless.

use std::time::Duration;

use redis::{AsyncConnectionConfig, Client, ErrorKind, RedisError, RedisResult};
use tokio::time::{sleep, timeout};

use super::Connection;

/// Between two questions.
const PULSE: Duration = Duration::from_secs(1);

pub struct Members {
    all: Vec<Client>,
    config: AsyncConnectionConfig,
    /// For a connection and the answer.
    patience: Duration,
    /// The one that is used.
    at: usize,
    /// To it, while it answers.
    connection: Option<Connection>,
    /// Who was asked last for another opinion.
    other: usize,
}

impl Members {
    /// Of one server at least.
    pub fn new(all: Vec<Client>, config: AsyncConnectionConfig, patience: Duration) -> Self {
        Self { at: all.len() - 1, all, config, patience, connection: None, other: 0 }
    }

    /// The next one.
    ///
    /// # Errors
    ///
    /// When it is cut off.
    pub async fn next(&mut self) -> RedisResult<Client> {
        (self.at, self.connection) = ((self.at + 1) % self.all.len(), None);
        match self.is_cut_off().await {
            true => Err(cut_off()),
            false => Ok(self.all[self.at].clone()),
        }
    }

    /// Returns when the one of the last [`next`](Self::next) is cut off.
    pub async fn lose_it(&mut self) -> RedisError {
        loop {
            sleep(PULSE).await;
            if self.is_cut_off().await {
                return cut_off();
            }
        }
    }

    /// Whether it says that it has no cluster, and another one that he has. Who does not answer, or does not want to
    /// say, is no reason to leave.
    async fn is_cut_off(&mut self) -> bool {
        if self.all.len() < 2 || self.has_a_cluster(self.at).await != Some(false) {
            return false;
        }
        // One each time.
        self.other = (self.other + 1) % self.all.len();
        if self.other == self.at {
            self.other = (self.other + 1) % self.all.len();
        }
        self.has_a_cluster(self.other).await == Some(true)
    }

    async fn has_a_cluster(&mut self, at: usize) -> Option<bool> {
        let kept = self.connection.take().filter(|_| at == self.at);
        let (client, config) = (&self.all[at], &self.config);
        let asking = async {
            let mut connection = match kept {
                Some(connection) => connection,
                None => Connection::open(client, config).await?,
            };
            let info: RedisResult<String> = redis::cmd("CLUSTER").arg("INFO").query_async(&mut connection.to).await;
            Ok::<_, RedisError>((connection, info?))
        };
        let (connection, info) = timeout(self.patience, asking).await.ok()?.ok()?;
        if at == self.at {
            self.connection = Some(connection);
        }
        Some(info.contains("cluster_state:ok"))
    }
}

fn cut_off() -> RedisError {
    RedisError::from((ErrorKind::Io, "the server is cut off from its cluster"))
}
