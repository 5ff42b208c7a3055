//! Where what backends publish comes in, and what is kept of it: every source hands it here, and nowhere else; the
//! admin port, which posts in its own ways, has it kept here before.

use crate::clock::Now;
use crate::lane::{Bus, Filter, Outcome};
use crate::notification::{Kept, Notifications, recognise};

/// The way to the shards.
#[derive(Clone)]
pub struct Inlet {
    pub bus: Bus,
    pub notifications: Notifications,
}

impl Inlet {
    /// Publishes a text message, and keeps it before, when its user is to confirm it. Waits for room in the lanes.
    pub fn publish(&self, channel: &str, text: &str) -> Outcome {
        let kept = self.keep(channel, text, None).flatten();
        let outcome = self.bus.publish(channel, text);
        if let Some(kept) = kept.filter(|_| outcome.taken > 0) {
            self.notifications.sent(kept);
        }
        outcome
    }

    /// Keeps a message that its user is to confirm: before it is posted, by whoever posts it and then says that it was
    /// [sent](Notifications::sent). `None`: nobody is to confirm it; `Some(None)`: it is to be confirmed, and delivered
    /// once. To whom a filter applied is not remembered, so with one nothing is kept.
    pub fn keep(&self, channel: &str, text: &str, filter: Option<&Filter>) -> Option<Option<Kept>> {
        let found = recognise(channel, text)?;
        let keep = || self.notifications.keep(&found, text, Now::read());
        Some(if filter.is_some() { None } else { keep() })
    }
}
