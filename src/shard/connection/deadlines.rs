//! When a connection needs attention, and why: one table of what is due in which phase. The wheel is told the earliest
//! of a connection's deadlines; when that has come the floor asks which one it was.
//!
//! | deadline | phases | due | what follows |
//! | --- | --- | --- | --- |
//! | authentication overdue | arrived | `auth.deadline` after the upgrade | close 4500 |
//! | message overdue | arrived, open | `limits.message_deadline` after its first byte | close 1002 |
//! | silent | arrived, open, echo | `heartbeat.idle_timeout` after the last byte | close 4001 |
//! | token expired | open | the second named by the token | close 4502 |
//! | token expires soon | open | `auth.expiry_warning` before that, once | a message |
//! | heartbeat due | open | at its interval | a ping, or a message |
//! | close overdue | closing, finishing, failing, lingering | the tick that the phase names | given up |
//!
//! What a peer owes (the first three) is not asked for while the shard has just stood still itself.
//!
//! Invariant: [`Connection::attention`] says something exactly when the tick of [`Connection::due`] has come, as both
//! read the same table.

use smallvec::{SmallVec, smallvec};

use crate::clock::{Now, TICK_MS};
use crate::shard::rules::Rules;

use super::Connection;
use super::phase::{Open, State};

/// Further away than any deadline.
const NEVER: u32 = u32::MAX - 1;

/// Why a connection needs attention now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attention {
    AuthenticationOverdue,
    MessageOverdue,
    Silent,
    TokenExpired,
    TokenExpiresSoon,
    HeartbeatDue,
    CloseOverdue,
}

use Attention::{
    AuthenticationOverdue, CloseOverdue, HeartbeatDue, MessageOverdue, Silent, TokenExpired, TokenExpiresSoon,
};

/// Deadlines of one connection, each with the tick at which it is due.
type Deadlines = SmallVec<[(Attention, u32); 5]>;

impl Connection {
    /// The tick at which [`Connection::attention`] has something to say. What a peer owes is not asked for before
    /// `judge_from`.
    pub fn due(&self, now: Now, rules: &Rules, judge_from: u32) -> u32 {
        self.deadlines(now, rules, judge_from).iter().map(|(_, due)| *due).min().unwrap_or(NEVER)
    }

    /// Why the deadline has come; `None` when it has moved on in the meantime. To be asked until it says so.
    pub fn attention(&mut self, now: Now, rules: &Rules, judge_from: u32) -> Option<Attention> {
        let deadlines = self.deadlines(now, rules, judge_from);
        let (attention, _) = *deadlines.iter().find(|(_, due)| *due <= now.tick())?;
        match attention {
            TokenExpiresSoon => self.phase.note_warning(),
            HeartbeatDue => self.phase.note_heartbeat(now.tick(), rules.heartbeat_ticks),
            _ => {}
        }
        Some(attention)
    }

    /// The table. Of several that are due the first is said first.
    fn deadlines(&self, now: Now, rules: &Rules, judge_from: u32) -> Deadlines {
        let owed = |since: u32, ticks: u32| since.saturating_add(ticks).max(judge_from);
        let silent = (Silent, owed(self.last_seen, rules.idle_ticks));
        let message_due = |since| owed(since, rules.message_deadline_ticks);
        let message = (MessageOverdue, self.decoder.unfinished_since().map_or(NEVER, message_due));
        match self.phase.state() {
            State::Arrived => {
                let token = (AuthenticationOverdue, owed(self.connected_at, rules.auth_deadline_ticks));
                smallvec![token, message, silent]
            }
            State::Open(Open { token_expires_at, heartbeat_at, is_warned }) => {
                let expires_at = u64::from(token_expires_at);
                let warns_at = expires_at.saturating_sub(rules.expiry_warning_s);
                smallvec![
                    message,
                    silent,
                    (TokenExpired, tick_of(expires_at, now)),
                    (TokenExpiresSoon, if is_warned { NEVER } else { tick_of(warns_at, now) }),
                    (HeartbeatDue, heartbeat_at),
                ]
            }
            // It owes nothing but a sign of life: a message may take its time.
            State::Echo => smallvec![silent],
            State::Closing { until }
            | State::Finishing { until }
            | State::Failing { until, .. }
            | State::Lingering { until, .. } => smallvec![(CloseOverdue, until)],
            State::Stopped => smallvec![],
        }
    }

    /// Somewhere in the second half of the interval, by chance: those who came together do not beat together.
    pub(super) fn first_heartbeat(&self, now: Now, rules: &Rules) -> u32 {
        let chance = self.generation.wrapping_add(now.tick()).wrapping_mul(0x9e37_79b1) >> 16;
        now.tick() + rules.heartbeat_ticks - chance % (rules.heartbeat_ticks / 2 + 1)
    }
}

/// The tick by which a unix second has begun: this one when it has, and else one that is late by two at most.
fn tick_of(unix_s: u64, now: Now) -> u32 {
    let ahead_ms = (unix_s * 1000).saturating_sub(now.unix_ms);
    if ahead_ms == 0 {
        return now.tick();
    }
    let ticks = ahead_ms.div_ceil(u64::from(TICK_MS)) + 1;
    now.tick().saturating_add(u32::try_from(ticks).unwrap_or(u32::MAX)).min(NEVER)
}
