//! `[server]`: the public port, the shards behind it, and the proxies in front.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::channel::interest::SHARDS_MAX;
use crate::config::check::Check;
use crate::config::value::{Pin, address, duration, list};
use crate::shard::seats::Sessions;
use crate::ws::handshake::ForwardedHeader;
use crate::ws::handshake::proxies::Network;

/// The kernel's numbers are signed, of 32 bits.
const KERNEL_NUMBER_MAX: usize = i32::MAX as usize;
/// It stands in every greeting.
const ID_BYTES_MAX: usize = 64;

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
    /// Cores that shards are pinned to: `auto`, `off`, or a list such as `0-3,8`. Automatically not under a CPU quota
    /// without a cpuset: such a process owns no core, and all of them on a host would choose the same ones.
    pub pin: Pin,
    /// Connections of the whole process; 0: as many as the limits of the host allow. Beyond it: 503.
    pub max_connections: usize,
    /// Which connections of a user stay: `multi`: all; `per_device`: the newest of each `deviceId`; `single`: the
    /// newest. The one before it gets close 4000. All by default: a web page that is open twice is no mistake.
    pub sessions: Sessions,
    /// Over how long a shutdown spreads the closing of connections, so that they do not all come back at once.
    #[serde(with = "duration")]
    pub drain: Duration,
    /// Connections per shard that the kernel keeps until they are accepted; a storm of reconnects fits. The kernel
    /// cuts it to `net.core.somaxconn`.
    pub backlog: u32,
    /// How long a message from a source may wait, in all, for shards whose lanes are full. Then it is lost for these
    /// shards, counted, and nobody waits for them until they take something again. Longer than any healthy turn of a
    /// shard, and short beside what Redis keeps for a subscriber that lags (`client-output-buffer-limit pubsub`).
    #[serde(with = "duration")]
    pub lane_patience: Duration,
    /// Bytes that the kernel takes for a connection beyond what is on its way to the client (`TCP_NOTSENT_LOWAT`); 0:
    /// up to `net.ipv4.tcp_wmem`, megabytes each. What a client does not read then waits here, one copy for all
    /// recipients, and not in kernel memory, one copy each.
    pub unsent_bytes: u32,
    /// How long a client may leave unacknowledged what was sent to it, or its window closed, before the kernel ends the
    /// connection (`TCP_USER_TIMEOUT`); 0s: up to a quarter of an hour. Not shorter than `heartbeat.idle_timeout`,
    /// which judges first; what remains are sockets that were closed with unsent bytes, which the kernel would keep.
    #[serde(with = "duration")]
    pub tcp_user_timeout: Duration,
    /// Addresses and networks of the proxies in front (`10.0.0.0/8`). What they say of their clients is believed, and
    /// the limits per address count those clients; nobody else is asked. None by default: whoever is believed can make
    /// up addresses.
    #[serde(with = "list")]
    pub trusted_proxies: Vec<Network>,
    /// The header in which they say it, one of two: a proxy that writes the one passes on the other as it came.
    pub forwarded_header: ForwardedHeader,
    /// They begin every connection with a PROXY protocol header, version 1 or 2. Whoever of them does not is refused:
    /// the protocol forbids to guess.
    pub proxy_protocol: bool,
    /// `server_id` in messages and statistics. Set nowhere: eight random hex digits, new at every start.
    pub id: String,
}

impl Default for Server {
    fn default() -> Server {
        Server {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 4000),
            path: "/ws".into(),
            shards: 0,
            pin: Pin::Auto,
            max_connections: 0,
            sessions: Sessions::Multi,
            drain: Duration::from_secs(30),
            backlog: 4096,
            lane_patience: Duration::from_secs(1),
            unsent_bytes: 32 * 1024,
            tcp_user_timeout: Duration::from_secs(60),
            trusted_proxies: vec![],
            forwarded_header: ForwardedHeader::XForwardedFor,
            proxy_protocol: false,
            id: String::new(),
        }
    }
}

impl Server {
    pub(super) fn check(&self, check: &mut Check<'_>) {
        check.number("shards", self.shards, 0..=SHARDS_MAX);
        check.number("backlog", self.backlog as usize, 1..=KERNEL_NUMBER_MAX);
        check.number("unsent_bytes", self.unsent_bytes as usize, 0..=KERNEL_NUMBER_MAX);
        check.time_or_none("drain", self.drain);
        check.time("lane_patience", self.lane_patience);
        check.time_or_none("tcp_user_timeout", self.tcp_user_timeout);
        check.path("path", &self.path, "/ws");
        if self.is_page(&self.path) {
            check.problem("path", format_args!("`{}` answers health checks; choose another", self.path));
        }
        if self.id.len() > ID_BYTES_MAX || !self.id.chars().all(|c| c.is_ascii_graphic()) {
            check.problem("id", "expected at most 64 letters, digits and signs, without blanks");
        }
        // Where the list was refused, that is the problem.
        if self.proxy_protocol && self.trusted_proxies.is_empty() && !check.is_refused("trusted_proxies") {
            check.problem("proxy_protocol", "needs server.trusted_proxies: from anybody else it is not believed");
        }
    }

    /// Whether the public port shows something at this path without an upgrade.
    pub(super) fn is_page(&self, path: &str) -> bool {
        ["/", "/health"].contains(&path)
    }
}
