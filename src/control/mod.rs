//! Everything that is neither a shard nor the command line runs here: the admin port, the watchdog, the sources. One
//! way to start it, to stop it within a deadline, to try again, and to tell when it has failed.
//!
//! ```text
//!  Control::run ────────► one thread, one runtime: what never blocks
//!  Control::run_apart ──► a thread and a runtime of its own: what may block it, or keeps it busy
//!  Control::stop ───────► all of them are told at once, and have two seconds
//! ```
//!
//! A [task](Tasks) has a name, and ends when it is told to. One that ends otherwise is a defect: it is logged, counted,
//! and makes the node not ready.

mod export;
mod link;
mod retry;
mod runtime;
mod tasks;

pub use export::Failures;
pub use link::{Link, LinkState, LinkStatus};
pub use retry::Backoff;
pub use runtime::Control;
pub use tasks::Tasks;
pub use tokio_util::sync::CancellationToken as Stop;
