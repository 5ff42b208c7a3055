//! How many decisions came to what, and their part of the Prometheus page.
//!
//! Counted by the task for what it decides, and by the shards for what they could not even ask.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;

use crate::lane::Permission;

/// By channel that somebody wanted to join.
#[derive(Debug, Default)]
pub struct Decisions {
    granted: AtomicU64,
    denied: AtomicU64,
    unavailable: AtomicU64,
}

impl Decisions {
    pub(super) fn count(&self, permission: Permission, channels: usize) {
        let counter = match permission {
            Permission::Granted => &self.granted,
            Permission::Denied => &self.denied,
            Permission::Unavailable => &self.unavailable,
        };
        counter.fetch_add(channels as u64, Relaxed);
    }
}

/// What was decided, if anybody decides.
#[derive(Debug)]
pub struct DecisionsPage(pub Option<Arc<Decisions>>);

impl Collector for DecisionsPage {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(decisions) = &self.0 else { return Ok(()) };
        let help = "Channels that clients wanted to join, by what whoever decides said of it, or that nobody could.";
        let mut metric = encoder.encode_descriptor("authorize_decisions", help, None, MetricType::Counter)?;
        for (decision, count) in
            [("granted", &decisions.granted), ("denied", &decisions.denied), ("unavailable", &decisions.unavailable)]
        {
            ConstCounter::new(count.load(Relaxed)).encode(metric.encode_family(&[("decision", decision)])?)?;
        }
        Ok(())
    }
}
