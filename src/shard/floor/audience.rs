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

/// Holds while nobody joins or leaves a channel. The default is nobody.
#[derive(Default)]
pub struct LeftOut {
    slots: SmallVec<[Slot; SLOTS_MAX + 1]>,
    /// Who is in it, when they are more.
    channel: Option<ChannelId>,
}

impl<'a> Audience<'a> {
    pub fn new(filter: Option<&'a Filter>, profiles: &'a Profiles, nearby: &'a Nearby, left_out: LeftOut) -> Self {
        Self { filter, profiles, nearby, left_out }
    }

    pub fn has(&self, slot: Slot, table: &Table, connections: &Slab<Connection>) -> bool {
        let LeftOut { slots, channel } = &self.left_out;
        let is_left_out = slots.contains(&slot) || channel.is_some_and(|channel| table.is_in(slot, channel));
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
        let mut left_out = Self::default();
        let (session, members) = match except {
            Except::Nobody => (None, None),
            Except::Session(id) => (Some(id), None),
            Except::User(hash) => (None, Some(hash)),
            Except::SessionAndMembers(id, hash) => (Some(id), Some(hash)),
        };
        left_out.slots.extend(session.filter(|id| state.is_current(*id, connections)).map(|id| id.slot));
        if let Some(channel) = members.and_then(|hash| state.table.find_by_hash(hash)) {
            let members = state.table.members_in(channel);
            if members.len() <= SLOTS_MAX {
                left_out.slots.extend(members);
            } else {
                left_out.channel = Some(channel);
            }
        }
        left_out
    }
}
