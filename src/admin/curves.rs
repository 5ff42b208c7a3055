//! What the dashboard's curves are drawn from: the last five minutes by the second and the last hour by ten seconds,
//! recorded whether somebody looks or not. Who is called at night sees what was before.
//!
//! Written once a second by a task of the control side, read by [`super::dashboard`] as often as there are pages. A
//! sample costs each shard a copy of its histograms (some 60 KiB as a rule, 210 at most) and the control side the sum
//! of one of them; what is kept of it all is below 200 KiB. Shards that do not turn are not asked.

mod point;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::clock::Now;
use crate::metrics::{Counters, Timed, process};

use super::{State, latency};

pub use point::Point;
use point::{Memory, Moment};

const EVERY: Duration = Duration::from_secs(1);

/// A shard that has not turned for so long is left alone, and the point has no latency.
const STALLED: Duration = Duration::from_secs(3);

pub struct Curves(Mutex<Log>);

struct Log {
    seconds: Track,
    hour: Track,
    memory: Memory,
    whole: bool,
}

/// Points at one distance. The oldest make room.
struct Track {
    /// Not sooner after the last one.
    every: Duration,
    /// What happened in a longer time is no interval worth a point: the machine slept.
    gap: Duration,
    points_max: usize,
    last: Option<Arc<Moment>>,
    points: VecDeque<Point>,
}

/// The points that a page does not have yet, oldest first.
pub struct View {
    pub seconds: Vec<Point>,
    pub hour: Vec<Point>,
    /// Whether every shard has said at the last sample what it timed.
    pub whole: bool,
}

impl Default for Curves {
    fn default() -> Self {
        let track = |every_ms, gap_s, points_max| Track {
            every: Duration::from_millis(every_ms),
            gap: Duration::from_secs(gap_s),
            points_max,
            last: None,
            points: VecDeque::new(),
        };
        // Half a sample less than ten seconds: ticks come a little early or late.
        let (seconds, hour) = (track(0, 10, 300), track(9_500, 30, 360));
        Self(Mutex::new(Log { seconds, hour, memory: Memory::default(), whole: true }))
    }
}

impl Curves {
    /// Records for ever.
    pub async fn record(&self, state: &State) -> Infallible {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let moment = Moment::look(state).await;
            self.log().push(moment);
        }
    }

    /// The points after `after` (unix milliseconds). A point of the hour is never later than the last of the seconds.
    pub fn view(&self, after: u64) -> View {
        let log = self.log();
        View { seconds: log.seconds.after(after), hour: log.hour.after(after), whole: log.whole }
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.0.lock().expect("nothing panics over the points")
    }
}

impl Log {
    fn push(&mut self, moment: Moment) {
        self.whole = moment.delivery.is_some();
        self.memory.see(moment.resident_bytes);
        let moment = Arc::new(moment);
        self.seconds.push(&moment, self.memory);
        self.hour.push(&moment, self.memory);
    }
}

impl Track {
    fn push(&mut self, moment: &Arc<Moment>, memory: Memory) {
        if self.last.as_ref().is_some_and(|last| last.until(moment) < self.every) {
            return;
        }
        let last = self.last.replace(moment.clone()).filter(|last| last.until(moment) < self.gap);
        if self.points.len() >= self.points_max {
            self.points.pop_front();
        }
        self.points.push_back(Point::new(moment, last.as_deref(), memory));
    }

    fn after(&self, unix_ms: u64) -> Vec<Point> {
        self.points.iter().filter(|point| point.at > unix_ms).cloned().collect()
    }
}

impl Moment {
    async fn look(state: &State) -> Self {
        let is_stalled = !state.watchdog.stalled(STALLED).is_empty();
        let answers = if is_stalled { None } else { latency::ask(state).await.ok() };
        // A sum that lacks a shard would look like a change.
        let whole = answers.filter(|answers| answers.note().is_none());
        Self {
            at: Now::read(),
            connections: state.level(|counters| &counters.connections),
            messages_received: state.total(|counters| &counters.messages_received),
            resident_bytes: process::resident_bytes(),
            cpu_s: process::cpu_seconds(),
            delivery: whole.map(|answers| latency::merge_one(&answers.values, Timed::Delivery)),
        }
    }
}

impl State {
    /// The sum of a counter over all shards.
    pub fn total(&self, counter: impl Fn(&Counters) -> &crate::metrics::Counter) -> u64 {
        self.context.counters.iter().map(|counters| counter(counters).get()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(curves: &Curves, seconds: impl IntoIterator<Item = u64>) {
        for s in seconds {
            curves.log().push(Moment::at_second(s));
        }
    }

    fn at_seconds(points: &[Point]) -> Vec<u64> {
        points.iter().map(|point| point.at / 1000).collect()
    }

    #[test]
    fn the_last_minutes_are_kept_by_the_second_and_the_last_hour_by_ten() {
        let curves = Curves::default();
        record(&curves, 1..=10_000);
        let View { seconds, hour, whole } = curves.view(0);
        assert_eq!(at_seconds(&seconds), (9_701..=10_000).collect::<Vec<_>>());
        assert_eq!(at_seconds(&hour), (6_401..=9_991).step_by(10).collect::<Vec<_>>());
        assert!(whole);
    }

    #[test]
    fn a_page_gets_what_it_does_not_have() {
        let curves = Curves::default();
        record(&curves, 1..=21);
        let View { seconds, hour, .. } = curves.view(20_000);
        assert_eq!((at_seconds(&seconds), at_seconds(&hour)), (vec![21], vec![21]));
        let View { seconds, hour, .. } = curves.view(21_000);
        assert!(seconds.is_empty() && hour.is_empty());
    }

    #[test]
    fn a_silent_shard_is_told_until_it_speaks() {
        let curves = Curves::default();
        curves.log().push(Moment { delivery: None, ..Moment::at_second(1) });
        assert!(!curves.view(0).whole);
        record(&curves, [2]);
        assert!(curves.view(0).whole);
    }
}
