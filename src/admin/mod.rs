//! The admin port: health, statistics, metrics, and publishing over HTTP. Three [tasks](crate::control) of the control
//! side, the port, the [`watchdog`], and the recorder of the [`curves`]; nothing of it runs on a shard.
//!
//! [`start`] is called once, by [`crate::gateway`]. A second port may speak [`grpc`]. [`routes`] lists every path; the
//! handlers live in files named by what they answer. A further page or endpoint is a further file and one line there.
//! What a handler needs of the process is in [`Context`]; what it needs of the shards it reads from their counters, or
//! asks through their lanes ([`shards`]).
//!
//! The port itself ([`port`]) has deadlines for everything that a client may be slow at, a limit of connections
//! ([`clients`]) and of the bodies that arrive at once ([`bodies`]), so that a probe is answered whatever others do.
//!
//! Invariant: a handler never blocks its thread. What finds no room in a lane waits for it on a blocking thread, and
//! answers that may be large are put together on one ([`aside`]).

mod batch;
mod bodies;
pub mod charts;
mod clients;
mod curves;
mod dashboard;
mod error;
#[cfg(feature = "grpc")]
mod grpc;
mod guard;
mod health;
mod idempotency;
mod latency;
mod listing;
mod metrics;
mod notifications;
mod outside;
mod pages;
mod port;
mod presence;
mod publish;
mod published;
mod revoke;
mod routes;
mod shards;
mod subscriptions;
mod test_client;
mod user_types;
mod watchdog;
mod write_deadline;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::auth::Revocations;
use crate::authorize::decisions::Decisions;
use crate::channel::Presence;
use crate::clock::Now;
use crate::config::{self, Secret};
use crate::control::{Control, Tasks};
use crate::ingress::{Inlet, SourceStatus};
use crate::issuer::IssuerStatus;
use crate::lane::Services;
use crate::metrics::{Counters, counters};
use crate::service::ServiceStatus;
use crate::service::events::EventsStatus;
use crate::shard::id::SessionKey;
use crate::shard::verification::Verification;

use bodies::Bodies;
use curves::Curves;
use error::AdminError;
use idempotency::Idempotency;
use latency::Intervals;
use listing::LISTINGS_MAX;
use notifications::{WAITS_FOR_ALL_MAX, WAITS_MAX};
use outside::Outside;
use port::{Port, Protocol};
use shards::Shards;
use subscriptions::SubscriptionCache;
use user_types::UserTypes;
use watchdog::Watchdog;

pub use test_client::Public;

/// What the port shows and acts on.
#[derive(Clone)]
pub struct Context {
    /// The way to the shards, and what is kept of what takes it.
    pub inlet: Inlet,
    /// By shard.
    pub counters: Arc<[Arc<Counters>]>,
    pub server_id: String,
    pub started: Now,
    pub sources: Vec<Arc<SourceStatus>>,
    pub presence: Arc<Presence>,
    /// Told about it so far.
    pub presence_updates: Arc<AtomicU64>,
    /// Of the control side: what has failed makes the node not ready.
    pub tasks: Tasks,
    pub revocations: Revocations,
    /// Where messages of clients go, with what is counted of that.
    pub services: Services,
    /// The issuer whose keys are fetched.
    pub issuer: Option<Arc<IssuerStatus>>,
    pub verification: Verification,
    /// How the backends of the services are.
    pub backends: Vec<Arc<ServiceStatus>>,
    /// What was decided of who may join what; `None`: nobody decides.
    pub decisions: Option<Arc<Decisions>>,
    /// Who is told of connections, and how far; `None`: nobody.
    pub events: Option<Arc<EventsStatus>>,
    /// Finds the connection that a session id names.
    pub session_key: SessionKey,
    /// What the test client connects to.
    pub public: Public,
    /// Set when the process begins to drain; from then on it is not ready.
    pub draining: Arc<AtomicBool>,
}

/// What the handlers share.
struct State {
    context: Context,
    token: Option<Secret>,
    watchdog: Watchdog,
    /// From this on a stalled shard makes the node not ready.
    ready_stall: Duration,
    /// From this on a stalled shard makes the process not live.
    live_stall: Duration,
    shards: Shards,
    subscriptions: SubscriptionCache,
    intervals: Intervals,
    curves: Curves,
    outside: Outside,
    user_types: UserTypes,
    bodies: Bodies,
    idempotency: Idempotency,
    /// Held by whoever lists connections or channels: one answer of a large node is some hundred megabytes.
    listings: Semaphore,
    /// Held by whoever waits for what becomes of a notification to one user, or to all.
    waits_for_one: Semaphore,
    waits_for_all: Semaphore,
    registry: Registry,
}

/// Serves the port from now on, and that for gRPC if there is one. Returns where it listens: the real port where 0 was
/// configured.
///
/// # Errors
///
/// When the control side cannot have the socket, or the address for gRPC cannot be had.
pub fn start(
    settings: &config::Admin,
    listener: std::net::TcpListener,
    context: Context,
    control: &Control,
) -> io::Result<SocketAddr> {
    let (listener, address) = registered(listener, control)?;
    let state = Arc::new(State::new(settings, context));
    // Before the other one, which says that all is ready.
    #[cfg(feature = "grpc")]
    if let Some(listen) = settings.grpc_listen {
        let (listener, address) = registered(crate::host::listeners::bind_admin(listen)?, control)?;
        let port = Port::new(Protocol::Http2, grpc::router(state.clone()), settings);
        control.run("admin.grpc", |stop| port.serve(listener, stop));
        tracing::info!(%address, "the admin port speaks gRPC as well");
    }
    let port = Port::new(Protocol::Http1, routes::router(state.clone()), settings);
    control.run("admin", |stop| port.serve(listener, stop));
    let (watched, looked_at) = (state.clone(), state.clone());
    control.run("outside", async move |stop| _ = stop.run_until_cancelled(looked_at.outside.watch(&looked_at)).await);
    control.run("watchdog", async move |stop| _ = stop.run_until_cancelled(watched.watchdog.watch()).await);
    control.run("curves", async move |stop| _ = stop.run_until_cancelled(state.curves.record(&state)).await);
    Ok(address)
}

/// A listener for the control side's thread.
fn registered(listener: std::net::TcpListener, control: &Control) -> io::Result<(TcpListener, SocketAddr)> {
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let _inside = control.shared().enter();
    Ok((TcpListener::from_std(listener)?, address))
}

/// Does what takes time on another thread, so that probes are answered meanwhile.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, AdminError> {
    spawn_blocking(work).await.map_err(|_| AdminError::NoAnswer)
}

impl State {
    fn new(settings: &config::Admin, context: Context) -> Self {
        Self {
            registry: metrics::registry(&context),
            watchdog: Watchdog::new(context.inlet.bus.clone(), context.counters.clone()),
            ready_stall: settings.ready_stall,
            live_stall: settings.live_stall,
            token: settings.token.clone(),
            shards: Shards::new(context.inlet.bus.clone()),
            subscriptions: SubscriptionCache::default(),
            intervals: Intervals::default(),
            curves: Curves::default(),
            outside: Outside::new(&context),
            user_types: UserTypes::default(),
            bodies: Bodies::new(settings.transfer_deadline),
            idempotency: Idempotency::default(),
            listings: Semaphore::new(LISTINGS_MAX),
            waits_for_one: Semaphore::new(WAITS_MAX),
            waits_for_all: Semaphore::new(WAITS_FOR_ALL_MAX),
            context,
        }
    }

    fn is_draining(&self) -> bool {
        self.context.draining.load(Relaxed)
    }

    /// The sum of a level over all shards.
    fn level(&self, gauge: impl Fn(&Counters) -> &counters::Gauge) -> u64 {
        let sum: i64 = self.context.counters.iter().map(|counters| gauge(counters).get()).sum();
        // Shards are read one after the other, so a sum of shares can be out by a moment.
        u64::try_from(sum).unwrap_or(0)
    }

    fn open_connections(&self) -> u64 {
        self.level(|counters| &counters.connections)
    }
}

#[cfg(test)]
mod tests;
