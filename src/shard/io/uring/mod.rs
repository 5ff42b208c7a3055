//! The production backend: io_urings with direct descriptors, receive buffers and one eventfd.
//!
//! What it needs of the kernel stands in [`needs`]. A socket lives only in a ring's registered file table (its
//! descriptor is closed on arrival). An idle one is armed by a one-shot poll, the cheapest in kernel memory; when
//! something is there, one receive is lent a buffer, and when that is handled the poll is armed anew. Sends ask for
//! `MSG_WAITALL`, so that the kernel itself resumes a short one and a completion means sent whole or failed.
//!
//! [`rings`] hands requests over and fetches completions, [`slots`] remembers what is going on, [`completing`] says
//! what follows from a completion; here is what the floor asks for.

mod completing;
mod needs;
mod rings;
mod runtime;
mod sends;
mod slots;
mod state;
mod tag;
mod timer;

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;

use io_uring::{opcode, squeue};

use super::buffers::Buffers;
use super::{Backend, Capacity, Chunk, Event, InFlight, Io, Shape, Slot, Trial};
use crate::clock;
use crate::lane::bell::Bell;
use crate::lane::frame::LocalFrame;
use crate::metrics::latency::Deliveries;
use rings::Rings;
use sends::Load;
use slots::Slots;
use state::State;
use tag::{Kind, Tag};
use timer::Timer;

/// Completions looked at for one event. Most are the first half of a receive and become none.
const COMPLETIONS_PER_EVENT: usize = 64;

pub struct Uring {
    /// Declared first: the memory that the kernel reads and writes, in all others, is freed after the rings are gone.
    rings: Rings,
    slots: Slots,
    buffers: Buffers,
    /// Slots that have something to read while all buffers are lent.
    waiting_for_buffer: VecDeque<Slot>,
    tick: Timer,
    alarm: Timer,
}

impl Uring {
    /// With other receive buffers than a shard's.
    pub fn with_buffers(capacity: Capacity, bell: &Bell, shape: Shape) -> io::Result<Self> {
        Ok(Self {
            rings: Rings::new(capacity, bell)?,
            slots: Slots::with_capacity(capacity.slots),
            buffers: Buffers::new(shape),
            waiting_for_buffer: VecDeque::new(),
            tick: Timer::default(),
            alarm: Timer::default(),
        })
    }

    #[cfg(test)]
    pub fn ring_count(&self) -> usize {
        self.rings.count()
    }

    fn push(&mut self, request: squeue::Entry, tag: Tag) {
        // SAFETY: every operand outlives its request: an address is static, frames and the vectors of their headers are
        // kept in `slots.sends` until the completion, timespecs are boxed, and a receive's buffer is lent to it until
        // the completion.
        unsafe { self.rings.push(request, tag, &mut self.slots) };
    }

    /// Arms the poll. It fires at once when there is more to read, or the peer has closed.
    fn watch(&mut self, slot: Slot) {
        debug_assert!(!self.slots[slot].has(State::RECEIVING | State::CLOSING));
        self.slots[slot].begin(State::POLLING);
        let poll = opcode::PollAdd::new(self.rings.file(slot), (libc::POLLIN | libc::POLLRDHUP) as u32).build();
        self.push(poll, Tag::of(Kind::Poll, slot));
    }

    fn start_send(&mut self, slot: Slot, load: Load) {
        let (file, flags) = (self.rings.file(slot), libc::MSG_NOSIGNAL | libc::MSG_WAITALL);
        let request = match &load {
            Load::One(frame) => opcode::Send::new(file, frame.bytes.as_ptr(), frame.len() as u32).flags(flags).build(),
            Load::Many(many) => opcode::SendMsg::new(file, many.header()).flags(flags as u32).build(),
        };
        let key = self.slots.sends.keep(load);
        self.slots[slot].begin_send(key);
        self.push(request, Tag { kind: Kind::Send, key, slot });
    }

    /// Cancels one request. By its user data, which the kernel finds in a hash table; by descriptor it would search
    /// all.
    fn cancel(&mut self, tag: Tag) {
        self.push(opcode::AsyncCancel::new(tag.user_data()).build(), Tag::of(Kind::Cancel, tag.slot));
    }
}

impl Io for Uring {
    type Socket = OwnedFd;

    fn open(&mut self, slot: Slot, socket: OwnedFd) -> io::Result<()> {
        self.rings.register(slot, socket)?;
        self.slots.take(slot).begin(State::OPEN);
        self.watch(slot);
        Ok(())
    }

    fn send_all(&mut self, slot: Slot, frames: impl IntoIterator<Item = LocalFrame>) {
        if let Some(load) = self.slots.sends.gather(frames) {
            self.start_send(slot, load);
        }
    }

    fn await_sent(&mut self, slot: Slot) -> bool {
        let state = &mut self.slots[slot];
        let sending = state.has(State::SENDING);
        if sending {
            state.await_sent();
        }
        sending
    }

    fn shut(&mut self, slot: Slot) {
        debug_assert!(!self.slots[slot].has(State::SENDING | State::CLOSING));
        self.slots[slot].begin(State::SHUTTING);
        let shutdown = opcode::Shutdown::new(self.rings.file(slot), libc::SHUT_WR).build();
        self.push(shutdown, Tag::of(Kind::Shutdown, slot));
    }

    fn close(&mut self, slot: Slot) {
        self.slots[slot].begin(State::CLOSING);
        let state = self.slots[slot];
        if state.has(State::POLLING) {
            self.cancel(Tag::of(Kind::Poll, slot));
        }
        if state.has(State::SHUTTING) {
            self.cancel(Tag::of(Kind::Shutdown, slot));
        }
        if state.has(State::SENDING) {
            self.cancel(Tag { kind: Kind::Send, key: state.send_key(), slot });
        }
        self.close_when_quiet(slot);
    }

    fn reset(&mut self, slot: Slot) {
        self.slots[slot].begin(State::RESET);
        self.close(slot);
    }

    fn tick(&mut self, ms: u32) {
        let timeout = self.tick.set(u64::from(ms) * 1000);
        self.push(timeout, Tag::of(Kind::Tick, 0));
    }

    fn alarm(&mut self, us: u64) {
        let timeout = self.alarm.set(us);
        self.push(timeout, Tag::of(Kind::Alarm, 0));
    }

    fn next(&mut self) -> Option<Event> {
        for _ in 0..COMPLETIONS_PER_EVENT {
            let entry = self.slots.next_completed()?;
            if let Some(event) = self.complete(&entry) {
                return Some(event);
            }
        }
        None
    }

    fn bytes(&mut self, chunk: &Chunk) -> &mut [u8] {
        self.buffers.bytes(chunk.buffer, chunk.len as usize)
    }

    fn release(&mut self, chunk: Chunk, watch: bool) {
        self.buffers.give_back(chunk.buffer);
        if watch && !self.slots[chunk.slot].has(State::CLOSING) {
            self.watch(chunk.slot);
        }
        self.serve_waiting();
    }

    fn resume(&mut self, slot: Slot) {
        if !self.slots[slot].has(State::POLLING | State::RECEIVING | State::CLOSING) {
            self.watch(slot);
        }
    }

    fn enter(&mut self) -> io::Result<()> {
        self.rings.enter(&mut self.slots)
    }

    fn has_queued(&mut self) -> bool {
        self.rings.has_queued() || self.slots.has_completed()
    }

    fn now_us(&self) -> u64 {
        clock::now_us()
    }

    fn doze(&mut self) -> bool {
        !self.has_queued() && self.rings.doze()
    }

    fn rouse(&mut self) {
        self.rings.rouse();
    }

    fn in_flight(&self) -> InFlight {
        InFlight { sends: self.slots.sends.len(), receive_buffers: self.buffers.lent() }
    }

    fn deliveries(&self) -> &Deliveries {
        &self.slots.deliveries
    }
}

impl Backend for Uring {
    const OLDEST_KERNEL: (u32, u32) = needs::OLDEST_KERNEL;
    const TRIED: &'static str = needs::TRIED;

    fn new(capacity: Capacity, bell: &Bell) -> io::Result<Self> {
        Self::with_buffers(capacity, bell, Shape::SHARD).map_err(needs::explain)
    }

    fn run(tasks: impl Future<Output = ()>) -> io::Result<()> {
        runtime::run(tasks).map_err(needs::explain)
    }

    fn try_out() -> Trial {
        needs::try_out()
    }
}
