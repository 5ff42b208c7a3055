//! The way into the shards: one lane per shard, the bell that wakes it, what travels in lanes, and the bus that fills
//! them. And the ways out of them: to the services that messages of clients are for, and for what they tell of their
//! connections.
//!
//! Knows no shard: shards take from here, everybody else puts in.

pub mod authorization;
pub mod bell;
pub mod bus;
pub mod call;
pub mod command;
pub mod events;
mod export;
pub mod frame;
mod id;
mod query;
pub mod queue;
pub mod report;
pub mod services;

pub use authorization::{Authorizer, Permission, Question, Verdict};
pub use bus::{Bus, Outcome, Posting};
pub use call::{Call, Content, Device, Failure, Fate, Part, Response, Service, Ticket};
pub use command::{Addressed, Command, Draft, Except, Filter, Near, Posted, Publication};
pub use export::{Lanes, ServicesPage};
pub use frame::Channel;
pub use id::ConnectionId;
pub use query::{Answer, Query};
pub use queue::{Lane, LaneEnd};
pub use services::{Remote, ServiceId, Services, Totals};

#[cfg(test)]
mod tests;
