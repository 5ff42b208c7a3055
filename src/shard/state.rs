//! What a shard owns beside its connections and its ring: the time, the rules, the subscriptions, what it counts.
//!
//! The floor holds it and lends it to the session that is served. Nobody else writes to it.

use std::sync::Arc;

use slab::Slab;

use crate::channel::table::ChannelId;
use crate::channel::typing::Stop;
use crate::channel::{Presence, Table, Typing, name};
use crate::clock::Now;
use crate::lane::events::Teller;
use crate::lane::{Bus, ConnectionId, Draft, Except};
use crate::metrics::{Counters, Latency};
use crate::notification::Notifications;

use crate::shard::calls::Calls;
use crate::shard::connection::Connection;
use crate::shard::io::Slot;
use crate::shard::nearby::Nearby;
use crate::shard::paused::Paused;
use crate::shard::pending::Pending;
use crate::shard::profiles::Profiles;
use crate::shard::quotas::Shares;
use crate::shard::rules::Rules;
use crate::shard::seats::Seats;
use crate::shard::verification::Verification;

pub struct ShardState {
    /// The shard's index.
    pub shard: usize,
    pub now: Now,
    /// The tick before which nobody is judged for being silent: the shard itself has just stood still.
    pub judge_from: u32,
    pub rules: Arc<Rules>,
    pub counters: Arc<Counters>,
    /// What this shard has timed, but for the deliveries, which the backend times.
    pub latency: Latency,
    pub table: Table,
    pub typing: Typing,
    pub profiles: Profiles,
    pub nearby: Nearby,
    /// Connections with a verified token.
    pub sessions: usize,
    pub shares: Shares,
    /// Of all shards.
    pub presence: Arc<Presence>,
    /// By which sessions speak to others.
    pub bus: Bus,
    pub seats: Arc<Seats>,
    /// Messages of clients that wait for services.
    pub calls: Calls,
    /// Messages of clients that wait until it is known what they may join.
    pub pending: Pending,
    /// By which it is told who comes and goes.
    pub events: Teller,
    /// Has tokens verified beside the shard.
    pub verification: Verification,
    /// Messages of clients whose tokens are.
    pub paused: Paused,
    /// What was sent to users and waits for their confirmation.
    pub notifications: Notifications,
    /// Open connections of the echo endpoint.
    pub echoes: usize,
    /// Kept to be filled anew by whoever writes a message.
    pub scratch: String,
}

impl ShardState {
    /// The id of this shard's connection in `slot`.
    pub fn id(&self, slot: Slot, connection: &Connection) -> ConnectionId {
        ConnectionId { shard: self.shard as u16, slot, generation: connection.generation }
    }

    /// Whether `id` still names one of this shard's `connections`.
    pub fn is_current(&self, id: ConnectionId, connections: &Slab<Connection>) -> bool {
        usize::from(id.shard) == self.shard
            && connections.get(id.slot as usize).is_some_and(|connection| connection.generation == id.generation)
    }

    /// The connection of a session ends, of which something was heard last at this tick: before it leaves its channels,
    /// its user's grace in the presence of each begins.
    pub fn begin_grace(&self, slot: Slot, user_channel: ChannelId, heard_at: u32) {
        if self.presence.is_on() {
            let user = name::user_of(self.table.name(user_channel));
            self.table.channels_of(slot).for_each(|channel| self.presence.vanish(channel, user, heard_at));
        }
    }

    /// Tells the others of a channel that somebody does not write there any more.
    pub fn tell(&self, stop: &Stop) {
        let except = stop.except_user.map_or(Except::Nobody, Except::User);
        // What a full lane loses it counts: nobody is left who could be told.
        self.bus.try_publish(Draft { except, ..Draft::new(&stop.channel, stop.frame.clone()) });
    }
}
