//! How frames leave: to one connection, to the subscribers of a channel, to everybody.
//!
//! ```text
//!  answer, close frame, heartbeat ──────────────────────────────┐
//!                                                               ▼
//!  publication ──► small channel ───────────────────────────► cork ──► one send per connection ──► ring
//!             └──► large one: fan-out, some members a turn ─────┘  └──► outbox, while it is still sending
//! ```
//!
//! Per recipient a fan-out puts one entry with a plain count of the frame into the [`Cork`], and later queues one send of whatever
//! waits for that connection. Nothing is allocated, locked, atomically counted or woken; the connection itself is touched only
//! when it is still sending.

use std::sync::Arc;

use slab::Slab;

use crate::channel::name;
use crate::lane::{Addressed, Channel, Publication};
use crate::metrics::Counters;
use crate::ws::close::CloseCode;
use crate::ws::frame::is_close;

use crate::lane::frame::{Frame, LocalFrame};
use crate::shard::connection::Connection;
use crate::shard::connection::outbox::cost_bytes;
use crate::shard::floor::Floor;
use crate::shard::floor::cork::{Cork, Urgency};
use crate::shard::floor::fan_out::{Batch, FanOutId, Reach};
use crate::shard::io::{Io, Slot, VECTOR_MAX};

/// Channels of so many members are served at once; for larger ones publications are worth joining.
const SMALL_CHANNEL: usize = 64;

/// Members visited for one fan-out before the next one has its turn.
const MEMBERS_AT_ONCE: usize = 256;

/// Connections that wait for a fan-out's frames. More are not visited before some are served: who comes with another message
/// stands behind these, at some 4 µs each.
const BULK_MAX: usize = 2048;

/// Frames under the cork. Where connections are in many channels each has several of them.
pub(in crate::shard) const FRAMES_MAX: usize = 16 * 1024;

/// What is handed to the kernel in one go, and then the clock is looked at: so many sends, one of many bytes counting as several.
const SENDS_AT_ONCE: usize = 64;
const BYTES_PER_SEND: usize = 16 * 1024;

/// Most of the same in one turn, whatever the clock says.
const SENDS_PER_TURN: usize = 1024;

/// The connections and the backend that moves their bytes.
pub struct Wire<I: Io> {
    pub io: I,
    pub connections: Slab<Connection>,
    pub cork: Cork,
    /// Bytes in all outboxes.
    pub outbox_bytes: usize,
    pub outbox_bytes_max: usize,
    pub counters: Arc<Counters>,
    /// Bytes handed to the backend so far.
    sent_bytes: usize,
    /// Kept to be filled anew.
    frames: Vec<LocalFrame>,
}

/// A connection has more to send than it may: it is to be closed.
#[must_use]
#[derive(PartialEq, Eq)]
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

    /// Sends what waits under the cork for a connection, behind whatever it still has to send.
    pub fn flush(&mut self, slot: Slot) -> TooSlow {
        let mut frames = std::mem::take(&mut self.frames);
        self.cork.take(slot, &mut frames);
        let mut frames_left = frames.drain(..);
        if frames_left.len() > 0 && !self.io.await_sent(slot) {
            self.sent_bytes += frames_left.as_slice().iter().take(VECTOR_MAX).map(|run| run.len()).sum::<usize>();
            self.io.send_all(slot, frames_left.by_ref().take(VECTOR_MAX));
            if frames_left.len() > 0 && self.connections[slot as usize].is_alive() {
                // Whether it is behind shows when the kernel has been entered: until then the rest waits where it was.
                frames_left.by_ref().for_each(|frame| self.cork.push(slot, frame, Urgency::Bulk));
            } else if frames_left.len() > 0 {
                self.io.await_sent(slot);
            }
        }
        let too_slow = self.queue(slot, frames_left.by_ref());
        drop(frames_left);
        self.frames = frames;
        too_slow
    }

    /// The send in flight has left: what waits goes next. False when nothing waits.
    pub fn send_waiting(&mut self, slot: Slot) -> bool {
        let connection = &mut self.connections[slot as usize];
        let Some(outbox) = &mut connection.outbox else { return false };
        let before = outbox.bytes();
        outbox.take(&mut self.frames);
        self.outbox_bytes -= before - outbox.bytes();
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
        let outbox = connection.outbox.get_or_insert_default();
        let is_echo = connection.phase.is_echo();
        let before = outbox.bytes();
        let mut dropped = 0;
        for frame in frames {
            // An echo is held back by not reading more. The close frame says why nothing more comes: it always finds room.
            let fits =
                is_echo || is_close(&frame.bytes) || outbox.bytes() + cost_bytes(&frame) <= self.outbox_bytes_max;
            if fits {
                self.counters.deliveries_queued.add(frame.frames() as u64);
                outbox.push(frame, is_echo);
            } else {
                dropped += frame.frames();
            }
        }
        self.outbox_bytes = self.outbox_bytes + outbox.bytes() - before;
        self.counters.deliveries_dropped.add(dropped as u64);
        TooSlow(dropped > 0 && connection.is_alive())
    }
}

impl<I: Io> Floor<I> {
    /// Has one frame sent to one connection within this turn or the next.
    pub(in crate::shard) fn send(&mut self, slot: Slot, frame: LocalFrame) {
        self.wire.cork.push(slot, frame, Urgency::Answer);
    }

    /// Takes a message for one connection. One that has gone, or is not open any more or not yet, gets nothing.
    pub(in crate::shard) fn send_addressed(&mut self, addressed: Addressed) {
        let Addressed { to, frame, answer } = addressed;
        let is_there = self.is_current(to) && self.wire.connections[to.slot as usize].phase.is_open();
        if is_there {
            self.state.counters.deliveries.add(1);
            self.send(to.slot, Frame::local(frame.bytes, frame.arrived_us));
        } else {
            self.state.counters.addressed_stale.add(1);
        }
        if let Some(answer) = answer {
            answer(usize::from(is_there));
        }
    }

    /// Sends what waits for a connection at once.
    pub(in crate::shard) fn flush(&mut self, slot: Slot) {
        if self.wire.flush(slot) == TooSlow(true) {
            self.close(slot, CloseCode::TOO_SLOW);
        }
    }

    /// Sends what is under the cork until `until_us`. False when there was nothing.
    pub(in crate::shard) fn flush_all(&mut self, until_us: u64) -> bool {
        let (mut sends, mut at_once) = (0, 0);
        while let Some(slot) = self.wire.cork.next() {
            let before = self.wire.sent_bytes;
            self.flush(slot);
            at_once += 1 + (self.wire.sent_bytes - before) / BYTES_PER_SEND;
            if at_once >= SENDS_AT_ONCE || self.wire.cork.has(slot) {
                sends += std::mem::take(&mut at_once);
                self.enter();
                if sends >= SENDS_PER_TURN || self.wire.io.now_us() >= until_us {
                    break;
                }
            }
        }
        sends + at_once > 0
    }

    /// What was in flight has left, and the slot was waiting for it.
    pub(in crate::shard) fn sent(&mut self, slot: Slot) {
        let phase = &self.wire.connections[slot as usize].phase;
        let ends = phase.is_finishing() || phase.is_failing();
        if !self.wire.send_waiting(slot) {
            self.all_sent(slot);
        } else if ends {
            self.wire.io.await_sent(slot);
        }
        self.resume_reading(slot);
    }

    /// Takes a publication: a few members get it in this turn, many as one fan-out, and those of a channel with a delay later.
    pub(in crate::shard) fn publish(&mut self, mut publication: Publication) {
        self.state.counters.publications.add(1);
        if self.is_draining() {
            publication.batch_delay_us = 0;
        }
        let Channel { name, hash } = &publication.channel;
        let is_small = &**name != name::ALL && self.state.table.members(*hash, name).len() <= SMALL_CHANNEL;
        if publication.batch_delay_us == 0 && is_small && !self.fan_outs.has(&publication.channel) {
            self.publish_at_once(publication);
        } else {
            self.fan_outs.gather(publication, self.state.now.us);
        }
    }

    /// Whether more publications may be taken from the lane.
    pub(in crate::shard) fn has_room(&self) -> bool {
        self.fan_outs.has_room() && self.wire.cork.frames() < FRAMES_MAX
    }

    fn publish_at_once(&mut self, publication: Publication) {
        let Publication { channel, frame, filter, answer, .. } = publication;
        let frame = Frame::local(frame.bytes, frame.arrived_us);
        let Self { wire, state, .. } = self;
        let mut recipients = 0;
        for slot in state.table.members(channel.hash, &channel.name) {
            if filter.as_ref().is_none_or(|f| state.profiles.matches(wire.connections[slot as usize].profile, f)) {
                recipients += 1;
                wire.cork.push(slot, frame.clone(), Urgency::Bulk);
            }
        }
        state.counters.deliveries.add(recipients as u64);
        if let Some(answer) = answer {
            answer(recipients);
        }
    }

    /// Goes on with the fan-outs, each in its turn, as long as there is room under the cork. False when none has
    /// anything to do now.
    pub(in crate::shard) fn fan_out(&mut self) -> bool {
        self.fan_outs.start_due(self.state.now.us);
        let worked = !self.fan_outs.is_idle();
        while self.wire.cork.bulk() < BULK_MAX && self.wire.cork.frames() < FRAMES_MAX {
            let Some(id) = self.fan_outs.next() else { break };
            if !self.go_on_with(id) {
                self.fan_outs.finish(id);
            }
            self.fan_outs.put_back(id);
        }
        worked
    }

    /// Visits some members. False when the batch has reached all.
    fn go_on_with(&mut self, id: FanOutId) -> bool {
        if self.fan_outs.batch(id).is_none() {
            let reach = self.reach(id);
            self.fan_outs.begin(id, reach);
        }
        let Self { wire, state, fan_outs, .. } = self;
        let Some(Batch { frame, reach, filter, recipients, .. }) = fan_outs.batch(id) else { return false };
        let before = *recipients;
        let mut recipient = |wire: &mut Wire<I>, slot: Slot| {
            // Only a filter needs the connection: without one its cache line stays untouched.
            if filter.as_ref().is_none_or(|f| state.profiles.matches(wire.connections[slot as usize].profile, f)) {
                *recipients += 1;
                wire.cork.push(slot, frame.clone(), Urgency::Bulk);
            }
        };
        let goes_on = match reach {
            Reach::Members(None) => false,
            Reach::Members(Some(walk)) => {
                state.table.go_on_walking(walk, MEMBERS_AT_ONCE, |slot| recipient(wire, slot))
            }
            Reach::Everybody(end) => {
                let begin = end.saturating_sub(MEMBERS_AT_ONCE as Slot);
                for slot in (begin..*end).rev() {
                    if wire.connections.get(slot as usize).is_some_and(|c| c.phase.is_open()) {
                        recipient(wire, slot);
                    }
                }
                *end = begin;
                begin > 0
            }
        };
        state.counters.deliveries.add(((*recipients - before) * frame.frames()) as u64);
        goes_on
    }

    fn reach(&mut self, id: FanOutId) -> Reach {
        let Channel { name, hash } = self.fan_outs.channel(id);
        if &**name == name::ALL {
            Reach::Everybody(self.slots_used)
        } else {
            Reach::Members(self.state.table.begin_walk(*hash, name))
        }
    }
}
