//! The backend's side: publishes stamped messages on a schedule, over HTTP or through Redis; or, in [`steady`], so that
//! a given number is always under way.
//!
//! One thread and one connection per publisher. Latency counts from the intended time of each message, so a server that
//! is slow to take messages is charged for it.

mod pipe;
pub mod sink;
pub mod steady;
pub mod under_way;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use hdrhistogram::Histogram;
use ringway::clock::now_us;

use crate::client::stamp::Stamp;
use crate::limits::Trouble;
use crate::schedule::Schedule;
use crate::worker::tally::{new_histogram, record};
use sink::Sink;

/// What is published.
#[derive(Clone, Debug)]
pub struct Plan {
    pub stream: u8,
    /// Channels `{prefix}0` to `{prefix}{channels - 1}`, in turn; each has its own numbers.
    pub prefix: String,
    pub channels: u32,
    pub payload_bytes: usize,
    /// First number in every channel.
    pub first: u32,
    pub schedule: Schedule,
    /// Messages in all; `u64::MAX`: until stopped.
    pub messages: u64,
}

/// A publisher at work.
pub struct Publisher {
    shared: Arc<Shared>,
    thread: JoinHandle<Result<Outcome, Trouble>>,
}

#[derive(Default)]
struct Shared {
    published: AtomicU64,
    stop: AtomicBool,
}

/// What became of it.
pub struct Outcome {
    pub published: u64,
    /// How late messages were handed over, in microseconds.
    pub lag: Histogram<u64>,
}

impl Publisher {
    pub fn start(plan: Plan, sink: Sink) -> Result<Self, Trouble> {
        Self::spawn(move |shared| publish(&plan, sink, shared))
    }

    fn spawn(publish: impl FnOnce(&Shared) -> Result<Outcome, Trouble> + Send + 'static) -> Result<Self, Trouble> {
        let shared = Arc::<Shared>::default();
        let thread = std::thread::Builder::new().name("publisher".into()).spawn({
            let shared = shared.clone();
            move || publish(&shared)
        })?;
        Ok(Self { shared, thread })
    }

    pub fn published(&self) -> u64 {
        self.shared.published.load(Relaxed)
    }

    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Ends after the message that is under way.
    ///
    /// # Errors
    ///
    /// What kept it from publishing.
    pub fn stop(self) -> Result<Outcome, Trouble> {
        self.shared.stop.store(true, Relaxed);
        self.thread.join().unwrap_or_else(|_| Err(Trouble::new("the publisher ended unexpectedly")))
    }
}

impl Plan {
    /// Channel and stamp of message `k`.
    fn message(&self, k: u64) -> (String, Stamp) {
        let (round, channel) = (k / u64::from(self.channels), k % u64::from(self.channels));
        let stamp = Stamp {
            stream: self.stream.into(),
            number: self.first.wrapping_add(round as u32),
            intended_us: self.schedule.intended_us(k),
        };
        (format!("{}{channel}", self.prefix), stamp)
    }

    /// How many of the first `published` messages went to `channel`.
    pub fn published_to(&self, channel: u32, published: u64) -> u64 {
        published_to(self.channels, channel, published)
    }
}

/// How many of the first `published` messages, which go to `channels` channels in turn, went to `channel`.
fn published_to(channels: u32, channel: u32, published: u64) -> u64 {
    let channels = u64::from(channels);
    published / channels + u64::from(u64::from(channel) < published % channels)
}

fn publish(plan: &Plan, mut sink: Sink, shared: &Shared) -> Result<Outcome, Trouble> {
    let mut outcome = Outcome { published: 0, lag: new_histogram() };
    while outcome.published < plan.messages {
        let (channel, stamp) = plan.message(outcome.published);
        let payload = stamp.payload(plan.payload_bytes);
        if !wait_until(stamp.intended_us, &shared.stop) {
            break;
        }
        record(&mut outcome.lag, now_us().saturating_sub(stamp.intended_us));
        sink.publish(&channel, &payload)?;
        outcome.published += 1;
        shared.published.store(outcome.published, Relaxed);
    }
    Ok(outcome)
}

/// Sleeps until `at_us`. False when the publisher is to stop.
fn wait_until(at_us: u64, stop: &AtomicBool) -> bool {
    /// How long a stop may go unnoticed.
    const NAP_US: u64 = 100_000;
    loop {
        if stop.load(Relaxed) {
            return false;
        }
        let left_us = at_us.saturating_sub(now_us());
        if left_us == 0 {
            return true;
        }
        std::thread::sleep(Duration::from_micros(left_us.min(NAP_US)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(channels: u32) -> Plan {
        Plan {
            stream: 1,
            prefix: "user:u".into(),
            channels,
            payload_bytes: 64,
            first: 1,
            schedule: Schedule::new(0, 10.0),
            messages: 10,
        }
    }

    #[test]
    fn every_channel_has_its_own_unbroken_numbers() {
        let messages: Vec<(String, u32)> =
            (0..5).map(|k| plan(2).message(k)).map(|(channel, stamp)| (channel, stamp.number)).collect();
        let expected = [("user:u0", 1), ("user:u1", 1), ("user:u0", 2), ("user:u1", 2), ("user:u0", 3)];
        assert_eq!(messages, expected.map(|(channel, number)| (channel.to_owned(), number)));
    }

    #[test]
    fn what_went_to_a_channel_adds_up() {
        for published in 0..20 {
            let counted = |channel| (0..published).filter(|k| k % 3 == u64::from(channel)).count() as u64;
            assert!((0..3).all(|channel| plan(3).published_to(channel, published) == counted(channel)));
        }
    }
}
