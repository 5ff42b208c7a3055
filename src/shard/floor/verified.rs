//! What becomes of an `auth` message when its token has been verified beside the shard: it is answered, then what its
//! client has sent behind it, and the client is read again.

use crate::clock::Now;
use crate::metrics::Timed;
use crate::shard::floor::Floor;
use crate::shard::io::Io;
use crate::shard::session::Session;
use crate::shard::verification::{Asker, Verified};

impl<I: Io> Floor<I> {
    /// A verdict has come for a message of a connection, which may have gone.
    pub fn verified(&mut self, verdict: Verified, now: Now) {
        let Asker::Connection(id) = verdict.asker else { return };
        let Some(held) = self.state.paused.take(id) else { return };
        self.state.now = now;
        self.state.latency.record(Timed::Authentication, verdict.us);
        // What was revoked meanwhile the verdict does not know: then the token is verified once more.
        let holds = verdict.identity.is_err() || verdict.epoch == self.state.rules.verifier.revocations().epoch();
        let (slot, mut rest) = (id.slot, held.rest);
        let connection = &mut self.wire.connections[slot as usize];
        if connection.is_alive() {
            let mut session = Session { state: &mut self.state, slot, effects: &mut self.effects };
            session.go_on(connection, &held.message, holds.then_some(verdict.identity));
        }
        if !self.state.paused.keep(slot, &rest) {
            self.read(slot, &mut rest);
        }
        self.carry_out(slot);
        self.read_on(slot);
        self.keep_ticking();
    }
}
