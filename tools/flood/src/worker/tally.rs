//! What a worker has counted since it was last asked, and the gauges that the progress bar reads meanwhile.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use hdrhistogram::Histogram;

use crate::client::connection::Receipt;
use crate::limits::Trouble;

/// Counts of one worker, or of all of them together.
pub struct Tally {
    /// Microseconds: receipt after the intended time of the message.
    pub latency: Histogram<u64>,
    /// Microseconds: answer after the intended time of what it answers.
    pub round_trip: Histogram<u64>,
    /// Microseconds: from connect(2) to held.
    pub connect: Histogram<u64>,
    /// Microseconds: how late sends started.
    pub lag: Histogram<u64>,
    /// Stamped messages received, duplicates included.
    pub receipts: u64,
    pub duplicated: u64,
    pub out_of_order: u64,
    /// Numbers that were skipped when a later one came; some of them may have come since (`out_of_order`).
    pub gaps: u64,
    /// Positions that were skipped for a later one.
    pub superseded: u64,
    /// Receipts and answers that must come of what clients have said to each other.
    pub expected: u64,
    /// Errors that the server has answered with where that is no measured answer.
    pub denied: u64,
    pub sent: u64,
    pub answered: u64,
    /// Held connections that ended although nobody asked for it.
    pub lost: u64,
    /// Connections that ended before they were held.
    pub refused: u64,
    /// Messages that are neither stamped nor an answer.
    pub others: u64,
    pub errors: BTreeMap<String, u64>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            latency: new_histogram(),
            round_trip: new_histogram(),
            connect: new_histogram(),
            lag: new_histogram(),
            receipts: 0,
            duplicated: 0,
            out_of_order: 0,
            gaps: 0,
            superseded: 0,
            expected: 0,
            denied: 0,
            sent: 0,
            answered: 0,
            lost: 0,
            refused: 0,
            others: 0,
            errors: BTreeMap::new(),
        }
    }
}

impl Tally {
    /// Receipts without the repeated ones.
    pub fn unique(&self) -> u64 {
        self.receipts - self.duplicated
    }

    /// What a receipt turned out to be.
    #[inline]
    pub fn count_receipt(&mut self, receipt: Receipt) {
        match receipt {
            Receipt::InOrder => {}
            Receipt::AfterGap => self.gaps += 1,
            Receipt::OutOfOrder => self.out_of_order += 1,
            Receipt::Duplicate => self.duplicated += 1,
        }
    }

    /// A receipt as bad as one that comes twice: nobody should have sent it.
    pub fn count_foreign(&mut self) {
        self.count_error("foreign_message");
        self.duplicated += 1;
    }

    /// A receipt of which a later one has come already: of no use, like one that comes twice.
    pub fn count_stale(&mut self) {
        self.out_of_order += 1;
        self.duplicated += 1;
    }

    pub fn count_error(&mut self, name: impl Into<String>) {
        *self.errors.entry(name.into()).or_default() += 1;
    }

    pub fn add(&mut self, other: &Self) {
        // Both are resizable, so any value fits.
        let merge = |into: &mut Histogram<u64>, from: &Histogram<u64>| into.add(from).expect("histograms grow");
        merge(&mut self.latency, &other.latency);
        merge(&mut self.round_trip, &other.round_trip);
        merge(&mut self.connect, &other.connect);
        merge(&mut self.lag, &other.lag);
        self.receipts += other.receipts;
        self.duplicated += other.duplicated;
        self.out_of_order += other.out_of_order;
        self.gaps += other.gaps;
        self.superseded += other.superseded;
        self.expected += other.expected;
        self.denied += other.denied;
        self.sent += other.sent;
        self.answered += other.answered;
        self.lost += other.lost;
        self.refused += other.refused;
        self.others += other.others;
        for (name, count) in &other.errors {
            *self.errors.entry(name.clone()).or_default() += count;
        }
    }
}

/// A histogram that grows with its values.
pub fn new_histogram() -> Histogram<u64> {
    Histogram::new(3).expect("three significant digits are allowed")
}

/// Notes a time in microseconds; what is longer than an hour counts as an hour.
#[inline]
pub fn record(histogram: &mut Histogram<u64>, us: u64) {
    record_many(histogram, us, 1);
}

/// Notes the same time so many times.
#[inline]
pub fn record_many(histogram: &mut Histogram<u64>, us: u64, count: u64) {
    const HOUR_US: u64 = 3_600_000_000;
    histogram.record_n(us.min(HOUR_US), count).expect("a histogram without bounds grows");
}

const TOTALS: usize = 9;

/// Counts that only grow, as the progress bar and the waits of the coordinator need them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub receipts: u64,
    /// Receipts without the repeated ones.
    pub unique: u64,
    pub superseded: u64,
    pub expected: u64,
    pub sent: u64,
    pub answered: u64,
    pub lost: u64,
    pub refused: u64,
    /// How often a connection came to be held.
    pub opened: u64,
}

impl Totals {
    pub fn add(&mut self, tally: &Tally) {
        self.receipts += tally.receipts;
        self.unique += tally.unique();
        self.superseded += tally.superseded;
        self.expected += tally.expected;
        self.sent += tally.sent;
        self.answered += tally.answered;
        self.lost += tally.lost;
        self.refused += tally.refused;
        self.opened += tally.connect.len();
    }

    fn values(&self) -> [u64; TOTALS] {
        let Self { receipts, unique, superseded, expected, sent, answered, lost, refused, opened } = *self;
        [receipts, unique, superseded, expected, sent, answered, lost, refused, opened]
    }

    fn of(values: [u64; TOTALS]) -> Self {
        let [receipts, unique, superseded, expected, sent, answered, lost, refused, opened] = values;
        Self { receipts, unique, superseded, expected, sent, answered, lost, refused, opened }
    }
}

/// Written by one worker once per turn, read by the coordinator.
#[derive(Default)]
pub struct Gauges {
    pub held: AtomicU64,
    pub connecting: AtomicU64,
    totals: [AtomicU64; TOTALS],
    /// What makes it impossible to go on.
    pub trouble: OnceLock<Trouble>,
}

impl Gauges {
    /// Shows what was reported before and what has been counted since.
    pub fn show(&self, reported: &Totals, tally: &Tally) {
        let mut totals = *reported;
        totals.add(tally);
        for (gauge, value) in self.totals.iter().zip(totals.values()) {
            gauge.store(value, Relaxed);
        }
    }
}

/// The sum of all workers' gauges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauge {
    pub held: u64,
    pub connecting: u64,
    pub totals: Totals,
}

impl Gauge {
    pub fn add(&mut self, gauges: &Gauges) {
        self.held += gauges.held.load(Relaxed);
        self.connecting += gauges.connecting.load(Relaxed);
        let (sum, more) = (self.totals.values(), gauges.totals.each_ref().map(|gauge| gauge.load(Relaxed)));
        self.totals = Totals::of(std::array::from_fn(|i| sum[i] + more[i]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_go_on_over_reports() {
        let gauges = Gauges::default();
        let mut reported = Totals::default();
        reported.add(&Tally { receipts: 5, duplicated: 2, sent: 1, ..Tally::default() });
        gauges.show(&reported, &Tally { receipts: 10, lost: 4, ..Tally::default() });
        let mut gauge = Gauge::default();
        gauge.add(&gauges);
        gauge.add(&gauges);
        let expected = Totals { receipts: 30, unique: 26, sent: 2, lost: 8, ..Totals::default() };
        assert_eq!(gauge.totals, expected);
    }

    #[test]
    fn tallies_are_summed_with_their_histograms_and_errors() {
        let mut sum = Tally::default();
        for latency_us in [10, 20] {
            let mut tally = Tally { receipts: 1, ..Tally::default() };
            tally.latency.record(latency_us).unwrap();
            tally.count_error("close_4001");
            sum.add(&tally);
        }
        assert_eq!((sum.receipts, sum.latency.len(), sum.latency.max()), (2, 2, 20));
        assert_eq!(sum.errors["close_4001"], 2);
    }
}
