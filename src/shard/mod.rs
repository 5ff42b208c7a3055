//! One core: a thread that owns everything about its connections. For messages nothing in it is shared, locked or
//! atomic but the lane at its door, the interest and its counters; for clients that come there are also the limits of
//! the whole process and the ways to the other shards ([`lobby::shared`]).
//!
//! The [`lobby`] accepts and upgrades (async, on monoio, ordinary descriptors); the [`floor`] serves what is open (a
//! completion loop). [`run`] joins them on a backend ([`io::Backend`]) that whoever starts a shard chooses. What may
//! change where: bytes and sockets in [`io`], what is remembered of a connection in [`connection`], how frames leave
//! and connections end in [`floor`], what a client may ask for in [`session`], who is let in and when in [`lobby`].

pub mod calls;
pub mod connection;
pub mod floor;
pub mod id;
pub mod io;
pub mod lobby;
pub mod nearby;
pub mod paused;
pub mod pending;
pub mod profiles;
pub mod quotas;
pub mod rules;
pub mod run;
pub mod seats;
pub mod session;
pub mod state;
pub mod verification;

#[cfg(test)]
mod tests;
