//! Where messages are published: the admin port of the gateway (or whatever speaks like it), or Redis.

use std::time::Duration;

use redis::Commands;

use crate::limits::Trouble;

/// A server that takes longer than this to accept one message is broken. The gateway answers after 30 s at the latest,
/// when it has not yet handed one to everybody.
const DEADLINE: Duration = Duration::from_secs(60);

pub enum Sink {
    Http { agent: ureq::Agent, url: String, token: Option<String> },
    Redis { connection: redis::Connection, prefix: String },
}

/// How to make a sink; cheap to keep and to copy.
#[derive(Clone, Debug)]
pub enum Address {
    /// `{channel}` stands for the channel's name.
    Http {
        url: String,
        token: Option<String>,
    },
    Redis {
        url: String,
        prefix: String,
    },
}

impl Address {
    pub fn open(&self) -> Result<Sink, Trouble> {
        match self.clone() {
            Self::Http { url, token } => Ok(Sink::Http { agent: agent(), url, token }),
            Self::Redis { url, prefix } => {
                let broken = |error| Trouble::new(format!("Redis at {url}: {error}"));
                let client = redis::Client::open(url.as_str()).map_err(broken)?;
                let connection = client.get_connection_with_timeout(DEADLINE).map_err(broken)?;
                Ok(Sink::Redis { connection, prefix })
            }
        }
    }
}

impl Sink {
    pub fn publish(&mut self, channel: &str, payload: &[u8]) -> Result<(), Trouble> {
        match self {
            Self::Http { agent, url, token } => {
                let mut request = agent.post(url.replace("{channel}", channel));
                if let Some(token) = token {
                    request = request.header("Authorization", format!("Bearer {token}"));
                }
                let request = request.header("Content-Type", "application/json");
                let broken = |error| Trouble::new(format!("publishing over HTTP to {url}: {error}"));
                let mut answer = request.send(payload).map_err(broken)?;
                // Read to its end, so that the connection is used again.
                answer.body_mut().read_to_vec().map_err(broken)?;
                Ok(())
            }
            Self::Redis { connection, prefix } => connection
                .publish::<_, _, ()>(format!("{prefix}:{channel}"), payload)
                .map_err(|error| Trouble::new(format!("publishing to Redis: {error}"))),
        }
    }
}

/// An HTTP client that keeps its connection.
pub fn agent() -> ureq::Agent {
    // Every step has its deadline, but not the name look-up or the whole: for those ureq starts a thread per request,
    // and the scheduler's work with it changes what a delivery costs on the same cores (measured: a tenth).
    ureq::Agent::config_builder()
        .timeout_connect(Some(DEADLINE))
        .timeout_send_request(Some(DEADLINE))
        .timeout_send_body(Some(DEADLINE))
        .timeout_recv_response(Some(DEADLINE))
        .timeout_recv_body(Some(DEADLINE))
        .proxy(None)
        .build()
        .into()
}
