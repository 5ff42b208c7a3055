//! One core: a thread that owns everything about its connections. For messages nothing in it is shared, locked or
//! atomic but the lane at its door, the interest and its counters; for clients that come there are also the limits of
//! the whole process ([`addresses`], [`quotas`]) and the ways to the other shards ([`transfer`]).
//!
//! The [`lobby`] accepts and upgrades (async, on monoio, ordinary descriptors); the [`floor`] serves what is open (a
//! completion loop on an io_uring of its own). [`run`] joins them. What may change where: bytes and sockets in [`io`],
//! life and death of a connection in [`connection`] and [`closing`], what a client may ask for in [`session`], how a
//! message reaches its subscribers in [`delivery`], who is let in and when in [`gate`] and [`admission`].

pub mod addresses;
mod admission;
pub mod bell;
mod closing;
pub mod connection;
mod cork;
mod delivery;
pub mod echo;
mod fan_out;
pub mod floor;
pub mod frame;
mod gate;
mod heads;
pub mod id;
mod inspection;
pub mod io;
mod lobby;
mod orders;
pub mod outbox;
mod pace;
pub mod profiles;
pub mod proxies;
pub mod quotas;
pub mod report;
pub mod rules;
pub mod run;
pub mod session;
pub mod transfer;
pub mod wheel;

pub use closing::{ABNORMAL, BY_PEER};

#[cfg(test)]
mod tests;
