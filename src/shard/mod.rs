//! One core: a thread that owns everything about its connections. To deliver a message it touches nothing that is
//! shared, locked or atomic but the lane at its door and the counters that only it writes. What the shards have in
//! common beyond that is touched when a client comes, joins, goes or says something of its own, and is listed in
//! [`lobby::shared`].
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
