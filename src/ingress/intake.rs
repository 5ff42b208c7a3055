//! Where a source hands a message over: counted, looked at whether it is text, published, and timed.
//!
//! Made by a source for its thread. What is broker's own, from where a message came and which channels it names, the
//! source has found out before.

use std::sync::Arc;

use crate::lane::Outcome;
use crate::metrics::latency::Stopwatch;

use super::{Inlet, SourceStatus};

pub struct Intake {
    /// What the broker's names of channels begin with.
    pub prefix: String,
    pub inlet: Inlet,
    pub status: Arc<SourceStatus>,
}

impl Intake {
    /// Takes a message for these channels; `None`, when it names none that could be. It returns when the shards have
    /// it, or the bus's patience with a full lane is over.
    pub fn take<Channel: AsRef<str>>(&self, channels: Option<&[Channel]>, payload: &[u8]) {
        let watch = Stopwatch::start();
        self.status.messages.add(1);
        self.status.bytes.add(payload.len() as u64);
        // A frame that is not UTF-8 would make every client that gets it fail its connection (RFC 6455 section 8.1).
        let (Some(channels), Ok(text)) = (channels, simdutf8::basic::from_utf8(payload)) else {
            self.status.invalid.add(1);
            return;
        };
        let publish = |channel: &&Channel| self.inlet.publish((*channel).as_ref(), text) != Outcome::default();
        if channels.iter().filter(publish).count() == 0 {
            self.status.unmatched.add(1);
        }
        self.status.latency.record(watch.us());
    }
}

#[cfg(test)]
pub mod tests {
    use std::time::Duration;

    use super::*;
    use crate::channel::{Interest, Policies};
    use crate::lane::{Bus, Command, LaneEnd, Posted};
    use crate::notification::{Bounds, Notifications};

    /// One whose only shard has a subscriber of one channel.
    pub fn intake(interested_in: &str) -> (Intake, LaneEnd) {
        let interest = Arc::new(Interest::default());
        interest.add(interest.hash(interested_in), 0);
        let (bus, mut ends) = Bus::open(1, interest, Policies::default(), Duration::ZERO).expect("a lane");
        let notifications = Notifications::new(Some(Bounds::new(1, 1, 1024)));
        let status = Arc::new(SourceStatus::new("broker"));
        (Intake { prefix: "ws".into(), inlet: Inlet { bus, notifications }, status }, ends.remove(0))
    }

    /// The channel and the frame that have come.
    pub fn published(lane: &LaneEnd) -> (String, Vec<u8>) {
        let Some(Posted { command: Command::Publish(publication), .. }) = lane.take() else {
            panic!("nothing in the lane")
        };
        (publication.channel.name.to_string(), publication.frame.bytes.to_vec())
    }

    #[test]
    fn a_message_goes_to_its_channels_byte_for_byte_and_is_timed() {
        let (intake, lane) = intake("conv:c1");
        let payload = "{ \"type\" : \"größe\" }".as_bytes();
        intake.take(Some(&["conv:c2", "conv:c1"]), payload);
        let (channel, frame) = published(&lane);
        assert_eq!(channel, "conv:c1");
        assert!(frame.ends_with(payload) && lane.is_empty());
        let status = &intake.status;
        assert_eq!((status.messages.get(), status.bytes.get()), (1, payload.len() as u64));
        assert_eq!((status.unmatched.get(), status.invalid.get()), (0, 0));
        assert_eq!(status.latency.copy().histogram().len(), 1);
    }

    #[test]
    fn a_message_that_nobody_waits_for_visits_no_shard_and_is_counted() {
        let (intake, lane) = intake("conv:c1");
        intake.take(Some(&["conv:c2", "conv:c3"]), b"{}");
        assert!(lane.is_empty());
        assert_eq!(intake.status.unmatched.get(), 1);
    }

    #[test]
    fn what_cannot_be_a_text_message_of_a_channel_is_dropped_and_counted() {
        let (intake, lane) = intake("conv:c1");
        intake.take(Some(&["conv:c1"]), b"\xff");
        intake.take(None::<&[&str]>, b"{}");
        assert!(lane.is_empty());
        assert_eq!((intake.status.messages.get(), intake.status.invalid.get()), (2, 2));
        assert_eq!(intake.status.latency.copy().histogram().len(), 0, "they have not been handed over");
    }
}
