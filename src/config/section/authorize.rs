//! `[authorize]`: who decides who may join what, beside tokens and `auth.channels`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::channel::Pattern;
use crate::config::check::Check;
use crate::config::value::{duration, list};

/// Each join is compared with all of them.
const PATTERNS_MAX: usize = 16;

/// Off without `sql` or `service`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Authorize {
    /// Channels that it is asked about: names, and patterns with `*`. It never allows what a token or `auth.channels`
    /// does not.
    #[serde(with = "list")]
    pub channels: Vec<Pattern>,
    /// A query of PostgreSQL with `$1` for the user id, `$2` for the channel's id (`c1` of `conv:c1`) and, if it wants
    /// it, `$3` for the whole name. A row allows it, unless its first column is `false`.
    pub sql: Option<String>,
    /// The service that is asked instead, of `[[services]]`.
    pub service: Option<String>,
    /// How long an answer holds for further joins; 0s: it does not. A refusal holds for 5 s at most.
    #[serde(with = "duration")]
    pub cache: Duration,
    /// Answers that are kept. Beyond it the oldest go.
    pub cache_entries: usize,
    /// How long the answers to one message may take in all. Then: `service_unavailable`.
    #[serde(with = "duration")]
    pub timeout: Duration,
}

impl Default for Authorize {
    fn default() -> Self {
        Self {
            channels: vec!["conv:*".parse().expect("a pattern")],
            sql: None,
            service: None,
            cache: Duration::from_secs(60),
            cache_entries: 100_000,
            timeout: Duration::from_secs(3),
        }
    }
}

impl Authorize {
    pub fn is_on(&self) -> bool {
        self.sql.is_some() || self.service.is_some()
    }

    pub(super) fn check(&self, check: &mut Check<'_>) {
        if self.channels.is_empty() || self.channels.len() > PATTERNS_MAX {
            check.problem("channels", format_args!("expected 1 to {PATTERNS_MAX} patterns"));
        }
        check.time_or_none("cache", self.cache);
        check.number("cache_entries", self.cache_entries, 1..=10_000_000);
        check.time("timeout", self.timeout);
        if self.timeout > Duration::from_secs(20) {
            check.problem("timeout", "is longer than 20s, and a client would wait for it");
        }
        if self.sql.is_some() && self.service.is_some() {
            check.problem("service", "only one of sql and service may be set");
        }
    }
}
