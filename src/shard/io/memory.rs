//! The backend of the tests: sockets in memory, on a clock that the test moves.
//!
//! A test holds the [`Peer`] of each socket. What the contract in [`super`] leaves open is drawn from one seed: input
//! comes in chunks of any length, completions come late and in another order than the requests, receive buffers are so
//! few that some slots wait, a send to a peer that has gone fails after any number of bytes. What the contract asks of
//! the floor is asserted at each call, so misuse panics where it happens.

mod chance;
mod line;
mod tests;

use std::io;

use super::{Chunk, Event, InFlight, Io, Slot, VECTOR_MAX};
use crate::lane::frame::LocalFrame;
use crate::metrics::latency::Deliveries;

pub use chance::Chance;
pub use line::{Clock, MemorySocket, Peer};

/// Receive buffers of a backend, so few that slots have to wait for one.
const BUFFERS: usize = 3;
const BUFFER_BYTES: usize = 4096;

pub struct Memory {
    chance: Chance,
    clock: Clock,
    /// `None` where the slot is free.
    slots: Vec<Option<State>>,
    /// What has happened and was not fetched yet. Of one slot in order, between slots in any.
    ready: Vec<Event>,
    buffers: [Option<Vec<u8>>; BUFFERS],
    loan: Option<(Slot, u16)>,
    /// The slot whose end was told and that the floor has to close next.
    to_close: Option<Slot>,
    tick_due_ms: Option<u64>,
    alarm_due_us: Option<u64>,
    deliveries: Deliveries,
}

struct State {
    peer: Peer,
    sending: Option<Flight>,
    /// The floor has asked for `Event::Sent`.
    awaited: bool,
    /// A chunk is ready or on loan.
    receiving: bool,
    /// Released without `watch`: nothing is received until the slot is resumed.
    unwatched: bool,
    ended: bool,
    shut: bool,
    closing: bool,
}

/// The frames of one send.
struct Flight {
    frames: Vec<LocalFrame>,
    /// Bytes that have reached the peer.
    arrived: usize,
    /// Completed; the event waits in `ready`.
    over: bool,
}

impl Memory {
    pub fn new(seed: u64, clock: Clock) -> Self {
        Self {
            chance: Chance(seed),
            clock,
            slots: Vec::new(),
            ready: Vec::new(),
            buffers: Default::default(),
            loan: None,
            to_close: None,
            tick_due_ms: None,
            alarm_due_us: None,
            deliveries: Deliveries::default(),
        }
    }

    /// Nothing more happens before the clock moves or a peer does something.
    pub fn is_quiet(&self) -> bool {
        self.ready.is_empty()
            && !self.tick_is_due()
            && !self.alarm_is_due()
            && self.slots.iter().flatten().all(State::is_quiet)
    }

    /// The frames in flight for a slot.
    pub fn sending(&self, slot: Slot) -> &[LocalFrame] {
        let state = self.slots.get(slot as usize).and_then(Option::as_ref);
        state.and_then(|s| s.sending.as_ref()).map_or(&[], |flight| &flight.frames)
    }

    fn open_state(&mut self, slot: Slot) -> &mut State {
        let state = self.slots.get_mut(slot as usize).and_then(Option::as_mut).expect("the slot is open");
        assert!(!state.closing, "slot {slot} is closing: nothing may be asked of it");
        state
    }

    fn start_send(&mut self, slot: Slot, frames: Vec<LocalFrame>) {
        assert!(frames.iter().all(|frame| !frame.is_empty()), "an empty send would look like a failed one");
        let state = self.open_state(slot);
        assert!(state.sending.is_none(), "slot {slot} has a send in flight already");
        assert!(!state.shut, "slot {slot} has said that nothing more comes");
        state.sending = Some(Flight { frames, arrived: 0, over: false });
    }

    fn tick_is_due(&self) -> bool {
        self.tick_due_ms.is_some_and(|due| due <= self.clock.ms())
    }

    fn alarm_is_due(&self) -> bool {
        self.alarm_due_us.is_some_and(|due| due <= self.clock.now().us)
    }

    /// The floor has done with what it was told before.
    fn assert_answered(&self) {
        assert!(self.loan.is_none(), "a chunk is released before the next event is asked for");
        assert!(self.to_close.is_none(), "a slot that has ended is closed before the next event is asked for");
    }

    /// Lets some bytes of a send reach the peer.
    fn progress_send(&mut self, slot: Slot) {
        let Self { slots, chance, ready, deliveries, clock, .. } = self;
        let Some(state) = &mut slots[slot as usize] else { return };
        let Some(flight) = state.sending.as_mut().filter(|flight| !flight.over) else { return };
        let mut line = state.peer.0.borrow_mut();
        if !line.gone && !line.stalled {
            let bytes = flight.frames.iter().flat_map(|frame| &frame.bytes[..]).skip(flight.arrived);
            let count = chance.up_to(flight.bytes() - flight.arrived);
            line.from_floor.extend(bytes.take(count));
            flight.arrived += count;
        }
        if flight.arrived == flight.bytes() {
            line.sends.push(flight.frames.len());
            let mut departures = deliveries.at(clock.now().us);
            flight.frames.iter().for_each(|frame| frame.departed(&mut departures));
            flight.over = true;
        }
        if state.closing {
            state.sending = None;
        } else if flight.over && state.awaited {
            ready.push(Event::Sent { slot });
        } else if flight.over {
            state.sending = None;
        } else if line.gone {
            flight.over = true;
            if !std::mem::replace(&mut state.ended, true) {
                ready.push(Event::Ended { slot });
            }
        }
    }

    /// Receives some of what the peer has written, or finds that it is gone.
    fn progress_receive(&mut self, slot: Slot) {
        let Some(state) = &mut self.slots[slot as usize] else { return };
        if state.closing || state.receiving || state.unwatched || state.ended {
            return;
        }
        let mut line = state.peer.0.borrow_mut();
        if !line.to_floor.is_empty() {
            let Some(buffer) = self.buffers.iter().position(Option::is_none) else { return };
            let len = self.chance.up_to(line.to_floor.len().min(BUFFER_BYTES));
            self.buffers[buffer] = Some(line.to_floor.drain(..len).collect());
            state.receiving = true;
            let chunk = Chunk { slot, buffer: buffer as u16, len: len as u32 };
            self.ready.push(Event::Received { slot, chunk });
        } else if line.gone {
            state.ended = true;
            self.ready.push(Event::Ended { slot });
        }
    }

    fn progress_close(&mut self, slot: Slot) {
        let Some(state) = &mut self.slots[slot as usize] else { return };
        if state.closing && state.sending.is_none() && !state.peer.is_closed() {
            state.peer.0.borrow_mut().closed = true;
            self.ready.push(Event::Closed { slot });
        }
    }
}

impl State {
    fn is_quiet(&self) -> bool {
        let line = self.peer.0.borrow();
        let sends = self.sending.as_ref().is_some_and(|flight| !flight.over && (line.gone || !line.stalled));
        let receives = !self.ended && !self.unwatched && (line.gone || !line.to_floor.is_empty());
        !self.closing && !sends && !receives
    }
}

impl Flight {
    fn bytes(&self) -> usize {
        self.frames.iter().map(|frame| frame.len()).sum()
    }
}

impl Io for Memory {
    type Socket = MemorySocket;

    fn open(&mut self, slot: Slot, socket: MemorySocket) -> io::Result<()> {
        if self.slots.len() <= slot as usize {
            self.slots.resize_with(slot as usize + 1, || None);
        }
        assert!(self.slots[slot as usize].is_none(), "slot {slot} is not free");
        if socket.broken {
            socket.peer.0.borrow_mut().closed = true;
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.slots[slot as usize] = Some(State {
            peer: socket.peer,
            sending: None,
            awaited: false,
            receiving: false,
            unwatched: false,
            ended: false,
            shut: false,
            closing: false,
        });
        Ok(())
    }

    fn send_all(&mut self, slot: Slot, frames: impl IntoIterator<Item = LocalFrame>) {
        let frames: Vec<LocalFrame> = frames.into_iter().collect();
        assert!(frames.len() <= VECTOR_MAX);
        if !frames.is_empty() {
            self.start_send(slot, frames);
        }
    }

    fn await_sent(&mut self, slot: Slot) -> bool {
        let state = self.open_state(slot);
        state.awaited |= state.sending.is_some();
        state.sending.is_some()
    }

    fn shut(&mut self, slot: Slot) {
        let state = self.open_state(slot);
        assert!(state.sending.is_none() && !state.shut, "a stream ends once, behind its last send");
        state.shut = true;
        state.peer.0.borrow_mut().shut = true;
    }

    fn close(&mut self, slot: Slot) {
        let state = self.open_state(slot);
        state.closing = true;
        state.sending.take_if(|flight| flight.over);
        self.to_close.take_if(|ended| *ended == slot);
        let buffers = &mut self.buffers;
        self.ready.retain(|event| {
            if let Event::Received { chunk, .. } = event
                && chunk.slot == slot
            {
                buffers[chunk.buffer as usize] = None;
            }
            event.slot() != Some(slot)
        });
    }

    fn reset(&mut self, slot: Slot) {
        self.open_state(slot).peer.0.borrow_mut().reset = true;
        self.close(slot);
    }

    fn tick(&mut self, ms: u32) {
        assert!(self.tick_due_ms.is_none(), "one tick at a time");
        self.tick_due_ms = Some(self.clock.ms() + u64::from(ms));
    }

    fn alarm(&mut self, us: u64) {
        assert!(self.alarm_due_us.is_none(), "one alarm at a time");
        self.alarm_due_us = Some(self.clock.now().us + us);
    }

    fn next(&mut self) -> Option<Event> {
        self.assert_answered();
        if self.ready.is_empty() {
            return None;
        }
        let slot = self.ready[self.chance.below(self.ready.len())].slot();
        let first = self.ready.iter().position(|event| event.slot() == slot)?;
        let event = self.ready.remove(first);
        match &event {
            Event::Received { slot, chunk } => self.loan = Some((*slot, chunk.buffer)),
            Event::Ended { slot } => self.to_close = Some(*slot),
            Event::Sent { slot } => {
                let state = self.open_state(*slot);
                state.sending = None;
                state.awaited = false;
            }
            Event::Closed { slot } => self.slots[*slot as usize] = None,
            Event::Tick | Event::Alarm => {}
        }
        Some(event)
    }

    fn bytes(&mut self, chunk: &Chunk) -> &mut [u8] {
        assert_eq!(self.loan, Some((chunk.slot, chunk.buffer)), "only a chunk on loan is read");
        self.buffers[chunk.buffer as usize].as_deref_mut().expect("a buffer on loan is filled")
    }

    fn release(&mut self, chunk: Chunk, watch: bool) {
        assert_eq!(self.loan.take(), Some((chunk.slot, chunk.buffer)), "only a chunk on loan is released");
        self.buffers[chunk.buffer as usize] = None;
        if let Some(state) = &mut self.slots[chunk.slot as usize] {
            state.receiving = false;
            state.unwatched |= !watch;
        }
    }

    fn resume(&mut self, slot: Slot) {
        self.open_state(slot).unwatched = false;
    }

    fn enter(&mut self) -> io::Result<()> {
        self.assert_answered();
        if self.tick_is_due() {
            self.tick_due_ms = None;
            self.ready.push(Event::Tick);
        }
        if self.alarm_is_due() {
            self.alarm_due_us = None;
            self.ready.push(Event::Alarm);
        }
        let mut slots: Vec<Slot> = (0..self.slots.len() as Slot).collect();
        while !slots.is_empty() {
            let slot = slots.swap_remove(self.chance.below(slots.len()));
            // One third of the time each: nothing yet, or what comes first.
            match self.chance.below(3) {
                0 => {}
                1 => {
                    self.progress_send(slot);
                    self.progress_receive(slot);
                }
                _ => {
                    self.progress_receive(slot);
                    self.progress_send(slot);
                }
            }
            self.progress_close(slot);
        }
        Ok(())
    }

    fn has_queued(&mut self) -> bool {
        false
    }

    fn now_us(&self) -> u64 {
        self.clock.look_us()
    }

    fn doze(&mut self) -> bool {
        self.is_quiet()
    }

    fn rouse(&mut self) {}

    fn in_flight(&self) -> InFlight {
        InFlight {
            sends: self.slots.iter().flatten().filter(|state| state.sending.is_some()).count(),
            receive_buffers: self.buffers.iter().flatten().count(),
        }
    }

    fn deliveries(&self) -> &Deliveries {
        &self.deliveries
    }
}
