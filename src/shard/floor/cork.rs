//! Frames gathered for connections within a turn, so that a connection that gets several things gets them with one
//! send.
//!
//! Filled by whatever has something to say to a connection; the floor then takes connection after connection and sends
//! what waits for it. What a client waits for itself (answers, close frames) goes before what goes to many.
//!
//! Per connection 4 bytes. An entry lies in an arena that is used again: nothing is allocated per recipient. The
//! entries of a connection form a ring, of which the last one is known, and with it the first.

use std::collections::VecDeque;

use crate::lane::frame::LocalFrame;
use crate::shard::io::{Slot, VECTOR_MAX};

const NONE: u32 = u32::MAX;

/// One in so many connections is taken from those that a fan-out goes to, although others have answers to send.
const ANSWERS_PER_BULK: u32 = 4;

pub struct Cork {
    /// By slot: its last entry.
    lasts: Vec<u32>,
    entries: Vec<Entry>,
    /// The first entry that is free, or `NONE`; the others are linked by `next`.
    free: u32,
    used: usize,
    /// Connections with something to send. One that has been served already may stand here once more, and then has
    /// nothing.
    answers: VecDeque<Slot>,
    bulk: VecDeque<Slot>,
    /// Connections taken since one was taken from `bulk`.
    since_bulk: u32,
}

struct Entry {
    /// None: free.
    frame: Option<LocalFrame>,
    next: u32,
}

/// Which connections are served first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// Somebody waits for this very frame.
    Answer,
    /// One of many recipients.
    Bulk,
}

impl Cork {
    /// Reserves address space for so many slots, so that growing leaves nothing behind; memory is used as they come.
    pub fn new(slots: usize) -> Self {
        Self {
            lasts: Vec::with_capacity(slots),
            entries: Vec::new(),
            free: NONE,
            used: 0,
            answers: VecDeque::new(),
            bulk: VecDeque::new(),
            since_bulk: 0,
        }
    }

    /// Puts a frame behind what waits for this connection already.
    pub fn push(&mut self, slot: Slot, frame: LocalFrame, urgency: Urgency) {
        if self.lasts.len() <= slot as usize {
            self.lasts.resize(slot as usize + 1, NONE);
        }
        let last = self.lasts[slot as usize];
        let entry = self.insert(frame);
        if last == NONE {
            self.entries[entry as usize].next = entry;
        } else {
            self.entries[entry as usize].next = std::mem::replace(&mut self.entries[last as usize].next, entry);
        }
        self.lasts[slot as usize] = entry;
        match urgency {
            Urgency::Bulk if last == NONE => self.bulk.push_back(slot),
            Urgency::Bulk => {}
            // It may stand among those of a fan-out, or here already if it has just got another answer.
            Urgency::Answer if self.answers.back() != Some(&slot) => self.answers.push_back(slot),
            Urgency::Answer => {}
        }
    }

    /// Has one place of this connection taken by the newer of a frame and the one waiting there that it replaces. False
    /// when there is none among those that have waited longest: as many as one send takes are looked at.
    pub fn replace(&mut self, slot: Slot, frame: &LocalFrame) -> bool {
        let Some(&last) = self.lasts.get(slot as usize).filter(|last| **last != NONE) else { return false };
        let mut at = self.entries[last as usize].next;
        for _ in 0..VECTOR_MAX {
            let entry = &mut self.entries[at as usize];
            if let Some(waiting) = entry.frame.as_mut().filter(|waiting| frame.replaces(waiting)) {
                if !frame.is_older_than(waiting) {
                    *waiting = frame.clone();
                }
                return true;
            }
            if at == last {
                break;
            }
            at = entry.next;
        }
        false
    }

    /// The connection to be served next; none when nobody has anything to send.
    pub fn next(&mut self) -> Option<Slot> {
        loop {
            let slot = if self.since_bulk < ANSWERS_PER_BULK && !self.answers.is_empty() {
                self.since_bulk += 1;
                self.answers.pop_front()
            } else {
                self.since_bulk = 0;
                self.bulk.pop_front().or_else(|| self.answers.pop_front())
            }?;
            if self.has(slot) {
                return Some(slot);
            }
        }
    }

    /// Whether something waits for this connection.
    pub fn has(&self, slot: Slot) -> bool {
        self.lasts.get(slot as usize).is_some_and(|last| *last != NONE)
    }

    /// Takes what waits for a connection into `frames`, oldest first.
    pub fn take(&mut self, slot: Slot, frames: &mut Vec<LocalFrame>) {
        let Some(last) = self.lasts.get_mut(slot as usize).map(|last| std::mem::replace(last, NONE)) else { return };
        if last == NONE {
            return;
        }
        let mut at = self.entries[last as usize].next;
        loop {
            let entry = &mut self.entries[at as usize];
            debug_assert!(entry.frame.is_some(), "an entry of a connection is in use");
            frames.extend(entry.frame.take());
            let next = std::mem::replace(&mut entry.next, self.free);
            self.free = at;
            self.used -= 1;
            if at == last {
                return;
            }
            at = next;
        }
    }

    /// Nobody has anything to send.
    pub fn is_empty(&self) -> bool {
        debug_assert!(self.used > 0 || self.free != NONE || self.entries.is_empty());
        self.used == 0
    }

    /// Frames that wait, of all connections.
    pub fn frames(&self) -> usize {
        self.used
    }

    /// Connections that wait for a fan-out's frames.
    pub fn bulk(&self) -> usize {
        self.bulk.len()
    }

    /// Connections that wait for answers.
    pub fn answers(&self) -> usize {
        self.answers.len()
    }

    fn insert(&mut self, frame: LocalFrame) -> u32 {
        self.used += 1;
        let entry = Entry { frame: Some(frame), next: NONE };
        if self.free == NONE {
            self.entries.push(entry);
            return self.entries.len() as u32 - 1;
        }
        let at = self.free;
        debug_assert!(self.entries[at as usize].frame.is_none());
        self.free = std::mem::replace(&mut self.entries[at as usize], entry).next;
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::Overflow;
    use crate::lane::frame::{Frame, Run};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn frame(n: u8) -> LocalFrame {
        Frame::local(vec![n].into(), 0)
    }

    fn taken(cork: &mut Cork, slot: Slot) -> Vec<u8> {
        let mut frames = Vec::new();
        cork.take(slot, &mut frames);
        frames.iter().map(|frame| frame.bytes[0]).collect()
    }

    proptest! {
        #[test]
        fn every_frame_is_taken_once_and_in_order(steps in prop::collection::vec((0u32..6, 0u8..4), 1..200)) {
            let mut cork = Cork::new(0);
            let mut model = BTreeMap::<Slot, Vec<u8>>::new();
            for (n, (slot, step)) in steps.into_iter().enumerate() {
                match step {
                    0 | 1 => {
                        let urgency = if step == 0 { Urgency::Answer } else { Urgency::Bulk };
                        cork.push(slot, frame(n as u8), urgency);
                        model.entry(slot).or_default().push(n as u8);
                    }
                    2 => prop_assert_eq!(taken(&mut cork, slot), model.remove(&slot).unwrap_or_default()),
                    _ => {
                        let next = cork.next();
                        prop_assert_eq!(next.is_none(), model.is_empty());
                        if let Some(slot) = next {
                            prop_assert_eq!(taken(&mut cork, slot), model.remove(&slot).unwrap_or_default());
                        }
                    }
                }
                prop_assert_eq!(cork.frames(), model.values().map(Vec::len).sum::<usize>());
            }
            while let Some(slot) = cork.next() {
                prop_assert_eq!(taken(&mut cork, slot), model.remove(&slot).unwrap_or_default());
            }
            prop_assert!(model.is_empty() && cork.is_empty());
        }
    }

    #[test]
    fn answers_go_first_and_a_fan_out_gets_its_share() {
        let mut cork = Cork::new(0);
        (0..20).for_each(|slot| cork.push(slot, frame(0), Urgency::Bulk));
        (100..120).for_each(|slot| cork.push(slot, frame(0), Urgency::Answer));
        // A connection of the fan-out that gets an answer has both with its turn.
        cork.push(19, frame(1), Urgency::Answer);
        let mut order = Vec::new();
        while let Some(slot) = cork.next() {
            taken(&mut cork, slot);
            order.push(slot);
        }
        assert_eq!(order[..6], [100, 101, 102, 103, 0, 104]);
        assert_eq!(order.iter().filter(|slot| **slot == 19).count(), 1);
        assert_eq!(order.len(), 40);
    }

    #[test]
    fn only_the_newest_of_a_key_waits_where_that_is_its_policy() {
        let of = |n, key| Run::join(&[Frame { bytes: vec![n].into(), arrived_us: 0 }], Overflow::Latest, key);
        let mut cork = Cork::new(0);
        for (n, key) in [(1, 1), (2, 2), (3, 1), (4, 2), (5, 3), (6, 1)] {
            if !cork.replace(7, &of(n, key)) {
                cork.push(7, of(n, key), Urgency::Bulk);
            }
        }
        cork.push(7, frame(9), Urgency::Answer);
        assert_eq!(cork.frames(), 4);
        assert_eq!(taken(&mut cork, 7), [6, 4, 5, 9]);
        assert!(!cork.replace(7, &of(1, 1)) && !cork.replace(99, &of(1, 1)));
    }

    #[test]
    fn what_comes_late_through_another_channel_does_not_take_the_place_of_the_newer() {
        let of = |n: u8| {
            let frame = Frame { bytes: vec![n].into(), arrived_us: n.into() };
            Run::join(&[frame], Overflow::Latest, 1)
        };
        let mut cork = Cork::new(0);
        cork.push(7, of(2), Urgency::Bulk);
        assert!(cork.replace(7, &of(1)), "it need not wait");
        assert_eq!(taken(&mut cork, 7), [2]);
    }

    #[test]
    fn the_arena_is_used_again() {
        let mut cork = Cork::new(0);
        for _ in 0..1000 {
            (0..3).for_each(|n| cork.push(n, frame(0), Urgency::Bulk));
            (0..3).for_each(|n| assert_eq!(taken(&mut cork, n), [0]));
        }
        assert_eq!(cork.entries.len(), 3);
        assert!(cork.next().is_none() && cork.bulk.is_empty(), "who was served elsewhere is forgotten");
    }
}
