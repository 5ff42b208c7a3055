//! `[events]`: which service is told who connects, disconnects, subscribes and unsubscribes.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::check::Check;
use crate::config::value::duration;
use crate::lane::events::EventKind;

/// Longer, and an event is none any more.
const DELAY_MAX: Duration = Duration::from_secs(60);

/// Which service is told of connections, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Events {
    /// The name of an entry of `[[services]]`. Not set: nobody is told, and nothing is kept.
    pub service: Option<String>,
    /// Of what it is told.
    pub which: Vec<EventKind>,
    /// Whether `connected` says from where. Off by default: addresses are personal data.
    pub address: bool,
    /// Events in one batch, at most.
    pub batch_max: usize,
    /// How long an event waits for others to go with it.
    #[serde(with = "duration")]
    pub batch_delay: Duration,
    /// Events that may wait while the service does not take them. Beyond it the oldest go, and the service is told how
    /// many.
    pub buffer: usize,
    /// The same in bytes.
    pub buffer_bytes: usize,
}

impl Default for Events {
    fn default() -> Events {
        Events {
            service: None,
            which: EventKind::ALL.to_vec(),
            address: false,
            batch_max: 500,
            batch_delay: Duration::from_millis(200),
            buffer: 100_000,
            buffer_bytes: 64 << 20,
        }
    }
}

impl Events {
    pub(super) fn check(&self, check: &mut Check<'_>) {
        if self.which.is_empty() {
            check.problem("which", "is empty; without events.service nobody is told of anything");
        }
        check.number("batch_max", self.batch_max, 1..=10_000);
        check.time("batch_delay", self.batch_delay);
        if self.batch_delay > DELAY_MAX {
            check.problem("batch_delay", format_args!("{:?} is more than {DELAY_MAX:?}", self.batch_delay));
        }
        check.number("buffer", self.buffer, 1..=10_000_000);
        check.number("buffer_bytes", self.buffer_bytes, 1 << 20..=64 << 30);
    }
}
