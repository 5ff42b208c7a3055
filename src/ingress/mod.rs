//! Sources: brokers from which messages reach the shards. Each has a thread of its own, decodes nothing but the
//! broker's envelope, and posts through the [`Bus`].
//!
//! [`start`] is called once, by [`crate::gateway`], when the shards run. A source that cannot reach its broker is no
//! reason to stop: it tries again for ever, and its [`SourceStatus`] says so to `/readyz` and `/metrics`.
//!
//! What may not live here: anything that looks into a payload.

mod backoff;
pub mod export;
pub mod redis;
pub mod status;

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::config::Config;
use crate::lane::Bus;

pub use status::{SourceState, SourceStatus};

/// How long [`Source::stop`] waits. A source that waits in a full lane for longer
/// (`server.lane_patience`) is left behind.
const STOP_DEADLINE: Duration = Duration::from_secs(2);

/// A running source.
pub struct Source {
    pub status: Arc<SourceStatus>,
    stop: oneshot::Sender<()>,
    /// Closed when the thread ends.
    ended: Receiver<Infallible>,
}

/// Starts every source that is configured.
///
/// # Errors
///
/// When a thread cannot be had, or the settings name no broker that could exist.
pub fn start(config: &Config, bus: &Bus) -> io::Result<Vec<Source>> {
    let redis = config.redis.url.as_ref().map(|url| redis::start(&config.redis, url, bus.clone()));
    redis.into_iter().collect()
}

impl Source {
    /// Runs `work` on a thread and a runtime of its own until the source is stopped.
    fn spawn<F>(status: Arc<SourceStatus>, work: impl FnOnce() -> F + Send + 'static) -> io::Result<Self>
    where
        F: Future<Output = Infallible>,
    {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (stop, stopped) = oneshot::channel();
        let (alive, ended) = channel::<Infallible>();
        thread::Builder::new().name(format!("ingress-{}", status.name())).spawn(move || {
            let until_stopped = async {
                tokio::select! {
                    biased;
                    _ = stopped => {}
                    never = work() => match never {},
                }
            };
            // Without tokio's budget of steps per poll, so that all that was read from the socket is passed on before
            // more is read: a full lane holds back the broker and not a queue in between.
            runtime.block_on(tokio::task::unconstrained(until_stopped));
            // A name that is just being resolved must not hold up the end.
            runtime.shutdown_background();
            drop(alive);
        })?;
        Ok(Self { status, stop, ended })
    }

    /// Ends the source. False when it did not end in time.
    pub fn stop(self) -> bool {
        let _ = self.stop.send(());
        self.ended.recv_timeout(STOP_DEADLINE) == Err(RecvTimeoutError::Disconnected)
    }
}
