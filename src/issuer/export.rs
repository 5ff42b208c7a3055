//! The issuer's part of the Prometheus page.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;

use crate::metrics::export::gauge;

use super::IssuerStatus;

/// The issuer, if there is one.
#[derive(Debug)]
pub struct KeysPage(pub Option<Arc<IssuerStatus>>);

impl Collector for KeysPage {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(issuer) = &self.0 else { return Ok(()) };
        let connected = i64::from(issuer.link.is_connected());
        gauge(&mut encoder, "issuer_connected", "1 while the issuer of tokens answers with its keys.", connected)?;
        gauge(&mut encoder, "issuer_keys", "Keys of the issuer that are held.", issuer.keys() as i64)?;
        let counters = [
            ("issuer_fetches", "Times that the issuer was asked for its keys.", &issuer.fetches),
            ("issuer_failures", "Times that it did not answer with keys.", &issuer.failures),
        ];
        for (name, help, counter) in counters {
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(counter.get()).encode(metric)?;
        }
        Ok(())
    }
}
