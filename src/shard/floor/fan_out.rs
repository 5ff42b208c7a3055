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
//! Where of a channel only the newest message waits ([`Overflow::Latest`]), one that has gathered is replaced by the
//! next, and nothing is joined.
//!
//! Invariant: of a channel one batch at a time is under way, so the members get everything in the order of its
//! publication.

use std::collections::{BTreeSet, VecDeque};

use hashbrown::HashTable;
use slab::Slab;

use crate::channel::Overflow;
use crate::channel::table::Walk;
use crate::lane::{Answer, Channel, Filter, Publication};

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
        let is_newer = publication.overflow == Overflow::Latest && self.take_older(id, &publication);
        self.held += 1;
        self.held_bytes += bytes;
        let fan_out = &mut self.fan_outs[id];
        fan_out.gathered.push_back(publication);
        fan_out.gathered_bytes += bytes;
        if fan_out.gathered_bytes > BATCH_BYTES_MAX {
            self.start(id);
        }
        is_newer
    }

    /// Drops the last that has gathered, when it is for the same members. It has reached nobody.
    fn take_older(&mut self, id: FanOutId, newer: &Publication) -> bool {
        let FanOut { gathered, gathered_bytes, .. } = &mut self.fan_outs[id];
        if gathered.back().is_none_or(|older| older.filter != newer.filter) {
            return false;
        }
        let Some(older) = gathered.pop_back() else { return false };
        *gathered_bytes -= older.frame.bytes.len();
        self.held -= 1;
        self.held_bytes -= older.frame.bytes.len();
        older.answer.iter().for_each(|answer| answer(0));
        true
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
        let (mut bytes, mut filter, mut answers, mut overflow) = (0, None, Vec::new(), Overflow::default());
        debug_assert!(fan_out.batch.is_none(), "one batch at a time");
        while let Some(next) = fan_out.gathered.front() {
            let joins = filter.is_none() && next.filter.is_none() && overflow != Overflow::Latest;
            let joins = joins && bytes + next.frame.bytes.len() <= BATCH_BYTES_MAX;
            if !frames.is_empty() && !joins {
                break;
            }
            let Some(publication) = fan_out.gathered.pop_front() else { break };
            bytes += publication.frame.bytes.len();
            filter = publication.filter;
            overflow = publication.overflow;
            answers.extend(publication.answer);
            frames.push(publication.frame);
        }
        fan_out.gathered_bytes -= bytes;
        debug_assert!(!fan_out.gathered.is_empty() || fan_out.gathered_bytes == 0);
        let frame = Run::join(&frames, overflow, &fan_out.channel);
        fan_out.batch = Some(Batch { frame, reach, filter, recipients: 0, answers });
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
        let gathered = VecDeque::new();
        let id = self.fan_outs.insert(FanOut { channel, gathered, gathered_bytes: 0, batch: None, due_us, owed: 0 });
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

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::sync::{Arc, Mutex};

    const DELAY_US: u32 = 20_000;

    fn publication(channel: u64, bytes: usize, batch_delay_us: u32) -> Publication {
        Publication {
            channel: Channel { name: channel.to_string().into(), hash: channel },
            frame: Frame { bytes: Bytes::from(vec![0; bytes]), arrived_us: 0 },
            filter: None,
            answer: None,
            batch_delay_us,
            overflow: Overflow::Disconnect,
        }
    }

    /// Brings a batch to nobody. Says how many publications it had.
    fn serve(fan_outs: &mut FanOuts) -> Option<usize> {
        let id = fan_outs.next()?;
        fan_outs.begin(id, Reach::Members(None));
        let frames = fan_outs.batch(id).as_ref().map(|batch| batch.frame.frames());
        fan_outs.finish(id);
        fan_outs.put_back(id);
        frames
    }

    #[test]
    fn what_gathers_while_a_batch_is_under_way_does_not_wait_again() {
        let mut fan_outs = FanOuts::default();
        fan_outs.gather(publication(1, 10, DELAY_US), 1000);
        fan_outs.start_due(20_999);
        assert!(fan_outs.is_idle() && fan_outs.next_due_us() == Some(21_000));
        fan_outs.start_due(21_000);
        let id = fan_outs.next().unwrap();
        fan_outs.begin(id, Reach::Members(None));
        fan_outs.gather(publication(1, 10, DELAY_US), 21_000);
        fan_outs.gather(publication(1, 10, DELAY_US), 21_000);
        fan_outs.finish(id);
        fan_outs.put_back(id);
        assert!(!fan_outs.is_idle());
        assert_eq!(serve(&mut fan_outs), Some(2));
        assert!(fan_outs.is_idle() && fan_outs.next().is_none());
        assert!(!fan_outs.has(&publication(1, 0, 0).channel));
    }

    #[test]
    fn what_waits_makes_room_before_its_time_and_no_more_than_is_needed() {
        let mut fan_outs = FanOuts::default();
        for n in 0..HELD_MAX {
            assert!(fan_outs.has_room() && fan_outs.is_idle());
            fan_outs.gather(publication(n as u64, 10, DELAY_US), n as u64);
        }
        assert!(!fan_outs.has_room() && !fan_outs.is_idle(), "a full shard does not wait for the clock");
        assert_eq!(serve(&mut fan_outs), Some(1));
        assert!(fan_outs.has_room() && fan_outs.is_idle() && fan_outs.next().is_none());
        assert_eq!(fan_outs.next_due_us(), Some(1 + u64::from(DELAY_US)), "the oldest went");
    }

    #[test]
    fn what_is_under_way_is_counted_until_it_has_been_brought_to_all() {
        let mut fan_outs = FanOuts::default();
        fan_outs.gather(publication(1, HELD_BYTES_MAX, 0), 0);
        assert!(!fan_outs.has_room());
        let id = fan_outs.next().unwrap();
        fan_outs.begin(id, Reach::Members(None));
        assert!(!fan_outs.has_room(), "its bytes are still here");
        fan_outs.finish(id);
        fan_outs.put_back(id);
        assert!(fan_outs.has_room() && fan_outs.is_idle());
    }

    #[test]
    fn of_latest_only_the_newest_gathers_and_nothing_is_joined() {
        let mut fan_outs = FanOuts::default();
        let reached = Arc::new(Mutex::new(Vec::new()));
        let latest = |bytes: usize, user_type: Option<&str>| {
            let (filter, told) =
                (user_type.map(|t| Filter { user_type: Some(t.into()), platform: None }), reached.clone());
            let answer: Answer<usize> = Arc::new(move |count| told.lock().unwrap().push((bytes, count)));
            let (filter, answer) = (filter.map(Arc::new), Some(answer));
            Publication { overflow: Overflow::Latest, filter, answer, ..publication(1, bytes, DELAY_US) }
        };
        let replaced = [(1, None), (2, None), (3, Some("a")), (4, Some("a")), (5, Some("b")), (6, None), (7, None)]
            .map(|(bytes, user_type)| fan_outs.gather(latest(bytes, user_type), 0));
        assert_eq!(replaced, [false, true, false, true, false, false, true]);
        assert_eq!((fan_outs.held, fan_outs.held_bytes), (4, 2 + 4 + 5 + 7));
        assert_eq!(*reached.lock().unwrap(), [(1, 0), (3, 0), (6, 0)], "who published what was replaced is told");
        fan_outs.owe_all();
        let served: Vec<_> = std::iter::from_fn(|| serve(&mut fan_outs)).collect();
        assert_eq!(served, [1; 4]);
        assert!(fan_outs.is_idle() && !fan_outs.is_owing());
    }

    #[test]
    fn what_replaces_something_owed_is_owed_in_its_place() {
        let mut fan_outs = FanOuts::default();
        let latest = |bytes| Publication { overflow: Overflow::Latest, ..publication(1, bytes, 0) };
        fan_outs.gather(latest(1), 0);
        fan_outs.owe_all();
        assert!(fan_outs.gather(latest(2), 0) && fan_outs.is_owing());
        assert_eq!(serve(&mut fan_outs), Some(1));
        assert!(!fan_outs.is_owing() && fan_outs.is_idle());
    }

    #[test]
    fn what_is_owed_is_what_was_there() {
        let mut fan_outs = FanOuts::default();
        (0..3).for_each(|_| _ = fan_outs.gather(publication(1, 10_000, 0), 0));
        fan_outs.gather(publication(2, 10, DELAY_US), 0);
        // One of three is under way.
        let id = fan_outs.next().unwrap();
        fan_outs.begin(id, Reach::Members(None));
        fan_outs.owe_all();
        assert_eq!((fan_outs.owed, fan_outs.next_due_us()), (4, None));
        fan_outs.finish(id);
        fan_outs.put_back(id);
        // What comes later joins them, and is not owed.
        fan_outs.gather(publication(2, 10, 0), 0);
        assert_eq!((serve(&mut fan_outs), fan_outs.owed), (Some(2), 2));
        for channel in 3.. {
            fan_outs.gather(publication(channel, 10, 0), 0);
            fan_outs.gather(publication(1, 10, 0), 0);
            if !fan_outs.is_owing() {
                break;
            }
            assert!(serve(&mut fan_outs).is_some() && channel < 20);
        }
        assert!(!fan_outs.is_idle(), "nobody waits for the others");
        while serve(&mut fan_outs).is_some() {}
        assert!(fan_outs.is_idle() && fan_outs.has_room());
        assert_eq!((fan_outs.held, fan_outs.held_bytes, fan_outs.owed), (0, 0, 0));
    }
}
