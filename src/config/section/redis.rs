//! `[redis]`: where Redis is, and what of it is listened to.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::check::Check;
use crate::config::value::{RedisUrl, Secret, duration};

/// Where Redis is; off without a `url`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Redis {
    /// The server; of sentinels or a cluster, one of them.
    pub url: Option<RedisUrl>,
    pub mode: RedisMode,
    /// Further sentinels, or servers of the cluster, as `host:port`.
    pub nodes: Vec<String>,
    /// What the sentinels call the server that is spoken with.
    pub sentinel_master: String,
    /// Of the sentinels themselves.
    pub sentinel_password: Option<Secret>,
    /// Once loaded: this key, else the password of the URL.
    pub password: Option<Secret>,
    /// Once loaded: this key, else the database of the URL.
    pub database: u32,
    /// First part of every Redis channel: `ws` makes `ws:conv:c1` of `conv:c1`.
    pub prefix: String,
    /// Whether what is published under the prefix is listened to.
    pub source: bool,
    /// Certificates that the server's is verified with, as PEM; not set: those of the system.
    pub tls_ca_file: Option<PathBuf>,
    /// From the first packet to a connection that can be used.
    #[serde(with = "duration")]
    pub connect_timeout: Duration,
    /// For the answer to a command. Longer, and the connection is given up.
    #[serde(with = "duration")]
    pub response_timeout: Duration,
}

/// What stands behind the URL.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RedisMode {
    /// One server.
    #[default]
    Single,
    /// Sentinels, which know the server.
    Sentinel,
    /// One of the servers of a Redis Cluster.
    Cluster,
}

impl Default for Redis {
    fn default() -> Redis {
        Redis {
            url: None,
            mode: RedisMode::Single,
            nodes: vec![],
            sentinel_master: "mymaster".into(),
            sentinel_password: None,
            password: None,
            database: 0,
            prefix: "ws".into(),
            source: true,
            tls_ca_file: None,
            connect_timeout: Duration::from_secs(5),
            response_timeout: Duration::from_secs(5),
        }
    }
}

impl Redis {
    pub(super) fn check(&self, check: &mut Check<'_>) {
        // The prefix becomes part of a pattern of PSUBSCRIBE, where these signs have a meaning.
        let is_plain = |c: char| c.is_ascii_graphic() && !"*?[]\\".contains(c);
        if self.prefix.is_empty() || self.prefix.ends_with(':') || !self.prefix.chars().all(is_plain) {
            check.problem("prefix", format_args!("`{}` is no prefix such as `ws`", self.prefix));
        }
        check.time("connect_timeout", self.connect_timeout);
        check.readable("tls_ca_file", self.tls_ca_file.as_deref());
        check.time("response_timeout", self.response_timeout);
        for node in self.nodes.iter().filter(|node| address(node).is_none()) {
            check.problem("nodes", format_args!("`{node}` is no address such as `redis-2:6379`"));
        }
        if self.mode == RedisMode::Cluster && self.database != 0 {
            check.problem("database", "a Redis Cluster has no database but 0");
        }
        if self.mode == RedisMode::Sentinel && self.sentinel_master.is_empty() {
            check.problem("sentinel_master", "must not be empty");
        }
        if self.url.is_some() && cfg!(not(feature = "redis")) {
            check.problem("url", "this build has no Redis (feature `redis`)");
        }
        if self.url.is_none() && self.password.is_some() && !check.is_refused("url") {
            check.warning("password", "has no effect: redis.url is not set");
        }
    }

    /// All that are named: the URL's first.
    pub fn addresses(&self) -> Vec<(String, u16)> {
        let first = self.url.iter().map(|url| (url.host.clone(), url.port));
        first.chain(self.nodes.iter().filter_map(|node| address(node))).collect()
    }
}

/// `host:port`, or `[::1]:port`.
fn address(node: &str) -> Option<(String, u16)> {
    let (host, port) = node.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    (!host.is_empty() && !host.contains(char::is_whitespace)).then_some((host.to_owned(), port.parse().ok()?))
}
