//! Messages that waited for a verdict on what they may join: they go on when it comes, or when its time is over, and
//! behind them those of their connection that joined or left meanwhile.
//!
//! What waits for what is known to [`crate::shard::pending`].

use crate::lane::{ConnectionId, Verdict};
use crate::shard::floor::Floor;
use crate::shard::floor::pace::{BETWEEN_LOOKS, PER_TURN};
use crate::shard::io::Io;
use crate::shard::session::Session;

impl<I: Io> Floor<I> {
    /// An authorizer says who may join what.
    pub(in crate::shard) fn permit(&mut self, verdict: Verdict) {
        let to = verdict.to;
        match self.state.pending.resume(verdict) {
            Some(message) => self.go_on(to, message),
            None => self.state.counters.answers_stale.add(1),
        }
    }

    /// Lets messages go on whose verdict has not come in time. False when there was none.
    pub(super) fn go_on_without_verdicts(&mut self, until_us: u64) -> bool {
        for expired in 0..PER_TURN {
            if expired > 0 && expired % BETWEEN_LOOKS == 0 && self.wire.io.now_us() >= until_us {
                return true;
            }
            let Some((from, message)) = self.state.pending.expire() else { return expired > 0 };
            self.go_on(from, message);
        }
        true
    }

    /// Serves a message that has waited, and those behind it until one has to wait itself. They are as many as may wait
    /// of one connection.
    fn go_on(&mut self, of: ConnectionId, first: Box<str>) {
        debug_assert!(self.is_current(of), "what waits of a connection is forgotten with it");
        let mut next = Some(first);
        while let Some(message) = next {
            let connection = &mut self.wire.connections[of.slot as usize];
            let mut session = Session { state: &mut self.state, slot: of.slot, effects: &mut self.effects };
            session.go_on(connection, &message, None);
            self.carry_out(of.slot);
            next = self.state.pending.next(of.slot);
        }
    }
}
