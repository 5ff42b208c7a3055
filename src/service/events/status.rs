//! How far the service has been told what happens to connections, for `/readyz` and `/metrics`. Written by the
//! courier's thread alone.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;

use crate::control::Link;
use crate::metrics::counters::Gauge;
use crate::metrics::{Counter, export};

/// What is told to the service of `[events]`.
#[derive(Debug)]
pub struct EventsStatus {
    service: Box<str>,
    /// Connected while the service takes batches.
    pub link: Link,
    /// Events that the service has.
    pub sent: Counter,
    /// Events that it will not get: there was no room for them.
    pub lost: Counter,
    /// Batches that were sent once more, as the service had not taken them.
    pub repeated: Counter,
    /// Events that wait, with those of the batch that is on its way, and their bytes.
    pub waiting: Gauge,
    pub waiting_bytes: Gauge,
}

impl EventsStatus {
    pub fn new(service: &str) -> Self {
        Self {
            service: service.into(),
            link: Link::default(),
            sent: Counter::default(),
            lost: Counter::default(),
            repeated: Counter::default(),
            waiting: Gauge::default(),
            waiting_bytes: Gauge::default(),
        }
    }

    /// As `[[services]]` names it.
    pub fn service(&self) -> &str {
        &self.service
    }
}

/// Its part of the Prometheus page; nothing when nobody is told.
#[derive(Debug)]
pub struct EventsPage(pub Option<Arc<EventsStatus>>);

type Line = (&'static str, &'static str, fn(&EventsStatus) -> &Counter);

const COUNTERS: [Line; 3] = [
    ("events_sent", "Events of connections that their service has taken.", |events| &events.sent),
    ("events_lost", "Events of connections that their service will not get: there was no room.", |events| &events.lost),
    ("events_repeated", "Batches of them that were sent once more, as the service had not taken them.", |events| {
        &events.repeated
    }),
];

impl Collector for EventsPage {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Some(events) = &self.0 else { return Ok(()) };
        for (name, help, counter) in COUNTERS {
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(counter(events).get()).encode(metric)?;
        }
        export::gauge(&mut encoder, "events_waiting", "Events of connections that wait.", events.waiting.get())?;
        export::gauge(&mut encoder, "events_waiting_bytes", "Bytes of these events.", events.waiting_bytes.get())
    }
}
