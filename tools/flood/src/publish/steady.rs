//! The publisher of a closed loop: keeps so many messages under way.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use ringway::clock::now_us;

use super::pipe::Pipe;
use super::sink::Address;
use super::under_way::UnderWay;
use super::{Outcome, Publisher, Shared, published_to};
use crate::client::stamp::Stamp;
use crate::limits::Trouble;
use crate::worker::tally::new_histogram;

/// What is published.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Channels `{prefix}0` to `{prefix}{channels - 1}`, in turn; each is a stream of its own.
    pub prefix: &'static str,
    pub channels: u32,
    pub payload_bytes: usize,
    /// Messages under way at once.
    pub count: u32,
    /// Messages in all; `u64::MAX`: until the time is over.
    pub messages: u64,
    pub until_us: u64,
}

impl Plan {
    /// How many of the first `published` messages went to `channel`.
    pub fn published_to(&self, channel: u32, published: u64) -> u64 {
        published_to(self.channels, channel, published)
    }

    fn stamp(&self, k: u64, now: u64) -> Stamp {
        let (round, channel) = (k / u64::from(self.channels), k % u64::from(self.channels));
        Stamp { stream: channel as u16, number: round as u32 + 1, intended_us: now }
    }
}

impl Publisher {
    /// Publishes on a thread of its own.
    pub fn keep_under_way(plan: Plan, to: &Address, under_way: Arc<UnderWay>) -> Result<Self, Trouble> {
        let channels: Vec<String> = (0..plan.channels).map(|channel| format!("{}{channel}", plan.prefix)).collect();
        let pipe = Pipe::open(to, &channels, plan.payload_bytes)?;
        Self::spawn(move |shared| publish(&plan, pipe, &under_way, shared))
    }
}

fn publish(plan: &Plan, mut pipe: Pipe, under_way: &UnderWay, shared: &Shared) -> Result<Outcome, Trouble> {
    let mut outcome = Outcome { published: 0, lag: new_histogram() };
    while outcome.published < plan.messages && !shared.stop.load(Relaxed) {
        let now = now_us();
        if now >= plan.until_us {
            break;
        }
        let complete = under_way.complete();
        let room = u64::from(plan.count) + complete - outcome.published;
        let end = (outcome.published + room).min(plan.messages);
        let before = outcome.published;
        while outcome.published < end && under_way.put(outcome.published) {
            let stamp = plan.stamp(outcome.published, now);
            pipe.put(stamp.stream.into(), stamp);
            outcome.published += 1;
        }
        if outcome.published == before {
            under_way.wait(complete);
        } else {
            pipe.flush()?;
        }
        shared.published.store(outcome.published, Relaxed);
    }
    pipe.end()?;
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_channel_is_a_stream_with_unbroken_numbers() {
        let plan = Plan { prefix: "c:", channels: 2, payload_bytes: 64, count: 1, messages: 5, until_us: 0 };
        let stamps: Vec<(u16, u32)> =
            (0..5).map(|k| plan.stamp(k, 0)).map(|stamp| (stamp.stream, stamp.number)).collect();
        assert_eq!(stamps, [(0, 1), (1, 1), (0, 2), (1, 2), (0, 3)]);
        assert_eq!((plan.published_to(0, 5), plan.published_to(1, 5)), (3, 2));
    }
}
