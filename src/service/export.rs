//! The services' part of the Prometheus page that only they know: their backends.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::metrics::export::encode_histogram;

use super::ServiceStatus;

/// The backends of all services, each with the service's name as label.
#[derive(Debug)]
pub struct Backends(pub Vec<Arc<ServiceStatus>>);

type Level = (&'static str, &'static str, fn(&ServiceStatus) -> i64);

const LEVELS: [Level; 3] = [
    ("service_connected", "1 while the backend of the service is reached.", |service| {
        service.link.is_connected().into()
    }),
    ("service_waiting", "Calls that wait in the queue of the service or for its backend.", |service| {
        service.waiting() as i64
    }),
    ("service_waiting_bytes", "Bytes of these calls.", |service| service.waiting_bytes() as i64),
];

impl Collector for Backends {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        for (name, help, level) in LEVELS {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for service in &self.0 {
                ConstGauge::new(level(service)).encode(metric.encode_family(&[("service", service.name())])?)?;
            }
        }
        let help = "Times the backend was reached again after it had been lost.";
        let mut metric = encoder.encode_descriptor("service_reconnects", help, None, MetricType::Counter)?;
        for service in &self.0 {
            let count = service.link.reconnects.get();
            ConstCounter::new(count).encode(metric.encode_family(&[("service", service.name())])?)?;
        }
        let help = "From a call of the service to its last answer";
        let mut metric = encoder.encode_descriptor("service_seconds", help, None, MetricType::Histogram)?;
        for service in &self.0 {
            let times = service.latency();
            encode_histogram(metric.encode_family(&[("service", service.name())])?, times.histogram())?;
        }
        Ok(())
    }
}
