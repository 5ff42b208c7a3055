//! How long things take: one set of histograms per shard, recorded by its thread alone and copied when somebody asks.
//!
//! The floor and its backend record; the admin port asks through the lane, merges the shards' sets and subtracts
//! earlier ones. Recording is a plain increment: no lock, no atomic, and no allocation but where a histogram meets
//! a value larger than any before. What is measured here decides nothing, so [`Stopwatch`] may read the clock
//! where else `now` is an argument.

use std::rc::Rc;
use std::sync::{Mutex, PoisonError};

use hdrhistogram::Histogram;

use crate::clock;

/// Significant decimal digits that are kept of a value: errors stay below one percent.
const DIGITS: u8 = 2;

/// Longer is recorded as this: an hour. It bounds a histogram to some 30 KiB.
const LONGEST_US: u64 = 3_600_000_000;

/// What is timed. In microseconds, all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timed {
    Handshake,
    Authentication,
    Message,
    Delivery,
    PingRoundTrip,
    LoopTurn,
    LaneWait,
}

impl Timed {
    pub const ALL: [Self; 7] = [
        Self::Handshake,
        Self::Authentication,
        Self::Message,
        Self::Delivery,
        Self::PingRoundTrip,
        Self::LoopTurn,
        Self::LaneWait,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Handshake => "handshake",
            Self::Authentication => "authentication",
            Self::Message => "message",
            Self::Delivery => "delivery",
            Self::PingRoundTrip => "ping_round_trip",
            Self::LoopTurn => "loop_turn",
            Self::LaneWait => "lane_wait",
        }
    }

    /// The help text in `/metrics`.
    pub fn help(self) -> &'static str {
        match self {
            Self::Handshake => "From the accepted TCP connection to the open WebSocket",
            Self::Authentication => "Verifying a token",
            Self::Message => "From the arrival of a client's message until its answers are queued",
            Self::Delivery => "From a frame's arrival at the gateway until the kernel has taken it",
            Self::PingRoundTrip => "From a heartbeat ping to its pong",
            Self::LoopTurn => "One turn of a shard's loop in which there was something to do",
            Self::LaneWait => "How long a command waited for its shard",
        }
    }
}

/// One histogram for each [`Timed`].
#[derive(Clone, Debug)]
pub struct Latency([Histogram<u64>; Timed::ALL.len()]);

impl Default for Latency {
    fn default() -> Self {
        Self(std::array::from_fn(|_| empty()))
    }
}

impl Latency {
    pub fn of(&self, timed: Timed) -> &Histogram<u64> {
        &self.0[timed as usize]
    }

    pub fn iter(&self) -> impl Iterator<Item = (Timed, &Histogram<u64>)> {
        Timed::ALL.into_iter().zip(&self.0)
    }

    pub fn record(&mut self, timed: Timed, us: u64) {
        self.record_n(timed, us, 1);
    }

    /// The same for several that took equally long.
    pub fn record_n(&mut self, timed: Timed, us: u64, count: u64) {
        record(&mut self.0[timed as usize], us, count);
    }

    /// Times one piece of work.
    pub fn time<T>(&mut self, timed: Timed, work: impl FnOnce() -> T) -> T {
        let watch = Stopwatch::start();
        let result = work();
        self.record(timed, watch.us());
        result
    }

    /// Adds what another shard has recorded.
    pub fn merge(&mut self, other: &Self) {
        for (own, other) in self.0.iter_mut().zip(&other.0) {
            own.add(other).expect("a histogram of this kind grows to what is added");
        }
    }

    /// What was recorded after `before`. All of it when `before` is not an earlier state of the same shards.
    pub fn since(&self, before: &Self) -> Self {
        Self(std::array::from_fn(|n| difference(&self.0[n], &before.0[n])))
    }

    /// Puts a backend's deliveries in their place.
    pub fn with_deliveries(mut self, deliveries: &Deliveries) -> Self {
        self.0[Timed::Delivery as usize] = deliveries.0.clone();
        self
    }
}

/// The histogram of deliveries, which the backend keeps: it alone sees when the kernel has taken a frame.
#[derive(Clone, Debug)]
pub struct Deliveries(Histogram<u64>);

impl Default for Deliveries {
    fn default() -> Self {
        Self(empty())
    }
}

impl Deliveries {
    /// Begins to record frames that have all left at `now_us`.
    pub fn at(&mut self, now_us: u64) -> Departures<'_> {
        Departures { histogram: &mut self.0, now_us, arrived_us: 0, frames: 0, joined: None }
    }
}

/// Frames that left together. Those of one fan-out arrived together too and are recorded as one: a frame costs
/// a comparison and an increment.
pub struct Departures<'a> {
    histogram: &'a mut Histogram<u64>,
    now_us: u64,
    arrived_us: u64,
    frames: u64,
    /// Frames that travel together, and to how many they have left.
    joined: Option<(Rc<[u64]>, u64)>,
}

impl Departures<'_> {
    pub fn frame(&mut self, arrived_us: u64) {
        if arrived_us != self.arrived_us {
            self.record();
            self.arrived_us = arrived_us;
        }
        self.frames += 1;
    }

    /// Several frames that were joined, by their arrivals: to the next recipient of the same they cost one comparison.
    pub fn joined(&mut self, arrivals_us: &Rc<[u64]>) {
        match &mut self.joined {
            Some((last, recipients)) if Rc::ptr_eq(last, arrivals_us) => *recipients += 1,
            _ => {
                self.record_joined();
                self.joined = Some((arrivals_us.clone(), 1));
            }
        }
    }

    fn record(&mut self) {
        let frames = std::mem::take(&mut self.frames);
        if frames > 0 {
            record(self.histogram, self.now_us.saturating_sub(self.arrived_us), frames);
        }
    }

    fn record_joined(&mut self) {
        let Some((arrivals_us, recipients)) = self.joined.take() else { return };
        for arrived_us in arrivals_us.iter() {
            record(self.histogram, self.now_us.saturating_sub(*arrived_us), recipients);
        }
    }
}

impl Drop for Departures<'_> {
    fn drop(&mut self) {
        self.record();
        self.record_joined();
    }
}

/// One histogram by itself, of what is not a shard's.
#[derive(Clone, Debug)]
pub struct Times(Histogram<u64>);

impl Default for Times {
    fn default() -> Self {
        Self(empty())
    }
}

impl Times {
    pub fn record(&mut self, us: u64) {
        record(&mut self.0, us, 1);
    }

    /// What was recorded after `before`; all of it when that is not an earlier state of the same.
    pub fn since(&self, before: &Self) -> Self {
        Self(difference(&self.0, &before.0))
    }

    pub fn histogram(&self) -> &Histogram<u64> {
        &self.0
    }
}

/// The same, recorded by one thread and copied by another, who holds it up for as long as copying takes.
#[derive(Debug, Default)]
pub struct SharedTimes(Mutex<Times>);

impl SharedTimes {
    pub fn record(&self, us: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).record(us);
    }

    /// What has been recorded so far.
    pub fn copy(&self) -> Times {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Measures from its start.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(u64);

impl Stopwatch {
    pub fn start() -> Self {
        Self(clock::now_us())
    }

    /// Microseconds since the start.
    pub fn us(self) -> u64 {
        clock::now_us().saturating_sub(self.0)
    }
}

/// Grows with the largest value seen.
fn empty() -> Histogram<u64> {
    Histogram::new(DIGITS).expect("the digits are valid")
}

/// All of `later` when `earlier` is not an earlier state of the same.
fn difference(later: &Histogram<u64>, earlier: &Histogram<u64>) -> Histogram<u64> {
    let mut since = later.clone();
    if since.subtract(earlier).is_ok() { since } else { later.clone() }
}

fn record(histogram: &mut Histogram<u64>, us: u64, count: u64) {
    histogram.record_n(us.min(LONGEST_US), count).expect("a histogram of this kind grows to what is recorded");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_has_its_own_histogram_and_name() {
        let mut latency = Latency::default();
        for (n, timed) in Timed::ALL.into_iter().enumerate() {
            latency.record_n(timed, 10, n as u64 + 1);
        }
        for (n, (timed, histogram)) in latency.iter().enumerate() {
            assert_eq!((timed, timed as usize), (Timed::ALL[n], n));
            assert_eq!((histogram.len(), latency.of(timed).len()), (n as u64 + 1, n as u64 + 1));
            assert_eq!(Timed::ALL.iter().filter(|other| other.name() == timed.name()).count(), 1);
        }
    }

    #[test]
    fn values_are_kept_to_a_percent_and_beyond_an_hour_as_an_hour() {
        let mut latency = Latency::default();
        for us in [0, 1, 255, 1_234_567, LONGEST_US, u64::MAX] {
            latency.record(Timed::Message, us);
        }
        let histogram = latency.of(Timed::Message);
        let off = |us: u64, kept: u64| kept.abs_diff(us) * 100 <= us;
        assert!(off(LONGEST_US, histogram.max()), "{}", histogram.max());
        assert!(off(1_234_567, histogram.value_at_quantile(0.6)), "{}", histogram.value_at_quantile(0.6));
        assert_eq!((histogram.min(), histogram.len(), histogram.count_at(1)), (0, 6, 1));
    }

    #[test]
    fn shards_are_merged_and_an_interval_is_what_came_after() {
        let (mut one, mut other) = (Latency::default(), Latency::default());
        one.record_n(Timed::Delivery, 100, 3);
        other.record(Timed::Delivery, 90_000_000);
        let mut before = Latency::default();
        before.merge(&one);
        before.merge(&other);
        assert_eq!(before.of(Timed::Delivery).len(), 4);

        one.record_n(Timed::Delivery, 7, 2);
        let mut after = one.clone();
        after.merge(&other);
        let interval = after.since(&before);
        let histogram = interval.of(Timed::Delivery);
        assert_eq!((histogram.len(), histogram.min(), histogram.max()), (2, 7, 7));
        assert_eq!(interval.of(Timed::Message).len(), 0);
        // A shard that was missing the first time makes no nonsense.
        assert_eq!(before.since(&after).of(Timed::Delivery).len(), 4);
    }

    #[test]
    fn frames_of_one_fan_out_are_recorded_as_one() {
        let mut deliveries = Deliveries::default();
        {
            let mut departures = deliveries.at(1_000);
            (0..5).for_each(|_| departures.frame(900));
            departures.frame(1_100);
            departures.frame(900);
        }
        deliveries.at(2_000).frame(0);
        let joined: Rc<[u64]> = [1_500, 1_600].into();
        {
            let mut departures = deliveries.at(1_700);
            (0..3).for_each(|_| departures.joined(&joined));
        }
        let latency = Latency::default().with_deliveries(&deliveries);
        let histogram = latency.of(Timed::Delivery);
        assert_eq!(histogram.len(), 14);
        let at = |us| histogram.count_at(us);
        assert_eq!((at(100), at(0), at(2_000), at(200)), (9, 1, 1, 3));
    }
}
