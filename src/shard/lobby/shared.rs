//! What the shards of a process have in common: the immutable rules, what clients are counted by before they are let
//! in, the ways from lobby to lobby and into the lanes, who is online where, where circles are, and everybody's
//! counters, of which each shard writes its own.

use std::sync::Arc;

use crate::channel::Presence;
use crate::geo::GridUse;
use crate::lane::Bus;
use crate::metrics::Counters;
use crate::notification::Notifications;
use crate::shard::io::Capacity;
use crate::shard::lobby::addresses::Addresses;
use crate::shard::lobby::transfer::Transfers;
use crate::shard::quotas::Quotas;
use crate::shard::rules::Rules;
use crate::shard::seats::Seats;
use crate::shard::verification::Verification;

pub struct Shared {
    pub rules: Arc<Rules>,
    pub counters: Arc<[Arc<Counters>]>,
    pub bus: Bus,
    pub presence: Arc<Presence>,
    pub notifications: Notifications,
    pub grid_use: Arc<GridUse>,
    pub addresses: Addresses,
    pub quotas: Quotas,
    pub seats: Arc<Seats>,
    pub transfers: Transfers,
    pub verification: Verification,
    /// Of each shard.
    pub capacity: Capacity,
}

impl Shared {
    /// Connections of the whole process.
    pub fn open_connections(&self) -> u64 {
        self.counters.iter().map(|c| c.connections.get() as u64).sum()
    }

    /// Whether the process takes no more connections.
    pub fn is_full(&self) -> bool {
        self.open_connections() >= self.rules.connections_max as u64
    }

    /// Whether the process takes no more clients without a token.
    pub fn is_full_of_strangers(&self) -> bool {
        let max = self.rules.lobby.unauthenticated_max as u64;
        max > 0 && self.counters.iter().map(|c| c.unauthenticated.get() as u64).sum::<u64>() >= max
    }

    /// The shard beside this one that has the fewest connections, if it takes one more.
    pub fn roomiest_beside(&self, shard: usize) -> Option<usize> {
        let open = |shard: &usize| self.counters[*shard].connections.get() as usize;
        let others = (0..self.counters.len()).filter(|other| *other != shard);
        others.min_by_key(open).filter(|other| open(other) < self.capacity.slots)
    }
}
