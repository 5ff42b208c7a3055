//! The hot half of a shard: open connections on an [`Io`] backend, without tasks or futures.
//!
//! Owns the slab of connections and moves bytes between the backend and the sans-IO parts: the decoder, the session, the
//! subscription table, the timer wheel. `turn` is called by the shard's loop until there is nothing to do, and ends after about a
//! millisecond whatever there is to do: each of its steps has a share of that time and goes on in the next turn. Beside this
//! file: [`crate::shard::floor::delivery`] (how frames leave), [`crate::shard::floor::closing`] (how connections end), [`crate::shard::floor::commands`] (what is done
//! with commands from the lane).
//!
//! Invariant: a slot of the slab is in use exactly from [`Floor::adopt`] to [`Event::Closed`], so the backend never
//! completes something for a connection that is gone.

pub(in crate::shard) mod closing;
mod commands;
pub(in crate::shard) mod cork;
pub(in crate::shard) mod delivery;
pub(in crate::shard) mod fan_out;
pub(in crate::shard) mod inspect;
mod pace;

use std::collections::VecDeque;

use slab::Slab;

use crate::auth::Identity;
use crate::clock::{Now, TICK_MS};
use crate::lane::{LaneEnd, Posted};
use crate::metrics::latency::Stopwatch;
use crate::metrics::{Latency, Timed};
use crate::protocol::reply;
use crate::ws::close::CloseCode;
use crate::ws::decoder::Incoming;
use crate::ws::frame::{encode_ping, encode_pong, encode_text};
use crate::ws::violation::Violation;

use crate::lane::frame::{Frame, LocalFrame};
use crate::shard::connection::wheel::Wheel;
use crate::shard::connection::{Attention, Connection, Details, Phase};
use crate::shard::floor::closing::{Disconnect, Drain};
use crate::shard::floor::cork::Urgency;
use crate::shard::floor::delivery::Wire;
use crate::shard::floor::fan_out::FanOuts;
use crate::shard::floor::inspect::Inspections;
use crate::shard::floor::pace::{BETWEEN_LOOKS, Pace};
use crate::shard::id::ConnectionId;
use crate::shard::io::{Chunk, Event, Io, Slot};
use crate::shard::lobby::quotas::Held;
use crate::shard::session::{Effects, End, Session};
use crate::shard::state::ShardState;

/// Until when, from its beginning, each step of a turn may go on, in microseconds: what one leaves is the next one's.
const COMMANDS_UNTIL_US: u64 = 250;
const DEADLINES_UNTIL_US: u64 = 400;
const EVENTS_UNTIL_US: u64 = 700;
const SENDS_UNTIL_US: u64 = 1000;

/// A tick that is so much late means that the shard stood still: it was stopped, or had no processor.
const STALL_TICKS: u32 = 10;

/// Most of either in one turn, whatever the clock says: what a lane holds.
const PER_TURN: usize = 4096;

/// While so many connections wait for answers no more input is read: answers must not pile up.
const ANSWERS_MAX: usize = 1024;

pub struct Floor<I: Io> {
    pub(in crate::shard) wire: Wire<I>,
    capacity: usize,
    /// One more than the highest slot ever used.
    pub(in crate::shard) slots_used: Slot,
    pub(in crate::shard) state: ShardState,
    pub(in crate::shard) wheel: Wheel,
    pub(in crate::shard) lane: LaneEnd,
    pub(in crate::shard) fan_outs: FanOuts,
    pub(in crate::shard) drain: Option<Drain>,
    /// Disconnections that take more than one turn.
    pub(in crate::shard) disconnects: VecDeque<Disconnect>,
    generation: u32,
    /// A tick is on its way.
    ticking: bool,
    /// When it should come.
    tick_due: u32,
    /// An alarm is on its way.
    is_alarm_set: bool,
    /// Questions under way.
    pub(in crate::shard) inspections: Inspections,
    beat: Option<Beat>,
    /// Runs since the kernel was asked for what has arrived and is not handled yet.
    since_arrival: Option<Stopwatch>,
    // Kept to be filled anew, so that nothing is allocated per turn.
    effects: Effects,
    /// Slots whose deadline has come, to be attended to.
    expired: VecDeque<Slot>,
}

/// A client whose upgrade was accepted.
pub struct Arrival {
    /// The response head, sent before anything else.
    pub response: Vec<u8>,
    /// What came behind the request head.
    pub rest: Vec<u8>,
    /// From the token of the request; without it the session begins with an `auth` message.
    pub identity: Option<Identity>,
    pub details: Option<Box<Details>>,
    /// Its parts of the limits per address and per user.
    pub held: Held,
    /// Through the echo endpoint: no session begins.
    pub echo: bool,
}

/// The two heartbeats of one tick, encoded once for all whose turn it is.
struct Beat {
    tick: u32,
    ping: LocalFrame,
    heartbeat: LocalFrame,
}

impl<I: Io> Floor<I> {
    /// A floor for at most `capacity` connections.
    pub fn new(io: I, capacity: usize, state: ShardState, lane: LaneEnd) -> Self {
        Self {
            wire: Wire::new(io, Slab::with_capacity(capacity), state.rules.outbox_bytes_max, state.counters.clone()),
            capacity,
            slots_used: 0,
            wheel: Wheel::new(state.now.tick(), capacity),
            state,
            lane,
            fan_outs: FanOuts::default(),
            drain: None,
            disconnects: VecDeque::new(),
            generation: 0,
            ticking: false,
            tick_due: 0,
            is_alarm_set: false,
            inspections: Inspections::default(),
            beat: None,
            since_arrival: None,
            effects: Effects::default(),
            expired: VecDeque::new(),
        }
    }

    pub fn is_full(&self) -> bool {
        self.wire.connections.len() >= self.capacity
    }

    pub fn is_draining(&self) -> bool {
        self.drain.is_some()
    }

    /// Drained and empty: the shard may end.
    pub fn is_done(&self) -> bool {
        self.is_draining() && self.wire.connections.is_empty() && !self.fan_outs.is_owing()
    }

    /// For what is timed around the floor.
    pub fn latency(&mut self) -> &mut Latency {
        &mut self.state.latency
    }

    /// Takes a client in. The floor must not be full. The response and the greeting leave as one send.
    pub fn adopt(&mut self, socket: I::Socket, arrival: Arrival, now: Now) -> std::io::Result<ConnectionId> {
        self.state.now = now;
        self.generation = self.generation.wrapping_add(1);
        let mut connection = Connection::new(self.generation, now, arrival.details);
        if arrival.echo {
            connection.phase = Phase::Echo;
        }
        let slot = self.wire.connections.insert(connection) as Slot;
        self.slots_used = self.slots_used.max(slot + 1);
        if let Err(error) = self.wire.io.open(slot, socket) {
            self.wire.connections.remove(slot as usize);
            return Err(error);
        }
        self.state.counters.upgraded.add(1);
        self.state.echoes += usize::from(arrival.echo);
        // At once, not at the end of the turn: the limit of the whole process is read from it.
        self.state.counters.connections.set(self.wire.connections.len() as i64);
        self.state.counters.unauthenticated.add(i64::from(!arrival.echo));
        self.state.shares.put(slot, arrival.held);
        let mut first = arrival.response;
        if let Some(identity) = arrival.identity {
            let connection = &mut self.wire.connections[slot as usize];
            let mut session = Session { state: &mut self.state, slot, effects: &mut self.effects };
            // The lobby has checked the role already.
            if session.admit(connection, identity) {
                first.extend_from_slice(&encode_text(&session.greeting(connection)));
            }
        }
        self.send(slot, Frame::local(first.into(), now.us));
        let (before, watch) = (self.state.counters.messages_received.get(), Stopwatch::start());
        if !arrival.rest.is_empty() {
            let mut rest = arrival.rest;
            self.read(slot, &mut rest);
        }
        self.effects.rearm = true;
        self.carry_out(slot);
        self.time_messages(before, watch);
        if self.is_draining() {
            // The sweep may have passed this slot already.
            self.close(slot, CloseCode::GOING_AWAY);
        }
        self.keep_ticking();
        Ok(ConnectionId { shard: self.state.shard as u16, slot, generation: self.generation })
    }

    /// Whether `id` still names a connection of this shard.
    pub fn is_current(&self, id: ConnectionId) -> bool {
        usize::from(id.shard) == self.state.shard
            && self.wire.connections.get(id.slot as usize).is_some_and(|c| c.generation == id.generation)
    }

    /// One round: commands from the lane, deadlines, what the kernel has completed, and then what all of that is answered with.
    /// False when there was nothing to do.
    pub fn turn(&mut self, now: Now) -> bool {
        self.state.now = now;
        self.state.counters.turns.add(1);
        let start_us = self.wire.io.now_us();
        let mut worked = self.take_commands(start_us + COMMANDS_UNTIL_US);
        worked |= self.go_on_closing();
        worked |= self.attend_to_expired(start_us + DEADLINES_UNTIL_US);
        worked |= self.take_events(start_us + EVENTS_UNTIL_US);
        worked |= self.fan_out();
        worked |= self.inspect();
        if worked {
            // Before the answers leave: whoever has one and asks the admin port finds there what it was told.
            self.show();
        }
        worked |= self.flush_all(start_us + SENDS_UNTIL_US);
        self.set_alarm();
        self.enter();
        worked || self.has_work()
    }

    fn take_commands(&mut self, until_us: u64) -> bool {
        let mut now_us = self.state.now.us;
        for taken in 0..PER_TURN {
            if taken > 0 && taken % BETWEEN_LOOKS == 0 {
                now_us = self.wire.io.now_us();
                if now_us >= until_us {
                    return true;
                }
            }
            let posted = if self.has_room() { self.lane.take() } else { self.lane.take_command() };
            let Some(Posted { at_us, command }) = posted else { return taken > 0 };
            self.state.latency.record(Timed::LaneWait, now_us.saturating_sub(at_us));
            self.state.counters.lane_commands.add(1);
            self.obey(command);
        }
        true
    }

    fn take_events(&mut self, until_us: u64) -> bool {
        let mut pace = Pace::until(until_us);
        for handled in 0..PER_TURN {
            if pace.is_over(|| self.wire.io.now_us()) || self.wire.cork.answers() >= ANSWERS_MAX {
                return true;
            }
            let Some(event) = self.wire.io.next() else {
                self.since_arrival = None;
                return handled > 0;
            };
            pace.serves(if let Event::Received { chunk, .. } = &event { chunk.len as usize } else { 0 });
            self.handle(event);
        }
        true
    }

    /// Hands what is queued to the kernel and fetches what has completed.
    pub(in crate::shard) fn enter(&mut self) {
        self.wire.io.enter().expect("the ring accepts submissions as long as it lives");
        self.since_arrival.get_or_insert_with(Stopwatch::start);
    }

    /// Whether the next turn has something to do, without a look at the lane.
    fn has_work(&mut self) -> bool {
        let waiting = !self.wire.cork.is_empty() || !self.fan_outs.is_idle() || !self.expired.is_empty();
        waiting || !self.inspections.is_empty() || self.is_closing() || self.wire.io.has_queued()
    }

    /// Before sleeping: false when something waits that would not ring the bell.
    pub fn doze(&mut self) -> bool {
        self.lane.is_empty() && !self.has_work() && self.wire.io.doze()
    }

    pub fn rouse(&mut self) {
        self.wire.io.rouse();
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Received { slot, chunk } => self.receive(slot, chunk),
            Event::Sent { slot } => self.sent(slot),
            Event::Ended { slot } => self.vanished(slot),
            Event::Closed { slot } => self.free(slot),
            Event::Tick => self.tick(),
            // What is due begins with the fan-outs of this turn.
            Event::Alarm => self.is_alarm_set = false,
        }
    }

    fn receive(&mut self, slot: Slot, chunk: Chunk) {
        self.state.counters.received_bytes.add(chunk.len.into());
        let before = self.state.counters.messages_received.get();
        let connection = &mut self.wire.connections[slot as usize];
        connection.last_seen = self.state.now.tick();
        let session = Session { state: &mut self.state, slot, effects: &mut self.effects };
        read(connection, self.wire.io.bytes(&chunk), session);
        self.carry_out(slot);
        self.time_messages(before, self.since_arrival.unwrap_or_else(Stopwatch::start));
        let connection = &mut self.wire.connections[slot as usize];
        let watch =
            connection.goes_on_reading(chunk.len as usize) && !connection.is_ahead(self.state.rules.echo.as_ref());
        self.wire.io.release(chunk, watch);
    }

    /// Records the messages that were counted after `before`: they have been answered.
    fn time_messages(&mut self, before: u64, since_arrival: Stopwatch) {
        let messages = self.state.counters.messages_received.get() - before;
        if messages > 0 {
            self.state.latency.record_n(Timed::Message, since_arrival.us(), messages);
        }
    }

    fn read(&mut self, slot: Slot, input: &mut [u8]) {
        let session = Session { state: &mut self.state, slot, effects: &mut self.effects };
        read(&mut self.wire.connections[slot as usize], input, session);
    }

    /// Does what the session's answers ask for.
    fn carry_out(&mut self, slot: Slot) {
        let mut frames = std::mem::take(&mut self.effects.frames);
        frames.drain(..).for_each(|frame| self.send(slot, frame));
        self.effects.frames = frames;
        self.effects.pong = None;
        let Effects { close, end, rearm, .. } = &mut self.effects;
        let (close, end, rearm) = (close.take(), end.take(), std::mem::take(rearm));
        if let Some(code) = close {
            self.close(slot, code);
        }
        match end {
            Some(End::Fail(violation)) => self.fail(slot, violation),
            Some(End::Answer { code, goes_on }) => self.answer_close(slot, code, goes_on),
            None if rearm => self.watch_clock(slot),
            None => {}
        }
    }

    fn tick(&mut self) {
        self.ticking = false;
        self.forgive_if_late();
        let before = self.expired.len();
        self.wheel.advance(self.state.now.tick(), &mut self.expired);
        // Neighbours share cache lines and rings: what goes to them then leaves with few entries into the kernel.
        self.expired.make_contiguous()[before..].sort_unstable();
        self.go_on_draining();
        self.keep_ticking();
    }

    /// After a tick that came late nobody is judged before a ping has had its time: the shard has read nothing meanwhile.
    fn forgive_if_late(&mut self) {
        let (now, rules) = (self.state.now.tick(), &self.state.rules);
        if now > self.tick_due + STALL_TICKS {
            self.state.judge_from = now + rules.idle_ticks.saturating_sub(rules.heartbeat_ticks).max(STALL_TICKS);
        }
    }

    fn attend_to_expired(&mut self, until_us: u64) -> bool {
        for attended in 0..PER_TURN {
            if attended > 0 && attended % BETWEEN_LOOKS == 0 && self.wire.io.now_us() >= until_us {
                return true;
            }
            let Some(slot) = self.expired.pop_front() else {
                self.keep_ticking();
                return attended > 0;
            };
            // Its connection may have gone meanwhile, and another one have come.
            if self.wire.connections.contains(slot as usize) {
                self.attend(slot);
            }
        }
        true
    }

    /// Ticks come only while somebody has a deadline: an empty shard sleeps.
    pub(in crate::shard) fn keep_ticking(&mut self) {
        let has_deadlines = !self.wheel.is_empty() || !self.expired.is_empty() || self.is_draining();
        if has_deadlines && !self.ticking {
            self.ticking = true;
            self.tick_due = self.state.now.tick() + 1;
            self.wire.io.tick(TICK_MS);
        }
    }

    /// Wakes the shard when the next of those fan-outs is due that wait. Not later than after the shortest delay there is: then
    /// nothing that comes meanwhile is due earlier, and one alarm at a time is enough.
    fn set_alarm(&mut self) {
        if !self.is_alarm_set
            && let Some(due_us) = self.fan_outs.next_due_us()
        {
            self.is_alarm_set = true;
            let us = due_us.saturating_sub(self.wire.io.now_us());
            self.wire.io.alarm(us.min(self.state.rules.batch_delay_min_us.into()));
        }
    }

    /// Sets the connection's next deadline.
    pub(in crate::shard) fn watch_clock(&mut self, slot: Slot) {
        let due = self.wire.connections[slot as usize].due(self.state.now, &self.state.rules, self.state.judge_from);
        self.wheel.set(slot, due);
    }

    /// A connection's deadline has come.
    fn attend(&mut self, slot: Slot) {
        let ShardState { now, judge_from, .. } = self.state;
        while let Some(attention) = self.wire.connections[slot as usize].attention(now, &self.state.rules, judge_from) {
            match attention {
                Attention::MessageOverdue => {
                    self.state.counters.violations.count(Violation::UnfinishedMessage.name());
                    return self.fail(slot, Violation::UnfinishedMessage);
                }
                Attention::AuthenticationOverdue => return self.close(slot, CloseCode::AUTH_TIMEOUT),
                Attention::Silent => return self.close(slot, CloseCode::NO_SIGN_OF_LIFE),
                Attention::TokenExpired => return self.close(slot, CloseCode::TOKEN_EXPIRED),
                Attention::CloseOverdue => return self.give_up(slot),
                Attention::HeartbeatDue => self.beat(slot),
                Attention::TokenExpiresSoon => {
                    let expires_at = u64::from(self.wire.connections[slot as usize].expires_at);
                    let expires_in_s = expires_at.saturating_sub(self.state.now.unix_s());
                    let warning = encode_text(&reply::token_expiring(expires_in_s, expires_at));
                    self.send(slot, Frame::local(warning, self.state.now.us));
                }
            }
        }
        self.watch_clock(slot);
    }

    /// A heartbeat message for sessions with a user type, a ping for the others.
    fn beat(&mut self, slot: Slot) {
        let now = self.state.now;
        let beat = match self.beat.take() {
            Some(beat) if beat.tick == now.tick() => beat,
            _ => Beat {
                tick: now.tick(),
                ping: Frame::local(encode_ping(&now.us.to_be_bytes()), now.us),
                heartbeat: Frame::local(encode_text(&reply::heartbeat(now.unix_ms)), now.us),
            },
        };
        let has_type = self.state.profiles.user_type(self.wire.connections[slot as usize].profile).is_some();
        let frame = if has_type { &beat.heartbeat } else { &beat.ping };
        self.wire.cork.push(slot, frame.clone(), Urgency::Bulk);
        self.state.counters.heartbeats_sent.add(1);
        self.beat = Some(beat);
    }

    /// Brings the levels that the admin port shows up to date.
    fn show(&self) {
        let (state, counters) = (&self.state, &self.state.counters);
        let in_flight = self.wire.io.in_flight();
        counters.connections.set(self.wire.connections.len() as i64);
        counters.sessions.set(state.sessions as i64);
        counters.users.set(state.table.user_share());
        counters.channels.set(state.table.channel_count() as i64);
        counters.subscriptions.set(state.table.membership_count() as i64);
        counters.sends_in_flight.set(in_flight.sends as i64);
        counters.receive_buffers_in_use.set(in_flight.receive_buffers as i64);
        counters.outbox_bytes.set(self.wire.outbox_bytes as i64);
    }
}

/// Reads what a client sent: every message in the chunk, in order. Once the connection closes only the peer's close frame
/// is of interest.
fn read(connection: &mut Connection, mut input: &mut [u8], mut session: Session<'_>) {
    if connection.deaf {
        return;
    }
    let policy = connection.policy(&session.state.rules);
    loop {
        match connection.decoder.next(&mut input, policy) {
            Ok(None) => {
                // A deadline begins.
                session.effects.rearm |= connection.decoder.note_beginning(session.state.now.tick());
                return;
            }
            Ok(Some(incoming)) if connection.phase == Phase::Echo && session.echo(&incoming) => {}
            // Taken only while we close.
            Ok(Some(Incoming::Binary(_))) => {}
            Ok(Some(Incoming::Text(message))) => {
                if connection.is_alive() && session.effects.close.is_none() {
                    session.answer(connection, &message);
                }
            }
            Ok(Some(Incoming::Fragment)) => {
                session.state.counters.fragments_received.add(1);
                session.admit_frame(connection);
            }
            Ok(Some(Incoming::Ping(payload))) => {
                session.state.counters.control_frames_received.add(1);
                if session.admit_frame(connection) {
                    session.effects.answer_ping(Frame::local(encode_pong(&payload), session.state.now.us));
                }
            }
            Ok(Some(Incoming::Pong(payload))) => {
                session.state.counters.control_frames_received.add(1);
                if session.admit_frame(connection) {
                    session.time_ping(&payload);
                }
            }
            Ok(Some(Incoming::Close(peer))) => {
                let code = peer.map(|p| p.code);
                // Whoever examines us sends on behind its goodbye on purpose.
                let goes_on = !input.is_empty() || connection.phase == Phase::Echo;
                session.effects.end = Some(End::Answer { code, goes_on });
                connection.deaf = true;
                return;
            }
            Err(violation) => {
                session.state.counters.violations.count(violation.name());
                session.effects.end = Some(End::Fail(violation));
                connection.deaf = true;
                return;
            }
        }
    }
}
