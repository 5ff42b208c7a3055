//! One phase as one line of JSON. README.md describes every field; `FORMAT` changes when one changes its meaning.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::measure::host::Host;
use crate::measure::process::Clock;

pub const FORMAT: u32 = 2;

#[derive(Clone, Debug, Serialize)]
pub struct Phase {
    pub format: u32,
    pub tool: Tool,
    pub host: Host,
    pub arguments: Vec<String>,
    pub label: String,
    pub started_unix_ms: u64,
    pub scenario: &'static str,
    pub phase: &'static str,
    pub duration_s: f64,
    pub connections: Connections,
    #[serde(rename = "loop")]
    pub kind_of_loop: Option<&'static str>,
    pub rate: Option<Rate>,
    pub messages: u64,
    pub deliveries: u64,
    pub expected: u64,
    pub lost: u64,
    pub duplicated: u64,
    pub out_of_order: u64,
    pub superseded: u64,
    pub errors: BTreeMap<String, u64>,
    pub latency_us: Option<Latency>,
    pub receipt_latency_us: Option<Latency>,
    pub connect_latency_us: Option<Latency>,
    pub server: Option<Server>,
    pub kernel_bytes_per_connection: Option<i64>,
    pub timeline: Vec<Moment>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Tool {
    pub version: &'static str,
    pub commit: Option<&'static str>,
    pub cpu_s: f64,
    pub cpu_s_per_million: Option<f64>,
    pub rss_bytes: u64,
    pub workers: usize,
    pub limited: bool,
    pub reason: Option<String>,
    pub busiest_worker: f64,
    pub lag_us: Option<Lag>,
}

/// Of a closed loop of publications.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Rate {
    pub under_way: u32,
    /// From the first publication to the last receipt.
    pub deliveries_per_s: f64,
    /// Without the frames' headers.
    pub payload_bytes_per_s: f64,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct Lag {
    pub p50: u64,
    pub p99: u64,
    pub max: u64,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Connections {
    pub asked: u64,
    pub held: u64,
    pub lost: u64,
    pub refused: u64,
    pub connect_s: Option<f64>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Latency {
    pub count: u64,
    pub mean: f64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p99_9: u64,
    pub p99_99: u64,
    pub max: u64,
    pub histogram: Vec<(u64, u64)>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Server {
    pub pids: Vec<u32>,
    pub cpu_clock: Clock,
    pub cpu_s: f64,
    pub cpu_s_per_million: Option<f64>,
    pub cores: f64,
    pub rss_bytes: u64,
    pub rss_bytes_per_connection: Option<i64>,
}

/// One sample of the timeline. `t_ms` since the start of the run; counts and CPU time are running totals.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Moment {
    pub t_ms: u64,
    pub connections: u64,
    pub deliveries: u64,
    pub server_rss: Option<u64>,
    pub server_cpu_s: Option<f64>,
    pub tool_rss: u64,
    pub slab_bytes: Option<u64>,
}

impl Latency {
    /// `None` for an empty histogram.
    pub fn of(histogram: &Histogram<u64>) -> Option<Self> {
        if histogram.is_empty() {
            return None;
        }
        let at = |percent| histogram.value_at_percentile(percent);
        Some(Self {
            count: histogram.len(),
            mean: histogram.mean(),
            p50: at(50.0),
            p90: at(90.0),
            p99: at(99.0),
            p99_9: at(99.9),
            p99_99: at(99.99),
            max: histogram.max(),
            histogram: histogram.iter_recorded().map(|v| (v.value_iterated_to(), v.count_at_value())).collect(),
        })
    }
}

impl Lag {
    pub fn of(histogram: &Histogram<u64>) -> Option<Self> {
        let at = |percent| histogram.value_at_percentile(percent);
        (!histogram.is_empty()).then(|| Self { p50: at(50.0), p99: at(99.0), max: histogram.max() })
    }
}

impl Phase {
    /// The phase as one line of JSON.
    pub fn record(&self) -> io::Result<String> {
        sonic_rs::to_string(self).map_err(io::Error::other)
    }

    /// Whether everything asked for was reached and nothing was lost.
    pub fn is_good(&self) -> bool {
        let Connections { asked, held, lost, .. } = self.connections;
        held >= asked && lost + self.lost + self.duplicated + self.out_of_order == 0
    }
}

/// Appends a line to a file.
pub fn append(file: &Path, record: &str) -> io::Result<()> {
    writeln!(OpenOptions::new().create(true).append(true).open(file)?, "{record}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_is_written_with_all_its_counts() {
        let mut histogram = Histogram::new(3).unwrap();
        for value in [10, 10, 20, 100_000] {
            histogram.record(value).unwrap();
        }
        let latency = Latency::of(&histogram).unwrap();
        assert_eq!((latency.count, latency.p50), (4, 10));
        assert_eq!(latency.histogram.iter().map(|(_, count)| count).sum::<u64>(), 4);
        assert!(latency.histogram.is_sorted());
        assert!(Latency::of(&Histogram::new(3).unwrap()).is_none());
    }
}
