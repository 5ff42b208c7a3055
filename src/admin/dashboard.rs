//! The dashboard: one page at `/`, and the numbers that it asks for every second.
//!
//! The page is made of the files in the folder beside this one, of the [charts](super::charts) and of what all
//! [`pages`] have, and holds everything that it needs: no build step, nothing fetched from elsewhere. It is served to
//! everybody, as it says nothing; the numbers need the token.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State as Shared};
use serde::{Deserialize, Serialize};

use crate::clock::now_us;
use crate::metrics::{Counters, Family};

use super::State;
use super::curves::{Point, View};
use super::error::AdminError;
use super::health::IssuerLine;
use super::outside::{ServiceReport, SourceReport};
use super::pages::{self, PageOf};

/// Put together once.
static PAGE: LazyLock<String> = LazyLock::new(|| {
    pages::put_together(
        include_str!("dashboard/page.html"),
        include_str!("dashboard/page.css"),
        include_str!("dashboard/page.js"),
    )
});

/// The page runs its own script and talks to its own port, and nothing else, whatever a name from a client might hold.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// User types that are listed. There can be as many as clients: one whose token names none says it of itself.
const TYPES_MAX: usize = 8;

pub async fn page() -> PageOf {
    pages::answer(POLICY, &PAGE)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Which {
    /// The last point that the page has, in unix milliseconds.
    #[serde(default)]
    after: u64,
}

/// What the page shows, but for the curves as it is now.
#[derive(Serialize)]
pub struct Numbers {
    server_id: String,
    version: &'static str,
    uptime_s: u64,
    draining: bool,
    connections: u64,
    sessions: u64,
    users: u64,
    shards: Vec<ShardLine>,
    /// The most frequent ones.
    user_types: Vec<TypeLine>,
    /// Sessions of all other types, and those without one.
    other_types: u64,
    without_type: u64,
    slow: Slow,
    /// Since the start, by label; what is zero is left out.
    closed: BTreeMap<&'static str, u64>,
    refused: BTreeMap<&'static str, u64>,
    tokens_refused: BTreeMap<&'static str, u64>,
    violations: BTreeMap<&'static str, u64>,
    errors_sent: u64,
    sources: Vec<SourceReport>,
    services: Vec<ServiceReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<IssuerLine>,
    /// By the second.
    points: Vec<Point>,
    /// By ten seconds.
    hour: Vec<Point>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<&'static str>,
}

#[derive(Serialize)]
struct ShardLine {
    connections: i64,
    outbox_bytes: i64,
}

#[derive(Serialize)]
struct TypeLine {
    name: Box<str>,
    sessions: usize,
}

#[derive(Serialize)]
struct Slow {
    outbox_bytes: u64,
    queued: u64,
    dropped: u64,
    closed: u64,
}

pub async fn numbers(
    Shared(state): Shared<Arc<State>>,
    query: Result<Query<Which>, QueryRejection>,
) -> Result<Json<Numbers>, AdminError> {
    let Query(Which { after }) = query?;
    let types = state.user_types.read(&state).await;
    let View { seconds, hour, whole } = state.curves.view(after);
    let by_type = types.by_type;
    let sessions = state.level(|counters| &counters.sessions);
    let typed: usize = by_type.iter().map(|count| count.sessions).sum();
    let (listed, others) = by_type.split_at(by_type.len().min(TYPES_MAX));
    let closed = sums(&state, |counters| &counters.closed);
    Ok(Json(Numbers {
        server_id: state.context.server_id.clone(),
        version: env!("CARGO_PKG_VERSION"),
        uptime_s: now_us().saturating_sub(state.context.started.us) / 1_000_000,
        draining: state.is_draining(),
        connections: state.open_connections(),
        sessions,
        users: state.level(|counters| &counters.users),
        shards: state.context.counters.iter().map(|counters| ShardLine::of(counters)).collect(),
        user_types: listed.iter().map(|c| TypeLine { name: c.user_type.clone(), sessions: c.sessions }).collect(),
        other_types: others.iter().map(|count| count.sessions as u64).sum(),
        without_type: sessions.saturating_sub(typed as u64),
        slow: Slow {
            outbox_bytes: state.level(|counters| &counters.outbox_bytes),
            queued: state.total(|counters| &counters.deliveries_queued),
            dropped: state.total(|counters| &counters.deliveries_dropped),
            closed: closed.get("too_slow").copied().unwrap_or(0),
        },
        closed,
        refused: sums(&state, |counters| &counters.refused),
        tokens_refused: sums(&state, |counters| &counters.tokens_refused),
        violations: sums(&state, |counters| &counters.violations),
        errors_sent: state.total(|counters| &counters.errors_sent),
        sources: state.outside.sources(&state.context),
        services: state.outside.services(&state.context),
        issuer: state.context.issuer.as_ref().map(IssuerLine::from),
        points: seconds,
        hour,
        note: (!whole || !types.whole).then_some("some shards did not answer in time"),
    }))
}

impl ShardLine {
    fn of(counters: &Counters) -> Self {
        Self { connections: counters.connections.get(), outbox_bytes: counters.outbox_bytes.get() }
    }
}

/// A family over all shards, without what never happened.
fn sums(state: &State, family: impl Fn(&Counters) -> &Family) -> BTreeMap<&'static str, u64> {
    let mut sums = BTreeMap::new();
    for (label, count) in state.context.counters.iter().flat_map(|counters| family(counters).iter()) {
        if count > 0 {
            *sums.entry(label).or_default() += count;
        }
    }
    sums
}
