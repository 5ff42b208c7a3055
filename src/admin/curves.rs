//! What the dashboard's curves are drawn from: a point per second, for as long as somebody looks.
//!
//! Asked for by [`super::dashboard`]. However many pages look, the shards are asked once a second, and every
//! page gets the same points; with nobody looking nothing is asked. A page that is opened while another one
//! is there has the curves at once.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::Mutex;

use crate::clock::Now;
use crate::lane::Query;
use crate::lane::report::TypeCount;
use crate::metrics::{Counters, Latency, Timed, process};

use super::{State, aside, latency};

/// Pages ask once a second, a little early or late.
const FRESH_FOR: Duration = Duration::from_millis(900);

/// Nobody has looked for longer: what happened since then is no interval worth a point.
const GAP: Duration = Duration::from_secs(10);

/// Five minutes.
const POINTS_MAX: usize = 300;

#[derive(Default)]
pub struct Curves(Mutex<Log>);

#[derive(Default)]
struct Log {
    last: Option<Moment>,
    points: VecDeque<Point>,
    by_type: Arc<[TypeCount]>,
    note: Option<&'static str>,
}

/// Totals at one moment.
struct Moment {
    at: Now,
    messages_received: u64,
    cpu_s: Option<f64>,
    latency: Option<Latency>,
}

/// One second of the curves. What was not measured is left out of them.
#[derive(Clone, Debug, Serialize)]
pub struct Point {
    /// Unix milliseconds.
    pub at: u64,
    connections: u64,
    /// Messages from clients, per second.
    received: Option<f64>,
    /// Frames that the kernel has taken, per second.
    sent: Option<f64>,
    /// Delivery of the frames of this second, in microseconds.
    p50: Option<u64>,
    p99: Option<u64>,
    p99_9: Option<u64>,
    resident_bytes: Option<u64>,
    /// CPU seconds per second.
    cpu: Option<f64>,
}

/// What was seen last, and the points that a page does not have yet.
pub struct View {
    pub points: Vec<Point>,
    pub by_type: Arc<[TypeCount]>,
    pub note: Option<&'static str>,
}

impl Curves {
    /// The points after `after` (unix milliseconds), the last of them not older than a second.
    pub async fn view(&self, state: &State, after: u64) -> View {
        // Held while asking, so that whoever comes meanwhile takes the same point.
        let mut log = self.0.lock().await;
        let now = Now::read();
        if log.last.as_ref().is_none_or(|last| between(last.at, now) >= FRESH_FOR) {
            log.look(state).await;
        }
        let points = log.points.iter().filter(|point| point.at > after).cloned().collect();
        View { points, by_type: log.by_type.clone(), note: log.note }
    }
}

impl Log {
    async fn look(&mut self, state: &State) {
        let types = state.shards.ask(|bus, answer| bus.ask_all(|| Query::Types { answer: answer.clone() }));
        let (timed, types) = tokio::join!(latency::ask(state), types);
        let whole = |note: Option<String>| note.is_none();
        let is_whole = timed.as_ref().is_ok_and(|a| whole(a.note())) && types.as_ref().is_ok_and(|a| whole(a.note()));
        self.note = (!is_whole).then_some("some shards did not answer in time");
        // A sum that lacks a shard would look like a change.
        let timed = timed.ok().filter(|answers| whole(answers.note()));
        let merge = move || {
            let types = types.map(|answers| by_type(answers.values.into_iter().flatten())).unwrap_or_default();
            (timed.map(|answers| latency::merge(&answers.values)), types)
        };
        let (timed, types) = aside(merge).await.unwrap_or_default();
        self.by_type = types;
        let moment = Moment {
            at: Now::read(),
            messages_received: state.total(|counters| &counters.messages_received),
            cpu_s: process::cpu_seconds(),
            latency: timed,
        };
        let point = Point::new(&moment, self.last.as_ref(), state.level(|counters| &counters.connections));
        self.points.push_back(point);
        if self.points.len() > POINTS_MAX {
            self.points.pop_front();
        }
        self.last = Some(moment);
    }
}

impl Point {
    fn new(moment: &Moment, last: Option<&Moment>, connections: u64) -> Self {
        let last = last.filter(|last| between(last.at, moment.at) < GAP);
        let seconds = last.map_or(1.0, |last| between(last.at, moment.at).as_secs_f64());
        let interval = last.and_then(|last| Some(moment.latency.as_ref()?.since(last.latency.as_ref()?)));
        let delivery = interval.as_ref().map(|latency| latency.of(Timed::Delivery));
        let quantile = |q: f64| delivery.filter(|d| !d.is_empty()).map(|d| d.value_at_quantile(q));
        Self {
            at: moment.at.unix_ms,
            connections,
            received: last.map(|last| (moment.messages_received - last.messages_received) as f64 / seconds),
            sent: delivery.map(|delivery| delivery.len() as f64 / seconds),
            p50: quantile(0.5),
            p99: quantile(0.99),
            p99_9: quantile(0.999),
            resident_bytes: process::resident_bytes(),
            cpu: last.and_then(|last| Some((moment.cpu_s? - last.cpu_s?) / seconds)),
        }
    }
}

/// Sessions by type over all shards, the most frequent first.
fn by_type(counts: impl Iterator<Item = TypeCount>) -> Arc<[TypeCount]> {
    let mut sums: HashMap<Box<str>, usize> = HashMap::new();
    for count in counts {
        *sums.entry(count.user_type).or_default() += count.sessions;
    }
    let mut merged: Vec<_> = sums.into_iter().map(|(user_type, sessions)| TypeCount { user_type, sessions }).collect();
    merged.sort_unstable_by(|a, b| b.sessions.cmp(&a.sessions).then_with(|| a.user_type.cmp(&b.user_type)));
    merged.into()
}

fn between(earlier: Now, later: Now) -> Duration {
    Duration::from_micros(later.us.saturating_sub(earlier.us))
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

    fn moment(s: u64, messages_received: u64, deliveries: u64) -> Moment {
        let mut latency = Latency::default();
        latency.record_n(Timed::Delivery, 40, deliveries);
        let at = Now { us: s * 1_000_000, unix_ms: s * 1000 };
        Moment { at, messages_received, cpu_s: Some(s as f64 / 2.0), latency: Some(latency) }
    }

    #[test]
    fn rates_are_per_second_of_what_has_really_passed() {
        let point = Point::new(&moment(14, 60, 310), Some(&moment(10, 20, 300)), 5);
        assert_eq!((point.at, point.connections, point.received, point.sent), (14_000, 5, Some(10.0), Some(2.5)));
        assert_eq!((point.p50, point.p99_9, point.cpu), (Some(40), Some(40), Some(0.5)));
    }

    #[test]
    fn what_was_not_measured_is_no_number() {
        let first = Point::new(&moment(14, 60, 310), None, 5);
        let after_a_gap = Point::new(&moment(24, 60, 310), Some(&moment(10, 20, 300)), 5);
        for point in [first, after_a_gap] {
            assert_eq!((point.received, point.sent, point.p99, point.cpu), (None, None, None, None));
        }
        let nothing_sent = Point::new(&moment(11, 20, 300), Some(&moment(10, 20, 300)), 5);
        assert_eq!((nothing_sent.sent, nothing_sent.p50), (Some(0.0), None));
        let silent = Moment { latency: None, ..moment(11, 20, 300) };
        assert_eq!(Point::new(&silent, Some(&moment(10, 20, 300)), 5).sent, None);
    }

    #[test]
    fn types_are_merged_and_the_most_frequent_comes_first() {
        let count = |user_type: &str, sessions| TypeCount { user_type: user_type.into(), sessions };
        let merged = by_type([count("rider", 2), count("driver", 2), count("rider", 1), count("admin", 2)].into_iter());
        let merged: Vec<_> = merged.iter().map(|c| (&*c.user_type, c.sessions)).collect();
        assert_eq!(merged, [("rider", 3), ("admin", 2), ("driver", 2)]);
    }
}
