//! `ringway serve`: what surrounds a running gateway. Log, limits of the host, signals; serves until SIGTERM or SIGINT,
//! then drains.

use std::convert::Infallible;
use std::io;
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::welcome;
use crate::config::{Config, Loaded};
use crate::control::Control;
use crate::gateway::Gateway;
use crate::host::doctor::{Wish, examine};
use crate::host::limits::{self, Size};
use crate::logging;

/// How long the end of the process waits for its last line in the log.
const LAST_WORDS: Duration = Duration::from_millis(100);

pub fn run(loaded: &Loaded) -> ExitCode {
    limits::keep_pages_small();
    logging::start(&loaded.config.log);
    loaded.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    loaded.notes.iter().for_each(|note| tracing::info!("{note}"));
    match serve(&loaded.config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(config: &Config) -> io::Result<()> {
    let size = Size::decide(limits::raise_open_files(), config);
    tell_what_the_host_lacks(config);
    let control = Control::start()?;
    let gateway = Gateway::start(config, &size, &control)?;
    let (public, admin, capacity) = (gateway.public, gateway.admin, size.shards * size.capacity.slots);
    tracing::info!(%public, %admin, shards = size.shards, capacity, "serving");
    if config.development {
        welcome::print(config, public, admin);
    }
    let listeners = gateway.listeners().clone();
    wait_for_a_signal(&control, move || listeners.close())?;
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

/// Returns when the first signal comes. A second one calls `leave` and ends the process, whatever this thread does
/// meanwhile.
fn wait_for_a_signal(control: &Control, leave: impl Fn() + Send + 'static) -> io::Result<()> {
    let inside = control.shared().enter();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    drop(inside);
    let (waiting, first) = mpsc::channel::<Infallible>();
    control.shared().spawn(async move {
        either(&mut terminate, &mut interrupt).await;
        drop(waiting);
        either(&mut terminate, &mut interrupt).await;
        leave();
        end_at_once();
    });
    let _ = first.recv();
    Ok(())
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
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
