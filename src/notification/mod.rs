//! What was sent to a user and has yet to be confirmed: a message of the type `notification` with an `id`, published to
//! the user's channel, is kept until one of the user's devices says `notification_ack`.
//!
//! ```text
//!  publication to user:{id} ──► recognise ──► keep ──► pending ──► confirm ──────► confirmed ──┐
//!                                                  │    │   ▲ └──── its time is over ► expired ──┼─► forgotten
//!                           due ◄── the upkeep ◄───┘    ▼   │ └──── no room ─────────► dropped ──┘
//!                       arrived ◄── a session that begins ──┘
//! ```
//!
//! Sans-IO: the time comes as an argument, who publishes again is told what ([`Notifications::due`]). In memory alone:
//! a notification is delivered at least once within the life of one process, and of what a process had nothing is left
//! when it has ended.
//!
//! Shared by the sources and the admin port (they keep), the shards (they confirm, and ask what waits for who has
//! arrived), and the task that repeats. What may not live here: channels, connections, HTTP.

mod bounds;
mod export;
mod fate;
mod kept;
mod recognise;
mod stripe;
mod tally;

pub use bounds::Bounds;
pub use export::Export;
pub use fate::Fate;
pub use kept::{Due, Kept, Notifications};
pub use recognise::{Recognised, recognise};
pub use stripe::Told;

#[cfg(test)]
mod tests;
