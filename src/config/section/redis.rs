//! `[redis]`: the Redis source.

use serde::{Deserialize, Serialize};

use crate::config::check::Check;
use crate::config::value::{RedisUrl, Secret};

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

impl Default for Redis {
    fn default() -> Redis {
        Redis { url: None, password: None, database: 0, prefix: "ws".into() }
    }
}

impl Redis {
    pub(super) fn check(&self, check: &mut Check<'_>) {
        // The prefix becomes part of a pattern of PSUBSCRIBE, where these signs have a meaning.
        let is_plain = |c: char| c.is_ascii_graphic() && !"*?[]\\".contains(c);
        if self.prefix.is_empty() || self.prefix.ends_with(':') || !self.prefix.chars().all(is_plain) {
            check.problem("prefix", format_args!("`{}` is no prefix such as `ws`", self.prefix));
        }
        if self.url.is_none() && self.password.is_some() && !check.is_refused("url") {
            check.warning("password", "has no effect: redis.url is not set");
        }
    }
}
