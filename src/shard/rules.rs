//! What holds for every connection: the configuration as the shards use it, in ticks and bytes, immutable and shared.

use std::sync::Arc;
use std::time::Duration;

use crate::auth::{Grants, Identity, Origins, Verifier};

use crate::lane::{Authorizer, ConnectionId, Services};
use crate::route::Routes;
use crate::shard::id::{SessionId, SessionKey};
use crate::shard::seats::Sessions;
use crate::ws::handshake::proxies::Proxies;

pub struct Rules {
    /// What is done with the messages of clients.
    pub routes: &'static Routes,
    /// Where messages of clients go.
    pub services: Services,
    /// Who decides what may be joined, beside tokens and configuration.
    pub authorizer: Option<Arc<dyn Authorizer>>,
    pub verifier: Arc<Verifier>,
    pub origins: Origins,
    /// User types of tokens that may connect; empty: all.
    pub user_types: Vec<String>,
    /// A client whose token names no user type may name its own.
    pub user_type_from_query: bool,
    /// Channels that a token without a `channels` claim may join.
    pub default_grants: Grants,
    /// Path of the WebSocket endpoint.
    pub path: String,
    /// The echo endpoint, where there is one.
    pub echo: Option<Echo>,
    pub server_id: String,
    /// Whether it is told from where a session came.
    pub tells_addresses: bool,
    /// New at every start.
    pub session_key: SessionKey,

    /// Which connections of a user stay.
    pub sessions: Sessions,
    /// Connections of the whole process. Shards count for themselves, so that all of them together may be
    /// one each above it for a moment.
    pub connections_max: usize,
    pub message_bytes_max: usize,
    pub outbox_bytes_max: usize,
    pub channels_per_connection_max: usize,
    pub channel_name_bytes_max: usize,
    /// Messages of a client in one window; 0: unlimited.
    pub messages_max: u32,
    pub message_window_ticks: u32,
    /// Control frames and fragments of a client in one window; 0: unlimited.
    pub frames_max: u16,
    /// From a message's first byte to its last.
    pub message_deadline_ticks: u32,

    pub heartbeat_ms: u64,
    pub heartbeat_ticks: u32,
    pub idle_ticks: u32,
    pub auth_deadline_ticks: u32,
    /// For how long somebody is believed to write.
    pub typing_timeout_ticks: u32,
    /// Between two times that the others are told so.
    pub typing_interval_ticks: u32,
    /// How long a peer may take to answer a close frame.
    pub close_deadline_ticks: u32,
    pub expiry_warning_s: u64,

    /// The shortest time for which publications may be told to gather; `u32::MAX`: none is.
    pub batch_delay_min_us: u32,

    pub lobby: LobbyRules,
}

/// What holds before the upgrade.
#[derive(Default)]
pub struct LobbyRules {
    /// From accept to the whole request head.
    pub handshake_deadline: Duration,
    /// The part of it until the first byte; not longer than the whole.
    pub first_byte_deadline: Duration,
    /// Handshakes under way at once, per shard.
    pub handshakes_max: usize,
    /// Of them, of one address and with an incomplete head; 0: no limit.
    pub handshakes_of_address_max: usize,
    /// Connections of the whole process that have yet to send their token; 0: no limit.
    pub unauthenticated_max: usize,
    pub proxies: Proxies,
}

/// The echo endpoint: where it is, and what it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Echo {
    pub path: String,
    /// Bounds a message, and what may wait for a client before it is read again.
    pub message_bytes_max: usize,
}

impl Rules {
    /// Whether the user type of the token may connect: asked at an upgrade and of an `auth` message. What a client says
    /// of itself does not count.
    pub fn may_connect(&self, identity: &Identity) -> bool {
        let is_listed = |user_type: &str| self.user_types.iter().any(|listed| listed == user_type);
        self.user_types.is_empty() || identity.user_type.as_deref().is_some_and(is_listed)
    }

    pub fn session_id(&self, connection: ConnectionId) -> SessionId {
        self.session_key.session(connection)
    }

    pub fn is_echo(&self, path: &str) -> bool {
        self.echo.as_ref().is_some_and(|echo| echo.path == path)
    }

    /// Whether a request for this path is to become a WebSocket.
    pub fn upgrades(&self, path: &str) -> bool {
        path == self.path || self.is_echo(path)
    }
}
