//! How connections end: by our close frame, by the peer's, by vanishing, and all together when the shard drains.
//!
//! ```text
//!  because of                                     seen by                              begins with
//!  the peer's close frame, a breach of RFC 6455   reading                              answer_close, fail
//!  a message: what it asks, one too many          session: error, dispatch, mod        close
//!  silence, no token in time, an old token        attention                            close
//!  a message that is not finished in time         attention                            fail
//!  more to send than it takes                     wire, which tells sending            close
//!  a newer connection of its user                 seats, asked by go_on_closing        close
//!  an operator, the drain                         sweeps, asked by go_on_closing       close
//!  the drain, when it comes in only now           arrival                              close
//!  the peer has gone                              turn: Event::Ended                   vanished
//!  what follows our close frame takes too long    attention                            give_up
//! ```
//!
//! Whoever began it, the steps are these, in this order:
//!
//! ```text
//!  leave_everything   while it is alive: out of all that could send to it or count it
//!  the close frame    under the cork, behind what waits; not for who has vanished. Then the peer's is awaited
//!  drop_unsent        what it has not got by now it will not get; no deadline is left
//!  close_socket       the backend finishes what is in flight; give_up has it drop that, and send a reset
//!  free_slot          Event::Closed: the slot may be another one's
//! ```
//!
//! Behind our close frame the stream ends (RFC 6455 section 7.1.1 and 7.1.7). When both sides have said close and
//! nothing follows, the socket is closed at once. A peer that broke the protocol may be sending still, and closing a
//! socket with unread input makes the kernel send a reset, which can overtake the close frame. So there only our side
//! of the stream ends (FIN), and what comes is read and dropped until the peer ends its own, for a bounded time and up
//! to a bounded size.
//!
//! Calls nothing but what stands below it: the wire, which reports who is too slow and closes nobody, the fan-outs and
//! the sweeps. So saying goodbye cannot come back here.

use std::time::Duration;

use crate::channel::name;
use crate::clock::{TICK_MS, ticks};
use crate::metrics::counters::{ABNORMAL, BY_PEER};
use crate::ws::close::CloseCode;
use crate::ws::frame::{encode_close, encode_close_without_code};
use crate::ws::violation::Violation;

use crate::lane::events::{Ended, Event, EventKind, What};
use crate::lane::frame::Frame;
use crate::shard::floor::Floor;
use crate::shard::floor::sweeps::CLOSINGS_PER_TURN;
use crate::shard::floor::wire::TooSlow;
use crate::shard::io::{Io, Slot};
use crate::shard::profiles;
use crate::shard::seats::Sitter;

/// How long a peer that broke the protocol may take to end its side of the stream when ours has ended.
const LINGER: Duration = Duration::from_millis(500);

/// What is read and dropped meanwhile, unless a message may be larger: a peer that sends a whole message too many at
/// once still gets to read why.
const LINGER_BYTES: usize = 256 * 1024;

/// What the end of a connection is called that no close frame names (RFC 6455 section 7.4.1): the peer's had no code,
/// or there was none.
const NO_CODE: u16 = 1005;
const NO_CLOSE_FRAME: u16 = 1006;

/// What our close frame says.
struct Goodbye {
    /// None: a close frame without a code, in answer to one.
    code: Option<CloseCode>,
    reason: &'static str,
}

impl<I: Io> Floor<I> {
    /// Says goodbye and waits for the answer.
    pub(in crate::shard) fn close(&mut self, slot: Slot, code: CloseCode) {
        self.say_goodbye(slot, Goodbye { code: Some(code), reason: code.reason() }, code.name());
    }

    /// Says goodbye to a peer that cannot be read any more.
    pub(in crate::shard) fn fail(&mut self, slot: Slot, violation: Violation) {
        let code = violation.close_code();
        let goodbye = Goodbye { code: Some(code), reason: violation.reason() };
        self.say_goodbye(slot, goodbye, code.name());
        self.end_behind_goodbye(slot, true);
    }

    /// The peer has said goodbye: it gets its code back unless we spoke first. When it goes on sending, it is not
    /// believed to listen for the end either.
    pub(in crate::shard) fn answer_close(&mut self, slot: Slot, code: Option<CloseCode>, goes_on: bool) {
        let goodbye = Goodbye { code, reason: code.map_or("", CloseCode::reason) };
        self.say_goodbye(slot, goodbye, BY_PEER);
        self.end_behind_goodbye(slot, goes_on);
    }

    /// Nothing of the peer's is awaited any more: our side ends with the last byte.
    fn end_behind_goodbye(&mut self, slot: Slot, goes_on: bool) {
        let rules = &self.state.rules;
        let echo_bytes_max = rules.echo.as_ref().map_or(0, |echo| echo.message_bytes_max);
        let input_bytes_max = rules.message_bytes_max.max(echo_bytes_max).max(LINGER_BYTES);
        let connection = &mut self.wire.connections[slot as usize];
        if goes_on {
            connection.ending().fail(input_bytes_max);
        } else {
            connection.ending().finish();
        }
        let too_slow = self.wire.flush(slot);
        debug_assert_eq!(too_slow, TooSlow(false), "who has said goodbye is not too slow any more");
        if !self.wire.io.await_sent(slot) {
            self.all_sent(slot);
        }
    }

    /// Nothing of a connection is on its way any more: if that was all there will be, its stream ends.
    pub(in crate::shard) fn all_sent(&mut self, slot: Slot) {
        let connection = &mut self.wire.connections[slot as usize];
        if connection.phase().is_finishing() {
            self.close_socket(slot);
        } else if connection.phase().is_failing() {
            connection.ending().linger(self.state.now.tick() + ticks(LINGER));
            self.wire.io.shut(slot);
            self.watch_clock(slot);
        }
    }

    /// The peer is gone without a word.
    pub(in crate::shard) fn vanished(&mut self, slot: Slot) {
        if self.wire.connections[slot as usize].is_alive() {
            self.state.counters.closed.count(ABNORMAL);
            self.leave_everything(slot, NO_CLOSE_FRAME, ABNORMAL);
        }
        self.close_socket(slot);
    }

    /// Has the backend close the socket. [`Floor::free_slot`] follows.
    pub(in crate::shard) fn close_socket(&mut self, slot: Slot) {
        if self.drop_unsent(slot) {
            self.wire.io.close(slot);
        }
    }

    /// The peer has had its time: what it has not taken is dropped, and it is told by a reset. A lingering one has
    /// taken everything, and a reset could take that away from it again.
    pub(in crate::shard) fn give_up(&mut self, slot: Slot) {
        let has_all = self.wire.connections[slot as usize].phase().is_lingering();
        if has_all {
            self.close_socket(slot);
        } else if self.drop_unsent(slot) {
            self.wire.io.reset(slot);
        }
    }

    /// Drops what a connection was still to get, for its socket is about to be closed. False when that was done before.
    fn drop_unsent(&mut self, slot: Slot) -> bool {
        let connection = &mut self.wire.connections[slot as usize];
        if connection.phase().is_stopped() {
            return false;
        }
        debug_assert!(!connection.is_alive() || connection.profile == profiles::NONE);
        connection.ending().stop();
        let dropped = self.wire.drop_waiting(slot);
        self.state.counters.deliveries_dropped.add(dropped as u64);
        self.wheel.cancel(slot);
        true
    }

    /// Nothing of the connection is in flight any more: its part of the limit per address is free, and nobody waits for
    /// the token that it brought.
    pub(in crate::shard) fn free_slot(&mut self, slot: Slot) {
        let connection = self.wire.connections.remove(slot as usize);
        self.state.shares.leave(slot);
        self.state.paused.forget(slot);
        debug_assert!(connection.phase().is_stopped() && connection.outbox.is_none() && !self.wire.cork.has(slot));
    }

    /// Begins to close everybody over this time, the first one when all has been brought to its recipients that was
    /// taken from the lane before. The shard is done when the last one is gone.
    pub(in crate::shard) fn start_draining(&mut self, over: Duration) {
        let now = self.state.now.tick();
        if self.sweeps.drain(now + ticks(over)) {
            self.fan_outs.owe_all();
            self.sweeps.tick(now, self.slots_used);
        }
    }

    /// Closes some of those that are to be closed together.
    pub(in crate::shard) fn go_on_closing(&mut self) -> bool {
        let worked = self.is_to_close();
        for id in self.state.seats.next_replaced(self.state.shard, CLOSINGS_PER_TURN) {
            if self.is_current(id) {
                self.close(id.slot, CloseCode::REPLACED);
            }
        }
        if let Some((slots, code)) = self.sweeps.next_disconnected(&self.state.table) {
            slots.iter().for_each(|&slot| self.close(slot, code));
            self.sweeps.note_disconnected(slots.len());
        }
        if !self.fan_outs.is_owing() {
            for slot in self.sweeps.next_drained() {
                if self.wire.connections.get(slot as usize).is_some_and(|c| c.is_alive()) {
                    self.close(slot, CloseCode::GOING_AWAY);
                }
            }
        }
        worked
    }

    /// Whether somebody waits for [`Floor::go_on_closing`].
    pub(in crate::shard) fn is_to_close(&self) -> bool {
        self.sweeps.is_closing() || self.state.seats.has_replaced(self.state.shard)
    }

    fn say_goodbye(&mut self, slot: Slot, goodbye: Goodbye, label: &'static str) {
        if !self.wire.connections[slot as usize].is_alive() {
            return;
        }
        self.state.counters.closed.count(label);
        self.leave_everything(slot, goodbye.code.map_or(NO_CODE, Into::into), label);
        if goodbye.code == Some(CloseCode::TOO_SLOW) {
            // It will not read what waits; if it reads anything it should be the reason.
            let dropped = self.wire.drop_waiting(slot);
            self.wire.count_dropped([dropped, 0, 0, 0]);
        }
        let until = self.state.now.tick() + self.state.rules.close_deadline_ticks;
        self.wire.connections[slot as usize].ending().close(until);
        let frame = match goodbye.code {
            Some(code) => encode_close(code, goodbye.reason),
            None => encode_close_without_code(),
        };
        self.wire.send(slot, Frame::local(frame, self.state.now.us));
        self.watch_clock(slot);
    }

    /// Takes the connection out of everything that could send to it or count it: whoever keeps something per connection
    /// adds it here, or in [`Floor::free_slot`] what holds for as long as the slot is in use. How it ends is told with
    /// the code and the label of the counters; its end counts as heard of, unless it is closed because there was
    /// nothing to hear.
    fn leave_everything(&mut self, slot: Slot, code: u16, reason: &'static str) {
        let connection = &mut self.wire.connections[slot as usize];
        debug_assert!(connection.is_alive());
        let id = self.state.id(slot, connection);
        if connection.phase().is_open() {
            let user_id = name::user_of(self.state.table.name(connection.user_channel));
            let sitter = Sitter { user_id, device_id: connection.device_id() };
            self.state.seats.leave(sitter, id);
            let duration_ms = u64::from(self.state.now.tick() - connection.connected_at) * u64::from(TICK_MS);
            self.state.events.tell(EventKind::Disconnected, || Event {
                unix_ms: self.state.now.unix_ms,
                from: id,
                user_id: user_id.into(),
                what: What::Disconnected(Ended { code, reason, duration_ms }),
            });
            let is_silent = code == CloseCode::NO_SIGN_OF_LIFE.0;
            let heard_at = if is_silent { connection.last_seen } else { self.state.now.tick() };
            self.state.begin_grace(slot, connection.user_channel, heard_at);
            self.state.sessions -= 1;
            self.state.profiles.leave(connection.profile);
            connection.profile = profiles::NONE;
        } else if connection.phase().is_echo() {
            self.state.echoes -= 1;
        } else {
            self.state.counters.unauthenticated.add(-1);
        }
        for stop in self.state.typing.end_all(slot) {
            self.state.tell(&stop);
        }
        self.state.table.leave_all(slot);
        self.state.calls.forget(slot);
        self.state.pending.forget(slot);
        self.state.nearby.forget(slot);
        self.state.shares.leave_user(slot);
    }
}
