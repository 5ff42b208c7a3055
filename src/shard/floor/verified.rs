//! What becomes of an `auth` message when its token has been verified beside the shard: it is answered, then what its
//! client has sent behind it, and the client is read again.

use crate::clock::Now;
use crate::metrics::Timed;
use crate::shard::floor::Floor;
use crate::shard::io::Io;
use crate::shard::session::Session;
use crate::shard::verification::{Asker, Verified};

impl<I: Io> Floor<I> {
    /// It is known what has become of the token in a message of a connection, which may have gone.
    pub fn verified(&mut self, verified: Verified, now: Now) {
        let Asker::Connection(id) = verified.asker else { return };
        let Some(held) = self.state.paused.take(id) else { return };
        self.state.now = now;
        self.state.latency.record(Timed::Authentication, verified.us);
        // What was revoked meanwhile this does not know: then it is verified once more.
        let holds = verified.identity.is_err() || verified.epoch == self.state.rules.verifier.revocations().epoch();
        let (slot, mut rest) = (id.slot, held.rest);
        let connection = &mut self.wire.connections[slot as usize];
        if connection.is_alive() {
            let mut session = Session { state: &mut self.state, slot, effects: &mut self.effects };
            session.go_on(connection, &held.message, holds.then_some(verified.identity));
        }
        if !self.state.paused.keep(slot, &rest) {
            self.read(slot, &mut rest);
        }
        self.carry_out(slot);
        self.read_on(slot);
        self.keep_ticking();
    }
}
