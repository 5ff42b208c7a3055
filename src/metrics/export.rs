//! The counters as a Prometheus page (OpenMetrics text). Called by the admin port for each scrape.
//!
//! A scrape reads what is there at that moment; nothing is kept or computed between two of them. What is exported
//! beside the counters comes as a further [`Collector`].

use std::fmt;
use std::sync::Arc;

use hdrhistogram::Histogram;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeMetric, MetricEncoder, NoLabelSet, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::counters::{Counters, Value};
use super::latency::Latency;

/// What [`text`] returns.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// First part of the name of every metric that is ours.
pub const PREFIX: &str = "ringway";

/// Upper bounds of the histograms' buckets in microseconds, up to ten seconds; what is longer
/// is in the last, unbounded one.
const BUCKETS_US: [u64; 17] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000,
];

/// The page: what is registered, and the histograms of all shards together.
pub fn text(registry: &Registry, latency: Option<&Latency>) -> String {
    let mut page = String::new();
    let whole = text::encode_registry(&mut page, registry)
        .and_then(|()| latency.map_or(Ok(()), |latency| encode_latency(&mut page, latency)))
        .and_then(|()| text::encode_eof(&mut page));
    whole.expect("writing to a String does not fail");
    page
}

fn encode_latency(page: &mut String, latency: &Latency) -> fmt::Result {
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_collector(Box::new(Histograms(latency.clone())));
    text::encode_registry(page, &registry)
}

/// One Prometheus histogram, in seconds, for each that is kept. A bound is kept to a percent, as the values are.
#[derive(Debug)]
struct Histograms(Latency);

impl Collector for Histograms {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for (timed, histogram) in self.0.iter() {
            let name = format!("{}_seconds", timed.name());
            let metric = encoder.encode_descriptor(&name, timed.help(), None, MetricType::Histogram)?;
            encode_histogram(metric, histogram)?;
        }
        Ok(())
    }
}

/// The lines of one histogram of microseconds.
pub fn encode_histogram(mut metric: MetricEncoder<'_>, histogram: &Histogram<u64>) -> fmt::Result {
    let mut counts = [0; BUCKETS_US.len() + 1];
    for step in histogram.iter_recorded() {
        let us = histogram.lowest_equivalent(step.value_iterated_to());
        counts[BUCKETS_US.partition_point(|bound| *bound < us)] += step.count_at_value();
    }
    let bounds = BUCKETS_US.iter().map(|us| *us as f64 / 1e6).chain([f64::INFINITY]);
    let buckets: Vec<_> = bounds.zip(counts).collect();
    let sum_s = histogram.mean() * histogram.len() as f64 / 1e6;
    metric.encode_histogram::<NoLabelSet>(sum_s, histogram.len(), &buckets, None)
}

/// The counters of all shards, each with its number as label.
#[derive(Debug)]
pub struct Shards(pub Arc<[Arc<Counters>]>);

impl Collector for Shards {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        // A metric's lines must stand together, and a shard's counters are visited together: turn them round.
        let shards: Vec<_> = self.0.iter().map(|counters| row(counters)).collect();
        let Some(first) = shards.first() else { return Ok(()) };
        let numbers: Vec<_> = (0..shards.len()).map(|shard| shard.to_string()).collect();
        for (column, (name, help, value)) in first.iter().enumerate() {
            let mut metric = encoder.encode_descriptor(name, help, None, kind(value))?;
            for (shard, row) in numbers.iter().zip(&shards) {
                write(&mut metric, shard, &row[column].2)?;
            }
        }
        Ok(())
    }
}

/// A single counter. Its name in the page ends with `_total`.
pub fn counter(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: impl EncodeCounterValue,
) -> fmt::Result {
    let metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    ConstCounter::new(value).encode(metric)
}

/// A single level.
pub fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: impl EncodeGaugeValue) -> fmt::Result {
    let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    ConstGauge::new(value).encode(metric)
}

type Row<'a> = Vec<(&'static str, &'static str, Value<'a>)>;

fn row(counters: &Counters) -> Row<'_> {
    let mut row = Row::new();
    counters.visit(|name, help, value| row.push((name, help, value)));
    row
}

fn kind(value: &Value<'_>) -> MetricType {
    match value {
        Value::Gauge(_) => MetricType::Gauge,
        Value::Counter(_) | Value::Family(..) => MetricType::Counter,
    }
}

fn write(metric: &mut MetricEncoder<'_>, shard: &str, value: &Value<'_>) -> fmt::Result {
    match *value {
        Value::Counter(count) => ConstCounter::new(count).encode(metric.encode_family(&[("shard", shard)])?),
        Value::Gauge(level) => ConstGauge::new(level).encode(metric.encode_family(&[("shard", shard)])?),
        Value::Family(label, family) => family.iter().try_for_each(|(value, count)| {
            ConstCounter::new(count).encode(metric.encode_family(&[("shard", shard), (label, value)])?)
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Timed;

    #[test]
    fn every_shard_has_a_line_and_a_metric_is_described_once() {
        let shards: Arc<[_]> = (0..2).map(|_| Arc::new(Counters::default())).collect();
        shards[0].accepted.add(3);
        shards[1].connections.set(-1);
        shards[1].closed.count("too_slow");
        let mut registry = Registry::default();
        registry.sub_registry_with_prefix(PREFIX).register_collector(Box::new(Shards(shards)));
        let page = text(&registry, None);
        for line in [
            "ringway_accepted_total{shard=\"0\"} 3",
            "ringway_accepted_total{shard=\"1\"} 0",
            "ringway_connections{shard=\"1\"} -1",
            "ringway_closed_total{shard=\"1\",code=\"too_slow\"} 1",
            "# TYPE ringway_closed counter",
            "# HELP ringway_accepted TCP connections accepted.",
            "# EOF",
        ] {
            assert_eq!(page.lines().filter(|l| *l == line).count(), 1, "{line}\n{page}");
        }
    }

    #[test]
    fn a_histogram_counts_what_is_within_each_bound() {
        let mut latency = Latency::default();
        for us in [10, 50, 51, 100_000, 9_900_000, 60_000_000] {
            latency.record(Timed::Delivery, us);
        }
        let page = text(&Registry::default(), Some(&latency));
        for line in [
            "# TYPE ringway_delivery_seconds histogram",
            "ringway_delivery_seconds_bucket{le=\"0.00005\"} 2",
            "ringway_delivery_seconds_bucket{le=\"0.0001\"} 3",
            "ringway_delivery_seconds_bucket{le=\"0.05\"} 3",
            "ringway_delivery_seconds_bucket{le=\"0.1\"} 4",
            "ringway_delivery_seconds_bucket{le=\"10.0\"} 5",
            "ringway_delivery_seconds_bucket{le=\"+Inf\"} 6",
            "ringway_delivery_seconds_count 6",
            "ringway_message_seconds_count 0",
            "ringway_message_seconds_sum 0.0",
        ] {
            assert_eq!(page.lines().filter(|l| *l == line).count(), 1, "{line}\n{page}");
        }
        let sum = page.lines().find_map(|line| line.strip_prefix("ringway_delivery_seconds_sum ")).expect("a sum");
        let sum: f64 = sum.parse().expect("a number");
        assert!((sum - 70.000_111).abs() < 0.7, "{sum}");
    }

    #[test]
    fn a_process_without_shards_has_an_empty_page() {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Shards(Arc::new([]))));
        assert_eq!(text(&registry, None), "# EOF\n");
    }
}
