//! How the node is: probes for orchestrators, numbers for people.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use serde::Serialize;

use crate::clock::now_us;
use crate::control::{LinkState, LinkStatus};
use crate::ingress::SourceStatus;
use crate::issuer::IssuerStatus;
use crate::lane::Query;
use crate::service::ServiceStatus;
use crate::service::events::EventsStatus;

use super::error::AdminError;
use super::subscriptions::Subscriptions;
use super::{State, aside};

#[derive(Serialize)]
pub struct Health {
    status: &'static str,
    connections: u64,
}

pub async fn health(Shared(state): Shared<Arc<State>>) -> Json<Health> {
    Json(Health { status: "ok", connections: state.open_connections() })
}

#[derive(Serialize)]
pub struct Live {
    live: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<String>,
}

/// Whether the process does its work. No shard is asked: what a stalled one says of itself is when it last turned.
pub async fn livez(Shared(state): Shared<Arc<State>>) -> (StatusCode, Json<Live>) {
    let reasons = stalls(&state, state.live_stall);
    let live = reasons.is_empty();
    (status(live), Json(Live { live, reasons }))
}

fn stalls(state: &State, longer_than: Duration) -> Vec<String> {
    let stalled = state.watchdog.stalled(longer_than).into_iter();
    stalled.map(|(shard, stall)| format!("shard {shard} has not turned for {:.1} s", stall.as_secs_f64())).collect()
}

fn status(good: bool) -> StatusCode {
    if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

#[derive(Serialize)]
pub struct Ready {
    ready: bool,
    /// Why not.
    reasons: Vec<String>,
    sources: Vec<SourceLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<IssuerLine>,
    services: Vec<ServiceLine>,
    /// Only where a service is told of connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    events: Option<EventsLine>,
}

#[derive(Serialize)]
pub struct SourceLine {
    name: &'static str,
    #[serde(flatten)]
    link: LinkStatus,
    reconnects: u64,
}

impl From<&Arc<SourceStatus>> for SourceLine {
    fn from(source: &Arc<SourceStatus>) -> Self {
        Self { name: source.name(), link: source.link.status(), reconnects: source.link.reconnects.get() }
    }
}

#[derive(Serialize)]
pub struct IssuerLine {
    url: String,
    #[serde(flatten)]
    link: LinkStatus,
    /// Keys that are held.
    keys: usize,
}

impl From<&Arc<IssuerStatus>> for IssuerLine {
    fn from(issuer: &Arc<IssuerStatus>) -> Self {
        Self { url: issuer.url().into(), link: issuer.link.status(), keys: issuer.keys() }
    }
}

#[derive(Serialize)]
pub struct ServiceLine {
    name: String,
    kind: &'static str,
    #[serde(flatten)]
    link: LinkStatus,
    reconnects: u64,
    /// Calls that wait.
    waiting: usize,
}

impl From<&Arc<ServiceStatus>> for ServiceLine {
    fn from(service: &Arc<ServiceStatus>) -> Self {
        Self {
            name: service.name().into(),
            kind: service.kind(),
            link: service.link.status(),
            reconnects: service.link.reconnects.get(),
            waiting: service.waiting(),
        }
    }
}

#[derive(Serialize)]
pub struct EventsLine {
    service: String,
    #[serde(flatten)]
    link: LinkStatus,
    sent: u64,
    lost: u64,
    /// Events that wait.
    waiting: i64,
}

impl From<&Arc<EventsStatus>> for EventsLine {
    fn from(events: &Arc<EventsStatus>) -> Self {
        Self {
            service: events.service().into(),
            link: events.link.status(),
            sent: events.sent.get(),
            lost: events.lost.get(),
            waiting: events.waiting.get(),
        }
    }
}

/// Whether new clients should be sent here: not while draining, and not while what is published could not arrive.
/// A service that is away is shown and no reason: everything else works, and every node misses it alike. Neither is an
/// issuer of tokens that is away, while there are keys of it. Read from what is known; no shard is asked.
pub async fn readyz(Shared(state): Shared<Arc<State>>) -> (StatusCode, Json<Ready>) {
    let sources: Vec<SourceLine> = state.context.sources.iter().map(SourceLine::from).collect();
    let away = sources.iter().filter(|source| source.link.state != LinkState::Connected);
    let mut reasons: Vec<String> = away.map(|source| format!("{} is not connected", source.name)).collect();
    let issuer = state.context.issuer.as_ref().map(IssuerLine::from);
    if issuer.as_ref().is_some_and(|issuer| issuer.keys == 0) {
        reasons.push("there are no keys of the issuer yet: none of its tokens is accepted".into());
    }
    let stuck = state.context.inlet.bus.lanes().iter().enumerate().filter(|(_, lane)| lane.is_stuck());
    reasons.extend(stuck.map(|(shard, _)| format!("shard {shard} takes nothing: its lane is full")));
    reasons.extend(stalls(&state, state.ready_stall));
    reasons.extend(state.context.tasks.failed().iter().map(|task| format!("the control task {task} has failed")));
    if state.is_draining() {
        reasons.insert(0, "draining".into());
    }
    let services = state.context.backends.iter().map(ServiceLine::from).collect();
    let events = state.context.events.as_ref().map(EventsLine::from);
    let ready = reasons.is_empty();
    (status(ready), Json(Ready { ready, reasons, sources, issuer, services, events }))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    pub server_id: String,
    pub total_connections: u64,
    pub unique_users: u64,
    pub by_user_type: BTreeMap<Box<str>, usize>,
    /// Seconds.
    pub uptime: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

pub async fn stats(Shared(state): Shared<Arc<State>>) -> Result<Json<Stats>, AdminError> {
    counted(&state).await.map(Json)
}

/// Asks the shards.
pub(super) async fn counted(state: &State) -> Result<Stats, AdminError> {
    let ask = state.shards.ask(|bus, answer| bus.ask_all(|| Query::Types { answer: answer.clone() }));
    let answers = ask.await?;
    let note = answers.note();
    let sum = || {
        let mut by_user_type = BTreeMap::new();
        for count in answers.values.into_iter().flatten() {
            *by_user_type.entry(count.user_type).or_default() += count.sessions;
        }
        by_user_type
    };
    let by_user_type = aside(sum).await?;
    Ok(Stats {
        server_id: state.context.server_id.clone(),
        total_connections: state.open_connections(),
        unique_users: state.level(|counters| &counters.users),
        by_user_type,
        uptime: now_us().saturating_sub(state.context.started.us) / 1_000_000,
        note,
    })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WebSockets {
    /// Since start.
    total_connections: u64,
    active_connections: u64,
    connected_users: u64,
    subscriptions: Subscriptions,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

pub async fn websocket(Shared(state): Shared<Arc<State>>) -> Result<Json<WebSockets>, AdminError> {
    let (subscriptions, note) = state.subscriptions.read(&state).await?;
    Ok(Json(WebSockets {
        total_connections: state.context.counters.iter().map(|counters| counters.upgraded.get()).sum(),
        active_connections: state.open_connections(),
        connected_users: state.level(|counters| &counters.users),
        subscriptions,
        note,
    }))
}
