//! `[notifications]`: what is kept of what was sent to users until they confirm it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::check::Check;
use crate::config::value::duration;

/// Notifications with an `id` that were sent to a user: kept in memory until one of the user's devices confirms them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Notifications {
    /// Off: they are delivered once, as any other message.
    pub keep: bool,
    /// Kept for one user. Beyond it his oldest one goes.
    pub per_user: usize,
    /// Kept in all, and as many whose end is remembered. Beyond it old ones go.
    pub total: usize,
    /// Of all that are kept, each with some more for its bookkeeping. Beyond it old ones go.
    pub bytes: usize,
    /// How long one is kept that nobody confirms.
    #[serde(with = "duration")]
    pub expiry: Duration,
    /// From its publication to the first repeat; then twice as long, and so on.
    #[serde(with = "duration")]
    pub first_repeat: Duration,
    /// Between two repeats, at most.
    #[serde(with = "duration")]
    pub longest_repeat: Duration,
    /// How long the admin port can tell what became of one.
    #[serde(with = "duration")]
    pub remember: Duration,
}

impl Default for Notifications {
    fn default() -> Notifications {
        Notifications {
            keep: true,
            per_user: 100,
            total: 100_000,
            bytes: 128 << 20,
            expiry: Duration::from_secs(24 * 3600),
            first_repeat: Duration::from_secs(10),
            longest_repeat: Duration::from_secs(300),
            remember: Duration::from_secs(3600),
        }
    }
}

impl Notifications {
    pub(super) fn check(&self, check: &mut Check<'_>) {
        check.number("per_user", self.per_user, 1..=1000);
        check.number("total", self.total, 1..=16 << 20);
        check.number("bytes", self.bytes, 1..=64 << 30);
        check.time("expiry", self.expiry);
        check.time("first_repeat", self.first_repeat);
        check.time("longest_repeat", self.longest_repeat);
        check.time("remember", self.remember);
        if self.longest_repeat < self.first_repeat {
            check.problem("longest_repeat", "is shorter than notifications.first_repeat");
        }
        if self.expiry <= self.first_repeat {
            check.warning("expiry", "is over before notifications.first_repeat: nothing is ever sent again");
        }
    }
}
