//! Where what backends publish comes in: every source hands it here, and nowhere else.

use crate::clock::Now;
use crate::lane::{Bus, Outcome};
use crate::notification::{Notifications, recognise};

/// The way from a source to the shards.
#[derive(Clone)]
pub struct Inlet {
    pub bus: Bus,
    pub notifications: Notifications,
}

impl Inlet {
    /// Publishes a text message, and keeps it before, when its user is to confirm it. Waits for room in the lanes.
    pub fn publish(&self, channel: &str, text: &str) -> Outcome {
        let found = recognise(channel, text);
        let kept = found.and_then(|found| self.notifications.keep(&found, text, Now::read()));
        let outcome = self.bus.publish(channel, text);
        if let Some(kept) = kept.filter(|_| outcome.taken > 0) {
            self.notifications.sent(kept);
        }
        outcome
    }
}
