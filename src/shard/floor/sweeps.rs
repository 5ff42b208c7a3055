//! Who is to be closed together: everybody when the shard drains, and the connections of a user. Says which slots are
//! next, some in each turn, and closes nobody itself.

use std::collections::VecDeque;

use smallvec::SmallVec;

use crate::channel::{Table, name};
use crate::lane::Answer;
use crate::shard::io::Slot;
use crate::ws::close::CloseCode;

/// Connections closed for one purpose in one turn; a closing costs about a microsecond.
pub const CLOSINGS_PER_TURN: usize = 128;

#[derive(Default)]
pub struct Sweeps {
    drain: Option<Drain>,
    /// Disconnections that take more than one turn.
    disconnects: VecDeque<Disconnect>,
}

/// Closing everybody, evenly over a time.
struct Drain {
    until: u32,
    /// Slots below have been closed.
    next: Slot,
    /// Slots below are to be closed by now.
    due: Slot,
}

/// Closing every connection of a user.
struct Disconnect {
    channel: String,
    code: CloseCode,
    closed: usize,
    answer: Answer<usize>,
}

impl Sweeps {
    /// Begins to close every connection of a user.
    pub fn disconnect(&mut self, user: &str, code: CloseCode, answer: Answer<usize>) {
        let channel = format!("{}{user}", name::USER_PREFIX);
        self.disconnects.push_back(Disconnect { channel, code, closed: 0, answer });
    }

    /// Begins to close everybody until some tick. False when that was begun before.
    pub fn drain(&mut self, until: u32) -> bool {
        let is_new = self.drain.is_none();
        self.drain.get_or_insert(Drain { until, next: 0, due: 0 });
        is_new
    }

    pub fn is_draining(&self) -> bool {
        self.drain.is_some()
    }

    /// Has this tick's share of the drain closed, of so many slots that were ever used.
    pub fn tick(&mut self, tick: u32, slots_used: Slot) {
        let Some(drain) = &mut self.drain else { return };
        let ticks_left = drain.until.saturating_sub(tick).max(1);
        let next = drain.next.min(slots_used);
        drain.due = next + (slots_used - next).div_ceil(ticks_left);
        debug_assert!(drain.next <= drain.due && drain.due <= slots_used.max(drain.next));
    }

    /// Whether closings are left for this turn or the next.
    pub fn is_closing(&self) -> bool {
        !self.disconnects.is_empty() || self.drain.as_ref().is_some_and(|drain| drain.next < drain.due)
    }

    /// The slots that the drain closes in this turn; some of them may be free.
    pub fn next_drained(&mut self) -> std::ops::Range<Slot> {
        let Some(Drain { next, due, .. }) = &mut self.drain else { return 0..0 };
        let begin = *next;
        *next = (*due).min(begin + CLOSINGS_PER_TURN as Slot).max(begin);
        begin..*next
    }

    /// The connections of a user that are to be closed now, and why. Each leaves the user's channel when it is closed.
    pub fn next_disconnected(&self, table: &Table) -> Option<(SmallVec<[Slot; 8]>, CloseCode)> {
        let Disconnect { channel, code, .. } = self.disconnects.front()?;
        Some((table.members_of(channel).take(CLOSINGS_PER_TURN).collect(), *code))
    }

    /// So many of those have been closed: when that was less than a turn's share they were the last, and who asked is
    /// told.
    pub fn note_disconnected(&mut self, count: usize) {
        let Some(disconnect) = self.disconnects.front_mut() else { return };
        disconnect.closed += count;
        if count < CLOSINGS_PER_TURN
            && let Some(Disconnect { closed, answer, .. }) = self.disconnects.pop_front()
        {
            answer(closed);
        }
    }
}
