//! What a session may ask for. Sans-IO: a message in, effects out.
//!
//! Called by the floor with the connection and a [`Session`]: the shard's [`ShardState`], the slot, and [`Effects`], in
//! which is left what the floor has to send and close.
//!
//! ```text
//!  text message ──► dispatch ──► route table ──► authentication ──┐
//!                   (rates,                  ├──► subscriptions ──┤──► Effects: answers, or an error and perhaps
//!                    errors)                 ├──► forwarding ─────┤             a close code
//!                                            └──► …               └──► the bus: messages for others
//! ```

pub mod calling;
pub mod error;

mod authentication;
mod authorization;
mod confirmation;
mod dispatch;
mod filling;
mod forwarding;
mod presence;
mod subscriptions;
mod tracking;
mod typing;

use bytes::Bytes;

use crate::channel::name;
use crate::clock::TICK_MS;
use crate::metrics::Timed;
use crate::ws::close::CloseCode;
use crate::ws::frame::encode_text;
use crate::ws::violation::Violation;

use crate::lane::ConnectionId;
use crate::lane::events::{Event, EventKind, What};
use crate::lane::frame::{Frame, LocalFrame};
use crate::shard::connection::Connection;
use crate::shard::id::SessionId;
use crate::shard::io::Slot;
use crate::shard::state::ShardState;

/// The session of one connection, for as long as a piece of its input is served.
pub struct Session<'a> {
    pub state: &'a mut ShardState,
    pub slot: Slot,
    pub effects: &'a mut Effects,
}

/// What the floor has to do after a piece of input.
#[derive(Default)]
pub struct Effects {
    pub frames: Vec<LocalFrame>,
    /// Where among the frames the answer to a ping stands.
    pub pong: Option<usize>,
    /// We close with this code and wait for the peer's answer.
    pub close: Option<CloseCode>,
    /// What the peer did in the same piece of input, after that or without it.
    pub end: Option<PeerEnd>,
    /// The connection's next deadline may have come nearer.
    pub rearm: bool,
}

impl Effects {
    /// Answers a ping. The newest one stands for all (RFC 6455 section 5.5.3): its answer takes the place of an older.
    pub fn answer_ping(&mut self, pong: LocalFrame) {
        match self.pong {
            Some(at) => self.frames[at] = pong,
            None => {
                self.pong = Some(self.frames.len());
                self.frames.push(pong);
            }
        }
    }
}

/// How a peer ends its side: nothing more is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerEnd {
    /// It broke the protocol, and is told how.
    Fail(Violation),
    /// It closes; it gets its code back.
    Answer {
        code: Option<CloseCode>,
        /// Something follows its close frame, or may.
        goes_on: bool,
    },
}

impl Session<'_> {
    /// Counts a frame that is no message; one too many ends the connection. False when it is to be dropped.
    pub fn admit_frame(&mut self, connection: &mut Connection) -> bool {
        if self.effects.close.is_some() || !connection.is_alive() {
            return false;
        }
        let admitted = connection.admit_frame(self.state.now, &self.state.rules);
        if !admitted {
            self.effects.close = Some(CloseCode::TOO_MANY_MESSAGES);
        }
        admitted
    }

    /// A pong has come. If it has the payload of one of our pings, which is the time at which it was sent, it tells how
    /// long that took; of what a client makes up only what could be true counts.
    pub fn time_ping(&mut self, payload: &[u8]) {
        let Ok(sent_us) = payload.try_into().map(u64::from_be_bytes) else { return };
        let longest_us = u64::from(self.state.rules.idle_ticks) * u64::from(TICK_MS) * 1000;
        let round_trip_us = self.state.now.us.checked_sub(sent_us);
        if let Some(us) = round_trip_us.filter(|us| *us <= longest_us) {
            self.state.latency.record(Timed::PingRoundTrip, us);
        }
    }

    /// Leaves a message for the client.
    fn send(&mut self, json: &str) {
        self.send_frame(encode_text(json));
    }

    fn send_frame(&mut self, frame: Bytes) {
        self.effects.frames.push(Frame::local(frame, self.state.now.us));
    }

    /// Tells of something that happened to this session, if anybody wants to know.
    fn tell_event(&self, connection: &Connection, kind: EventKind, what: impl FnOnce() -> What) {
        self.state.events.tell(kind, || Event {
            unix_ms: self.state.now.unix_ms,
            from: self.id(connection),
            user_id: self.user_id(connection).into(),
            what: what(),
        });
    }

    fn user_id<'a>(&'a self, connection: &Connection) -> &'a str {
        debug_assert!(self.state.table.is_in(self.slot, connection.user_channel), "only a session has a user");
        name::user_of(self.state.table.name(connection.user_channel))
    }

    fn session_id(&self, connection: &Connection) -> SessionId {
        self.state.rules.session_id(self.id(connection))
    }

    fn id(&self, connection: &Connection) -> ConnectionId {
        self.state.id(self.slot, connection)
    }
}
