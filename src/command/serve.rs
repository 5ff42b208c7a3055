//! `ringway serve`: what surrounds a running gateway. Log, limits of the host, signals; serves until SIGTERM or SIGINT,
//! then drains.

use std::convert::Infallible;
use std::io;
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;

use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::welcome;
use crate::config::{Config, Loaded};
use crate::control::Control;
use crate::gateway::Gateway;
use crate::host::doctor::{Wish, examine};
use crate::host::limits::{self, Size};
use crate::logging::{self, Log};

pub fn run(loaded: &Loaded) -> ExitCode {
    limits::keep_pages_small();
    let log = match logging::start(&loaded.config.log) {
        Ok(log) => log,
        Err(error) => {
            eprintln!("ringway: {error}");
            return ExitCode::FAILURE;
        }
    };
    loaded.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    loaded.notes.iter().for_each(|note| tracing::info!("{note}"));
    let code = match serve(loaded, &log) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    };
    log.flush();
    code
}

fn serve(loaded: &Loaded, log: &Log) -> io::Result<()> {
    let config = &loaded.config;
    let size = Size::decide(limits::raise_open_files(), config);
    tell_what_the_host_lacks(config);
    let control = Control::start()?;
    let gateway = Gateway::start(config, loaded.routes, &size, &control)?;
    let (public, admin, capacity) = (gateway.public, gateway.admin, size.shards * size.capacity.slots);
    tracing::info!(%public, %admin, shards = size.shards, capacity, "serving");
    if config.development {
        welcome::print(config, public, admin);
    }
    let (listeners, log) = (gateway.listeners().clone(), log.clone());
    wait_for_a_signal(move || {
        listeners.close();
        tracing::warn!("a second signal: ending without waiting for the connections");
        log.flush();
        std::process::exit(1)
    })?;
    tracing::info!(over = ?config.server.drain, "draining");
    let all_well = gateway.drain(&control, config.server.drain);
    if !all_well {
        return Err(io::Error::other("a shard has failed"));
    }
    tracing::info!("drained");
    Ok(())
}

fn tell_what_the_host_lacks(config: &Config) {
    let connections = Some(config.server.max_connections as u64).filter(|max| *max > 0);
    let report = examine(&Wish::of(config, connections));
    report.short().iter().for_each(|line| tracing::info!("{line}"));
}

/// Returns when the first signal comes. A second one calls `end_at_once`, whatever other threads do meanwhile: signals
/// are listened to on a thread that does nothing else.
fn wait_for_a_signal(end_at_once: impl FnOnce() -> Infallible + Send + 'static) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    let inside = runtime.enter();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    drop(inside);
    let (waiting, first) = mpsc::channel::<Infallible>();
    thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(either(&mut terminate, &mut interrupt));
        drop(waiting);
        runtime.block_on(either(&mut terminate, &mut interrupt));
        end_at_once()
    })?;
    let _ = first.recv();
    Ok(())
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
