//! Deadlines: the tick that brings them, and what is done with a connection whose deadline has come.
//!
//! When a connection is due, and why, is known to [`crate::shard::connection`]; the wheel keeps the slots by their
//! ticks. Ticks come only while somebody has a deadline.

use crate::clock::TICK_MS;
use crate::lane::frame::{Frame, LocalFrame};
use crate::protocol::reply::{Expiry, Message, Time};
use crate::shard::connection::Attention;
use crate::shard::floor::Floor;
use crate::shard::floor::cork::Urgency;
use crate::shard::floor::pace::{BETWEEN_LOOKS, PER_TURN};
use crate::shard::io::{Io, Slot};
use crate::shard::state::ShardState;
use crate::ws::close::CloseCode;
use crate::ws::frame::{encode_ping, encode_text};
use crate::ws::violation::Violation;

/// Those of whom it is told in one turn that they do not write any more: a microsecond or two each.
const ENDINGS_PER_TURN: usize = 64;

/// A tick that is this late means that the shard stood still: it was stopped, or had no processor.
const STALL_TICKS: u32 = 10;

/// The two heartbeats of one tick, encoded once for all whose turn it is.
pub struct Beat {
    tick: u32,
    ping: LocalFrame,
    heartbeat: LocalFrame,
}

impl<I: Io> Floor<I> {
    pub(super) fn tick(&mut self) {
        debug_assert!(self.ticking, "a tick was asked for");
        self.ticking = false;
        self.forgive_if_late();
        let before = self.expired.len();
        self.wheel.advance(self.state.now.tick(), &mut self.expired);
        // Neighbours share cache lines and rings: what goes to them then leaves with few entries into the kernel.
        self.expired.make_contiguous()[before..].sort_unstable();
        self.sweeps.tick(self.state.now.tick(), self.slots_used);
        self.state.calls.tick(self.state.now.tick());
        self.state.pending.tick(self.state.now.tick());
    }

    /// After a tick that came late nobody is judged before a ping has had its time: the shard has read nothing
    /// meanwhile.
    fn forgive_if_late(&mut self) {
        let (now, rules) = (self.state.now.tick(), &self.state.rules);
        if now > self.tick_due + STALL_TICKS {
            self.state.calls.be_patient(now + STALL_TICKS);
            self.state.judge_from = now + rules.idle_ticks.saturating_sub(rules.heartbeat_ticks).max(STALL_TICKS);
        }
    }

    pub(super) fn attend_to_expired(&mut self, until_us: u64) -> bool {
        for attended in 0..PER_TURN {
            if attended > 0 && attended % BETWEEN_LOOKS == 0 && self.wire.io.now_us() >= until_us {
                return true;
            }
            let Some(slot) = self.expired.pop_front() else {
                return attended > 0;
            };
            // Its connection may have gone meanwhile, and another one have come. A stopped one has no deadline.
            if self.wire.connections.get(slot as usize).is_some_and(|connection| !connection.phase().is_stopped()) {
                self.attend(slot);
            }
        }
        true
    }

    /// Tells of some of those who do not write any more. False when nobody's time is over.
    pub(super) fn end_typing(&mut self) -> bool {
        let now = self.state.now.tick();
        for ended in 0..ENDINGS_PER_TURN {
            let Some(stop) = self.state.typing.next_over(now) else { return ended > 0 };
            stop.iter().for_each(|stop| self.state.tell(stop));
        }
        true
    }

    /// Ticks come only while somebody has a deadline: an empty shard sleeps.
    pub(in crate::shard) fn keep_ticking(&mut self) {
        let of_connections = !self.wheel.is_empty() || !self.expired.is_empty();
        let of_messages = self.state.calls.is_waiting() || self.state.pending.is_waiting();
        let of_others = of_messages || !self.state.typing.is_empty() || self.is_draining();
        if (of_connections || of_others) && !self.ticking {
            self.ticking = true;
            self.tick_due = self.state.now.tick() + 1;
            self.wire.io.tick(TICK_MS);
        }
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
                    let expires_at = self.wire.connections[slot as usize].token_expires_at().map_or(0, u64::from);
                    let expires_in = expires_at.saturating_sub(self.state.now.unix_s());
                    let warning =
                        encode_text(&Message::TokenExpiring { payload: Expiry { expires_in, expires_at } }.json());
                    self.wire.send(slot, Frame::local(warning, self.state.now.us));
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
                heartbeat: Frame::local(
                    encode_text(&Message::Heartbeat { payload: Time { timestamp: now.unix_ms } }.json()),
                    now.us,
                ),
            },
        };
        let has_type = self.state.profiles.user_type(self.wire.connections[slot as usize].profile).is_some();
        let frame = if has_type { &beat.heartbeat } else { &beat.ping };
        self.wire.cork.push(slot, frame.clone(), Urgency::Bulk);
        self.state.counters.heartbeats_sent.add(1);
        self.beat = Some(beat);
    }
}
