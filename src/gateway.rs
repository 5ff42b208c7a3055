//! The running gateway: listeners, shards, sources and the admin port, put together, and taken apart in order.
//!
//! ```text
//!  bind ──► services, issuer ──► shards ──► upkeep ──► sources ──► admin port ──► …
//!  ──► drain the shards ──► send the last events and messages ──► stop the control side ──► close
//! ```

mod rules;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;
use tracing::warn;

use crate::channel::Presence;
use crate::clock::{Now, ticks};
use crate::config::{Config, Limits, Server};
use crate::control::Control;
use crate::host::limits::Size;
use crate::host::listeners::{self, Inherited, Listeners};
use crate::host::pinning::{Cores, Pinning};
use crate::ingress::Inlet;
use crate::lane::events::Teller;
use crate::lane::{Bus, Command, LaneEnd};
use crate::metrics::Counters;
use crate::route::Routes;
use crate::service::ServiceStatus;
use crate::service::events::{End, Telling};
use crate::shard::io::{Capacity, Chosen};
use crate::shard::lobby::addresses::Addresses;
use crate::shard::lobby::shared::Shared;
use crate::shard::lobby::transfer::Transfers;
use crate::shard::quotas::Quotas;
use crate::shard::rules::Rules;
use crate::shard::run::{self, Shard};
use crate::shard::seats::{Seats, Sessions};
use crate::shard::verification::{Verification, Verified};
use crate::{admin, authorize, ingress, issuer, service, upkeep};

/// How long the last events may take on their way to their service when the shards have ended.
const EVENTS_DEADLINE: Duration = Duration::from_secs(2);

/// The same for what clients have said, and how often it is looked whether it is there.
const CALLS_DEADLINE: Duration = Duration::from_secs(2);
const CALLS_LOOK: Duration = Duration::from_millis(10);

pub struct Gateway {
    /// Where clients connect.
    pub public: SocketAddr,
    /// Where the admin port listens.
    pub admin: SocketAddr,
    listeners: Arc<Listeners>,
    bus: Bus,
    shards: Vec<JoinHandle<()>>,
    draining: Arc<AtomicBool>,
    backends: Vec<Arc<ServiceStatus>>,
    events: End,
}

impl Gateway {
    /// Binds everything and serves from now on.
    ///
    /// # Errors
    ///
    /// When a port, a thread or a ring cannot be had. What was started ends with the process.
    pub fn start(config: &Config, routes: &'static Routes, size: &Size, control: &Control) -> io::Result<Self> {
        #[cfg(feature = "tls")]
        crate::broker::tls::install();
        let policies = rules::policies(&config.channels);
        let batch_delay_min_us = policies.batch_delay_min_us();
        // Both ports before anything runs: what ends here has nothing to stop, and says nothing but why.
        let listeners = Listeners::bind(config.server.listen, inherited(&config.server), size.shards)?;
        let admin_listener = listeners::bind_admin(config.admin.listen)?;
        let counters: Arc<[Arc<Counters>]> = (0..size.shards).map(|_| Arc::default()).collect();
        let (bus, lane_ends) = Bus::open(size.shards, Arc::default(), policies, config.server.lane_patience)?;
        let mut services = service::start(config, size.shards, &bus, control)?;
        let (authorizer, decisions) = authorize::start(config, &mut services, &bus, control)?.unzip();
        let told = config.events.service.as_ref().and_then(|name| services.queue(name));
        let issuer = issuer::start(&config.auth, waiting_for_keys_max(size), control)?;
        let issued_keys = issuer.as_ref().map(|issuer| issuer.keys.clone());
        let outside = rules::Outside { services: services.services, authorizer, issued_keys };
        let rules = Arc::new(rules::rules(config, routes, outside, size.handshakes_max, batch_delay_min_us));
        let notifications = rules::notifications(&config.notifications);
        let inlet = Inlet { bus: bus.clone(), notifications: notifications.clone() };
        let shares = listeners.share()?;
        let presence = Arc::new(Presence::new(rules::presence(config)));
        let finder = issuer.as_ref().map(|issuer| &issuer.finder);
        let bells = lane_ends.iter().map(|end| end.bell.clone());
        let (verification, verified) = Verification::start(&rules.verifier, finder, bells)?;
        let common = Common {
            rules: &rules,
            counters: &counters,
            inlet: &inlet,
            presence: &presence,
            verification: &verification,
        };
        let Telling { tellers, status: events, end } =
            service::events::start(config, told, size.shards, &rules.session_key, control)?;
        let ends = lane_ends.into_iter().zip(tellers).zip(verified);
        let ends = ends.map(|((lane, events), verified)| (lane, events, verified)).collect();
        let shards = start_shards(config, size.capacity, shares, ends, &common)?;
        let presence_updates = upkeep::presence::start(&presence, &bus, control)?;
        if config.notifications.keep {
            upkeep::notifications::start(bus.clone(), notifications.clone(), control)?;
        }
        let sources = ingress::start(config, &inlet, control)?;
        let draining = Arc::<AtomicBool>::default();
        let public = listeners.address()?;
        let backends = services.statuses;
        let context = admin::Context {
            inlet,
            counters,
            server_id: config.server.id.clone(),
            started: Now::read(),
            sources,
            presence,
            presence_updates,
            tasks: control.tasks().clone(),
            revocations: rules.verifier.revocations().clone(),
            issuer: issuer.map(|issuer| issuer.status),
            verification,
            services: rules.services.clone(),
            backends: backends.clone(),
            decisions,
            events,
            session_key: rules.session_key.clone(),
            public: rules::for_the_test_client(config, routes, public),
            draining: draining.clone(),
        };
        let admin = admin::start(&config.admin, admin_listener, context, control)?;
        let listeners = Arc::new(listeners);
        Ok(Self { public, admin, listeners, bus, shards, draining, backends, events: end })
    }

    /// For who ends the process without draining: these must be closed then, too.
    pub fn listeners(&self) -> &Arc<Listeners> {
        &self.listeners
    }

    /// Closes all connections, spread over this time, then everything else. False when a shard has failed.
    pub fn drain(self, control: &Control, over: Duration) -> bool {
        self.draining.store(true, Ordering::Relaxed);
        // Every lane keeps room for it.
        self.bus.to_all(|| Command::Drain { over }).try_put();
        let failed = self.shards.into_iter().filter_map(|shard| shard.join().err()).count();
        // The services go on meanwhile.
        self.events.wait(EVENTS_DEADLINE);
        wait_for_calls(&self.backends);
        control.stop();
        self.listeners.close();
        failed == 0
    }
}

/// Until services have what clients have said, or that takes too long.
fn wait_for_calls(services: &[Arc<ServiceStatus>]) {
    let until = Instant::now() + CALLS_DEADLINE;
    while services.iter().any(|service| service.waiting() > 0) && Instant::now() < until {
        thread::sleep(CALLS_LOOK);
    }
    for service in services.iter().filter(|service| service.waiting() > 0) {
        warn!(service = service.name(), waiting = service.waiting(), "calls are left behind");
    }
}

fn inherited(server: &Server) -> Inherited {
    let Server { backlog, unsent_bytes, tcp_user_timeout, .. } = *server;
    Inherited { backlog, unsent_bytes, user_timeout: tcp_user_timeout }
}

/// What all shards have in common.
struct Common<'a> {
    rules: &'a Arc<Rules>,
    counters: &'a Arc<[Arc<Counters>]>,
    inlet: &'a Inlet,
    presence: &'a Arc<Presence>,
    verification: &'a Verification,
}

fn start_shards(
    config: &Config,
    capacity: Capacity,
    listeners: Vec<TcpListener>,
    ends: Vec<(LaneEnd, Teller, Receiver<Verified>)>,
    common: &Common<'_>,
) -> io::Result<Vec<JoinHandle<()>>> {
    let draw = fastrand::usize(..);
    let pinning = Pinning::decide(&config.server.pin, &Cores::here(), ends.len(), draw);
    let pinning = pinning.map_err(|error| io::Error::other(format!("server.pin: {error}")))?;
    pinning.tell();
    let (transfers, arriving) = Transfers::new(ends.iter().map(|(lane, ..)| lane.bell.clone()));
    let limits = &config.limits;
    let shared = Arc::new(Shared {
        rules: common.rules.clone(),
        counters: common.counters.clone(),
        bus: common.inlet.bus.clone(),
        presence: common.presence.clone(),
        notifications: common.inlet.notifications.clone(),
        grid_use: Arc::default(),
        addresses: Addresses::new(limits.connects_per_address, ticks(limits.connects_window)),
        quotas: quotas(limits, common.rules.sessions),
        seats: Arc::new(Seats::new(common.rules.sessions, ends.iter().map(|(lane, ..)| lane.bell.clone()))),
        transfers,
        verification: common.verification.clone(),
        capacity,
    });
    let ends = listeners.into_iter().zip(ends).zip(arriving).enumerate();
    let shards = ends.map(|(index, ((listener, (lane, events, verified)), arriving))| Shard {
        index,
        core: pinning.core_of(index),
        listener,
        lane,
        events,
        arriving,
        verified,
        shared: shared.clone(),
    });
    shards.map(run::start::<Chosen>).collect()
}

/// Tokens that may wait for their key while the issuer is asked: each keeps a handshake's place, so that they are no
/// more than a part of those that one shard has.
fn waiting_for_keys_max(size: &Size) -> usize {
    (size.handshakes_max / 4).clamp(1, 256)
}

/// A user who has one connection needs no other limit: it would keep the newest out.
fn quotas(limits: &Limits, sessions: Sessions) -> Quotas {
    let connections_per_user = if sessions == Sessions::Single { 0 } else { limits.connections_per_user };
    Quotas::new(limits.connections_per_address, connections_per_user)
}
