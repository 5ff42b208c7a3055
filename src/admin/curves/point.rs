//! One point of the curves: what changed between two moments, and what memory a connection takes.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::clock::Now;

/// With fewer, what the process needs for itself is larger than all that they need.
const CONNECTIONS_MIN: u64 = 1_000;

/// Totals and levels at one moment.
pub(super) struct Moment {
    pub at: Now,
    pub connections: u64,
    pub messages_received: u64,
    pub resident_bytes: Option<u64>,
    pub cpu_s: Option<f64>,
    /// All deliveries since the start, of all shards.
    pub delivery: Option<Histogram<u64>>,
}

/// What the process is without connections: the least that it was seen to take, as a rule at its start.
#[derive(Clone, Copy, Default)]
pub(super) struct Memory {
    least_bytes: Option<u64>,
}

/// One interval of the curves. What was not measured is left out of them.
#[derive(Clone, Debug, Serialize)]
pub struct Point {
    /// Unix milliseconds.
    pub at: u64,
    connections: u64,
    /// Messages from clients, per second.
    received: Option<f64>,
    /// Frames that the kernel has taken, per second.
    sent: Option<f64>,
    /// Delivery of the frames of this interval, in microseconds.
    p50: Option<u64>,
    p99: Option<u64>,
    p99_9: Option<u64>,
    resident_bytes: Option<u64>,
    /// Without what the process takes by itself, and only with [`CONNECTIONS_MIN`].
    bytes_per_connection: Option<u64>,
    /// CPU seconds per second.
    cpu: Option<f64>,
}

impl Moment {
    pub fn until(&self, later: &Self) -> Duration {
        Duration::from_micros(later.at.us.saturating_sub(self.at.us))
    }

    /// Deliveries since `last`; none when either is unknown, or they are not of the same process.
    fn delivered_since(&self, last: &Self) -> Option<Histogram<u64>> {
        let mut since = self.delivery.clone()?;
        since.subtract(last.delivery.as_ref()?).ok()?;
        Some(since)
    }
}

impl Memory {
    pub fn see(&mut self, resident_bytes: Option<u64>) {
        self.least_bytes = [self.least_bytes, resident_bytes].into_iter().flatten().min();
    }

    fn per_connection(self, moment: &Moment) -> Option<u64> {
        let own = moment.resident_bytes?.saturating_sub(self.least_bytes?);
        (moment.connections >= CONNECTIONS_MIN).then(|| own / moment.connections)
    }
}

impl Point {
    pub(super) fn new(moment: &Moment, last: Option<&Moment>, memory: Memory) -> Self {
        let seconds = last.map_or(1.0, |last| last.until(moment).as_secs_f64());
        let delivery = last.and_then(|last| moment.delivered_since(last));
        let quantile = |q: f64| delivery.as_ref().filter(|d| !d.is_empty()).map(|d| d.value_at_quantile(q));
        Self {
            at: moment.at.unix_ms,
            connections: moment.connections,
            received: last.map(|last| moment.messages_received.saturating_sub(last.messages_received) as f64 / seconds),
            sent: delivery.as_ref().map(|delivery| delivery.len() as f64 / seconds),
            p50: quantile(0.5),
            p99: quantile(0.99),
            p99_9: quantile(0.999),
            resident_bytes: moment.resident_bytes,
            bytes_per_connection: memory.per_connection(moment),
            cpu: last.and_then(|last| Some((moment.cpu_s? - last.cpu_s?) / seconds)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    impl Moment {
        /// One of a quiet process.
        pub(in crate::admin::curves) fn at_second(s: u64) -> Self {
            Self {
                at: Now { us: s * 1_000_000, unix_ms: s * 1000 },
                connections: 5,
                messages_received: 0,
                resident_bytes: Some(10 * MIB),
                cpu_s: Some(s as f64 / 2.0),
                delivery: Some(Histogram::new(2).expect("two digits")),
            }
        }

        fn with(mut self, messages_received: u64, deliveries: u64) -> Self {
            self.messages_received = messages_received;
            self.delivery.as_mut().expect("known").record_n(40, deliveries).expect("it grows");
            self
        }
    }

    fn point(moment: &Moment, last: Option<&Moment>) -> Point {
        Point::new(moment, last, Memory::default())
    }

    #[test]
    fn rates_are_per_second_of_what_has_really_passed() {
        let last = Moment::at_second(10).with(20, 300);
        let point = point(&Moment::at_second(14).with(60, 310), Some(&last));
        assert_eq!((point.at, point.connections, point.received, point.sent), (14_000, 5, Some(10.0), Some(2.5)));
        assert_eq!((point.p50, point.p99_9, point.cpu), (Some(40), Some(40), Some(0.5)));
    }

    #[test]
    fn what_was_not_measured_is_no_number() {
        let first = point(&Moment::at_second(14).with(60, 310), None);
        assert_eq!((first.received, first.sent, first.p99, first.cpu), (None, None, None, None));
        let last = Moment::at_second(10).with(20, 300);
        let nothing_sent = point(&Moment::at_second(11).with(20, 300), Some(&last));
        assert_eq!((nothing_sent.sent, nothing_sent.p50), (Some(0.0), None));
        let silent = Moment { delivery: None, ..Moment::at_second(11) };
        assert_eq!(point(&silent, Some(&last)).sent, None);
    }

    #[test]
    fn memory_per_connection_is_what_connections_have_added() {
        let mut memory = Memory::default();
        [None, Some(12 * MIB), Some(10 * MIB), Some(40 * MIB)].into_iter().for_each(|bytes| memory.see(bytes));
        let moment = |connections| Moment { connections, resident_bytes: Some(40 * MIB), ..Moment::at_second(1) };
        let told = |connections| Point::new(&moment(connections), None, memory).bytes_per_connection;
        assert_eq!((told(1), told(999)), (None, None));
        assert_eq!(told(100_000), Some(30 * MIB / 100_000));
        let unknown = Moment { resident_bytes: None, ..moment(2_000) };
        assert_eq!(Point::new(&unknown, None, memory).bytes_per_connection, None);
    }
}
