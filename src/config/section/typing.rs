//! `[typing]`: for how long somebody is believed to write, and how often the others are told.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::check::Check;
use crate::config::value::duration;

/// For how long somebody is believed to write, and how often the others are told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Typing {
    /// Without a renewal for so long the others are told that he does not write any more.
    #[serde(with = "duration")]
    pub timeout: Duration,
    /// Of what one connection says of one channel the others are told one beginning in so long; 0s: every one. Clients
    /// renew every few seconds, or with every key.
    #[serde(with = "duration")]
    pub interval: Duration,
}

impl Default for Typing {
    fn default() -> Typing {
        Typing { timeout: Duration::from_secs(10), interval: Duration::from_secs(1) }
    }
}

impl Typing {
    pub(super) fn check(&self, check: &mut Check<'_>) {
        check.time("timeout", self.timeout);
        check.time_or_none("interval", self.interval);
        if self.interval > self.timeout {
            check.problem("interval", "must not be longer than typing.timeout: renewals would not be told");
        }
    }
}
