//! Questions whose answer needs a look at every channel, or at many connections: a piece in each turn, so that a shard
//! with a million channels serves its clients meanwhile. One question after the other; they are asked by the admin
//! port, which bounds how many there are.
//!
//! What is listed is what was there when it was looked at: no moment of the whole.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use crate::channel::{Table, name};
use crate::clock::TICK_MS;
use crate::lane::Answer;

use crate::lane::report::{ChannelCount, ChannelList, ConnectionInfo};
use crate::shard::connection::Phase;
use crate::shard::floor::Floor;
use crate::shard::id::ConnectionId;
use crate::shard::io::{Io, Slot};

/// Places of the table looked at in one turn: a tenth of a microsecond each where there is a channel, nearly nothing
/// where there is none.
const CHANNELS_PER_TURN: usize = 1024;

/// Connections described in one turn: some microseconds each with all their channels.
const CONNECTIONS_PER_TURN: usize = 32;

/// Slots looked at for them, most of which may be empty.
const SLOTS_PER_TURN: usize = 4096;

#[derive(Default)]
pub struct Inspections(VecDeque<Inspection>);

pub enum Inspection {
    Channels(ChannelSearch),
    Connections(ConnectionSearch),
}

/// The largest channels whose names begin alike.
pub struct ChannelSearch {
    prefix: Arc<str>,
    limit: usize,
    next: usize,
    total: usize,
    /// The smallest of those kept lies on top; of the same size, the last by name.
    kept: BinaryHeap<Reverse<(usize, Reverse<Box<str>>)>>,
    answer: Answer<ChannelList>,
}

/// Connections in the order of their slots.
pub struct ConnectionSearch {
    whose: Whose,
    limit: usize,
    found: Vec<ConnectionInfo>,
    answer: Answer<Vec<ConnectionInfo>>,
}

enum Whose {
    Everybodys {
        next: Slot,
    },
    /// Those that the user had when the question came.
    Users {
        channel: Box<str>,
        slots: Vec<Slot>,
    },
}

impl Inspections {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn add(&mut self, inspection: Inspection) {
        self.0.push_back(inspection);
    }
}

impl ChannelSearch {
    pub fn new(prefix: Arc<str>, limit: usize, answer: Answer<ChannelList>) -> Self {
        Self { prefix, limit, next: 0, total: 0, kept: BinaryHeap::new(), answer }
    }

    /// Looks at the next places; true when that was all.
    fn go_on(&mut self, table: &Table) -> bool {
        let end = self.next + CHANNELS_PER_TURN;
        for (name, subscribers) in table.channels_at(self.next..end) {
            if name.starts_with(&*self.prefix) {
                self.total += 1;
                self.consider(name, subscribers);
            }
        }
        self.next = end;
        end >= table.places()
    }

    /// Copies a name only when it is among the largest so far.
    fn consider(&mut self, name: &str, subscribers: usize) {
        if self.kept.len() >= self.limit {
            let Some(Reverse((smallest, Reverse(last)))) = self.kept.peek() else { return };
            if (subscribers, Reverse(name)) <= (*smallest, Reverse(&**last)) {
                return;
            }
            self.kept.pop();
        }
        self.kept.push(Reverse((subscribers, Reverse(name.into()))));
    }

    fn tell(self) {
        let kept = self.kept.into_iter();
        let largest = kept.map(|Reverse((subscribers, Reverse(name)))| ChannelCount { name, subscribers }).collect();
        (self.answer)(ChannelList { total: self.total, largest });
    }
}

impl<I: Io> Floor<I> {
    pub(in crate::shard) fn search_channels(&mut self, prefix: Arc<str>, limit: usize, answer: Answer<ChannelList>) {
        self.inspections.add(Inspection::Channels(ChannelSearch::new(prefix, limit, answer)));
    }

    pub(in crate::shard) fn search_connections(
        &mut self,
        limit: usize,
        user: Option<&str>,
        answer: Answer<Vec<ConnectionInfo>>,
    ) {
        let whose = match user {
            Some(user) => {
                let channel = format!("{}{user}", name::USER_PREFIX).into_boxed_str();
                let slots = self.state.table.members_of(&channel).take(limit).collect();
                Whose::Users { channel, slots }
            }
            None => Whose::Everybodys { next: 0 },
        };
        let search = ConnectionSearch { whose, limit, found: Vec::new(), answer };
        self.inspections.add(Inspection::Connections(search));
    }

    /// Takes the oldest question a piece further. False when there is none.
    pub(in crate::shard) fn inspect(&mut self) -> bool {
        let Some(mut inspection) = self.inspections.0.pop_front() else { return false };
        let is_done = match &mut inspection {
            Inspection::Channels(search) => search.go_on(&self.state.table),
            Inspection::Connections(search) => self.go_on_describing(search),
        };
        match inspection {
            more if !is_done => self.inspections.0.push_front(more),
            Inspection::Channels(search) => search.tell(),
            Inspection::Connections(search) => (search.answer)(search.found),
        }
        true
    }

    /// Describes the next connections; true when those were all.
    fn go_on_describing(&self, search: &mut ConnectionSearch) -> bool {
        let ConnectionSearch { whose, limit, found, .. } = search;
        let enough = (found.len() + CONNECTIONS_PER_TURN).min(*limit);
        match whose {
            Whose::Everybodys { next } => {
                let end = (*next + SLOTS_PER_TURN as Slot).min(self.slots_used);
                while *next < end && found.len() < enough {
                    found.extend(self.wire.connections.contains(*next as usize).then(|| self.describe_one(*next)));
                    *next += 1;
                }
                *next >= self.slots_used || found.len() >= *limit
            }
            Whose::Users { channel, slots } => {
                while found.len() < enough
                    && let Some(slot) = slots.pop()
                {
                    found.extend(self.is_of(slot, channel).then(|| self.describe_one(slot)));
                }
                slots.is_empty() || found.len() >= *limit
            }
        }
    }

    fn describe_one(&self, slot: Slot) -> ConnectionInfo {
        let (connection, state) = (&self.wire.connections[slot as usize], &self.state);
        let id = ConnectionId { shard: state.shard as u16, slot, generation: connection.generation };
        let open = connection.phase == Phase::Open;
        let user_channel = open.then(|| state.table.name(connection.user_channel));
        let age_s = u64::from(state.now.tick() - connection.connected_at) * u64::from(TICK_MS) / 1000;
        ConnectionInfo {
            shard: state.shard,
            slot,
            session_id: state.rules.session_id(id).to_string(),
            user_id: user_channel.and_then(|name| name.strip_prefix(name::USER_PREFIX)).map(Into::into),
            user_type: state.profiles.user_type(connection.profile).map(Into::into),
            platform: state.profiles.platform(connection.profile).map(Into::into),
            device_id: connection.details.as_ref().and_then(|d| d.device_id.as_deref()).map(Into::into),
            connected_at: state.now.unix_s() - age_s,
            expires_at: open.then_some(connection.expires_at.into()),
            channels: state.table.channels_of(slot).map(Into::into).collect(),
            outbox_bytes: connection.outbox.as_ref().map_or(0, |o| o.bytes()),
        }
    }

    /// Whether the slot still has a session whose own channel this is.
    fn is_of(&self, slot: Slot, user_channel: &str) -> bool {
        let connection = self.wire.connections.get(slot as usize);
        connection.is_some_and(|c| c.phase == Phase::Open && self.state.table.name(c.user_channel) == user_channel)
    }
}
