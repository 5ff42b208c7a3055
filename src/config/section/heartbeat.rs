//! `[heartbeat]`: how a silent connection is told from a dead one.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::check::Check;
use crate::config::value::duration;

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

impl Default for Heartbeat {
    fn default() -> Heartbeat {
        Heartbeat { interval: Duration::from_secs(30), idle_timeout: Duration::from_secs(60) }
    }
}

impl Heartbeat {
    pub(super) fn check(&self, check: &mut Check<'_>) {
        check.time("interval", self.interval);
        check.time("idle_timeout", self.idle_timeout);
        if self.idle_timeout <= self.interval {
            let message = "must be longer than heartbeat.interval, or quiet clients are closed before they can answer";
            check.problem("idle_timeout", message);
        }
    }
}
