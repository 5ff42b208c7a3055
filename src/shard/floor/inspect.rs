//! What a shard answers when it is asked. One question after the other, and in each turn a piece of one: the answer of
//! some needs a look at every channel, or at many connections, and a shard with a million of them serves its clients
//! meanwhile. They are asked by the admin port, which bounds how many there are.
//!
//! What is listed is what was there when it was looked at: no moment of the whole.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;

use crate::channel::{Table, name};
use crate::clock::TICK_MS;
use crate::lane::report::{ChannelCount, ChannelList, ConnectionInfo, ShardLatency, TypeCount};
use crate::lane::{Answer, Query};
use crate::shard::floor::Floor;
use crate::shard::io::{Io, Slot};
use crate::shard::profiles::Profiles;

/// Places of the table looked at in one turn: a tenth of a microsecond each where there is a channel, nearly nothing
/// where there is none.
const CHANNELS_PER_TURN: usize = 1024;

/// Connections described in one turn: some microseconds each with all their channels.
const CONNECTIONS_PER_TURN: usize = 32;

/// Slots looked at for them, most of which may be empty.
const SLOTS_PER_TURN: usize = 4096;

/// Profiles looked at in one turn, each of which may have a type that none before it had.
const PROFILES_PER_TURN: usize = 512;

/// The questions that wait, and the one that is being answered.
#[derive(Default)]
pub struct Inspections {
    asked: VecDeque<Query>,
    under_way: Option<Search>,
}

/// A question that takes more than one turn.
enum Search {
    Channels(ChannelSearch),
    Connections(ConnectionSearch),
    Types(TypeSearch),
}

/// The largest channels whose names begin alike.
struct ChannelSearch {
    prefix: Arc<str>,
    limit: usize,
    next: usize,
    total: usize,
    /// The smallest of those kept lies on top; of the same size, the last by name.
    kept: BinaryHeap<Reverse<(usize, Reverse<Box<str>>)>>,
    answer: Answer<ChannelList>,
}

/// Connections in the order of their slots.
struct ConnectionSearch {
    whose: Whose,
    limit: usize,
    found: Vec<ConnectionInfo>,
    answer: Answer<Vec<ConnectionInfo>>,
}

enum Whose {
    Everybodys {
        next: Slot,
    },
    /// Those that the user had when the answer was begun.
    Users {
        channel: Box<str>,
        slots: Vec<Slot>,
    },
}

/// Sessions by user type.
struct TypeSearch {
    next: usize,
    sums: HashMap<Box<str>, usize>,
    answer: Answer<Vec<TypeCount>>,
}

impl Inspections {
    pub fn ask(&mut self, query: Query) {
        self.asked.push_back(query);
    }

    pub fn is_empty(&self) -> bool {
        self.asked.is_empty() && self.under_way.is_none()
    }
}

impl ChannelSearch {
    fn new(prefix: Arc<str>, limit: usize, answer: Answer<ChannelList>) -> Self {
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

impl TypeSearch {
    fn new(answer: Answer<Vec<TypeCount>>) -> Self {
        Self { next: 0, sums: HashMap::default(), answer }
    }

    /// Counts the next profiles; true when those were all.
    fn go_on(&mut self, profiles: &Profiles) -> bool {
        let end = self.next + PROFILES_PER_TURN;
        for (user_type, sessions) in profiles.types_at(self.next..end) {
            match self.sums.get_mut(user_type) {
                Some(sum) => *sum += sessions,
                None => _ = self.sums.insert(user_type.into(), sessions),
            }
        }
        self.next = end;
        end >= profiles.places()
    }

    fn tell(self) {
        let counts = self.sums.into_iter().map(|(user_type, sessions)| TypeCount { user_type, sessions });
        (self.answer)(counts.collect());
    }
}

impl<I: Io> Floor<I> {
    /// Takes the oldest question a piece further. False when there is none.
    pub(in crate::shard) fn inspect(&mut self) -> bool {
        if self.inspections.is_empty() {
            return false;
        }
        let search = self.inspections.under_way.take().or_else(|| self.begin_answering());
        self.inspections.under_way = search.and_then(|search| self.go_on_answering(search));
        true
    }

    /// Answers the next question, or says how it is to be gone on with.
    fn begin_answering(&mut self) -> Option<Search> {
        match self.inspections.asked.pop_front()? {
            Query::Connections { limit, user, answer } => {
                let whose = self.whose(user.as_deref(), limit);
                return Some(Search::Connections(ConnectionSearch { whose, limit, found: Vec::new(), answer }));
            }
            Query::Channels { prefix, limit, answer } => {
                return Some(Search::Channels(ChannelSearch::new(prefix, limit, answer)));
            }
            Query::Types { answer } => return Some(Search::Types(TypeSearch::new(answer))),
            Query::Kinds { answer } => {
                let mut counts = self.state.table.memberships_by_kind().to_vec();
                counts[name::CELLS] = self.state.nearby.circles();
                answer(counts);
            }
            Query::Latency { answer } => answer(self.timed()),
        }
        None
    }

    /// Takes an answer further; `None` when it has been given.
    fn go_on_answering(&self, mut search: Search) -> Option<Search> {
        let is_done = match &mut search {
            Search::Channels(search) => search.go_on(&self.state.table),
            Search::Connections(search) => self.go_on_describing(search),
            Search::Types(search) => search.go_on(&self.state.profiles),
        };
        if !is_done {
            return Some(search);
        }
        match search {
            Search::Channels(search) => search.tell(),
            Search::Connections(search) => (search.answer)(search.found),
            Search::Types(search) => search.tell(),
        }
        None
    }

    /// A copy of seven histograms, none of them larger than 30 KiB: a few microseconds, some dozens at the most.
    fn timed(&self) -> ShardLatency {
        let latency = self.state.latency.clone().with_deliveries(self.wire.io.deliveries());
        ShardLatency { shard: self.state.shard, latency }
    }

    fn whose(&self, user: Option<&str>, limit: usize) -> Whose {
        let Some(user) = user else { return Whose::Everybodys { next: 0 } };
        let channel = format!("{}{user}", name::USER_PREFIX).into_boxed_str();
        let slots = self.state.table.members_of(&channel).take(limit).collect();
        Whose::Users { channel, slots }
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
        let open = connection.phase().is_open();
        let user_channel = open.then(|| state.table.name(connection.user_channel));
        let age_s = u64::from(state.now.tick() - connection.connected_at) * u64::from(TICK_MS) / 1000;
        ConnectionInfo {
            shard: state.shard,
            slot,
            session_id: state.rules.session_id(state.id(slot, connection)).to_string(),
            user_id: user_channel.and_then(|name| name.strip_prefix(name::USER_PREFIX)).map(Into::into),
            user_type: state.profiles.user_type(connection.profile).map(Into::into),
            platform: state.profiles.platform(connection.profile).map(Into::into),
            device_id: connection.details.as_ref().and_then(|d| d.device_id.as_deref()).map(Into::into),
            connected_at: state.now.unix_s() - age_s,
            expires_at: connection.token_expires_at().map(Into::into),
            channels: state.table.channels_of(slot).map(Into::into).collect(),
            outbox_bytes: connection.outbox.as_ref().map_or(0, |o| o.bytes()),
        }
    }

    /// Whether the slot still has a session whose own channel this is.
    fn is_of(&self, slot: Slot, user_channel: &str) -> bool {
        let connection = self.wire.connections.get(slot as usize);
        connection.is_some_and(|c| c.phase().is_open() && self.state.table.name(c.user_channel) == user_channel)
    }
}
