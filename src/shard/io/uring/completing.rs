//! What follows when the kernel has done something: an event for the floor, or the next step of the slot.

use io_uring::{cqueue, opcode};

use super::Uring;
use super::state::State;
use super::tag::{Kind, Tag};
use crate::shard::io::{Chunk, Event, Slot};

/// The address of nobody.
static NOBODY: libc::sockaddr = libc::sockaddr { sa_family: libc::AF_UNSPEC as u16, sa_data: [0; 14] };

impl Uring {
    pub(super) fn complete(&mut self, entry: &cqueue::Entry) -> Option<Event> {
        let (Tag { kind, key, slot }, result) = (Tag::parse(entry.user_data()), entry.result());
        match kind {
            Kind::Poll => self.polled(slot, result),
            Kind::Receive => self.received(slot, key as u16, result),
            Kind::Send => self.sent(slot, key, result),
            Kind::Shutdown => self.shut_down(slot),
            // What was cancelled says so itself.
            Kind::Cancel => None,
            Kind::Close => {
                self.slots[slot].free();
                Some(Event::Closed { slot })
            }
            Kind::Tick => {
                self.tick.fired();
                Some(Event::Tick)
            }
            Kind::Alarm => {
                self.alarm.fired();
                Some(Event::Alarm)
            }
        }
    }

    fn polled(&mut self, slot: Slot, result: i32) -> Option<Event> {
        self.slots[slot].end(State::POLLING);
        if self.slots[slot].has(State::CLOSING) {
            self.close_when_quiet(slot);
        } else if result < 0 {
            return Some(Event::Ended { slot });
        } else {
            self.receive(slot);
        }
        None
    }

    fn receive(&mut self, slot: Slot) {
        self.slots[slot].begin(State::RECEIVING);
        self.waiting_for_buffer.push_back(slot);
        self.serve_waiting();
    }

    /// While there are buffers, the slot that has waited longest receives.
    pub(super) fn serve_waiting(&mut self) {
        while !self.waiting_for_buffer.is_empty()
            && let Some(buffer) = self.buffers.lend()
            && let Some(slot) = self.waiting_for_buffer.pop_front()
        {
            debug_assert!(self.slots[slot].has(State::RECEIVING));
            if self.slots[slot].has(State::CLOSING) {
                self.buffers.give_back(buffer);
                self.slots[slot].end(State::RECEIVING);
                self.close_when_quiet(slot);
            } else {
                self.submit_receive(slot, buffer);
            }
        }
    }

    fn submit_receive(&mut self, slot: Slot, buffer: u16) {
        let (memory, bytes) = self.buffers.for_kernel(buffer);
        let receive = opcode::Recv::new(self.rings.file(slot), memory, bytes as u32).flags(libc::MSG_DONTWAIT).build();
        self.push(receive, Tag { kind: Kind::Receive, key: buffer.into(), slot });
    }

    fn received(&mut self, slot: Slot, buffer: u16, result: i32) -> Option<Event> {
        self.slots[slot].end(State::RECEIVING);
        let closing = self.slots[slot].has(State::CLOSING);
        if result > 0 && !closing {
            return Some(Event::Received { slot, chunk: Chunk { slot, buffer, len: result as u32 } });
        }
        self.buffers.give_back(buffer);
        let mut event = None;
        if closing {
            self.close_when_quiet(slot);
        } else if result == -libc::EAGAIN {
            // Nothing there after all: the poll tells when there is.
            self.watch(slot);
        } else {
            event = Some(Event::Ended { slot });
        }
        self.serve_waiting();
        event
    }

    fn sent(&mut self, slot: Slot, key: usize, result: i32) -> Option<Event> {
        debug_assert_eq!(self.slots[slot].send_key(), key);
        let whole = self.slots.sends.is_whole(key, result);
        self.slots.sends.finish(key);
        let awaited = self.slots[slot].end_send();
        if self.slots[slot].has(State::CLOSING) {
            self.close_when_quiet(slot);
            None
        } else if !whole {
            Some(Event::Ended { slot })
        } else {
            awaited.then_some(Event::Sent { slot })
        }
    }

    /// Fails only when the peer has reset the connection, which the poll tells.
    fn shut_down(&mut self, slot: Slot) -> Option<Event> {
        self.slots[slot].end(State::SHUTTING);
        if self.slots[slot].has(State::CLOSING) {
            self.close_when_quiet(slot);
        }
        None
    }

    /// Goes on with closing when nothing of the slot is with the kernel any more.
    pub(super) fn close_when_quiet(&mut self, slot: Slot) {
        let (state, file) = (&mut self.slots[slot], self.rings.file(slot));
        debug_assert!(state.has(State::CLOSING));
        if !state.is_quiet() {
            return;
        }
        if state.has(State::RESET) {
            state.end(State::RESET);
            state.begin(State::SHUTTING);
            // To connect to no address is to break the connection off (connect(2)), with what is queued in it.
            let nobody = (&raw const NOBODY).cast();
            let reset = opcode::Connect::new(file, nobody, size_of::<libc::sockaddr>() as u32).build();
            self.push(reset, Tag::of(Kind::Shutdown, slot));
        } else {
            self.push(opcode::Close::new(file).build(), Tag::of(Kind::Close, slot));
        }
    }
}
