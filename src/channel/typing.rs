//! Who writes in which channel, as far as the others of the channel were told: one shard's part of it.
//!
//! Owned by the shard's state. Sans-IO: nothing is published here, and the time comes as an argument, in ticks.
//!
//! ```text
//!             begin                        its time is over: stop
//!   nothing ─────────► told, until a time ───────────────────────► nothing
//!                       │ ▲    ▲   │ renewed                          ▲
//!      ended, left: stop│ │    └───┘                                  │
//!                       ▼ │ renewed, an interval after the last start │
//!                      resting ────────── its time is over ───────────┘
//! ```
//!
//! One may do several things in a channel at once, such as writing and recording, each told by itself.
//!
//! The others are told of a beginning once in an interval, however often it is renewed, or ended and begun again: what
//! rests is remembered for that. The stop is written when it begins, so that it can be told when the connection has
//! gone. Times end in the order in which they were set, as all of them are equally long: a queue is enough.
//!
//! An entry takes some 300 bytes for as long as somebody writes, and the timeout longer. Who writes nowhere has none.

use std::collections::HashMap;

use bytes::Bytes;
use slab::Slab;
use smallvec::SmallVec;

use super::table::Member;

/// Channels that one connection may be writing in. Where it does two things in one, that counts as two.
pub const CHANNELS_MAX: usize = 8;

/// Entries of a shard: some 20 MB.
const ENTRIES_MAX: usize = 64 * 1024;

/// What one does in a channel, as a number of the caller's.
pub type Activity = u16;

type EntryId = u32;

const NONE: EntryId = EntryId::MAX;

pub struct Typing {
    timeout_ticks: u32,
    interval_ticks: u32,
    entries: Slab<Entry>,
    of_member: HashMap<Member, SmallVec<[EntryId; 4]>>,
    /// The ends of the queue, in which the first to end is the oldest.
    oldest: EntryId,
    newest: EntryId,
}

struct Entry {
    member: Member,
    ends_at: u32,
    /// When the others were told last that it begins.
    told_at: u32,
    activity: Activity,
    /// What the others believe.
    is_told: bool,
    older: EntryId,
    newer: EntryId,
    stop: Stop,
}

const _: () = assert!(size_of::<Entry>() <= 88, "beside it the name, the message and a place in the map");

/// That somebody does not write any more, to be told to the others of a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    pub channel: Box<str>,
    /// Who is left out: a user, by the hash of his own channel.
    pub except_user: Option<u64>,
    /// The message, as a frame.
    pub frame: Bytes,
}

/// Why nothing can begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// The connection writes in as many channels as it may.
    Connection,
    Shard,
}

impl Typing {
    pub fn new(timeout_ticks: u32, interval_ticks: u32) -> Self {
        debug_assert!(timeout_ticks > 0);
        let (entries, of_member) = (Slab::new(), HashMap::new());
        Self { timeout_ticks, interval_ticks, entries, of_member, oldest: NONE, newest: NONE }
    }

    /// `member` goes on writing: whether the others are to be told. `None` when nothing is known of it yet, and it is
    /// to [begin](Typing::begin).
    pub fn renew(&mut self, member: Member, channel: &str, activity: Activity, now: u32) -> Option<bool> {
        let id = self.find(member, channel, activity)?;
        self.unlink(id);
        self.link(id);
        let entry = &mut self.entries[id as usize];
        entry.ends_at = now + self.timeout_ticks;
        let is_told_now = now >= entry.told_at + self.interval_ticks;
        if is_told_now {
            (entry.told_at, entry.is_told) = (now, true);
        }
        Some(is_told_now)
    }

    /// Makes room for `member` to begin in one more channel. What rests makes some when its interval is over: until
    /// then it is remembered, so that changing channels is told no more often than staying in some.
    pub fn make_room(&mut self, member: Member, now: u32) -> Result<(), Full> {
        let of_member = self.of_member.get(&member).map_or(&[][..], |ids| ids);
        if of_member.len() >= CHANNELS_MAX {
            let is_rested = |entry: &Entry| !entry.is_told && now >= entry.told_at + self.interval_ticks;
            let rested = of_member.iter().copied().find(|id| is_rested(&self.entries[*id as usize]));
            self.remove(rested.ok_or(Full::Connection)?);
        }
        if self.entries.len() < ENTRIES_MAX { Ok(()) } else { Err(Full::Shard) }
    }

    /// `member` begins to write where it did not, which the others are told. With it comes what they are told at its
    /// end.
    pub fn begin(&mut self, member: Member, activity: Activity, stop: Stop, now: u32) {
        debug_assert!(self.find(member, &stop.channel, activity).is_none(), "what is known is renewed");
        let (ends_at, told_at, is_told) = (now + self.timeout_ticks, now, true);
        let entry = Entry { member, ends_at, told_at, activity, is_told, older: NONE, newer: NONE, stop };
        let id = self.entries.insert(entry) as EntryId;
        self.of_member.entry(member).or_default().push(id);
        self.link(id);
    }

    /// `member` says that it does not write any more. What the others are told, if they thought that it does.
    pub fn end(&mut self, member: Member, channel: &str, activity: Activity) -> Option<Stop> {
        let id = self.find(member, channel, activity)?;
        self.entries[id as usize].end()
    }

    /// `member` leaves a channel: what the others are told of all that it did there.
    pub fn end_in(&mut self, member: Member, channel: &str) -> SmallVec<[Stop; 1]> {
        let Some(ids) = self.of_member.get(&member) else { return SmallVec::new() };
        let ended = ids.iter().filter_map(|id| {
            let entry = &mut self.entries[*id as usize];
            if *entry.stop.channel == *channel { entry.end() } else { None }
        });
        ended.collect()
    }

    /// `member` is gone: what the others are told in each channel.
    pub fn end_all(&mut self, member: Member) -> SmallVec<[Stop; 1]> {
        // Most never write: the map is empty, or this is one look at it.
        let Some(ids) = self.of_member.get(&member).filter(|_| !self.is_empty()).cloned() else {
            return SmallVec::new();
        };
        ids.into_iter().filter_map(|id| self.remove(id)).collect()
    }

    /// Forgets the next whose time is over, and says what the others are told, which may be nothing. `None`: no time is
    /// over.
    pub fn next_over(&mut self, now: u32) -> Option<Option<Stop>> {
        self.is_due(now).then(|| self.remove(self.oldest))
    }

    /// Somebody's time is over.
    pub fn is_due(&self, now: u32) -> bool {
        self.entries.get(self.oldest as usize).is_some_and(|entry| entry.ends_at <= now)
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Who writes, in whatever channels.
    #[cfg(test)]
    pub fn members(&self) -> impl Iterator<Item = Member> {
        self.of_member.keys().copied()
    }

    fn find(&self, member: Member, channel: &str, activity: Activity) -> Option<EntryId> {
        let is_it = |entry: &Entry| entry.activity == activity && *entry.stop.channel == *channel;
        self.of_member.get(&member)?.iter().copied().find(|id| is_it(&self.entries[*id as usize]))
    }

    fn remove(&mut self, id: EntryId) -> Option<Stop> {
        self.unlink(id);
        let Entry { member, is_told, stop, .. } = self.entries.remove(id as usize);
        let ids = self.of_member.get_mut(&member);
        debug_assert!(ids.as_ref().is_some_and(|ids| ids.contains(&id)), "a member knows its entries");
        if let Some(ids) = ids {
            ids.retain(|other| *other != id);
            if ids.is_empty() {
                self.of_member.remove(&member);
            }
        }
        if self.entries.is_empty() {
            // What a busy hour needed is given back.
            (self.entries, self.of_member) = (Slab::new(), HashMap::new());
        }
        is_told.then_some(stop)
    }

    /// Puts an entry at the end of the queue.
    fn link(&mut self, id: EntryId) {
        let older = std::mem::replace(&mut self.newest, id);
        (self.entries[id as usize].older, self.entries[id as usize].newer) = (older, NONE);
        match self.entries.get_mut(older as usize) {
            Some(older) => older.newer = id,
            None => self.oldest = id,
        }
    }

    fn unlink(&mut self, id: EntryId) {
        let Entry { older, newer, .. } = self.entries[id as usize];
        match self.entries.get_mut(older as usize) {
            Some(older) => older.newer = newer,
            None => self.oldest = newer,
        }
        match self.entries.get_mut(newer as usize) {
            Some(newer) => newer.older = older,
            None => self.newest = older,
        }
    }
}

impl Entry {
    /// What the others are told, if they believe something else.
    fn end(&mut self) -> Option<Stop> {
        std::mem::take(&mut self.is_told).then(|| self.stop.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    const TIMEOUT: u32 = 100;
    const INTERVAL: u32 = 10;
    const WRITES: Activity = 0;
    const RECORDS: Activity = 1;

    fn stop(member: Member, channel: &str) -> Stop {
        Stop {
            channel: channel.into(),
            except_user: Some(member.into()),
            frame: Bytes::from(format!("{member} {channel}")),
        }
    }

    /// What a session does. Whether the others are told.
    fn write(typing: &mut Typing, member: Member, channel: &str, now: u32) -> Result<bool, Full> {
        if let Some(is_told) = typing.renew(member, channel, WRITES, now) {
            return Ok(is_told);
        }
        typing.make_room(member, now)?;
        typing.begin(member, WRITES, stop(member, channel), now);
        Ok(true)
    }

    /// All whose time is over.
    fn over(typing: &mut Typing, now: u32) -> Vec<Stop> {
        std::iter::from_fn(|| typing.next_over(now)).flatten().collect()
    }

    #[test]
    fn it_ends_by_itself_a_timeout_after_the_last_renewal() {
        let mut typing = Typing::new(TIMEOUT, INTERVAL);
        assert_eq!(write(&mut typing, 1, "a", 0), Ok(true));
        assert_eq!(write(&mut typing, 2, "a", 5), Ok(true));
        assert_eq!(write(&mut typing, 1, "a", 90), Ok(true));
        assert_eq!(over(&mut typing, 104), []);
        assert_eq!(over(&mut typing, 105), [stop(2, "a")]);
        assert_eq!((over(&mut typing, 189), over(&mut typing, 190)), (vec![], vec![stop(1, "a")]));
        assert!(typing.is_empty() && typing.of_member.capacity() == 0 && !typing.is_due(u32::MAX));
    }

    #[test]
    fn of_renewals_one_in_an_interval_is_told() {
        let mut typing = Typing::new(TIMEOUT, INTERVAL);
        let told = (0..100).filter(|now| write(&mut typing, 1, "a", *now) == Ok(true));
        assert_eq!(Vec::from_iter(told), Vec::from_iter((0..100).step_by(10)));
        assert_eq!((over(&mut typing, 198), over(&mut typing, 199)), (vec![], vec![stop(1, "a")]));
    }

    #[test]
    fn who_begins_and_ends_over_and_over_is_told_of_once_in_an_interval() {
        let mut typing = Typing::new(TIMEOUT, INTERVAL);
        let (mut starts, mut stops) = (0, 0);
        for now in 0..100 {
            starts += usize::from(write(&mut typing, 1, "a", now).unwrap());
            stops += usize::from(typing.end(1, "a", WRITES).is_some());
            assert_eq!(typing.end(1, "a", WRITES), None, "nobody is told twice");
        }
        assert_eq!((starts, stops), (10, 10));
        assert_eq!(over(&mut typing, 500), [], "the others know already");
        assert!(typing.is_empty());
    }

    #[test]
    fn who_does_two_things_in_one_channel_is_told_of_both() {
        let mut typing = Typing::new(TIMEOUT, INTERVAL);
        write(&mut typing, 1, "a", 0).unwrap();
        assert_eq!(typing.renew(1, "a", RECORDS, 5), None);
        let records = Stop { frame: Bytes::from_static(b"records"), ..stop(1, "a") };
        typing.begin(1, RECORDS, records.clone(), 5);
        assert_eq!(typing.end(1, "a", RECORDS), Some(records.clone()));
        assert_eq!(write(&mut typing, 1, "a", 20), Ok(true), "it goes on");
        assert_eq!(typing.renew(1, "a", RECORDS, 20), Some(true));
        write(&mut typing, 1, "b", 20).unwrap();
        assert_eq!(typing.end_in(1, "a").to_vec(), [stop(1, "a"), records]);
        assert!(typing.end_in(1, "a").is_empty() && typing.end_in(2, "a").is_empty());
        assert_eq!(over(&mut typing, 500), [stop(1, "b")]);
    }

    #[test]
    fn who_goes_leaves_every_channel_told_and_nothing_behind() {
        let mut typing = Typing::new(TIMEOUT, INTERVAL);
        for channel in ["a", "b", "c"] {
            write(&mut typing, 1, channel, 0).unwrap();
        }
        write(&mut typing, 2, "a", 0).unwrap();
        typing.end(1, "b", WRITES);
        let mut stops = typing.end_all(1).to_vec();
        stops.sort_by(|a, b| a.channel.cmp(&b.channel));
        assert_eq!(stops, [stop(1, "a"), stop(1, "c")]);
        assert!(typing.end_all(1).is_empty() && typing.end_all(7).is_empty());
        assert_eq!(over(&mut typing, 100), [stop(2, "a")]);
    }

    #[test]
    fn a_connection_writes_in_so_many_channels_and_one_that_has_rested_makes_room() {
        let mut typing = Typing::new(TIMEOUT, INTERVAL);
        for n in 0..CHANNELS_MAX {
            assert_eq!(write(&mut typing, 1, &n.to_string(), 0), Ok(true));
        }
        for n in 0..1000 {
            assert_eq!(write(&mut typing, 1, &format!("x{n}"), 0), Err(Full::Connection));
        }
        assert_eq!(write(&mut typing, 2, "x", 0), Ok(true));
        assert!(typing.end(1, "3", WRITES).is_some());
        for now in 0..INTERVAL {
            assert_eq!(write(&mut typing, 1, "x", now), Err(Full::Connection), "it is told no sooner elsewhere");
        }
        assert_eq!(write(&mut typing, 1, "x", INTERVAL), Ok(true));
        assert_eq!(write(&mut typing, 1, "3", INTERVAL), Err(Full::Connection));
        assert_eq!((typing.end_all(1).len(), typing.entries.len()), (CHANNELS_MAX, 1));
    }

    #[test]
    fn a_shard_has_room_for_so_many_and_for_more_when_some_are_over() {
        let mut typing = Typing::new(TIMEOUT, INTERVAL);
        for member in 0..ENTRIES_MAX as Member {
            write(&mut typing, member, "a", 0).unwrap();
        }
        assert_eq!(write(&mut typing, Member::MAX, "a", 1), Err(Full::Shard));
        assert_eq!(write(&mut typing, 7, "a", 1), Ok(false), "who writes already goes on");
        assert_eq!(over(&mut typing, 100).len(), ENTRIES_MAX - 1);
        assert_eq!(write(&mut typing, Member::MAX, "a", 100), Ok(true));
    }

    proptest! {
        #[test]
        fn agrees_with_a_plain_map(steps in prop::collection::vec((0u32..4, 0u8..3, 0u8..5, 0u32..40), 0..200)) {
            let mut typing = Typing::new(TIMEOUT, INTERVAL);
            // (ends at, told at, is told)
            let mut model = BTreeMap::<(Member, String), (u32, u32, bool)>::new();
            let mut now = 0;
            for (member, channel, step, ticks) in steps {
                let key = (member, channel.to_string());
                match step {
                    0 | 1 => {
                        let is_told = match model.get_mut(&key) {
                            Some((ends_at, told_at, is_told)) => {
                                *ends_at = now + TIMEOUT;
                                let again = now - *told_at >= INTERVAL;
                                (*told_at, *is_told) = if again { (now, true) } else { (*told_at, *is_told) };
                                again
                            }
                            None => model.insert(key.clone(), (now + TIMEOUT, now, true)).is_none(),
                        };
                        prop_assert_eq!(write(&mut typing, member, &key.1, now), Ok(is_told));
                    }
                    2 => {
                        let was_told = model.get_mut(&key).is_some_and(|(_, _, is_told)| std::mem::take(is_told));
                        prop_assert_eq!(typing.end(member, &key.1, WRITES).is_some(), was_told);
                    }
                    3 => {
                        let told = model.iter().filter(|((m, _), (_, _, is_told))| *m == member && *is_told).count();
                        model.retain(|(m, _), _| *m != member);
                        prop_assert_eq!(typing.end_all(member).len(), told);
                    }
                    _ => {
                        now += ticks;
                        let told = model.values().filter(|(ends_at, _, is_told)| *ends_at <= now && *is_told).count();
                        model.retain(|_, (ends_at, _, _)| *ends_at > now);
                        prop_assert_eq!(over(&mut typing, now).len(), told);
                    }
                }
                prop_assert_eq!(typing.entries.len(), model.len());
                prop_assert_eq!(typing.of_member.values().map(|ids| ids.len()).sum::<usize>(), model.len());
            }
        }
    }
}
