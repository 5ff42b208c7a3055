//! The messages of clients that wait for the answer of a service: whose they are, until when, and what of an answer may
//! not leave yet. Sans-IO: calls and answers in, what may be sent out.
//!
//! ```text
//!  session: begin ──► waits ──── respond, expire, refuse ────► held ──── next ────► sent, in the order of the calls
//!                       └──────── forget: the connection has gone ────► nothing is left, nobody is sent anything
//! ```
//!
//! Called by the session (a message is forwarded) and by the floor (answers, deadlines, connections that end).
//!
//! Invariants: the answers of one connection to messages of one type leave in the order of the messages; what is said
//! to a call that has ended finds nothing. A connection without calls has no entry here. What waits is bounded: calls
//! and bytes per connection and in all, parts per answer.

mod call;

use std::collections::{HashMap, VecDeque};

use slab::Slab;

use crate::clock::TICK_MS;
use crate::lane::call::STREAM_WINDOW;
use crate::lane::frame::Frame;
use crate::lane::queue;
use crate::lane::services::ServiceCounters;
use crate::lane::{Answer, ConnectionId, Failure, Fate, Part, Remote, Response, ServiceId, Services, Ticket};
use crate::shard::connection::wheel::Wheel;
use crate::shard::connection::{WAITING_BYTES_MAX, WAITING_MAX};
use crate::shard::io::Slot;

use call::{Call, HeldAnswer, Line, Place, Said, tell};

pub use call::{NoRoom, Released, Waiting};

/// Calls of one connection that may wait.
pub const CALLS_OF_CONNECTION_MAX: usize = WAITING_MAX;

/// Calls of one shard that may wait. Their places are numbered with so many bits.
pub const CALLS_MAX: usize = 1 << PLACE_BITS;
const PLACE_BITS: u32 = 16;

/// Bytes of replies and answers that may wait for one connection.
pub const BYTES_OF_CONNECTION_MAX: usize = WAITING_BYTES_MAX;

/// The same for one shard, as much as its lane holds.
pub const BYTES_MAX: usize = queue::BYTES_MAX;

pub struct Calls {
    shard: usize,
    services: Services,
    calls: Slab<Call>,
    /// The connections that have calls.
    lines: HashMap<Slot, Line>,
    /// The deadlines, by place.
    wheel: Wheel,
    /// Places whose deadline had come with the last tick, to be attended to.
    expired: VecDeque<Place>,
    /// Connections whose parts may leave now, to be looked at.
    ready: VecDeque<Slot>,
    /// Of all lines.
    bytes: usize,
    begun: u64,
    /// The tick before which no deadline is over: the shard has just stood still itself.
    patient_until: u32,
    /// Until when all that services have said has been taken from the lane.
    heard_until_us: u64,
}

impl Calls {
    pub fn new(shard: usize, services: Services, tick: u32) -> Self {
        Self {
            shard,
            services,
            calls: Slab::new(),
            lines: HashMap::new(),
            wheel: Wheel::new(tick, 0),
            expired: VecDeque::new(),
            ready: VecDeque::new(),
            bytes: 0,
            begun: 0,
            patient_until: 0,
            heard_until_us: 0,
        }
    }

    /// Who takes the messages of a service that is not local.
    pub fn remote(&self, service: ServiceId) -> Option<&Remote> {
        self.services.remote(service)
    }

    /// What this shard counts of a service.
    pub fn counters(&self, service: ServiceId) -> &ServiceCounters {
        self.services.counters(service, self.shard)
    }

    /// A message begins to wait, before its service is asked.
    pub fn begin(&mut self, waiting: Waiting<'_>, tick: u32) -> Result<Ticket, NoRoom> {
        let Waiting { from, kind, id, service, reply } = waiting;
        let bytes = reply.as_ref().map_or(0, |reply| reply.bytes.len());
        let line = self.lines.get(&from.slot);
        let (calls, line_bytes) = line.map_or((0, 0), |line| (line.places.len(), line.bytes));
        if calls >= CALLS_OF_CONNECTION_MAX || line_bytes + bytes > BYTES_OF_CONNECTION_MAX && calls > 0 {
            return Err(NoRoom::OfConnection);
        }
        if self.calls.len() >= CALLS_MAX || self.bytes + bytes > BYTES_MAX {
            return Err(NoRoom::OfShard);
        }
        let due = self.due(service, tick);
        let entry = self.calls.vacant_entry();
        let place = entry.key() as Place;
        self.begun += 1;
        let ticket = Ticket(self.begun << PLACE_BITS | u64::from(place));
        let id = id.map(ToOwned::to_owned);
        let held = VecDeque::new();
        entry.insert(Call { ticket, from, kind, id, service, reply, held, has_ended: false, due });
        self.wheel.set(place, due);
        self.count_in(from.slot, bytes, 0);
        self.lines.entry(from.slot).or_default().places.push(place);
        self.counters(service).outstanding.add(1);
        Ok(ticket)
    }

    /// The service has refused a call at once. What follows is up to [`Calls::next`].
    pub fn refuse(&mut self, from: ConnectionId, ticket: Ticket, failure: Failure) {
        if let Some(place) = self.find(from, ticket) {
            self.counters(self.calls[place].service).refused.add(1);
            self.end_with(place, Said::Failed(failure), None);
        }
    }

    /// A service says something to a call. False when no such call waits: its connection has gone, it has ended, or
    /// there never was one.
    pub fn respond(&mut self, response: Response, tick: u32) -> bool {
        let Response { to, ticket, part, fate } = response;
        let Some(place) = self.find(to, ticket) else {
            tell(fate, Fate::Gone);
            return false;
        };
        if !self.has_room(place, &part) {
            tell(fate, Fate::Gone);
            self.counters(self.calls[place].service).failed.add(1);
            self.break_off(place, Failure::Full);
            return true;
        }
        match part {
            Part::More(frame) => {
                self.wait_until(place, self.due(self.calls[place].service, tick));
                self.hold(place, HeldAnswer { said: Said::Message(frame), is_part: true, fate });
            }
            Part::Message(frame) => self.end_with(place, Said::Message(frame), fate),
            Part::Failed(failure) => {
                self.counters(self.calls[place].service).failed.add(1);
                self.end_with(place, Said::Failed(failure), fate);
            }
            Part::Taken => {
                let said = self.take_reply(place).map_or(Said::Nothing, Said::Message);
                self.end_with(place, said, fate);
            }
        }
        true
    }

    /// What may be sent to a connection now, piece by piece. Parts of an answer only when the client takes them.
    pub fn next(&mut self, slot: Slot, takes_parts: bool) -> Option<Released> {
        let mut at = 0;
        while let Some(&place) = self.lines.get(&slot).and_then(|line| line.places.get(at)) {
            if !self.calls[place as usize].has_something(takes_parts) || !self.is_first_of_its_type(place) {
                at += 1;
            } else if let Some(released) = self.release(slot, place as usize) {
                return Some(released);
            } else {
                self.remove(slot, place as usize);
            }
        }
        None
    }

    /// A connection has gone, or is about to: nothing of its calls is left.
    pub fn forget(&mut self, slot: Slot) {
        let Some(line) = self.lines.remove(&slot) else { return };
        self.bytes -= line.bytes;
        for place in line.places {
            let call = self.calls.remove(place as usize);
            self.wheel.cancel(place);
            call.held.into_iter().for_each(|held| tell(held.fate, Fate::Gone));
            if !call.has_ended {
                self.counters(call.service).outstanding.add(-1);
                self.tell_forgotten(call.service, call.from, call.ticket);
            }
        }
    }

    /// A tick has come: finds the calls whose deadline is over.
    pub fn tick(&mut self, tick: u32) {
        if self.is_waiting() {
            self.wheel.advance(tick, &mut self.expired);
        }
    }

    /// The shard has stood still: what services said meanwhile is in its lane, and is looked at first.
    pub fn be_patient(&mut self, until: u32) {
        self.patient_until = until;
    }

    /// What services had said by then has been taken from the lane: no deadline after it is over.
    pub fn heard_until(&mut self, us: u64) {
        self.heard_until_us = self.heard_until_us.max(us);
    }

    /// Ends the next call whose deadline is over. `None` when there is none, or else the connection, for
    /// [`Calls::next`].
    pub fn expire(&mut self, tick: u32) -> Option<Slot> {
        while let Some(place) = self.expired.pop_front() {
            // Another one may have come in its place meanwhile.
            let is_due = |call: &&Call| !call.has_ended && call.due <= tick;
            let Some(call) = self.calls.get(place as usize).filter(is_due) else { continue };
            let slot = call.from.slot;
            if self.may_not_go_on(place) {
                self.wait_until(place as usize, self.due(call.service, tick));
            } else if tick < self.patient_until {
                self.wait_until(place as usize, self.patient_until);
            } else if self.heard_until_us < u64::from(call.due) * u64::from(TICK_MS) * 1000 {
                // Its answer may wait in the lane. It is looked at again, and due since when it was.
                self.wheel.set(place, tick.saturating_add(1));
            } else {
                self.counters(call.service).late.add(1);
                self.break_off(place as usize, Failure::Late);
                return Some(slot);
            }
        }
        None
    }

    /// A connection has parts that wait until the client takes what it was sent before: to be looked at again.
    pub fn look_again(&mut self, slot: Slot) {
        if let Some(line) = self.lines.get_mut(&slot)
            && line.parts > 0
            && !std::mem::replace(&mut line.is_ready, true)
        {
            self.ready.push_back(slot);
        }
    }

    /// The next connection that is to be looked at again.
    pub fn next_ready(&mut self) -> Option<Slot> {
        let slot = self.ready.pop_front()?;
        if let Some(line) = self.lines.get_mut(&slot) {
            line.is_ready = false;
        }
        Some(slot)
    }

    /// Connections that are to be looked at again.
    pub fn ready(&self) -> usize {
        self.ready.len()
    }

    /// Whether parts wait for a connection to take them.
    pub fn has_parts(&self, slot: Slot) -> bool {
        self.lines.get(&slot).is_some_and(|line| line.parts > 0)
    }

    /// Whether ticks are needed.
    pub fn is_waiting(&self) -> bool {
        !self.wheel.is_empty() || !self.expired.is_empty()
    }

    /// Whether something is to be done now.
    pub fn has_work(&self) -> bool {
        !self.expired.is_empty() || !self.ready.is_empty()
    }

    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// With which tick a call is over that begins, or goes on, in this one: not before all of its time has passed.
    pub fn due(&self, service: ServiceId, tick: u32) -> u32 {
        tick.saturating_add(self.services.remote(service).map_or(1, |remote| remote.timeout_ticks) + 1)
    }

    /// The call that an answer is for, while it waits.
    fn find(&self, to: ConnectionId, ticket: Ticket) -> Option<usize> {
        let place = (ticket.0 & (CALLS_MAX as u64 - 1)) as usize;
        let waits = |call: &Call| call.ticket == ticket && call.from == to && !call.has_ended;
        self.calls.get(place).is_some_and(waits).then_some(place)
    }

    /// Whether what a service says may wait here, where it has to.
    fn has_room(&self, place: usize, part: &Part) -> bool {
        let call = &self.calls[place];
        let line = &self.lines[&call.from.slot];
        let Some(bytes) = part.frame().map(|frame| frame.bytes.len()) else { return true };
        let is_part = matches!(part, Part::More(_));
        if !is_part && call.held.is_empty() && self.is_first_of_its_type(place as Place) {
            return true;
        }
        // What is alone may be larger, whatever replies may still have to be sent.
        let is_alone = || line.places.iter().all(|other| self.calls[*other as usize].held.is_empty());
        let has_room_in_line = line.bytes + bytes <= BYTES_OF_CONNECTION_MAX || is_alone();
        call.held.len() < STREAM_WINDOW && has_room_in_line && self.bytes + bytes <= BYTES_MAX
    }

    /// Whether no earlier call of its connection has the same type.
    fn is_first_of_its_type(&self, place: Place) -> bool {
        let Call { kind, from, .. } = &self.calls[place as usize];
        let mut earlier = self.lines[&from.slot].places.iter().take_while(|other| **other != place);
        earlier.all(|other| self.calls[*other as usize].kind != *kind)
    }

    /// Whether it is the client that is waited for, or the service may say no more before earlier calls have their
    /// answers: then it owes nothing.
    fn may_not_go_on(&self, place: Place) -> bool {
        let call = &self.calls[place as usize];
        !call.held.is_empty() && (call.held.len() >= STREAM_WINDOW || self.is_first_of_its_type(place))
    }

    fn wait_until(&mut self, place: usize, due: u32) {
        self.calls[place].due = due;
        self.wheel.set(place as Place, due);
    }

    /// Ends a call that its service has not ended.
    fn break_off(&mut self, place: usize, failure: Failure) {
        let Call { service, from, ticket, .. } = self.calls[place];
        self.end_with(place, Said::Failed(failure), None);
        self.tell_forgotten(service, from, ticket);
    }

    fn end_with(&mut self, place: usize, said: Said, fate: Option<Answer<Fate>>) {
        debug_assert!(!self.calls[place].has_ended, "a call ends once");
        self.take_reply(place);
        self.hold(place, HeldAnswer { said, is_part: false, fate });
        self.calls[place].has_ended = true;
        self.wheel.cancel(place as Place);
        self.counters(self.calls[place].service).outstanding.add(-1);
    }

    /// The reply of the route, which is not kept any more.
    fn take_reply(&mut self, place: usize) -> Option<Frame> {
        let reply = self.calls[place].reply.take()?;
        self.count_out(self.calls[place].from.slot, reply.bytes.len(), 0);
        Some(reply)
    }

    fn hold(&mut self, place: usize, held: HeldAnswer) {
        self.count_in(self.calls[place].from.slot, held.bytes(), usize::from(held.is_part));
        self.calls[place].held.push_back(held);
    }

    /// Takes the next piece of a call that may leave. `None` when nothing more of it will.
    fn release(&mut self, slot: Slot, place: usize) -> Option<Released> {
        let held = self.calls[place].held.pop_front()?;
        self.count_out(slot, held.bytes(), usize::from(held.is_part));
        tell(held.fate, Fate::Released);
        match held.said {
            Said::Message(frame) => Some(Released::Message(frame)),
            Said::Failed(failure) => {
                let call = &mut self.calls[place];
                Some(Released::Failed { failure, kind: call.kind.clone(), id: call.id.take() })
            }
            Said::Nothing => None,
        }
    }

    fn count_in(&mut self, slot: Slot, bytes: usize, parts: usize) {
        let line = self.lines.entry(slot).or_default();
        line.bytes += bytes;
        line.parts += parts;
        self.bytes += bytes;
    }

    fn count_out(&mut self, slot: Slot, bytes: usize, parts: usize) {
        let Some(line) = self.lines.get_mut(&slot) else { return };
        line.bytes -= bytes;
        line.parts -= parts;
        self.bytes -= bytes;
    }

    /// A call has ended and all of it has left.
    fn remove(&mut self, slot: Slot, place: usize) {
        let call = self.calls.remove(place);
        debug_assert!(call.has_ended && call.held.is_empty() && call.reply.is_none(), "nothing is lost");
        let Some(line) = self.lines.get_mut(&slot) else { return };
        line.places.retain(|other| *other != place as Place);
        if line.places.is_empty() {
            debug_assert!(line.bytes == 0 && line.parts == 0, "nothing is left of a line without calls");
            self.lines.remove(&slot);
        }
    }

    fn tell_forgotten(&self, service: ServiceId, from: ConnectionId, ticket: Ticket) {
        if let Some(remote) = self.services.remote(service) {
            remote.service.forget(from, ticket);
        }
    }
}

#[cfg(test)]
impl Calls {
    /// Holds at any moment: what is counted is what is there, within its bounds.
    pub fn check(&self) {
        let bytes_of = |call: &Call| {
            let reply = call.reply.as_ref().map_or(0, |reply| reply.bytes.len());
            reply + call.held.iter().map(HeldAnswer::bytes).sum::<usize>()
        };
        let calls_of = |line: &Line| line.places.iter().map(|place| &self.calls[*place as usize]).collect::<Vec<_>>();
        for (slot, line) in &self.lines {
            let calls = calls_of(line);
            assert!((1..=CALLS_OF_CONNECTION_MAX).contains(&calls.len()));
            assert!(calls.iter().all(|call| call.from.slot == *slot && call.held.len() <= STREAM_WINDOW + 1));
            assert!(calls.is_sorted_by_key(|call| call.ticket.0 >> PLACE_BITS), "in the order of the messages");
            assert_eq!(line.bytes, calls.iter().map(|call| bytes_of(call)).sum::<usize>());
            assert_eq!(line.parts, calls.iter().flat_map(|call| &call.held).filter(|held| held.is_part).count());
            assert_eq!(self.ready.contains(slot), line.is_ready);
        }
        assert_eq!(self.calls.len(), self.lines.values().map(|line| line.places.len()).sum::<usize>());
        assert_eq!(self.bytes, self.lines.values().map(|line| line.bytes).sum::<usize>());
        assert!(self.bytes <= BYTES_MAX && self.ready.len() <= self.lines.len().max(1));
    }
}
