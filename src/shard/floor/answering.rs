//! What services say to the messages of clients, on its way to the clients: answers that come through the lane, calls
//! whose deadline is over, and parts of answers that have waited until their client took what it was sent before.
//!
//! What waits for whom is known to [`crate::shard::calls`]. An answer is sent when its turn has come, as every other
//! one; but of an answer in parts the next ones leave only when nothing is on its way to the client. So a backend that
//! says more than a client reads is held back, instead of making the client too slow.

use crate::lane::Response;
use crate::shard::floor::Floor;
use crate::shard::floor::pace::{BETWEEN_LOOKS, PER_TURN};
use crate::shard::io::{Io, Slot};
use crate::shard::session::Session;

impl<I: Io> Floor<I> {
    /// A service says something.
    pub(in crate::shard) fn respond(&mut self, response: Response) {
        let slot = response.to.slot;
        if self.state.calls.respond(response, self.state.now.tick()) {
            self.release(slot);
        } else {
            self.state.counters.answers_stale.add(1);
        }
    }

    /// Ends calls whose deadline is over, and looks again at who waits for parts. False when there was nothing to do.
    pub(super) fn go_on_with_calls(&mut self, until_us: u64) -> bool {
        let tick = self.state.now.tick();
        // Those that are not ready yet are put back behind them.
        let mut ready = self.state.calls.ready();
        for answered in 0..PER_TURN {
            if answered > 0 && answered % BETWEEN_LOOKS == 0 && self.wire.io.now_us() >= until_us {
                return true;
            }
            if let Some(slot) = self.state.calls.expire(tick) {
                self.release(slot);
            } else if ready > 0
                && let Some(slot) = self.state.calls.next_ready()
            {
                ready -= 1;
                self.release(slot);
            } else {
                return answered > 0;
            }
        }
        true
    }

    /// Sends what of the answers for a connection may leave now.
    fn release(&mut self, slot: Slot) {
        debug_assert!(self.effects.frames.is_empty(), "the last input is answered");
        let takes_parts = self.state.calls.has_parts(slot) && self.takes_parts(slot);
        let mut session = Session { state: &mut self.state, slot, effects: &mut self.effects };
        session.release(takes_parts);
        debug_assert!(self.effects.close.is_none() && self.effects.end.is_none(), "an answer ends no connection");
        self.effects.frames.drain(..).for_each(|frame| self.wire.send(slot, frame));
    }

    /// Whether nothing is on its way to a client. If something is, the connection is looked at again when it has left.
    fn takes_parts(&mut self, slot: Slot) -> bool {
        debug_assert!(self.wire.connections[slot as usize].is_alive(), "calls go with their connection");
        if self.wire.cork.has(slot) {
            self.state.calls.look_again(slot);
            return false;
        }
        self.wire.connections[slot as usize].outbox.is_none() && !self.wire.io.await_sent(slot)
    }
}
