//! Publications on their way to the members of their channels.
//!
//! A channel of a few members is served at once. A larger one gets a fan-out: what is published to it gathers here, and
//! is brought to the members some hundreds at a time, so that no channel holds up its shard. What gathered while the
//! members were being visited goes to them next, joined into one run of bytes: the more there is to send, the fewer
//! sends a message costs.
//!
//! A channel may have a delay: then the first publication opens a fan-out that waits, and others gather behind it until
//! its time has come or there are enough of them. What gathers while a batch is under way does not wait again.
//!
//! ```text
//!  publication ──► without a delay ──────────────────────────────► in order ──► batch under way ──► gone
//!             └──► with one: waits ──► due, enough gathered,  ──────┘  ▲               │
//!                                     no more room, drain              └── gathered ◄──┘
//! ```
//!
//! Where only the newest message of something waits ([`Overflow::Latest`]), one that has gathered is replaced by the
//! next of the same key, and nothing is joined.
//!
//! Invariant: of a channel one batch at a time is under way, so the members get everything in the order of its
//! publication.

use std::collections::{BTreeSet, VecDeque};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use slab::Slab;

use crate::channel::Overflow;
use crate::channel::table::Walk;
use crate::lane::{Answer, Channel, Except, Filter, Publication};

use crate::lane::frame::{Frame, LocalFrame, Run};
use crate::shard::io::Slot;

/// Frames are joined up to this size; a larger one goes by itself and is never copied. A quarter of what a slow
/// connection may leave unread by default, so that the join is not what makes it too slow.
const BATCH_BYTES_MAX: usize = 16 * 1024;

/// What all fan-outs of a shard may hold, gathered and under way, before it takes nothing more from its lane.
const HELD_MAX: usize = 8192;
const HELD_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Names a fan-out while it has something to do.
pub type FanOutId = usize;

#[derive(Default)]
pub struct FanOuts {
    /// By the hash of the channel's name.
    index: HashTable<FanOutId>,
    fan_outs: Slab<FanOut>,
    /// Each once, in the order in which they go on.
    order: VecDeque<FanOutId>,
    /// Those that wait, by their time; they are not in `order`.
    waiting: BTreeSet<(u64, FanOutId)>,
    /// Publications that have gathered or are under way.
    held: usize,
    held_bytes: usize,
    /// What all of them owe.
    owed: usize,
}

struct FanOut {
    channel: Channel,
    gathered: VecDeque<Publication>,
    gathered_bytes: usize,
    /// Publications that have gathered before the first of these.
    begun: u64,
    /// Of those that the next may replace, the key and which one it is, counted from the first ever.
    newest: HashTable<(u64, u64)>,
    batch: Option<Batch>,
    /// Exactly while it waits.
    due_us: Option<u64>,
    /// Publications, the oldest it has, that are to reach their recipients before these are closed.
    owed: usize,
}

/// What the members of a channel are getting now.
pub struct Batch {
    pub frame: LocalFrame,
    pub reach: Reach,
    pub filter: Option<std::sync::Arc<Filter>>,
    pub except: Except,
    pub recipients: usize,
    answers: Vec<Answer<usize>>,
}

/// Whom a batch has still to be brought to.
pub enum Reach {
    /// `None`: nobody was there any more.
    Members(Option<Walk>),
    /// Every session in a slot below.
    Everybody(Slot),
}

impl FanOuts {
    /// Nothing has anything to do now; some may wait.
    pub fn is_idle(&self) -> bool {
        self.order.is_empty() && (self.waiting.is_empty() || self.has_room())
    }

    /// Something is left of what [`FanOuts::owe_all`] found.
    pub fn is_owing(&self) -> bool {
        self.owed > 0
    }

    /// When the first of those is due that wait.
    pub fn next_due_us(&self) -> Option<u64> {
        self.waiting.first().map(|(due_us, _)| *due_us)
    }

    /// Whether more may gather.
    pub fn has_room(&self) -> bool {
        self.held < HELD_MAX && self.held_bytes < HELD_BYTES_MAX
    }

    /// Whether there is a fan-out of this channel, which nothing may overtake.
    pub fn has(&self, channel: &Channel) -> bool {
        !self.fan_outs.is_empty() && self.find(channel).is_some()
    }

    /// Takes a publication, which goes behind what has gathered for its channel, or in its place. True when it has
    /// replaced one.
    pub fn gather(&mut self, publication: Publication, now_us: u64) -> bool {
        let bytes = publication.frame.bytes.len();
        let id = self.find(&publication.channel).unwrap_or_else(|| self.open(&publication, now_us));
        let fan_out = &mut self.fan_outs[id];
        let older = fan_out.put(publication);
        let bytes_gone = older.as_ref().map_or(0, |older| older.frame.bytes.len());
        fan_out.gathered_bytes = fan_out.gathered_bytes + bytes - bytes_gone;
        self.held_bytes = self.held_bytes + bytes - bytes_gone;
        self.held += usize::from(older.is_none());
        if fan_out.gathered_bytes > BATCH_BYTES_MAX {
            self.start(id);
        }
        // It has reached nobody.
        older.iter().filter_map(|older| older.answer.as_ref()).for_each(|answer| answer(0));
        older.is_some()
    }

    /// Those whose time has come wait no longer.
    pub fn start_due(&mut self, now_us: u64) {
        while let Some(&(due_us, id)) = self.waiting.first()
            && due_us <= now_us
        {
            self.start(id);
        }
    }

    /// Nobody waits any longer, and everything there is now is owed to its recipients until it has been brought to
    /// them.
    pub fn owe_all(&mut self) {
        self.start_due(u64::MAX);
        for (_, fan_out) in &mut self.fan_outs {
            fan_out.owed = fan_out.gathered.len() + fan_out.batch.as_ref().map_or(0, |batch| batch.frame.frames());
            self.owed += fan_out.owed;
        }
    }

    /// The fan-out whose turn it is, to be given back with [`FanOuts::put_back`]. When there is no room for more, one
    /// that waits makes some: the lane must not stand still until it is due.
    pub fn next(&mut self) -> Option<FanOutId> {
        if self.order.is_empty()
            && !self.has_room()
            && let Some(&(_, id)) = self.waiting.first()
        {
            self.start(id);
        }
        self.order.pop_front()
    }

    pub fn channel(&self, id: FanOutId) -> &Channel {
        &self.fan_outs[id].channel
    }

    pub fn batch(&mut self, id: FanOutId) -> &mut Option<Batch> {
        &mut self.fan_outs[id].batch
    }

    /// Makes the next batch of what has gathered: all that can be joined with the first, or that one alone.
    pub fn begin(&mut self, id: FanOutId, reach: Reach) {
        let fan_out = &mut self.fan_outs[id];
        let mut frames: Vec<Frame> = Vec::new();
        debug_assert!(fan_out.batch.is_none(), "one batch at a time");
        let Some(first) = fan_out.take() else { return };
        let (mut bytes, mut answers) = (first.frame.bytes.len(), Vec::new());
        answers.extend(first.answer.clone());
        frames.push(first.frame.clone());
        while let Some(next) = fan_out.gathered.front()
            && joins(&first, next)
            && bytes + next.frame.bytes.len() <= BATCH_BYTES_MAX
            && let Some(next) = fan_out.take()
        {
            bytes += next.frame.bytes.len();
            answers.extend(next.answer);
            frames.push(next.frame);
        }
        fan_out.gathered_bytes -= bytes;
        debug_assert!(!fan_out.gathered.is_empty() || fan_out.gathered_bytes == 0);
        let frame = Run::join(&frames, first.overflow, first.key);
        let Publication { filter, except, .. } = first;
        fan_out.batch = Some(Batch { frame, reach, filter, except, recipients: 0, answers });
    }

    /// The batch has been brought to everybody: tells those who asked.
    pub fn finish(&mut self, id: FanOutId) {
        let fan_out = &mut self.fan_outs[id];
        if let Some(Batch { frame, answers, recipients, .. }) = fan_out.batch.take() {
            self.held -= frame.frames();
            self.held_bytes -= frame.len();
            let settled = fan_out.owed.min(frame.frames());
            fan_out.owed -= settled;
            self.owed -= settled;
            answers.iter().for_each(|answer| answer(recipients));
        }
    }

    /// Gives back what [`FanOuts::next`] gave. A fan-out that has nothing more to do is gone.
    pub fn put_back(&mut self, id: FanOutId) {
        let fan_out = &self.fan_outs[id];
        if fan_out.batch.is_some() || !fan_out.gathered.is_empty() {
            self.order.push_back(id);
        } else {
            let hash = fan_out.channel.hash;
            if let Ok(entry) = self.index.find_entry(hash, |other| *other == id) {
                entry.remove();
            }
            let gone = self.fan_outs.remove(id);
            debug_assert!(gone.owed == 0 && gone.due_us.is_none());
            debug_assert!(!self.fan_outs.is_empty() || (self.held, self.held_bytes, self.owed) == (0, 0, 0));
        }
    }

    fn find(&self, channel: &Channel) -> Option<FanOutId> {
        self.index.find(channel.hash, |id| self.fan_outs[*id].channel.name == channel.name).copied()
    }

    /// A fan-out for a first publication, which waits when that has a delay.
    fn open(&mut self, first: &Publication, now_us: u64) -> FanOutId {
        let (channel, delay_us) = (first.channel.clone(), u64::from(first.batch_delay_us));
        let hash = channel.hash;
        let due_us = (delay_us > 0).then_some(now_us + delay_us);
        let (gathered, newest) = (VecDeque::new(), HashTable::new());
        let fan_out = FanOut { channel, gathered, gathered_bytes: 0, begun: 0, newest, batch: None, due_us, owed: 0 };
        let id = self.fan_outs.insert(fan_out);
        let fan_outs = &self.fan_outs;
        self.index.insert_unique(hash, id, |id| fan_outs[*id].channel.hash);
        match due_us {
            Some(due_us) => _ = self.waiting.insert((due_us, id)),
            None => self.order.push_back(id),
        }
        id
    }

    /// Puts a fan-out that waits into the order.
    fn start(&mut self, id: FanOutId) {
        if let Some(due_us) = self.fan_outs[id].due_us.take() {
            self.waiting.remove(&(due_us, id));
            self.order.push_back(id);
        }
    }
}

impl FanOut {
    /// Puts a publication behind the others, or in the place of an older one of its key, which it gives back.
    fn put(&mut self, publication: Publication) -> Option<Publication> {
        if let Some(at) = self.place_of_older(&publication) {
            return Some(std::mem::replace(&mut self.gathered[at], publication));
        }
        self.gathered.push_back(publication);
        None
    }

    /// Where the newest one stands that this one replaces: it is for the same members. Remembers the place of this one.
    fn place_of_older(&mut self, publication: &Publication) -> Option<usize> {
        if publication.overflow != Overflow::Latest {
            return None;
        }
        let (key, last) = (publication.key, self.begun + self.gathered.len() as u64);
        match self.newest.entry(key, |(of, _)| *of == key, |(of, _)| *of) {
            Entry::Vacant(entry) => _ = entry.insert((key, last)),
            Entry::Occupied(mut entry) => {
                let at = (entry.get().1 - self.begun) as usize;
                if is_for_the_same(&self.gathered[at], publication) {
                    return Some(at);
                }
                entry.get_mut().1 = last;
            }
        }
        None
    }

    /// Takes the first one that has gathered.
    fn take(&mut self) -> Option<Publication> {
        let publication = self.gathered.pop_front()?;
        if publication.overflow == Overflow::Latest
            && let Ok(entry) =
                self.newest.find_entry(publication.key, |newest| *newest == (publication.key, self.begun))
        {
            entry.remove();
        }
        self.begun += 1;
        Some(publication)
    }
}

/// Whether the two can be one run of bytes.
fn joins(first: &Publication, next: &Publication) -> bool {
    let is_for_all = first.filter.is_none() && is_for_the_same(first, next);
    is_for_all && first.overflow == next.overflow && first.overflow != Overflow::Latest
}

fn is_for_the_same(one: &Publication, other: &Publication) -> bool {
    let is_alike = match (&one.filter, &other.filter) {
        (Some(one), Some(other)) => one.is_like(other),
        (one, other) => one.is_none() && other.is_none(),
    };
    is_alike && one.except == other.except
}

#[cfg(test)]
mod tests;
