//! Messages that go to a service, and the answers that come back: in the order of the messages, for each type.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::clock::TICK_MS;
use crate::lane::frame::Frame;
use crate::lane::{Call, Content, Device, Failure, ServiceId};
use crate::protocol::reply::{Message, Problem};

use crate::shard::calls::{NoRoom, Released, Waiting};
use crate::shard::connection::Connection;
use crate::shard::session::Session;
use crate::shard::session::error::SessionError;

/// What a route makes of a message for its service.
pub struct Forwarded<'a> {
    pub service: ServiceId,
    /// The message's `type`.
    pub kind: Arc<str>,
    /// The message's `id`.
    pub id: Option<&'a RawValue>,
    pub body: Box<str>,
    pub channel: Option<Box<str>>,
    pub key: Option<Box<str>>,
    /// What the client gets when the service has taken the message: a whole frame.
    pub reply: Option<Bytes>,
}

impl Session<'_> {
    /// Passes a message on to its service. Whatever becomes of it the client is told in its place among the answers to
    /// messages of this type; only what may not even wait is told at once.
    pub(in crate::shard) fn call(
        &mut self,
        connection: &Connection,
        forwarded: Forwarded<'_>,
    ) -> Result<(), SessionError> {
        let Forwarded { service, kind, id, body, channel, key, reply } = forwarded;
        let (from, now) = (self.id(connection), self.state.now);
        self.state.calls.counters(service).calls.add(1);
        let Some(remote) = self.state.calls.remote(service).cloned() else {
            debug_assert!(false, "a local service is not called");
            return Err(SessionError::Service(Failure::Away));
        };
        let reply = reply.map(|bytes| Frame { bytes, arrived_us: now.us });
        let waiting = Waiting { from, kind: kind.clone(), id, service, reply };
        let begun = self.state.calls.begin(waiting, now.tick());
        let ticket = begun.inspect_err(|_| self.state.calls.counters(service).refused.add(1))?;
        let content = Content {
            kind,
            user_id: self.user_id(connection).into(),
            session_id: self.session_id(connection).to_string().into(),
            user_type: self.state.profiles.user_type(connection.profile).map(Into::into),
            device: device(connection),
            body,
            channel,
            key,
            // When the client is told at the earliest: nothing is to come about behind that.
            deadline_us: u64::from(self.state.calls.due(service, now.tick())) * u64::from(TICK_MS) * 1000,
        };
        let call = Call { from, ticket, content };
        if let Err(failure) = remote.service.call(call) {
            self.state.calls.refuse(from, ticket, failure);
            self.release(false);
        }
        Ok(())
    }

    /// Leaves for the client what of its answers may be sent now. Parts of an answer only when the client takes them.
    pub fn release(&mut self, takes_parts: bool) {
        while let Some(released) = self.state.calls.next(self.slot, takes_parts) {
            match released {
                Released::Message(frame) => self.effects.frames.push(Frame::local(frame.bytes, frame.arrived_us)),
                Released::Failed { failure, kind, id } => self.tell_failure(failure, &kind, id.as_deref()),
            }
        }
    }

    fn tell_failure(&mut self, failure: Failure, kind: &str, id: Option<&RawValue>) {
        let error = SessionError::Service(failure);
        let problem = Problem { code: error.code(), message: &error.to_string(), request: Some(kind), part: None };
        self.state.counters.errors_sent.add(1);
        self.send(&Message::error(problem).json_in_answer_to(id));
    }
}

fn device(connection: &Connection) -> Device {
    let Some(details) = &connection.details else { return Device::default() };
    Device { id: details.device_id.clone(), platform: details.platform.clone() }
}

impl From<NoRoom> for SessionError {
    fn from(no_room: NoRoom) -> Self {
        match no_room {
            NoRoom::OfConnection => Self::TooManyRequests,
            NoRoom::OfShard => Self::Service(Failure::Full),
        }
    }
}
