//! Every setting: its name, its unit, its default and the reason for it.
//!
//! Plain data. The names of sections and fields *are* the keys of the file, and the environment variables are made
//! from them (`key`), so a field added here can be set everywhere at once; `docs/OPERATIONS.md` lists them and a test
//! compares. Values that have to fit each other are checked in `check`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ws::handshake::ForwardedHeader;

use super::{ChannelRule, Pin, RedisUrl, Secret, address, duration};

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub server: Server,
    pub admin: Admin,
    pub auth: Auth,
    pub limits: Limits,
    pub heartbeat: Heartbeat,
    pub redis: Redis,
    pub log: Log,
    pub debug: Debug,
    /// What holds for the channels of a pattern. A list and therefore not a key: read by `channels`, from a file alone.
    #[serde(skip)]
    pub channels: Vec<ChannelRule>,
    /// True exactly when tokens are signed with `DEVELOPMENT_SECRET`, because no source sets `auth.secret` (or one
    /// sets it to that very text). Then every port is on loopback. Not a key: it follows from the others.
    #[serde(skip)]
    pub development: bool,
}

/// The public port.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Where clients connect. `127.0.0.1:4000` in development mode. `:8080` sets the port and keeps the address.
    #[serde(with = "address")]
    pub listen: SocketAddr,
    /// The path that upgrades; `/` and `/health` are taken.
    pub path: String,
    /// Threads that hold connections; 0: one per core. Fewer leave cores to others; more than cores gain nothing.
    pub shards: usize,
    /// Cores that shards are pinned to: `auto`, `off`, or a list such as `0-3,8`. Automatically not under a CPU quota without a
    /// cpuset: such a process owns no core, and all of them on a host would choose the same ones.
    pub pin: Pin,
    /// Connections of the whole process; 0: as many as the limits of the host allow. Beyond it: 503.
    pub max_connections: usize,
    /// Over how long a shutdown spreads the closing of connections, so that they do not all come back at once.
    #[serde(with = "duration")]
    pub drain: Duration,
    /// Connections per shard that the kernel keeps until they are accepted; a storm of reconnects fits. The kernel
    /// cuts it to `net.core.somaxconn`.
    pub backlog: u32,
    /// How long a message from a source may wait, in all, for shards whose lanes are full. Then it is lost for these shards,
    /// counted, and nobody waits for them until they take something again. Longer than any healthy turn of a shard, and short
    /// beside what Redis keeps for a subscriber that lags (`client-output-buffer-limit pubsub`).
    #[serde(with = "duration")]
    pub lane_patience: Duration,
    /// Bytes that the kernel takes for a connection beyond what is on its way to the client (`TCP_NOTSENT_LOWAT`); 0: up to
    /// `net.ipv4.tcp_wmem`, megabytes each. What a client does not read then waits here, one copy for all recipients, and
    /// not in kernel memory, one copy each.
    pub unsent_bytes: u32,
    /// How long a client may leave unacknowledged what was sent to it, or its window closed, before the kernel ends the
    /// connection (`TCP_USER_TIMEOUT`); 0s: up to a quarter of an hour. Not shorter than `heartbeat.idle_timeout`, which
    /// judges first; what remains are sockets that were closed with unsent bytes, which the kernel would keep.
    #[serde(with = "duration")]
    pub tcp_user_timeout: Duration,
    /// Addresses and networks of the proxies in front (`10.0.0.0/8`). What they say of their clients is believed, and the
    /// limits per address count those clients; nobody else is asked. None by default: whoever is believed can make up
    /// addresses.
    pub trusted_proxies: Vec<String>,
    /// The header in which they say it, one of two: a proxy that writes the one passes on the other as it came.
    pub forwarded_header: ForwardedHeader,
    /// They begin every connection with a PROXY protocol header, version 1 or 2. Whoever of them does not is refused: the
    /// protocol forbids to guess.
    pub proxy_protocol: bool,
    /// `server_id` in messages and statistics. Empty in the sources: eight random hex digits, new at every start.
    pub id: String,
}

/// The admin port: metrics, health, publishing over HTTP.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    #[serde(with = "address")]
    pub listen: SocketAddr,
    /// Bearer token of every request to the admin port; required when it is not on loopback.
    pub token: Option<Secret>,
    /// How long a shard's loop may take to come round before `/readyz` says no. A healthy turn takes milliseconds, so this is
    /// one that clients notice.
    #[serde(with = "duration")]
    pub ready_stall: Duration,
    /// The same for `/livez`, upon which an orchestrator kills the process with all its connections: what does not come
    /// round for so long never will.
    #[serde(with = "duration")]
    pub live_stall: Duration,
    /// Connections at once. Beyond it the one that has waited longest for a request makes room, and where all are in the
    /// middle of one the newcomer gets 503. Scrapers, probes and backends of a node are some dozens.
    pub connections: usize,
    /// Until the head of a request has come whole; a connection that is kept alive waits no longer for the next one.
    #[serde(with = "duration")]
    pub head_deadline: Duration,
    /// Until the body of a request has come whole, and how long a client may take nothing of its answer.
    #[serde(with = "duration")]
    pub transfer_deadline: Duration,
}

/// Who may connect, and what a session may do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// Shared secret of HS256, HS384 and HS512 tokens. Always set once loaded: see `Config::development`.
    pub secret: Option<Secret>,
    /// Also accepted, while tokens signed with it are still about.
    pub previous_secret: Option<Secret>,
    /// A token's `aud` must name one of these; empty: not checked.
    pub audience: Vec<String>,
    /// A token's `iss` must be one of these; empty: not checked.
    pub issuer: Vec<String>,
    /// How long a connection without a token may take to send `auth`. Then: close 4500.
    #[serde(with = "duration")]
    pub deadline: Duration,
    /// How long before its token expires a session is told; 0s: not told.
    #[serde(with = "duration")]
    pub expiry_warning: Duration,
    /// Web origins that may connect; empty or `*`: any. A request without `Origin` is no browser and may. Any by
    /// default, because a token and not a cookie is what authenticates: another site's page does not have it.
    pub origins: Vec<String>,
    /// User types that may connect, as tokens name them; empty: all. What the query says does not count here.
    pub roles: Vec<String>,
    /// Whose word makes the user type of a session whose token names none. `query` by default: the clients of the
    /// dispatch system name it there, and their tokens do not.
    pub user_type: UserTypeFrom,
    /// What a token without a `channels` claim may subscribe to: names, and patterns with `*`. Everything by default:
    /// services that do not write the claim do not divide their users by channel. The implicit channels (`user:`,
    /// `type:`, `all`) are never given away by a pattern.
    pub channels: Vec<String>,
    /// How far the issuer's clock may be behind or ahead. None by default: `exp` then means what it says.
    #[serde(with = "duration")]
    pub leeway: Duration,
}

/// Who may name a session's user type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UserTypeFrom {
    /// The token, and where it does not, the client with `?userType=`.
    Query,
    /// The token alone.
    Token,
}

/// What one connection, or one address, may use up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Bytes of one message from a client, all fragments together. Beyond it: close 1009.
    pub message_bytes: usize,
    /// Bytes that wait for one slow client, each frame with 128 more for its bookkeeping. Beyond it: close 4002.
    pub outbox_bytes: usize,
    /// Channels that one connection may subscribe to.
    pub channels_per_connection: usize,
    /// Bytes of a channel's name.
    pub channel_name_bytes: usize,
    /// Messages from one connection within `messages_window`; 0: unlimited. Beyond it: close 4003.
    pub messages: u32,
    #[serde(with = "duration")]
    pub messages_window: Duration,
    /// Pings, pongs and fragments of messages from one connection within `messages_window`; 0: unlimited. They cost the
    /// gateway something and the sender next to nothing. Beyond it: close 4003.
    pub frames: u16,
    /// From the first byte of a message to its last, however many fragments it has. Beyond it: close 1002.
    #[serde(with = "duration")]
    pub message_deadline: Duration,
    /// From accept to the end of the HTTP upgrade.
    #[serde(with = "duration")]
    pub handshake_deadline: Duration,
    /// From accept to the first byte of the request, which an honest client sends at once: shorter than
    /// `handshake_deadline`, so that silence costs little.
    #[serde(with = "duration")]
    pub first_byte_deadline: Duration,
    /// Handshakes that one shard has in progress at once. Beyond it whoever has been silent for longest makes room.
    pub handshakes: usize,
    /// Of them, those of one address whose request is still awaited; 0: unlimited. Beyond it that address's oldest goes.
    pub handshakes_per_address: usize,
    /// Connections that one address (IPv6: one /64) has open in this process; 0: unlimited, as a whole office or a proxy
    /// may stand behind one. Beyond it: 429.
    pub connections_per_address: u32,
    /// Connections that one user has open in this process; 0: unlimited. Beyond it: 429, or close 1013 after `auth`.
    pub connections_per_user: u32,
    /// Connections of this process that have yet to send their token in an `auth` message; 0: unlimited. Beyond it: 503.
    /// An honest client is one of them for a round trip, so the default lasts for tens of thousands of connects a second,
    /// and keeps those who never authenticate from taking every place.
    pub unauthenticated: usize,
    /// Connects from one address within `connects_window`; 0: unlimited, as many clients share the address of a
    /// proxy. Beyond it: 429.
    pub connects_per_address: u32,
    #[serde(with = "duration")]
    pub connects_window: Duration,
    /// How long a close handshake may take before the socket is closed without the peer's answer.
    #[serde(with = "duration")]
    pub close_deadline: Duration,
}

/// How a silent connection is told from a dead one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Heartbeat {
    /// Between two pings (or `heartbeat` messages) to a connection.
    #[serde(with = "duration")]
    pub interval: Duration,
    /// Silence that ends a connection with 4001; longer than `interval`, so that a client has a chance to answer.
    #[serde(with = "duration")]
    pub idle_timeout: Duration,
}

/// The Redis source; off without a `url`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Redis {
    pub url: Option<RedisUrl>,
    /// Once loaded: this key, else the password of the URL.
    pub password: Option<Secret>,
    /// Once loaded: this key, else the database of the URL.
    pub database: u32,
    /// First part of every Redis channel: `ws` makes `ws:conv:c1` of `conv:c1`.
    pub prefix: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    pub level: Level,
    pub format: LogFormat,
}

/// What helps to examine a gateway and has no place in front of clients.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Debug {
    /// A path whose connections get every message back, text and binary, without a token: for conformance suites.
    /// Only while the public port is on loopback, since it lets anybody make the gateway work.
    pub echo_path: Option<String>,
    /// Bytes of one message there; what suites send is larger than what `limits.message_bytes` should allow to all.
    pub echo_message_bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object per line, for collectors.
    Json,
}

impl Auth {
    /// What tokens are verified with: the current secret, which also signs, then the previous one.
    pub fn secrets(&self) -> impl Iterator<Item = &Secret> {
        self.secret.iter().chain(&self.previous_secret)
    }
}

impl Level {
    /// As `tracing` and its filters spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
            Level::Debug => "debug",
            Level::Trace => "trace",
        }
    }
}

const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

impl Default for Server {
    fn default() -> Server {
        Server {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 4000),
            path: "/ws".into(),
            shards: 0,
            pin: Pin::Auto,
            max_connections: 0,
            drain: seconds(30),
            backlog: 4096,
            lane_patience: seconds(1),
            unsent_bytes: 32 * 1024,
            tcp_user_timeout: seconds(60),
            trusted_proxies: vec![],
            forwarded_header: ForwardedHeader::XForwardedFor,
            proxy_protocol: false,
            id: String::new(),
        }
    }
}

impl Default for Admin {
    fn default() -> Admin {
        Admin {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4001),
            token: None,
            ready_stall: seconds(2),
            live_stall: seconds(15),
            connections: 256,
            head_deadline: seconds(10),
            transfer_deadline: seconds(30),
        }
    }
}

impl Default for Auth {
    fn default() -> Auth {
        Auth {
            secret: None,
            previous_secret: None,
            audience: vec![],
            issuer: vec![],
            deadline: seconds(10),
            expiry_warning: seconds(30),
            origins: vec![],
            roles: vec![],
            user_type: UserTypeFrom::Query,
            channels: vec!["*".into()],
            leeway: seconds(0),
        }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            message_bytes: 8 * 1024,
            outbox_bytes: 64 * 1024,
            channels_per_connection: 128,
            channel_name_bytes: 255,
            messages: 100,
            messages_window: seconds(60),
            frames: 1000,
            message_deadline: seconds(30),
            handshake_deadline: seconds(5),
            first_byte_deadline: seconds(2),
            handshakes: 1024,
            handshakes_per_address: 256,
            connections_per_address: 0,
            connections_per_user: 0,
            unauthenticated: 10_000,
            connects_per_address: 0,
            connects_window: seconds(60),
            close_deadline: seconds(5),
        }
    }
}

impl Default for Heartbeat {
    fn default() -> Heartbeat {
        Heartbeat { interval: seconds(30), idle_timeout: seconds(60) }
    }
}

impl Default for Redis {
    fn default() -> Redis {
        Redis { url: None, password: None, database: 0, prefix: "ws".into() }
    }
}

impl Default for Debug {
    fn default() -> Debug {
        Debug { echo_path: None, echo_message_bytes: 16 * 1024 * 1024 }
    }
}

impl Default for Log {
    fn default() -> Log {
        Log { level: Level::Info, format: LogFormat::Text }
    }
}
