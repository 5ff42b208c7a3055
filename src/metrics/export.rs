//! The counters as a Prometheus page (OpenMetrics text). Called by the admin port for each scrape.
//!
//! A scrape reads what is there at that moment; nothing is kept or computed between two of them. What is exported beside
//! the counters comes as a further [`Collector`].

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeMetric, MetricEncoder,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::counters::{Counters, Value};

/// What [`text`] returns.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// First part of the name of every metric that is ours.
pub const PREFIX: &str = "ringway";

/// The page.
pub fn text(registry: &Registry) -> String {
    let mut page = String::new();
    prometheus_client::encoding::text::encode(&mut page, registry).expect("writing to a String does not fail");
    page
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

    #[test]
    fn every_shard_has_a_line_and_a_metric_is_described_once() {
        let shards: Arc<[_]> = (0..2).map(|_| Arc::new(Counters::default())).collect();
        shards[0].accepted.add(3);
        shards[1].connections.set(-1);
        shards[1].closed.count("too_slow");
        let mut registry = Registry::default();
        registry.sub_registry_with_prefix(PREFIX).register_collector(Box::new(Shards(shards)));
        let page = text(&registry);
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
    fn a_process_without_shards_has_an_empty_page() {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Shards(Arc::new([]))));
        assert_eq!(text(&registry), "# EOF\n");
    }
}
