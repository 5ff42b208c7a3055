//! The connections, the backend that moves their bytes, and what waits between the two: under the cork until the turn
//! sends it, and in a connection's outbox while its send before is still in flight.
//!
//! ```text
//!  answer, close frame ──► send ───────┐                 ┌── nothing in flight ──► one send ──► backend
//!                                      ├──► cork ──► flush                            ▲
//!  publication, to each ──► deliver ───┘                 └── a send in flight ──► outbox, within its bound
//! ```
//!
//! Calls nobody above: who finds that a connection is too slow says so, and closing it is the caller's.
//!
//! Invariant: a connection has an outbox only while a send of it is in flight that somebody waits for.

use std::sync::Arc;

use slab::Slab;

use crate::channel::Overflow;
use crate::lane::frame::LocalFrame;
use crate::metrics::Counters;
use crate::shard::connection::Connection;
use crate::shard::connection::outbox::{Bound, ByPolicy, Spill, one_send};
use crate::shard::floor::cork::{Cork, Urgency};
use crate::shard::io::{Io, Slot, VECTOR_MAX};

pub struct Wire<I: Io> {
    pub io: I,
    pub connections: Slab<Connection>,
    pub cork: Cork,
    /// Bytes in all outboxes.
    pub outbox_bytes: usize,
    pub outbox_bytes_max: usize,
    pub counters: Arc<Counters>,
    /// Bytes handed to the backend so far.
    pub sent_bytes: usize,
    /// Kept to be filled anew.
    frames: Vec<LocalFrame>,
}

/// A connection has more to send than it may: it is to be closed.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub struct TooSlow(pub bool);

impl<I: Io> Wire<I> {
    pub fn new(io: I, connections: Slab<Connection>, outbox_bytes_max: usize, counters: Arc<Counters>) -> Self {
        Self {
            io,
            cork: Cork::new(connections.capacity()),
            connections,
            outbox_bytes: 0,
            outbox_bytes_max,
            counters,
            sent_bytes: 0,
            frames: Vec::new(),
        }
    }

    /// Has one frame sent to one connection within this turn or the next.
    pub fn send(&mut self, slot: Slot, frame: LocalFrame) {
        debug_assert!(!self.connections[slot as usize].phase().is_deaf(), "nothing follows the end of a stream");
        self.cork.push(slot, frame, Urgency::Answer);
    }

    /// Has a publication sent to one of its recipients. The connection itself is not touched.
    pub fn deliver(&mut self, slot: Slot, frame: &LocalFrame) {
        debug_assert!(self.connections[slot as usize].is_alive(), "who has left his channels is sent nothing");
        if frame.overflow == Overflow::Latest && self.cork.replace(slot, frame) {
            self.count_dropped([0, 0, 0, 1]);
        } else {
            self.cork.push(slot, frame.clone(), Urgency::Bulk);
        }
    }

    /// Sends what waits under the cork for a connection, behind whatever it still has to send.
    pub fn flush(&mut self, slot: Slot) -> TooSlow {
        let mut frames = std::mem::take(&mut self.frames);
        self.cork.take(slot, &mut frames);
        let mut left = frames.drain(..);
        if left.len() > 0 && !self.io.await_sent(slot) {
            let count = one_send(left.as_slice().iter());
            self.sent_bytes += left.as_slice()[..count].iter().map(|run| run.len()).sum::<usize>();
            self.io.send_all(slot, left.by_ref().take(count));
            if count < VECTOR_MAX {
                self.begin_rest(slot, left.by_ref());
            } else if left.len() > 0 && self.connections[slot as usize].is_bounded() {
                // Whether it is behind shows when the kernel has been entered: until then the rest waits where it was.
                left.by_ref().for_each(|frame| self.deliver(slot, &frame));
            } else if left.len() > 0 {
                self.io.await_sent(slot);
            }
        }
        let too_slow = self.queue(slot, left.by_ref());
        drop(left);
        debug_assert!(frames.is_empty(), "what was taken is sent, waits or was dropped");
        self.frames = frames;
        too_slow
    }

    /// What our own bound on the bytes of a send has cut off it leaves next, and makes nobody too slow.
    fn begin_rest(&mut self, slot: Slot, rest: impl Iterator<Item = LocalFrame>) {
        let connection = &mut self.connections[slot as usize];
        debug_assert!(connection.outbox.is_none());
        rest.for_each(|frame| connection.outbox.get_or_insert_default().push_begun(frame));
        if connection.outbox.is_some() {
            self.io.await_sent(slot);
        }
    }

    /// The send in flight has left: what waits goes next. False when nothing waits.
    pub fn send_waiting(&mut self, slot: Slot) -> bool {
        let connection = &mut self.connections[slot as usize];
        let Some(outbox) = &mut connection.outbox else { return false };
        let before = outbox.bytes();
        outbox.take(&mut self.frames);
        self.outbox_bytes -= before - outbox.bytes();
        self.sent_bytes += self.frames.iter().map(|run| run.len()).sum::<usize>();
        let more = !outbox.is_empty();
        if !more {
            connection.outbox = None;
        }
        self.io.send_all(slot, self.frames.drain(..));
        if more {
            self.io.await_sent(slot);
        }
        true
    }

    /// Forgets what waits for a connection. Returns how many frames.
    pub fn drop_waiting(&mut self, slot: Slot) -> usize {
        self.cork.take(slot, &mut self.frames);
        let corked: usize = self.frames.drain(..).map(|run| run.frames()).sum();
        let Some(mut outbox) = self.connections[slot as usize].outbox.take() else { return corked };
        self.outbox_bytes -= outbox.bytes();
        corked + outbox.clear()
    }

    fn queue(&mut self, slot: Slot, frames: impl ExactSizeIterator<Item = LocalFrame>) -> TooSlow {
        if frames.len() == 0 {
            return TooSlow(false);
        }
        let connection = &mut self.connections[slot as usize];
        let is_bounded = connection.is_bounded();
        let bound = if is_bounded { Bound::Bytes(self.outbox_bytes_max) } else { Bound::Unbounded };
        let outbox = connection.outbox.get_or_insert_default();
        let (before, mut queued, mut spill) = (outbox.bytes(), 0, Spill::default());
        for frame in frames {
            queued += frame.frames();
            spill.add(&outbox.push(frame, bound));
        }
        debug_assert!(!is_bounded || outbox.bytes() <= self.outbox_bytes_max, "the bound holds for who stays");
        self.outbox_bytes = self.outbox_bytes + outbox.bytes() - before;
        if outbox.is_empty() {
            connection.outbox = None;
        }
        let too_slow = TooSlow(spill.is_too_slow);
        self.counters.deliveries_queued.add(queued as u64);
        self.count_dropped(spill.dropped);
        too_slow
    }

    /// Counts frames that were dropped, by policy.
    pub fn count_dropped(&self, dropped: ByPolicy) {
        for (policy, frames) in Overflow::ALL.into_iter().zip(dropped) {
            if frames > 0 {
                self.counters.deliveries_dropped.add(frames as u64);
                self.counters.overflow_dropped.add(policy.name(), frames as u64);
            }
        }
    }
}
