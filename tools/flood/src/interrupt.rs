//! Notices SIGINT and SIGTERM, so that a run that is broken off stops what it has started.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use tokio::signal::unix::{SignalKind, signal};

use crate::limits::Trouble;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// From now on the signals are noticed instead of ending the process.
pub fn watch() -> Result<(), Trouble> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        INTERRUPTED.store(true, Relaxed);
    })?;
    Ok(())
}

/// Whether a signal has come.
pub fn came() -> bool {
    INTERRUPTED.load(Relaxed)
}
