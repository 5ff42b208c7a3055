//! Which of a channel's members a publication is for: those whom its filter names, without those whom it leaves out.
//!
//! Made by [`super::delivery`] once for many recipients. A recipient costs a comparison or two; who is left out because
//! he is in a channel of many is found among his own subscriptions.

use slab::Slab;
use smallvec::SmallVec;

use crate::channel::Table;
use crate::channel::table::ChannelId;
use crate::lane::{Except, Filter};
use crate::shard::connection::Connection;
use crate::shard::io::Slot;
use crate::shard::nearby::Nearby;
use crate::shard::profiles::Profiles;
use crate::shard::state::ShardState;

/// So many that are left out are known by their slots: a user's devices.
const SLOTS_MAX: usize = 4;

pub struct Audience<'a> {
    filter: Option<&'a Filter>,
    profiles: &'a Profiles,
    nearby: &'a Nearby,
    left_out: LeftOut,
}

/// Holds while nobody joins or leaves a channel.
pub enum LeftOut {
    Nobody,
    Slots(SmallVec<[Slot; SLOTS_MAX]>),
    In(ChannelId),
}

impl<'a> Audience<'a> {
    pub fn new(filter: Option<&'a Filter>, profiles: &'a Profiles, nearby: &'a Nearby, left_out: LeftOut) -> Self {
        Self { filter, profiles, nearby, left_out }
    }

    pub fn has(&self, slot: Slot, table: &Table, connections: &Slab<Connection>) -> bool {
        let is_left_out = match &self.left_out {
            LeftOut::Nobody => false,
            LeftOut::Slots(slots) => slots.contains(&slot),
            LeftOut::In(channel) => table.is_in(slot, *channel),
        };
        let is_meant = |filter: &Filter| {
            filter.near.is_none_or(|place| self.nearby.sees(slot, &place))
                // Only this needs the connection: without it its cache line stays untouched.
                && (!filter.names_sessions() || self.profiles.matches(connections[slot as usize].profile, filter))
        };
        !is_left_out && self.filter.is_none_or(is_meant)
    }
}

impl LeftOut {
    pub fn find(except: Except, state: &ShardState, connections: &Slab<Connection>) -> Self {
        match except {
            Except::Nobody => Self::Nobody,
            Except::Session(id) if state.is_current(id, connections) => Self::Slots(SmallVec::from_slice(&[id.slot])),
            Except::Session(_) => Self::Nobody,
            Except::User(hash) | Except::Members(hash) => Self::find_members(hash, &state.table),
        }
    }

    fn find_members(hash: u64, table: &Table) -> Self {
        let Some(channel) = table.find_by_hash(hash) else { return Self::Nobody };
        let members = table.members_in(channel);
        if members.len() <= SLOTS_MAX { Self::Slots(members.collect()) } else { Self::In(channel) }
    }
}
