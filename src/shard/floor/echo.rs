//! The echo endpoint: a path that gives every message back, for whoever wants to see how the gateway keeps RFC 6455.
//!
//! A debugging aid, off by default and only on loopback (`config/section/crossing.rs`), since it asks for no token.
//! What comes is read by the decoder, answered through the outbox and moved by the backend of every other connection;
//! only the limits differ. An echo connection is no session: no user, no channels, no heartbeats, no rates. What bounds
//! it: there are at most [`CONNECTIONS_MAX`] on a shard, and one that does not take its answers is not read, until it
//! does or silence ends it.

use crate::ws::decoder::Incoming;
use crate::ws::frame::{encode_binary, encode_pong, encode_text};

use crate::lane::frame::Frame;
use crate::shard::connection::Connection;
use crate::shard::floor::Floor;
use crate::shard::floor::wire::Wire;
use crate::shard::io::{Io, Slot};
use crate::shard::rules::Echo;
use crate::shard::session::Session;

/// Echo connections of one shard. Each may hold some messages of the largest size.
pub const CONNECTIONS_MAX: usize = 64;

impl Session<'_> {
    /// Gives a message back, or answers a ping, every one of them and in order. False for what is not echoed.
    pub fn echo(&mut self, incoming: &Incoming<'_>) -> bool {
        let frame = match incoming {
            Incoming::Text(message) => encode_text(message),
            Incoming::Binary(message) => encode_binary(message),
            Incoming::Ping(payload) => encode_pong(payload),
            Incoming::Fragment | Incoming::Pong(_) | Incoming::Close(_) => return false,
        };
        if !matches!(incoming, Incoming::Ping(_)) {
            self.state.counters.messages_received.add(1);
        }
        self.effects.frames.push(Frame::local(frame, self.state.now.us));
        true
    }
}

impl Connection {
    /// Whether so much waits for an echo connection that it is not read for now.
    pub fn is_ahead(&self, echo: Option<&Echo>) -> bool {
        let (Some(outbox), Some(echo)) = (&self.outbox, echo) else { return false };
        self.phase().is_echo() && outbox.bytes() >= echo.message_bytes_max
    }
}

impl<I: Io> Floor<I> {
    /// Whether one more echo connection finds room.
    pub fn echo_is_full(&self) -> bool {
        self.state.echoes >= CONNECTIONS_MAX
    }

    /// Some of what waited has left: a client that was too far ahead is read again.
    pub(in crate::shard) fn resume_reading(&mut self, slot: Slot) {
        let Wire { io, connections, .. } = &mut self.wire;
        let connection = &mut connections[slot as usize];
        if self.state.paused.has(slot) {
            // Read on when its token has been verified.
        } else if connection.phase().is_echo() {
            connection.last_seen = self.state.now.tick();
            if !connection.is_ahead(self.state.rules.echo.as_ref()) {
                io.resume(slot);
            }
        } else if connection.phase().is_closing() {
            // Its goodbye is awaited, however far ahead it was.
            io.resume(slot);
        }
    }
}
