//! The admin port as an operator's tools see it: ureq, JSON, and the names that its answers use. The names stand here
//! once, as constants, so that a test speaks of what they mean.

use std::net::SocketAddr;

use sonic_rs::{JsonContainerTrait, Value};

use super::prometheus::Metrics;
use super::wait::{DEADLINE, eventually};
use super::wire;

/// How many connections a broadcast reached, in its answer.
pub const REACHED: &str = "delivered";

/// How many sessions an operator's disconnect ended, in its answer.
pub const DISCONNECTED: &str = "disconnected";

/// The names in `/health/websocket`.
pub const TOTAL: &str = "totalConnections";
pub const ACTIVE: &str = "activeConnections";
pub const CONNECTED_USERS: &str = "connectedUsers";
pub const SUBSCRIPTIONS: &str = "subscriptions";

/// An answer of the admin port.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub content_type: String,
    pub body: String,
}

impl Answer {
    #[track_caller]
    pub fn json(&self) -> Value {
        wire::json(&self.body)
    }
}

/// One connection as `/connections` lists it.
#[derive(Debug, Clone)]
pub struct Listed {
    pub shard: u64,
    pub user_id: String,
    pub session_id: String,
    pub user_type: Option<String>,
    pub channels: Vec<String>,
}

pub struct Admin {
    pub address: SocketAddr,
    /// Shown as bearer token when set.
    pub token: Option<String>,
}

impl Admin {
    pub fn new(address: SocketAddr) -> Admin {
        Admin { address, token: None }
    }

    /// None when nobody listens.
    pub fn try_get(&self, path: &str) -> Option<Answer> {
        let mut request = agent().get(self.url(path));
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        answer(request.call().ok()?)
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        self.try_get(path).unwrap_or_else(|| panic!("no answer to GET {path}"))
    }

    #[track_caller]
    pub fn post(&self, path: &str, body: &str) -> Answer {
        let mut request = agent().post(self.url(path)).content_type("application/json");
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let response = request.send(body).unwrap_or_else(|error| panic!("no answer to POST {path}: {error}"));
        answer(response).unwrap_or_else(|| panic!("POST {path} is not answered with text"))
    }

    /// Publishes `body` and returns how many connections it reached.
    #[track_caller]
    pub fn broadcast(&self, path: &str, body: &str) -> u64 {
        let answer = self.post(path, body);
        assert_eq!(answer.status, 200, "{answer:?}");
        wire::number(&answer.json(), &[REACHED]).unwrap_or_else(|| panic!("no {REACHED} in {answer:?}"))
    }

    /// Everything that is connected.
    #[track_caller]
    pub fn connections(&self) -> Vec<Listed> {
        let answer = self.get("/connections");
        let value = answer.json();
        let list = value.as_array().or_else(|| wire::at(&value, &["connections"])?.as_array());
        list.unwrap_or_else(|| panic!("no list in {answer:?}")).iter().map(listed).collect()
    }

    /// The one connection of this user.
    #[track_caller]
    pub fn connection_of(&self, user: &str) -> Listed {
        let found = self.connections().into_iter().find(|listed| listed.user_id == user);
        found.unwrap_or_else(|| panic!("{user} is not connected"))
    }

    /// Open connections, as `/health/websocket` counts them.
    #[track_caller]
    pub fn active(&self) -> u64 {
        let answer = self.get("/health/websocket");
        wire::number(&answer.json(), &[ACTIVE]).unwrap_or_else(|| panic!("no {ACTIVE} in {answer:?}"))
    }

    #[track_caller]
    pub fn eventually_active(&self, count: u64) {
        eventually(&format!("{count} connections are open"), || self.active() == count);
    }

    #[track_caller]
    pub fn metrics(&self) -> Metrics {
        let answer = self.get("/metrics");
        assert_eq!(answer.status, 200, "{answer:?}");
        Metrics::parse(&answer.body)
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

fn listed(entry: &Value) -> Listed {
    let text = |name| wire::string(entry, &[name]).to_owned();
    assert!(wire::number(entry, &["slot"]).is_some(), "no slot in {entry:?}");
    Listed {
        shard: wire::number(entry, &["shard"]).unwrap_or_else(|| panic!("no shard in {entry:?}")),
        user_id: text("user_id"),
        session_id: text("session_id"),
        user_type: Some(text("user_type")).filter(|kind| !kind.is_empty()),
        channels: wire::strings(entry, &["channels"]),
    }
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(DEADLINE)).build().into()
}

fn answer(mut response: ureq::http::Response<ureq::Body>) -> Option<Answer> {
    let content_type = response.headers().get("content-type").and_then(|value| value.to_str().ok());
    let content_type = content_type.unwrap_or("").to_owned();
    let status = response.status().as_u16();
    Some(Answer { status, content_type, body: response.body_mut().read_to_string().ok()? })
}
