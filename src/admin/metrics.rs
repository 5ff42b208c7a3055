//! `GET /metrics`: everything that is counted, for Prometheus.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use axum::extract::State as Shared;
use axum::http::{HeaderName, header};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::authorize::decisions::DecisionsPage;
use crate::control::Failures;
use crate::ingress::export::Sources;
use crate::issuer::export::KeysPage;
use crate::lane::{Lanes, ServicesPage};
use crate::metrics::export::{self, CONTENT_TYPE, PREFIX, Shards};
use crate::metrics::process::Process;
use crate::notification;
use crate::service::events::EventsPage;
use crate::service::export::Backends;
use crate::shard::verification::Verification;
use crate::upkeep::presence::Online;

use super::error::AdminError;
use super::{Context, State, aside, latency};

type Page = ([(HeaderName, &'static str); 1], String);

pub async fn metrics(Shared(state): Shared<Arc<State>>) -> Result<Page, AdminError> {
    // Shards that do not answer are missing in the histograms; everything else is read without them.
    let timed = latency::ask(&state).await.ok();
    let text = move || {
        let timed = timed.map(|answers| latency::merge(&answers.values));
        export::text(&state.registry, timed.as_ref())
    };
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], aside(text).await?))
}

/// Everything that is on the page. A further kind of metric is a further collector here.
pub fn registry(context: &Context) -> Registry {
    let mut registry = Registry::default();
    let ours = registry.sub_registry_with_prefix(PREFIX);
    let labels = vec![("version", env!("CARGO_PKG_VERSION").to_owned()), ("server_id", context.server_id.clone())];
    ours.register("build", "The running version and the id of this node", Info::new(labels));
    ours.register_collector(Box::new(Draining(context.draining.clone())));
    ours.register_collector(Box::new(Shards(context.counters.clone())));
    ours.register_collector(Box::new(Lanes(context.inlet.bus.clone())));
    ours.register_collector(Box::new(ServicesPage(context.services.clone())));
    ours.register_collector(Box::new(Backends(context.backends.clone())));
    ours.register_collector(Box::new(DecisionsPage(context.decisions.clone())));
    ours.register_collector(Box::new(EventsPage(context.events.clone())));
    ours.register_collector(Box::new(notification::Export(context.inlet.notifications.clone())));
    ours.register_collector(Box::new(Sources(context.sources.clone())));
    ours.register_collector(Box::new(KeysPage(context.issuer.clone())));
    ours.register_collector(Box::new(TokensWaiting(context.verification.clone())));
    let (presence, updates) = (context.presence.clone(), context.presence_updates.clone());
    ours.register_collector(Box::new(Online { presence, updates }));
    ours.register_collector(Box::new(Failures(context.tasks.clone())));
    registry.register_collector(Box::new(Process { started_unix_s: context.started.unix_s() }));
    registry
}

/// The queue of tokens that are verified beside the shards.
#[derive(Debug)]
struct TokensWaiting(Verification);

impl Collector for TokensWaiting {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Tokens signed by a public key that wait to be verified.";
        export::gauge(&mut encoder, "tokens_waiting", help, self.0.waiting() as i64)
    }
}

#[derive(Debug)]
struct Draining(Arc<AtomicBool>);

impl Collector for Draining {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let draining = i64::from(self.0.load(Relaxed));
        export::gauge(&mut encoder, "draining", "1 while the process closes its connections to end.", draining)
    }
}
