//! The sources' part of the Prometheus page.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::SourceStatus;
use crate::metrics::Counter;
use crate::metrics::export::encode_histogram;

/// The state and the counters of all sources, each with its name as label.
#[derive(Debug)]
pub struct Sources(pub Vec<Arc<SourceStatus>>);

impl Collector for Sources {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        let help = "1 while the source is connected to its broker.";
        let mut metric = encoder.encode_descriptor("source_connected", help, None, MetricType::Gauge)?;
        for source in &self.0 {
            let connected = i64::from(source.link.is_connected());
            ConstGauge::new(connected).encode(metric.encode_family(&[("source", source.name())])?)?;
        }
        for (name, help, counter) in COUNTERS {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for source in &self.0 {
                let count = counter(source).get();
                ConstCounter::new(count).encode(metric.encode_family(&[("source", source.name())])?)?;
            }
        }
        let help = "From a message of the source that has been read until the shards have it";
        let mut metric = encoder.encode_descriptor("source_seconds", help, None, MetricType::Histogram)?;
        for source in &self.0 {
            let times = source.latency.copy();
            encode_histogram(metric.encode_family(&[("source", source.name())])?, times.histogram())?;
        }
        Ok(())
    }
}

type Line = (&'static str, &'static str, fn(&SourceStatus) -> &Counter);

const COUNTERS: [Line; 6] = [
    ("source_reconnects", "Times the connection to the broker was restored.", |source| &source.link.reconnects),
    ("source_messages", "Messages from the broker.", |source| &source.messages),
    ("source_bytes", "Bytes of the payloads of these messages.", |source| &source.bytes),
    ("source_invalid", "Messages dropped because they cannot be a text message of a channel.", |source| {
        &source.invalid
    }),
    ("source_unmatched", "Messages that no shard had a subscriber for.", |source| &source.unmatched),
    ("source_lost", "Messages dropped because more came at once than there is room for.", |source| &source.lost),
];
