//! `[presence]`: in which channels it is known who is online, and how that is told.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::channel::Pattern;
use crate::config::check::Check;
use crate::config::value::{duration, list};

/// Each subscription is compared with all of them.
const PATTERNS_MAX: usize = 16;

/// So many users of one channel are compared under a lock, and named in one message.
const USERS_MAX: usize = 1000;

/// In which channels it is known who is online, and how that is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Presence {
    /// Channels in which it is known who is online: names, and patterns with `*`; empty: in none, and nothing is kept.
    #[serde(with = "list")]
    pub channels: Vec<Pattern>,
    /// How long a user stays online whose last connection has ended, so that a reconnect tells nobody anything; 0s: not
    /// at all.
    #[serde(with = "duration")]
    pub grace: Duration,
    /// Users of a channel up to which each arrival and departure is told; above, only how many are online.
    pub announce_max: usize,
    /// Users that a list names.
    pub list_max: usize,
}

impl Default for Presence {
    fn default() -> Presence {
        let channels = vec!["conv:*".parse().expect("a pattern")];
        Presence { channels, grace: Duration::from_secs(90), announce_max: 100, list_max: 100 }
    }
}

impl Presence {
    pub(super) fn check(&self, check: &mut Check<'_>) {
        if self.channels.len() > PATTERNS_MAX {
            check.problem("channels", format_args!("more than {PATTERNS_MAX} patterns"));
        }
        check.time_or_none("grace", self.grace);
        check.number("announce_max", self.announce_max, 0..=USERS_MAX);
        check.number("list_max", self.list_max, 1..=USERS_MAX);
    }
}
