//! The admin port: health, statistics, metrics, and publishing over HTTP. Ordinary code on a thread and a tokio
//! runtime of its own; nothing of it runs on a shard.
//!
//! [`start`] is called once, by [`crate::gateway`]. [`routes`] lists every path; the handlers live in files
//! named by what they answer. A further page or endpoint is a further file and one line there. What a handler
//! needs of the process is in [`Context`]; what it needs of the shards it reads from their counters, or asks
//! through their lanes ([`shards`]).
//!
//! The port itself ([`port`]) has deadlines for everything that a client may be slow at, a limit of connections
//! ([`guests`]) and of the bodies that arrive at once ([`bodies`]), so that a probe is answered whatever others do.
//!
//! Invariant: a handler never blocks the runtime. What finds no room in a lane waits for it on a blocking thread, and
//! answers that may be large are put together on one ([`aside`]).

mod bodies;
mod census;
mod curves;
mod dashboard;
mod guard;
mod guests;
mod health;
mod latency;
mod listing;
mod metrics;
mod patience;
mod port;
mod publish;
mod pulse;
mod refusal;
mod revoke;
mod routes;
mod shards;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use prometheus_client::registry::Registry;
use tokio::sync::{Semaphore, watch};
use tokio::task::spawn_blocking;
use tracing::error;

use crate::auth::Revocations;
use crate::clock::Now;
use crate::config::{self, Secret};
use crate::ingress::SourceStatus;
use crate::lane::Bus;
use crate::metrics::{Counters, counters};
use crate::shard::id::SessionKey;

use bodies::Bodies;
use census::Census;
use curves::Curves;
use latency::Intervals;
use listing::LISTINGS_MAX;
use port::Port;
use pulse::Pulse;
use refusal::Refusal;
use shards::Shards;

/// How long requests that are under way may take when the port closes.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// Threads that wait for room in the lanes or put answers together; more would only wait as well.
const BLOCKING_THREADS: usize = 8;

/// What the port shows and acts on.
#[derive(Clone)]
pub struct Context {
    pub bus: Bus,
    /// By shard.
    pub counters: Arc<[Arc<Counters>]>,
    pub server_id: String,
    pub started: Now,
    pub sources: Vec<Arc<SourceStatus>>,
    pub revocations: Revocations,
    /// Finds the connection that a session id names.
    pub session_key: SessionKey,
    /// Set when the process begins to drain; from then on it is not ready.
    pub draining: Arc<AtomicBool>,
}

/// A running admin port.
pub struct Admin {
    /// Where it listens; the real port where 0 was configured.
    pub address: SocketAddr,
    stop: watch::Sender<bool>,
    /// Closed when the thread ends.
    ended: Receiver<()>,
}

/// What the handlers share.
struct State {
    context: Context,
    token: Option<Secret>,
    pulse: Pulse,
    /// From this on a stalled shard makes the node not ready.
    ready_stall: Duration,
    /// From this on a stalled shard makes the process not live.
    live_stall: Duration,
    shards: Shards,
    census: Census,
    intervals: Intervals,
    curves: Curves,
    bodies: Bodies,
    /// Held by whoever lists connections or channels: one answer of a large node is some hundred megabytes.
    listings: Semaphore,
    registry: Registry,
}

/// Binds the port and serves it from a thread of its own.
///
/// # Errors
///
/// When the address cannot be bound, or the thread cannot be had.
pub fn start(settings: &config::Admin, context: Context) -> io::Result<Admin> {
    let listener = TcpListener::bind(settings.listen)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(BLOCKING_THREADS).build()?;
    let shards = Shards::new(context.bus.clone());
    let registry = metrics::registry(&context);
    let pulse = Pulse::new(context.bus.clone(), context.counters.clone());
    let state = State {
        registry,
        pulse,
        ready_stall: settings.ready_stall,
        live_stall: settings.live_stall,
        context,
        token: settings.token.clone(),
        shards,
        census: Census::default(),
        intervals: Intervals::default(),
        curves: Curves::default(),
        bodies: Bodies::new(settings.transfer_deadline),
        listings: Semaphore::new(LISTINGS_MAX),
    };
    let state = Arc::new(state);
    let port = Port::new(listener, routes::router(state.clone()), settings);
    let (stop, stopped) = watch::channel(false);
    let (alive, ended) = channel::<()>();
    thread::Builder::new().name("admin".into()).spawn(move || {
        let serve = async {
            tokio::select! {
                result = port.serve(stopped) => result,
                never = state.pulse.beat() => match never {},
            }
        };
        if let Err(error) = runtime.block_on(serve) {
            error!(%error, "the admin port has ended");
        }
        // A post that waits in a full lane must not hold up the end.
        runtime.shutdown_background();
        drop(alive);
    })?;
    Ok(Admin { address, stop, ended })
}

/// Does what takes time on another thread, so that probes are answered meanwhile.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refusal> {
    spawn_blocking(work).await.map_err(|_| Refusal::NoAnswer)
}

impl Admin {
    /// Closes the port, lets requests that are under way finish, within bounds. False when the thread did not end.
    pub fn stop(self) -> bool {
        self.stop.send_replace(true);
        self.ended.recv_timeout(2 * STOP_GRACE) == Err(RecvTimeoutError::Disconnected)
    }
}

impl State {
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
