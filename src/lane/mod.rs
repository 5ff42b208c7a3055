//! The way into the shards: one lane per shard, the bell that wakes it, what travels in lanes, and the bus that fills
//! them.
//!
//! Knows no shard: shards take from here, everybody else puts in.

pub mod bell;
pub mod bus;
pub mod command;
mod export;
pub mod frame;
mod id;
mod query;
pub mod queue;
pub mod report;

pub use bus::{Bus, Outcome, Posting};
pub use command::{Addressed, Command, Draft, Except, Filter, Posted, Publication};
pub use export::Lanes;
pub use frame::Channel;
pub use id::ConnectionId;
pub use query::{Answer, Query};
pub use queue::{Lane, LaneEnd};

#[cfg(test)]
mod tests;
