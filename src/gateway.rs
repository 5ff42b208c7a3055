//! The running gateway: listeners, shards, sources and the admin port, put together, and taken apart in order.
//!
//! ```text
//!  bind everything ──► shards ──► sources ──► admin port ──► wait for a signal ──► drain shards ──► sources, admin port
//! ```

use std::convert::Infallible;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::auth::{Origins, Verifier, VerifierSettings};
use crate::channel::policy::Policy;
use crate::channel::{Interest, Policies};
use crate::clock::{Now, ticks};
use crate::command::welcome;
use crate::config::{ChannelRule, Config, Debug, Secret, Server, UserTypeFrom};
use crate::control::Control;
use crate::host::doctor::{self, Wish};
use crate::host::limits;
use crate::host::listeners::{Inherited, Listeners};
use crate::host::pinning::{Cores, Pinning};
use crate::lane::{Bus, Command, LaneEnd};
use crate::metrics::Counters;
use crate::route::Routes;
use crate::shard::id::SessionKey;
use crate::shard::io::{Capacity, Chosen};
use crate::shard::lobby::addresses::Addresses;
use crate::shard::lobby::shared::Shared;
use crate::shard::lobby::transfer::Transfers;
use crate::shard::quotas::Quotas;
use crate::shard::rules::{Echo, LobbyRules, Rules};
use crate::shard::run::{self, Shard};
use crate::ws::handshake::proxies::Proxies;
use crate::{admin, ingress};

/// How long the end of the process waits for its last line in the log.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// Serves until SIGTERM or SIGINT, then drains. A second signal ends the process at once.
pub fn serve(config: &Config) -> io::Result<()> {
    let open_files = limits::raise_open_files();
    let shard_count = limits::shards(config.server.shards);
    let capacity = limits::capacity(open_files, shard_count, config.server.max_connections);
    tell_what_the_host_lacks(config, shard_count);

    let handshakes_max = limits::handshakes_per_shard(
        open_files,
        shard_count,
        capacity,
        config.admin.connections,
        config.limits.handshakes,
    );
    let policies = policies(&config.channels);
    let rules = Arc::new(rules(config, handshakes_max, policies.batch_delay_min_us()));
    let listeners = Listeners::bind(config.server.listen, inherited(&config.server), shard_count)?;
    let public = listeners.address()?;
    let interest = Arc::<Interest>::default();
    let counters: Arc<[Arc<Counters>]> = (0..shard_count).map(|_| Arc::default()).collect();
    let (bus, lane_ends) = Bus::open(shard_count, interest.clone(), policies, config.server.lane_patience)?;
    let shards = start_shards(config, capacity, listeners.share()?, lane_ends, &rules, &counters, &interest)?;
    let control = Control::start()?;
    let sources = ingress::start(config, &bus, &control)?;
    let draining = Arc::new(AtomicBool::new(false));
    let admin = admin::start(
        &config.admin,
        admin::Context {
            bus: bus.clone(),
            counters: counters.clone(),
            server_id: config.server.id.clone(),
            started: Now::read(),
            sources,
            tasks: control.tasks().clone(),
            revocations: rules.verifier.revocations().clone(),
            session_key: rules.session_key.clone(),
            draining: draining.clone(),
        },
        &control,
    )?;
    tracing::info!(%public, %admin, shards = shard_count, capacity = shard_count * capacity.slots, "serving");
    if config.development {
        welcome::print(config, public, admin);
    }

    let over = config.server.drain;
    let end = move || {
        tracing::info!(?over, "draining");
        draining.store(true, Ordering::Relaxed);
        // Every lane keeps room for it.
        bus.to_all(|| Command::Drain { over }).try_put();
        let all_well = shards.into_iter().all(|shard| shard.join().is_ok());
        control.stop();
        all_well
    };
    let all_well = wait_and(end, || listeners.close())?;
    drop(listeners);
    if !all_well {
        return Err(io::Error::other("a shard has failed"));
    }
    tracing::info!("drained");
    Ok(())
}

/// Waits for a signal, then for `end`. A second signal calls `leave` and ends the process, whatever `end` waits
/// for: it has a thread of its own.
fn wait_and(end: impl FnOnce() -> bool + Send + 'static, leave: impl Fn()) -> io::Result<bool> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        let ended = tokio::task::spawn_blocking(end);
        tokio::select! {
            ended = ended => return Ok(ended.unwrap_or(false)),
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        leave();
        end_at_once()
    })
}

/// Whoever reads the log may have stopped reading: it is written by a thread that nobody waits for but a moment.
fn end_at_once() -> ! {
    let (done, written) = mpsc::channel::<Infallible>();
    thread::spawn(move || {
        tracing::warn!("a second signal: ending without waiting for the connections");
        drop(done);
    });
    let _ = written.recv_timeout(LAST_WORDS);
    std::process::exit(1)
}

fn inherited(server: &Server) -> Inherited {
    let Server { backlog, unsent_bytes, tcp_user_timeout, .. } = *server;
    Inherited { backlog, unsent_bytes, user_timeout: tcp_user_timeout }
}

fn tell_what_the_host_lacks(config: &Config, shards: usize) {
    let connections = Some(config.server.max_connections as u64).filter(|n| *n > 0);
    let report = doctor::examine(&Wish {
        connections,
        connections_max: config.server.max_connections,
        shards,
        listen: config.server.listen,
    });
    report.short().iter().for_each(|line| tracing::info!("{line}"));
}

fn rules(config: &Config, handshakes_max: usize, batch_delay_min_us: u32) -> Rules {
    let (auth, limits, heartbeat) = (&config.auth, &config.limits, &config.heartbeat);
    let verifier = Verifier::new(&VerifierSettings {
        secrets: auth.secrets().map(|secret| Secret::expose(secret).to_owned()).collect(),
        audience: auth.audience.clone(),
        issuer: auth.issuer.clone(),
        leeway_s: auth.leeway.as_secs(),
    });
    let server = &config.server;
    Rules {
        routes: Routes::shipped(),
        verifier,
        origins: Origins::new(auth.origins.clone()),
        roles: auth.roles.clone(),
        user_type_from_query: auth.user_type == UserTypeFrom::Query,
        default_grants: auth.channels.clone(),
        path: config.server.path.clone(),
        echo: echo(config),
        server_id: config.server.id.clone(),
        session_key: SessionKey::default(),
        connections_max: Some(config.server.max_connections).filter(|n| *n > 0).unwrap_or(usize::MAX),
        message_bytes_max: limits.message_bytes,
        outbox_bytes_max: limits.outbox_bytes,
        channels_per_connection_max: limits.channels_per_connection,
        channel_name_bytes_max: limits.channel_name_bytes,
        messages_max: limits.messages,
        message_window_ticks: ticks(limits.messages_window),
        frames_max: limits.frames,
        message_deadline_ticks: ticks(limits.message_deadline),
        heartbeat_ms: heartbeat.interval.as_millis() as u64,
        heartbeat_ticks: ticks(heartbeat.interval),
        idle_ticks: ticks(heartbeat.idle_timeout),
        auth_deadline_ticks: ticks(auth.deadline),
        close_deadline_ticks: ticks(limits.close_deadline),
        expiry_warning_s: auth.expiry_warning.as_secs(),
        batch_delay_min_us,
        lobby: LobbyRules {
            handshake_deadline: limits.handshake_deadline,
            first_byte_deadline: limits.first_byte_deadline.min(limits.handshake_deadline),
            handshakes_max,
            handshakes_of_address_max: limits.handshakes_per_address,
            unauthenticated_max: limits.unauthenticated,
            proxies: Proxies::new(server.trusted_proxies.clone(), server.forwarded_header, server.proxy_protocol),
        },
    }
}

fn policies(rules: &[ChannelRule]) -> Policies {
    let policy = |rule: &ChannelRule| Policy { batch_delay_us: rule.batch_delay.as_micros() as u32 };
    Policies::new(rules.iter().map(|rule| (rule.pattern.clone(), policy(rule))))
}

fn echo(config: &Config) -> Option<Echo> {
    let Debug { echo_path, echo_message_bytes } = &config.debug;
    echo_path.clone().map(|path| Echo { path, message_bytes_max: *echo_message_bytes })
}

fn start_shards(
    config: &Config,
    capacity: Capacity,
    listeners: Vec<TcpListener>,
    lane_ends: Vec<LaneEnd>,
    rules: &Arc<Rules>,
    counters: &Arc<[Arc<Counters>]>,
    interest: &Arc<Interest>,
) -> io::Result<Vec<JoinHandle<()>>> {
    let draw = RandomState::new().hash_one(std::process::id()) as usize;
    let pinning = Pinning::decide(&config.server.pin, &Cores::here(), listeners.len(), draw);
    let pinning = pinning.map_err(|error| io::Error::other(format!("server.pin: {error}")))?;
    pinning.tell();
    let (transfers, arriving) = Transfers::new(lane_ends.iter().map(|end| end.bell.clone()));
    let limits = &config.limits;
    let shared = Arc::new(Shared {
        rules: rules.clone(),
        counters: counters.clone(),
        interest: interest.clone(),
        addresses: Addresses::new(limits.connects_per_address, ticks(limits.connects_window)),
        quotas: Quotas::new(limits.connections_per_address, limits.connections_per_user),
        transfers,
        capacity,
    });
    let ends = listeners.into_iter().zip(lane_ends).zip(arriving).enumerate();
    let shards = ends.map(|(index, ((listener, lane), arriving))| Shard {
        index,
        core: pinning.core_of(index),
        listener,
        lane,
        arriving,
        shared: shared.clone(),
    });
    shards.map(|shard| run::start::<Chosen>(shard).map_err(explain)).collect()
}

/// A ring that is refused deserves more than an errno.
fn explain(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::ENOSYS | libc::EACCES) => io::Error::new(
            error.kind(),
            format!("io_uring is refused here ({error}); `ringway doctor` says by what, and how to allow it"),
        ),
        _ => error,
    }
}
