//! The control tasks' part of the Prometheus page.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;

use super::Tasks;
use super::tasks::State;

/// The failures of all tasks, each with its name as label.
#[derive(Debug)]
pub struct Failures(pub Tasks);

impl Collector for Failures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Control tasks that panicked or ended although nobody had stopped them.";
        let mut metric = encoder.encode_descriptor("control_failures", help, None, MetricType::Counter)?;
        for task in self.0.list() {
            let failures = u64::from(task.state == State::Failed);
            ConstCounter::new(failures).encode(metric.encode_family(&[("task", &*task.name)])?)?;
        }
        Ok(())
    }
}
