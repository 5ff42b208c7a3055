//! What a client sent, from the chunk of bytes to what is done about it: the decoder, the session, and its effects.

use crate::lane::frame::Frame;
use crate::metrics::Timed;
use crate::metrics::latency::Stopwatch;
use crate::shard::connection::Connection;
use crate::shard::floor::Floor;
use crate::shard::io::{Chunk, Io, Slot};
use crate::shard::session::{Effects, PeerEnd, Session};
use crate::ws::decoder::Incoming;
use crate::ws::frame::encode_pong;

impl<I: Io> Floor<I> {
    pub(super) fn receive(&mut self, slot: Slot, chunk: Chunk) {
        let Effects { frames, close, end, .. } = &self.effects;
        debug_assert!(frames.is_empty() && close.is_none() && end.is_none(), "the last input is answered");
        self.state.counters.received_bytes.add(chunk.len.into());
        let before = self.state.counters.messages_received.get();
        let connection = &mut self.wire.connections[slot as usize];
        connection.last_seen = self.state.now.tick();
        if self.state.paused.keep(slot, self.wire.io.bytes(&chunk)) {
            return self.wire.io.release(chunk, false);
        }
        let session = Session { state: &mut self.state, slot, effects: &mut self.effects };
        read(connection, self.wire.io.bytes(&chunk), session);
        self.carry_out(slot);
        self.time_messages(before, self.since_arrival.unwrap_or_else(Stopwatch::start));
        let connection = &mut self.wire.connections[slot as usize];
        let watch = connection.goes_on_reading(chunk.len as usize)
            && !connection.is_ahead(self.state.rules.echo.as_ref())
            && !self.state.paused.has(slot);
        self.wire.io.release(chunk, watch);
    }

    /// Records the messages that were counted after `before`: they have been answered.
    pub(super) fn time_messages(&mut self, before: u64, since_arrival: Stopwatch) {
        let messages = self.state.counters.messages_received.get() - before;
        if messages > 0 {
            self.state.latency.record_n(Timed::Message, since_arrival.us(), messages);
        }
    }

    pub(super) fn read(&mut self, slot: Slot, input: &mut [u8]) {
        let session = Session { state: &mut self.state, slot, effects: &mut self.effects };
        read(&mut self.wire.connections[slot as usize], input, session);
    }

    /// Reads a client again that was not read while its token was verified.
    pub(super) fn read_on(&mut self, slot: Slot) {
        if !self.state.paused.has(slot) && self.wire.connections[slot as usize].goes_on_reading(0) {
            self.wire.io.resume(slot);
        }
    }

    /// Does what the session's answers ask for.
    pub(super) fn carry_out(&mut self, slot: Slot) {
        let mut frames = std::mem::take(&mut self.effects.frames);
        frames.drain(..).for_each(|frame| self.wire.send(slot, frame));
        self.effects.frames = frames;
        self.effects.pong = None;
        let Effects { close, end, rearm, .. } = &mut self.effects;
        let (close, end, rearm) = (close.take(), end.take(), std::mem::take(rearm));
        if let Some(code) = close {
            self.close(slot, code);
        }
        match end {
            Some(PeerEnd::Fail(violation)) => self.fail(slot, violation),
            Some(PeerEnd::Answer { code, goes_on }) => self.answer_close(slot, code, goes_on),
            None if rearm => self.watch_clock(slot),
            None => {}
        }
    }
}

/// Reads what a client sent: every message in the chunk, in order. Once the connection closes only the peer's close
/// frame is of interest.
fn read(connection: &mut Connection, mut input: &mut [u8], mut session: Session<'_>) {
    if connection.phase().is_deaf() {
        return;
    }
    let policy = connection.policy(&session.state.rules);
    loop {
        match connection.decoder.next(&mut input, policy) {
            Ok(None) => {
                // A deadline begins.
                session.effects.rearm |= connection.decoder.note_beginning(session.state.now.tick());
                return;
            }
            Ok(Some(incoming)) if connection.phase().is_echo() && session.echo(&incoming) => {}
            // Taken only while we close.
            Ok(Some(Incoming::Binary(_))) => {}
            Ok(Some(Incoming::Text(message))) => {
                if connection.is_alive() && session.effects.close.is_none() {
                    session.answer(connection, &message);
                }
                // What comes behind a token is not looked at before the token is.
                if session.state.paused.keep(session.slot, input) {
                    return;
                }
            }
            Ok(Some(Incoming::Fragment)) => {
                session.state.counters.fragments_received.add(1);
                session.admit_frame(connection);
            }
            Ok(Some(Incoming::Ping(payload))) => {
                session.state.counters.control_frames_received.add(1);
                if session.admit_frame(connection) {
                    session.effects.answer_ping(Frame::local(encode_pong(&payload), session.state.now.us));
                }
            }
            Ok(Some(Incoming::Pong(payload))) => {
                session.state.counters.control_frames_received.add(1);
                if session.admit_frame(connection) {
                    session.time_ping(&payload);
                }
            }
            Ok(Some(Incoming::Close(peer))) => {
                let code = peer.map(|p| p.code);
                // Whoever examines us sends on behind its goodbye on purpose.
                let goes_on = !input.is_empty() || connection.phase().is_echo();
                session.effects.end = Some(PeerEnd::Answer { code, goes_on });
                return;
            }
            Err(violation) => {
                session.state.counters.violations.count(violation.name());
                session.effects.end = Some(PeerEnd::Fail(violation));
                return;
            }
        }
    }
}
