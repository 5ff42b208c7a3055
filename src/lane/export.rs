//! The lanes' and the services' parts of the Prometheus page.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::services::{ServiceCounters, Services};
use super::{Bus, Lane};

/// The lanes of all shards, each with its number as label.
pub struct Lanes(pub Bus);

type Level = (&'static str, &'static str, fn(&Lane) -> i64);

const LEVELS: [Level; 3] = [
    ("lane_stuck", "1 while the shard takes nothing from its full lane and its messages are lost.", |lane| {
        lane.is_stuck().into()
    }),
    ("lane_waiting", "Messages and commands that wait in the shard's lane.", |lane| lane.waiting() as i64),
    ("lane_bytes", "Bytes of these messages.", |lane| lane.bytes() as i64),
];

impl Collector for Lanes {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let numbered = || self.0.lanes().iter().enumerate().map(|(shard, lane)| (shard.to_string(), lane));
        for (name, help, level) in LEVELS {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (shard, lane) in numbered() {
                ConstGauge::new(level(lane)).encode(metric.encode_family(&[("shard", &*shard)])?)?;
            }
        }
        let help = "Messages that the shard never got because its lane stayed full.";
        let mut metric = encoder.encode_descriptor("lane_lost", help, None, MetricType::Counter)?;
        for (shard, lane) in numbered() {
            ConstCounter::new(lane.lost()).encode(metric.encode_family(&[("shard", &*shard)])?)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Lanes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lanes of {} shards", self.0.shards())
    }
}

/// What all shards together have counted of the services, each with its name as label.
#[derive(Debug)]
pub struct ServicesPage(pub Services);

type Count = (&'static str, &'static str, fn(&ServiceCounters) -> u64);

const COUNTS: [Count; 4] = [
    ("service_calls", "Messages of clients that were for the service.", |counters| counters.calls.get()),
    (
        "service_refused",
        "Of them, those that were refused at once: it was full, its backend away, or too much of the client's waited.",
        |counters| counters.refused.get(),
    ),
    (
        "service_failed",
        "Of them, those that it answered with a failure, or with more than there was room for.",
        |counters| counters.failed.get(),
    ),
    ("service_late", "Of them, those that it did not answer in time.", |counters| counters.late.get()),
];

impl Collector for ServicesPage {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        if self.0.iter().next().is_none() {
            return Ok(());
        }
        for (name, help, count) in COUNTS {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (service, counters) in self.0.iter() {
                let sum: u64 = counters.iter().map(count).sum();
                ConstCounter::new(sum).encode(metric.encode_family(&[("service", service)])?)?;
            }
        }
        let help = "Messages of clients that wait for an answer of the service.";
        let mut metric = encoder.encode_descriptor("service_outstanding", help, None, MetricType::Gauge)?;
        for (service, counters) in self.0.iter() {
            let sum: i64 = counters.iter().map(|counters| counters.outstanding.get()).sum();
            ConstGauge::new(sum).encode(metric.encode_family(&[("service", service)])?)?;
        }
        Ok(())
    }
}
