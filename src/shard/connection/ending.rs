//! The steps by which a connection ends.
//!
//! Taken by `shard/floor/closing.rs` alone, as `tests/directions.rs` keeps it: whoever else wants a connection to end
//! has it do so. What may follow what is known to [`super::phase`].

use super::Connection;
use crate::ws::decoder::Decoder;

pub struct Ending<'a>(&'a mut Connection);

impl Connection {
    pub fn ending(&mut self) -> Ending<'_> {
        Ending(self)
    }
}

impl Ending<'_> {
    /// Our close frame is about to be queued; the peer has time for its own until a tick.
    pub fn close(self, until: u32) {
        self.0.phase.close(until);
    }

    /// Both sides have said goodbye: nothing of the peer's input matters any more.
    pub fn finish(self) {
        self.0.phase.finish();
        self.0.decoder = Decoder::new();
    }

    /// Our close frame is the last that is sent: nothing of the peer's input is understood any more, and at most so
    /// many bytes of it are read.
    pub fn fail(self, input_bytes_max: usize) {
        self.0.phase.fail(input_bytes_max);
        self.0.decoder = Decoder::new();
    }

    /// All is sent and our side of the stream ends; the peer has time for the end of its own until a tick.
    pub fn linger(self, until: u32) {
        self.0.phase.linger(until);
    }

    /// The backend is about to be told to close the socket.
    pub fn stop(self) {
        self.0.phase.stop();
    }
}
