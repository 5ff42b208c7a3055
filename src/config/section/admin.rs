//! `[admin]`: the admin port: metrics, health, publishing over HTTP.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::check::Check;
use crate::config::value::address::is_loopback;
use crate::config::value::{Secret, address, duration};

/// Descriptors are kept aside for all of them, and each may hold a request's head.
const CONNECTIONS_MAX: usize = 4096;

/// Of the token, off loopback. It is compared and never signs, so it is guessed only by asking: shorter than a secret.
const TOKEN_BYTES_MIN: usize = 16;

/// The admin port: metrics, health, publishing over HTTP.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    #[serde(with = "address")]
    pub listen: SocketAddr,
    /// Where it speaks gRPC; not at all without.
    #[serde(with = "address::optional", skip_serializing_if = "Option::is_none")]
    pub grpc_listen: Option<SocketAddr>,
    /// Bearer token of every request to the admin port; required, of 16 bytes or more, when it is not on loopback.
    pub token: Option<Secret>,
    /// How long a shard's loop may take to come round before `/readyz` says no. A healthy turn takes milliseconds, so
    /// this is one that clients notice.
    #[serde(with = "duration")]
    pub ready_stall: Duration,
    /// The same for `/livez`, upon which an orchestrator kills the process with all its connections: what does not come
    /// round for so long never will.
    #[serde(with = "duration")]
    pub live_stall: Duration,
    /// Connections at once. Beyond it the one that has waited longest for a request makes room, and where all are in
    /// the middle of one the newcomer gets 503. Scrapers, probes and backends of a node are some dozens.
    pub connections: usize,
    /// Until the head of a request has come whole; a connection that is kept alive waits no longer for the next one.
    #[serde(with = "duration")]
    pub head_deadline: Duration,
    /// Until the body of a request has come whole, and how long a client may take nothing of its answer.
    #[serde(with = "duration")]
    pub transfer_deadline: Duration,
}

impl Default for Admin {
    fn default() -> Admin {
        Admin {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4001),
            grpc_listen: None,
            token: None,
            ready_stall: Duration::from_secs(2),
            live_stall: Duration::from_secs(15),
            connections: 256,
            head_deadline: Duration::from_secs(10),
            transfer_deadline: Duration::from_secs(30),
        }
    }
}

impl Admin {
    pub(super) fn check(&self, check: &mut Check<'_>) {
        check.number("connections", self.connections, 1..=CONNECTIONS_MAX);
        check.time("ready_stall", self.ready_stall);
        check.time("live_stall", self.live_stall);
        check.time("head_deadline", self.head_deadline);
        check.time("transfer_deadline", self.transfer_deadline);
        if self.live_stall < self.ready_stall {
            let message =
                "is shorter than admin.ready_stall: the process would be killed before clients are sent elsewhere";
            check.warning("live_stall", message);
        }
        if self.grpc_listen.is_some() && !cfg!(feature = "grpc") {
            check.problem("grpc_listen", "this build has no gRPC (feature `grpc`)");
        }
        let bytes = self.token.as_ref().map(|token| token.expose().len());
        let Some((key, listen)) = self.ports().find(|(_, listen)| !is_loopback(*listen)) else { return };
        let because = format!("because admin.{key} ({listen}) is not loopback");
        match bytes {
            None => check.problem("token", format_args!("must be set, {because}")),
            Some(bytes) if bytes < TOKEN_BYTES_MIN => {
                let message = format!("has {bytes} bytes and must have {TOKEN_BYTES_MIN} or more");
                check.problem("token", format_args!("{message}, {because}"));
            }
            Some(_) => {}
        }
    }

    /// Where it listens, by key.
    pub fn ports(&self) -> impl Iterator<Item = (&'static str, SocketAddr)> {
        let grpc = self.grpc_listen.map(|listen| ("grpc_listen", listen));
        std::iter::once(("listen", self.listen)).chain(grpc)
    }
}
