//! The production backend: io_urings with direct descriptors, receive buffers and one eventfd.
//!
//! Needs Linux 6.1 (`IORING_SETUP_DEFER_TASKRUN`). A socket lives only in a ring's registered file table (its descriptor is
//! closed on arrival). An idle one is armed by a one-shot poll, the cheapest in kernel memory; when something is there, one
//! receive is lent a buffer, and when that is handled the poll is armed anew. Sends ask for `MSG_WAITALL`, so that the kernel
//! itself resumes a short one and a completion means sent whole or failed. Tried: 6.18.
//!
//! A file table is bounded by the limit of open files and by what a cancellation may cost, a shard is not: it has as many rings
//! as its highest slot asks for, each made when the first of its slots is opened. All of them ring one bell, share the buffers,
//! and their completions stand in one queue in the order in which they were fetched. What a turn pays for a ring where nothing
//! happens is a look at one cache line.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{Ordering, fence};

use io_uring::types::{Fixed, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use slab::Slab;

use super::buffers::Buffers;
use super::{Capacity, Chunk, Event, InFlight, Io, Sending, Shape, Slot};
use crate::clock;
use crate::lane::bell::Bell;
use crate::lane::frame::LocalFrame;
use crate::metrics::latency::{Deliveries, Departures};

/// Requests handed to the kernel in one go. A fan-out enters the kernel once for so many recipients.
const SUBMISSION_ENTRIES: u32 = 512;

/// Completions that the kernel can store before it must keep them elsewhere (it never drops any: `FEAT_NODROP`).
const COMPLETION_ENTRIES: u32 = 4096;

/// Completions looked at for one event. Most are the first half of a receive and become none.
const COMPLETIONS_PER_EVENT: usize = 64;

/// The address of nobody.
static NOBODY: libc::sockaddr = libc::sockaddr { sa_family: libc::AF_UNSPEC as u16, sa_data: [0; 14] };

/// Vectored sends kept to be filled anew.
const SPARE_VECTORS: usize = 512;

pub struct Uring {
    /// Each for `capacity.per_ring` slots. Never empty.
    rings: Vec<IoUring>,
    capacity: Capacity,
    bell: Bell,
    /// Requests that wait in the rings for being handed to the kernel.
    queued: usize,
    /// Completions ring the bell.
    dozing: bool,
    /// Declared after `rings`: the memory that the kernel writes to is freed after the rings are gone.
    buffers: Buffers,
    slots: Vec<State>,
    sends: Slab<Load>,
    #[expect(clippy::vec_box, reason = "moved in and out as boxes, which is what a load holds")]
    spare: Vec<Box<Many>>,
    /// Completions fetched from the rings and not handled yet.
    completed: VecDeque<cqueue::Entry>,
    /// Slots that have something to read while all buffers are lent.
    waiting_for_buffer: VecDeque<Slot>,
    tick: Box<Timespec>,
    alarm: Box<Timespec>,
    /// Exactly while an alarm is with the kernel.
    is_alarm_set: bool,
    deliveries: Deliveries,
}

/// What is going on with a slot: flags in the lowest byte, and above them the key of its send.
#[derive(Clone, Copy, Default)]
struct State(u32);

impl State {
    const OPEN: u32 = 1;
    /// Exactly while a poll is with the kernel.
    const POLLING: u32 = 1 << 1;
    /// Exactly while a receive is with the kernel or waits for a buffer.
    const RECEIVING: u32 = 1 << 2;
    /// Exactly while a send is with the kernel.
    const SENDING: u32 = 1 << 3;
    /// The floor was told `Busy` and waits for `Event::Sent`.
    const AWAITED: u32 = 1 << 4;
    const CLOSING: u32 = 1 << 5;
    /// Exactly while a shutdown or a reset is with the kernel.
    const SHUTTING: u32 = 1 << 6;
    /// Closing begins with a reset.
    const RESET: u32 = 1 << 7;

    const WITH_KERNEL: u32 = Self::POLLING | Self::RECEIVING | Self::SENDING | Self::SHUTTING;

    fn has(self, bits: u32) -> bool {
        self.0 & bits != 0
    }

    fn set(&mut self, bits: u32) {
        self.0 |= bits;
    }

    fn clear(&mut self, bits: u32) {
        self.0 &= !bits;
    }

    /// A send has begun.
    fn sends(&mut self, key: usize) {
        debug_assert!(key < 1 << 24);
        self.0 = self.0 & 0xff | Self::SENDING | (key as u32) << 8;
    }

    /// Meaningful while `SENDING`.
    fn send_key(self) -> usize {
        (self.0 >> 8) as usize
    }
}

/// What is in flight for one slot; holds the frames so that their bytes stay where the kernel reads them.
enum Load {
    One(LocalFrame),
    Many(Box<Many>),
}

/// Frames in one vectored send. Boxed, as the kernel reads the header; used again, so that a send allocates nothing.
struct Many {
    frames: Vec<LocalFrame>,
    parts: Vec<libc::iovec>,
    header: libc::msghdr,
}

impl Load {
    fn bytes(&self) -> usize {
        match self {
            Load::One(frame) => frame.len(),
            Load::Many(many) => many.frames.iter().map(|f| f.len()).sum(),
        }
    }

    /// The kernel has taken all of it.
    fn departed(&self, departures: &mut Departures<'_>) {
        match self {
            Load::One(frame) => frame.departed(departures),
            Load::Many(many) => many.frames.iter().for_each(|frame| frame.departed(departures)),
        }
    }
}

/// What a completion is about: kind, key of the send or number of the buffer, slot.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Kind {
    Poll,
    Receive,
    Send,
    Shutdown,
    Cancel,
    Close,
    Tick,
    Alarm,
}

fn user_data(kind: Kind, key: usize, slot: Slot) -> u64 {
    debug_assert!(key < 1 << 24);
    (kind as u64) << 56 | (key as u64) << 32 | u64::from(slot)
}

impl Uring {
    /// A backend for slots 0 to `capacity.slots` - 1 that rings the bell when something completes while it dozes.
    pub fn new(capacity: Capacity, bell: &Bell) -> io::Result<Self> {
        Self::with_buffers(capacity, bell, Shape::SHARD)
    }

    /// The same with other receive buffers than a shard's.
    pub fn with_buffers(capacity: Capacity, bell: &Bell, shape: Shape) -> io::Result<Self> {
        assert!(capacity.per_ring > 0);
        let mut uring = Self {
            rings: Vec::new(),
            capacity,
            bell: bell.clone(),
            queued: 0,
            dozing: false,
            buffers: Buffers::new(shape),
            slots: Vec::with_capacity(capacity.slots),
            sends: Slab::new(),
            spare: Vec::new(),
            completed: VecDeque::new(),
            waiting_for_buffer: VecDeque::new(),
            tick: Box::new(Timespec::new()),
            alarm: Box::new(Timespec::new()),
            is_alarm_set: false,
            deliveries: Deliveries::default(),
        };
        uring.add_ring()?;
        Ok(uring)
    }

    fn add_ring(&mut self) -> io::Result<()> {
        let first = self.rings.len() * self.capacity.per_ring;
        let files = self.capacity.per_ring.min(self.capacity.slots.saturating_sub(first)).max(1);
        let mut ring = IoUring::builder()
            .setup_cqsize(COMPLETION_ENTRIES)
            .setup_single_issuer()
            .setup_coop_taskrun()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .build(SUBMISSION_ENTRIES)?;
        ring.submitter().register_files_sparse(files as u32)?;
        ring.submitter().register_eventfd(self.bell.as_raw_fd())?;
        // The kernel does a shutdown on a thread beside the rings, which all rings of a thread share. One is enough, however
        // many peers fail at once.
        ring.submitter().register_iowq_max_workers(&mut [1, 0])?;
        ring.completion().disable_eventfd();
        self.rings.push(ring);
        Ok(())
    }

    #[cfg(test)]
    pub fn ring_count(&self) -> usize {
        self.rings.len()
    }

    fn ring_of(&self, slot: Slot) -> usize {
        slot as usize / self.capacity.per_ring
    }

    /// The slot's direct descriptor: its place in the file table of its ring.
    fn file(&self, slot: Slot) -> Fixed {
        Fixed(slot % self.capacity.per_ring as u32)
    }

    fn state(&mut self, slot: Slot) -> &mut State {
        &mut self.slots[slot as usize]
    }

    fn push(&mut self, entry: squeue::Entry, kind: Kind, key: usize, slot: Slot) {
        let entry = entry.user_data(user_data(kind, key, slot));
        let ring = self.ring_of(slot);
        loop {
            // SAFETY: every operand of an entry outlives the operation: an address is static, frames are kept in `sends` until
            // the completion, the timespecs and the vectors of `Many` are boxed, and a receive's buffer is lent to it until
            // the completion.
            if unsafe { self.rings[ring].submission().push(&entry) }.is_ok() {
                self.queued += 1;
                return;
            }
            self.submit(ring).expect("a ring accepts submissions as long as it lives");
        }
    }

    /// Enters the kernel with one ring: submits, runs deferred work, fetches completions.
    fn submit(&mut self, ring: usize) -> io::Result<()> {
        loop {
            match self.rings[ring].submit() {
                Ok(submitted) => {
                    self.queued -= submitted;
                    break;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                // Too many completions are kept back: make room first.
                Err(e) if matches!(e.raw_os_error(), Some(libc::EBUSY | libc::EAGAIN)) => self.fetch(ring),
                Err(e) => return Err(e),
            }
        }
        if !self.rings[ring].completion().is_empty() {
            self.fetch(ring);
        }
        Ok(())
    }

    fn fetch(&mut self, ring: usize) {
        let Self { rings, slots, sends, spare, completed, deliveries, .. } = self;
        let mut departures = deliveries.at(clock::now_us());
        for entry in rings[ring].completion() {
            let (kind, key, slot) = parts(&entry);
            // A send that nobody waits for is finished on the spot: in a fan-out they are all there is. The others keep
            // their slot busy until the floor hears of them, or a later frame would overtake the queued ones.
            if kind == Kind::Send as u8 && entry.result() as usize == sends[key].bytes() {
                sends[key].departed(&mut departures);
                if !slots[slot as usize].has(State::AWAITED | State::CLOSING) {
                    recycle(spare, sends.remove(key));
                    slots[slot as usize].clear(State::SENDING);
                    continue;
                }
            }
            completed.push_back(entry);
        }
    }

    /// Turns a completion into an event, or into the next step of its slot.
    fn complete(&mut self, entry: &cqueue::Entry) -> Option<Event> {
        let (kind, key, slot) = parts(entry);
        match kind {
            k if k == Kind::Poll as u8 => self.polled(slot, entry),
            k if k == Kind::Receive as u8 => self.received(slot, key as u16, entry.result()),
            k if k == Kind::Send as u8 => self.sent(slot, key, entry.result()),
            k if k == Kind::Shutdown as u8 => self.shut_down(slot),
            // What was cancelled says so itself.
            k if k == Kind::Cancel as u8 => None,
            k if k == Kind::Close as u8 => {
                *self.state(slot) = State::default();
                Some(Event::Closed { slot })
            }
            k if k == Kind::Alarm as u8 => {
                self.is_alarm_set = false;
                Some(Event::Alarm)
            }
            _ => Some(Event::Tick),
        }
    }

    fn polled(&mut self, slot: Slot, entry: &cqueue::Entry) -> Option<Event> {
        self.state(slot).clear(State::POLLING);
        if self.state(slot).has(State::CLOSING) {
            self.close_when_quiet(slot);
        } else if entry.result() < 0 {
            return Some(Event::Ended { slot });
        } else {
            self.receive(slot);
        }
        None
    }

    fn received(&mut self, slot: Slot, buffer: u16, result: i32) -> Option<Event> {
        self.state(slot).clear(State::RECEIVING);
        let closing = self.state(slot).has(State::CLOSING);
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
        let load = self.sends.remove(key);
        let whole = result as usize == load.bytes();
        recycle(&mut self.spare, load);
        let state = self.state(slot);
        let awaited = state.has(State::AWAITED);
        state.clear(State::SENDING | State::AWAITED);
        if state.has(State::CLOSING) {
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
        self.state(slot).clear(State::SHUTTING);
        if self.state(slot).has(State::CLOSING) {
            self.close_when_quiet(slot);
        }
        None
    }

    /// Arms the poll. It fires at once when there is more to read, or the peer has closed.
    fn watch(&mut self, slot: Slot) {
        self.state(slot).set(State::POLLING);
        let poll = opcode::PollAdd::new(self.file(slot), (libc::POLLIN | libc::POLLRDHUP) as u32).build();
        self.push(poll, Kind::Poll, 0, slot);
    }

    fn receive(&mut self, slot: Slot) {
        self.state(slot).set(State::RECEIVING);
        self.waiting_for_buffer.push_back(slot);
        self.serve_waiting();
    }

    /// While there are buffers, the slot that has waited longest receives.
    fn serve_waiting(&mut self) {
        while !self.waiting_for_buffer.is_empty()
            && let Some(buffer) = self.buffers.lend()
            && let Some(slot) = self.waiting_for_buffer.pop_front()
        {
            if self.state(slot).has(State::CLOSING) {
                self.buffers.give_back(buffer);
                self.state(slot).clear(State::RECEIVING);
                self.close_when_quiet(slot);
            } else {
                self.submit_receive(slot, buffer);
            }
        }
    }

    fn submit_receive(&mut self, slot: Slot, buffer: u16) {
        let (memory, bytes) = self.buffers.for_kernel(buffer);
        let receive = opcode::Recv::new(self.file(slot), memory, bytes as u32).flags(libc::MSG_DONTWAIT).build();
        self.push(receive, Kind::Receive, usize::from(buffer), slot);
    }

    fn start_send(&mut self, slot: Slot, load: Load) {
        let flags = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
        let entry = match &load {
            Load::One(frame) => {
                opcode::Send::new(self.file(slot), frame.bytes.as_ptr(), frame.len() as u32).flags(flags).build()
            }
            Load::Many(many) => opcode::SendMsg::new(self.file(slot), &many.header).flags(flags as u32).build(),
        };
        let key = self.sends.insert(load);
        self.state(slot).sends(key);
        self.push(entry, Kind::Send, key, slot);
    }

    /// Cancels one request. By its user data, which the kernel finds in a hash table; by descriptor it would search all.
    fn cancel(&mut self, slot: Slot, user_data: u64) {
        self.push(opcode::AsyncCancel::new(user_data).build(), Kind::Cancel, 0, slot);
    }

    fn close_when_quiet(&mut self, slot: Slot) {
        if self.state(slot).has(State::WITH_KERNEL) {
            return;
        }
        if self.state(slot).has(State::RESET) {
            self.state(slot).clear(State::RESET);
            self.state(slot).set(State::SHUTTING);
            // To connect to no address is to break the connection off (connect(2)), with what is queued in it.
            let nobody = (&raw const NOBODY).cast();
            let reset = opcode::Connect::new(self.file(slot), nobody, size_of::<libc::sockaddr>() as u32).build();
            self.push(reset, Kind::Shutdown, 0, slot);
        } else {
            self.push(opcode::Close::new(self.file(slot)).build(), Kind::Close, 0, slot);
        }
    }
}

/// Keeps what can be filled anew of a send that is over.
#[expect(clippy::vec_box, reason = "as the field")]
fn recycle(spare: &mut Vec<Box<Many>>, load: Load) {
    if let Load::Many(mut many) = load
        && spare.len() < SPARE_VECTORS
    {
        many.frames.clear();
        spare.push(many);
    }
}

impl Many {
    fn empty() -> Box<Self> {
        // SAFETY: a msghdr is plain data for which all zeroes means "no address, no parts, no control data".
        let header = unsafe { std::mem::zeroed() };
        Box::new(Self { frames: Vec::new(), parts: Vec::new(), header })
    }

    fn fill(&mut self, frames: impl Iterator<Item = LocalFrame>) {
        self.frames.clear();
        self.frames.extend(frames);
        let part = |f: &LocalFrame| libc::iovec { iov_base: f.bytes.as_ptr().cast_mut().cast(), iov_len: f.len() };
        self.parts.clear();
        self.parts.extend(self.frames.iter().map(part));
        self.header.msg_iov = self.parts.as_mut_ptr();
        self.header.msg_iovlen = self.parts.len();
    }
}

impl Io for Uring {
    type Socket = OwnedFd;

    fn open(&mut self, slot: Slot, socket: OwnedFd) -> io::Result<()> {
        let ring = self.ring_of(slot);
        while self.rings.len() <= ring {
            self.add_ring()?;
        }
        self.rings[ring].submitter().register_files_update(self.file(slot).0, &[socket.as_raw_fd()])?;
        if self.slots.len() <= slot as usize {
            self.slots.resize(slot as usize + 1, State::default());
        }
        debug_assert_eq!(self.state(slot).0, 0, "a slot is reused only after it was closed");
        self.state(slot).set(State::OPEN);
        self.watch(slot);
        Ok(())
    }

    fn send(&mut self, slot: Slot, frame: &LocalFrame) -> Sending {
        if self.slots[slot as usize].has(State::SENDING) {
            self.slots[slot as usize].set(State::AWAITED);
            return Sending::Busy;
        }
        self.start_send(slot, Load::One(frame.clone()));
        Sending::Started
    }

    fn send_all(&mut self, slot: Slot, frames: impl IntoIterator<Item = LocalFrame>) {
        debug_assert!(!self.state(slot).has(State::SENDING));
        let mut frames = frames.into_iter();
        let load = match (frames.next(), frames.next()) {
            (None, _) => return,
            (Some(one), None) => Load::One(one),
            (Some(first), Some(second)) => {
                let mut many = self.spare.pop().unwrap_or_else(Many::empty);
                many.fill([first, second].into_iter().chain(frames));
                debug_assert!(many.frames.len() <= super::VECTOR_MAX);
                Load::Many(many)
            }
        };
        self.start_send(slot, load);
    }

    fn await_sent(&mut self, slot: Slot) -> bool {
        let sending = self.state(slot).has(State::SENDING);
        if sending {
            self.state(slot).set(State::AWAITED);
        }
        sending
    }

    fn shut(&mut self, slot: Slot) {
        debug_assert!(!self.state(slot).has(State::SENDING | State::SHUTTING | State::CLOSING));
        self.state(slot).set(State::SHUTTING);
        self.push(opcode::Shutdown::new(self.file(slot), libc::SHUT_WR).build(), Kind::Shutdown, 0, slot);
    }

    fn close(&mut self, slot: Slot) {
        let state = *self.state(slot);
        debug_assert!(state.has(State::OPEN) && !state.has(State::CLOSING));
        self.state(slot).set(State::CLOSING);
        if state.has(State::POLLING) {
            self.cancel(slot, user_data(Kind::Poll, 0, slot));
        }
        if state.has(State::SHUTTING) {
            self.cancel(slot, user_data(Kind::Shutdown, 0, slot));
        }
        if state.has(State::SENDING) {
            self.cancel(slot, user_data(Kind::Send, state.send_key(), slot));
        }
        self.close_when_quiet(slot);
    }

    fn reset(&mut self, slot: Slot) {
        self.state(slot).set(State::RESET);
        self.close(slot);
    }

    fn tick(&mut self, ms: u32) {
        *self.tick = Timespec::new().sec(u64::from(ms / 1000)).nsec(ms % 1000 * 1_000_000);
        let timeout = opcode::Timeout::new(&*self.tick).build();
        self.push(timeout, Kind::Tick, 0, 0);
    }

    fn alarm(&mut self, us: u64) {
        debug_assert!(!self.is_alarm_set, "one alarm at a time");
        self.is_alarm_set = true;
        *self.alarm = Timespec::new().sec(us / 1_000_000).nsec((us % 1_000_000) as u32 * 1000);
        let timeout = opcode::Timeout::new(&*self.alarm).build();
        self.push(timeout, Kind::Alarm, 0, 0);
    }

    fn next(&mut self) -> Option<Event> {
        for _ in 0..COMPLETIONS_PER_EVENT {
            let entry = self.completed.pop_front()?;
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
        if watch && !self.state(chunk.slot).has(State::CLOSING) {
            self.watch(chunk.slot);
        }
        self.serve_waiting();
    }

    fn resume(&mut self, slot: Slot) {
        if !self.state(slot).has(State::POLLING | State::RECEIVING | State::CLOSING) {
            self.watch(slot);
        }
    }

    fn enter(&mut self) -> io::Result<()> {
        for ring in 0..self.rings.len() {
            if !self.rings[ring].submission().is_empty() || has_completed(&mut self.rings[ring]) {
                self.submit(ring)?;
            }
        }
        Ok(())
    }

    fn has_queued(&mut self) -> bool {
        self.queued > 0 || !self.completed.is_empty()
    }

    fn now_us(&self) -> u64 {
        clock::now_us()
    }

    fn doze(&mut self) -> bool {
        if self.has_queued() {
            return false;
        }
        self.dozing = true;
        self.rings.iter_mut().for_each(|ring| ring.completion().enable_eventfd());
        // The kernel sets the task-run flag, then looks whether the bell is muted; we unmute, then look at the flag.
        fence(Ordering::SeqCst);
        !self.rings.iter_mut().any(has_completed)
    }

    fn rouse(&mut self) {
        if std::mem::take(&mut self.dozing) {
            self.rings.iter_mut().for_each(|ring| ring.completion().disable_eventfd());
        }
    }

    fn in_flight(&self) -> InFlight {
        InFlight { sends: self.sends.len(), receive_buffers: self.buffers.lent() }
    }

    fn deliveries(&self) -> &Deliveries {
        &self.deliveries
    }
}

/// Whether the kernel has finished something that was not fetched yet. What it has finished waits as a rule until the ring is
/// entered: then it is only a flag.
fn has_completed(ring: &mut IoUring) -> bool {
    let submission = ring.submission();
    let waits = submission.taskrun() || submission.cq_overflow();
    drop(submission);
    waits || !ring.completion().is_empty()
}

/// Kind, key and slot of a completion.
fn parts(entry: &cqueue::Entry) -> (u8, usize, Slot) {
    let data = entry.user_data();
    ((data >> 56) as u8, (data >> 32 & 0xff_ffff) as usize, data as Slot)
}
