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

/// What they came to so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Decided {
    pub granted: u64,
    pub denied: u64,
    pub unavailable: u64,
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

    pub fn read(&self) -> Decided {
        let [granted, denied, unavailable] = [&self.granted, &self.denied, &self.unavailable].map(|n| n.load(Relaxed));
        Decided { granted, denied, unavailable }
    }
}

impl Decided {
    /// What was counted after `before`.
    pub fn since(self, before: Self) -> Self {
        Self {
            granted: self.granted.saturating_sub(before.granted),
            denied: self.denied.saturating_sub(before.denied),
            unavailable: self.unavailable.saturating_sub(before.unavailable),
        }
    }
}

/// What was decided, if anybody decides.
#[derive(Debug)]
pub struct DecisionsPage(pub Option<Arc<Decisions>>);

impl Collector for DecisionsPage {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(decisions) = &self.0 else { return Ok(()) };
        let Decided { granted, denied, unavailable } = decisions.read();
        let help = "Channels that clients wanted to join, by what whoever decides said of it, or that nobody could.";
        let mut metric = encoder.encode_descriptor("authorize_decisions", help, None, MetricType::Counter)?;
        for (decision, count) in [("granted", granted), ("denied", denied), ("unavailable", unavailable)] {
            ConstCounter::new(count).encode(metric.encode_family(&[("decision", decision)])?)?;
        }
        Ok(())
    }
}
