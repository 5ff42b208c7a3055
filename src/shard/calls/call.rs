//! One message that waits for a service, what of its answer may not leave yet, and the line in which those of one
//! connection stand. What is done with them is [`super::Calls`]'.

use std::collections::VecDeque;
use std::sync::Arc;

use serde_json::value::RawValue;
use smallvec::SmallVec;

use crate::lane::frame::Frame;
use crate::lane::{Answer, ConnectionId, Failure, Fate, ServiceId, Ticket};

/// A call's place: in the slab, and in the wheel.
pub(super) type Place = u32;

/// The calls of one connection, in the order of its messages.
#[derive(Default)]
pub(super) struct Line {
    pub places: SmallVec<[Place; 4]>,
    /// Of replies and of what is held.
    pub bytes: usize,
    /// Parts that are held.
    pub parts: usize,
    pub is_ready: bool,
}

/// One message that waits.
pub(super) struct Call {
    pub ticket: Ticket,
    pub from: ConnectionId,
    /// The message's `type`.
    pub kind: Arc<str>,
    /// The message's `id`.
    pub id: Option<Box<RawValue>>,
    pub service: ServiceId,
    /// What the client gets when the service has taken the message.
    pub reply: Option<Frame>,
    /// What may not leave yet.
    pub held: VecDeque<HeldAnswer>,
    /// The service has said all, or nobody waits for the rest: what is held is all that will leave.
    pub has_ended: bool,
    /// The tick at which it is late.
    pub due: u32,
}

pub(super) struct HeldAnswer {
    pub said: Said,
    /// Others follow: it leaves only when the client takes it.
    pub is_part: bool,
    pub fate: Option<Answer<Fate>>,
}

pub(super) enum Said {
    Message(Frame),
    Failed(Failure),
    /// The end, and nothing to send with it.
    Nothing,
}

/// A message that is to wait for a service.
pub struct Waiting<'a> {
    pub from: ConnectionId,
    pub kind: Arc<str>,
    pub id: Option<&'a RawValue>,
    pub service: ServiceId,
    pub reply: Option<Frame>,
}

/// Why a message cannot wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoom {
    /// As many of this connection wait as may.
    OfConnection,
    /// As many of the shard.
    OfShard,
}

/// What may be sent to a client now.
pub enum Released {
    Message(Frame),
    /// An error, about the message with this `type` and `id`.
    Failed {
        failure: Failure,
        kind: Arc<str>,
        id: Option<Box<RawValue>>,
    },
}

impl Call {
    /// Whether there is something to do for the client, once this call is the first of its type.
    pub fn has_something(&self, takes_parts: bool) -> bool {
        self.held.front().map_or(self.has_ended, |held| takes_parts || !held.is_part)
    }
}

impl HeldAnswer {
    pub fn bytes(&self) -> usize {
        match &self.said {
            Said::Message(frame) => frame.bytes.len(),
            Said::Failed(_) | Said::Nothing => 0,
        }
    }
}

pub(super) fn tell(fate: Option<Answer<Fate>>, what: Fate) {
    if let Some(fate) = fate {
        fate(what);
    }
}
