//! How frames leave: to one connection, to the subscribers of a channel, to everybody.
//!
//! Per recipient a fan-out reads the member's slot, looks at one byte of the backend's state and queues one send that holds a
//! plain count of the frame. Nothing is allocated, locked, atomically counted or woken; the connection itself is touched only
//! when it is still sending.

use std::sync::Arc;

use slab::Slab;

use crate::bus::Publication;
use crate::channel::name;
use crate::metrics::Counters;
use crate::ws::close::CloseCode;

use super::connection::{Connection, Phase};
use super::floor::Floor;
use super::frame::LocalFrame;
use super::io::{Io, Sending, Slot};

/// The connections and the backend that moves their bytes.
pub struct Wire<I: Io> {
    pub io: I,
    pub connections: Slab<Connection>,
    /// Bytes in all outboxes.
    pub outbox_bytes: usize,
    pub outbox_bytes_max: usize,
    pub counters: Arc<Counters>,
}

/// A connection has more to send than it may: it is to be closed.
#[must_use]
#[derive(PartialEq, Eq)]
pub struct TooSlow(pub bool);

impl<I: Io> Wire<I> {
    /// Sends a frame to one connection, behind whatever it still has to send.
    pub fn deliver(&mut self, slot: Slot, frame: &LocalFrame) -> TooSlow {
        match self.io.send(slot, frame) {
            Sending::Started => TooSlow(false),
            Sending::Busy => self.queue(slot, frame),
        }
    }

    /// The send in flight has left: what waits goes next. False when nothing waits.
    pub fn send_waiting(&mut self, slot: Slot) -> bool {
        let connection = &mut self.connections[slot as usize];
        let Some(outbox) = &mut connection.outbox else { return false };
        let before = outbox.bytes();
        let frames = outbox.take();
        self.outbox_bytes -= before - outbox.bytes();
        let more = !outbox.is_empty();
        if !more {
            connection.outbox = None;
        }
        self.io.send_all(slot, frames);
        if more {
            self.io.await_sent(slot);
        }
        true
    }

    /// Forgets what waits for a connection. Returns how many frames.
    pub fn drop_waiting(&mut self, slot: Slot) -> usize {
        let Some(mut outbox) = self.connections[slot as usize].outbox.take() else { return 0 };
        self.outbox_bytes -= outbox.bytes();
        outbox.clear()
    }

    fn queue(&mut self, slot: Slot, frame: &LocalFrame) -> TooSlow {
        let connection = &mut self.connections[slot as usize];
        let outbox = connection.outbox.get_or_insert_default();
        outbox.push(frame.clone());
        self.outbox_bytes += frame.len();
        self.counters.deliveries_queued.add(1);
        TooSlow(outbox.bytes() > self.outbox_bytes_max && matches!(connection.phase, Phase::Arrived | Phase::Open))
    }
}

impl<I: Io> Floor<I> {
    /// Sends one frame to one connection.
    pub(super) fn send(&mut self, slot: Slot, frame: &LocalFrame) {
        if self.wire.deliver(slot, frame) == TooSlow(true) {
            self.close(slot, CloseCode::TOO_SLOW);
        }
    }

    /// What was in flight has left, and the slot was waiting for it.
    pub(super) fn sent(&mut self, slot: Slot) {
        let ends = matches!(self.wire.connections[slot as usize].phase, Phase::Finishing | Phase::Failing);
        if !self.wire.send_waiting(slot) {
            self.all_sent(slot);
        } else if ends {
            self.wire.io.await_sent(slot);
        }
        self.resume_reading(slot);
    }

    /// Sends a publication to the subscribers of its channel.
    pub(super) fn publish(&mut self, publication: Publication) {
        let Publication { channel, frame, filter, answer } = publication;
        let frame = LocalFrame::new(frame);
        let Self { wire, room, .. } = self;
        let mut recipients = 0;
        let mut slow = Vec::new();
        let mut recipient = |wire: &mut Wire<I>, slot: Slot| {
            // Only a filter needs the connection: without one its cache line stays untouched.
            if let Some(filter) = &filter
                && !room.profiles.matches(wire.connections[slot as usize].profile, filter)
            {
                return;
            }
            recipients += 1;
            if wire.deliver(slot, &frame) == TooSlow(true) {
                slow.push(slot);
            }
        };
        if &*channel.name == name::ALL {
            for slot in 0..self.slots_used {
                if wire.connections.get(slot as usize).is_some_and(|c| c.phase == Phase::Open) {
                    recipient(wire, slot);
                }
            }
        } else {
            room.table.members(channel.hash, &channel.name).for_each(|slot| recipient(wire, slot));
        }
        self.room.counters.publications.add(1);
        self.room.counters.deliveries.add(recipients as u64);
        for slot in slow {
            self.close(slot, CloseCode::TOO_SLOW);
        }
        if let Some(answer) = answer {
            answer(recipients);
        }
    }
}
