//! What a message of a client asks of a service, and how the service answers: the two ends of a wait that no shard
//! waits.
//!
//! ```text
//!  shard: Service::call(Call) ──► a bounded queue of the service ──► its own thread, its backend
//!    ▲                                                                        │
//!    └── Command::Respond(Response) ◄── the shard's lane ◄── Bus::respond ◄───┘
//! ```
//!
//! Called by `shard/session/calling.rs`; implemented by whatever reaches a backend. Whoever answers names the
//! connection and the ticket of the call; what comes twice, too late, or for a connection that has gone finds no call
//! and is dropped and counted, so a service needs to know nothing of connections.

use std::sync::Arc;
use std::time::Duration;

use crate::ws::frame::encode_text;

use super::frame::Frame;
use super::id::ConnectionId;
use super::query::Answer;

use crate::clock;

/// Parts of one answer that may be on their way or wait for the client: who answers with [`Part::More`] sends no
/// further one before an earlier one is told to be [`Fate::Released`]. One more ends the call.
pub const STREAM_WINDOW: usize = 16;

/// Names one call of a shard. No other call of that shard ever has the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// A message of a client on its way to a service.
#[derive(Clone, Debug)]
pub struct Call {
    /// Who waits for the answer, and for which.
    pub from: ConnectionId,
    pub ticket: Ticket,
    pub content: Content,
}

/// What a service is told, by a client or by the gateway itself.
#[derive(Clone, Debug)]
// Tests write what they are about; what a client said has all of it.
#[cfg_attr(test, derive(Default))]
pub struct Content {
    /// The message's `type`.
    pub kind: Arc<str>,
    /// The session's identity, as its token says it.
    pub user_id: Box<str>,
    pub session_id: Box<str>,
    pub user_type: Option<Box<str>>,
    pub device: Device,
    /// One JSON object: the message as it came, or what the route makes of it.
    pub body: Box<str>,
    /// The channel that the message is for, where the route names one.
    pub channel: Option<Box<str>>,
    /// By what the backend tells such messages apart (its topic, method or partition), where the route names it.
    pub key: Option<Box<str>>,
    /// When nobody waits any more, in microseconds of [`crate::clock`].
    pub deadline_us: u64,
}

impl Content {
    /// What the gateway itself says, and waits so long for an answer to. It is no user's, and for no channel and key,
    /// unless whoever makes it adds them.
    pub fn of_gateway(kind: Arc<str>, body: &str, timeout: Duration) -> Self {
        Self {
            kind,
            user_id: "".into(),
            session_id: "".into(),
            user_type: None,
            device: Device::default(),
            body: body.into(),
            channel: None,
            key: None,
            deadline_us: clock::now_us() + timeout.as_micros() as u64,
        }
    }
}

/// What a client says of its device. Nobody has vouched for it.
#[derive(Clone, Debug, Default)]
pub struct Device {
    pub id: Option<Box<str>>,
    pub platform: Option<Box<str>>,
}

/// Where messages of clients go: a broker, an RPC backend, a web service.
pub trait Service: Send + Sync {
    /// Takes a call, to be answered later by [`super::Bus::respond`]; or refuses it at once, and is then not to answer.
    ///
    /// Runs on a shard's thread and must not wait: it puts the call into a bounded queue, and refuses it when that is
    /// full or the backend is known to be away. The calls of one connection come in the order in which the client said
    /// them; their answers may come in any.
    ///
    /// # Errors
    ///
    /// Why the call is not taken.
    fn call(&self, call: Call) -> Result<(), Failure>;

    /// Nobody waits for the rest of this answer any more: the connection has gone, or the deadline is over. For who can
    /// stop a backend. Runs on a shard's thread, and must not wait either.
    fn forget(&self, _to: ConnectionId, _ticket: Ticket) {}
}

/// An answer of a service, or a part of one.
pub struct Response {
    pub to: ConnectionId,
    pub ticket: Ticket,
    pub part: Part,
    /// Told what becomes of the part, on the shard's thread. Who answers once has no use for it.
    pub fate: Option<Answer<Fate>>,
}

/// What a service says. All but [`Part::More`] end the call.
#[derive(Clone, Debug)]
pub enum Part {
    /// The service has the message: the client gets the route's reply, if there is one. Behind [`Part::More`] it says
    /// that this was all.
    Taken,
    /// The answer, sent to the client as it is.
    Message(Frame),
    /// A part of it, sent in its order; others follow, the first of them within the time that a call may take.
    More(Frame),
    Failed(Failure),
}

/// Why a service does not do what it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Its backend is not reached.
    Away,
    /// There is no room for one call or answer more.
    Full,
    /// There was no answer within the time that a call may take.
    Late,
    /// The backend has the message and fails with it.
    Broken,
    /// The backend has the message and refuses it.
    Refused,
}

/// What becomes of a part of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is on its way to the client.
    Released,
    /// Nobody gets it: the call is over. Neither will anybody get what would follow.
    Gone,
}

impl Part {
    /// An answer of `text`.
    pub fn message(text: &str) -> Self {
        Self::Message(frame(text))
    }

    /// A part of an answer, of `text`.
    pub fn more(text: &str) -> Self {
        Self::More(frame(text))
    }

    /// What is sent to the client, if it is a message.
    pub fn frame(&self) -> Option<&Frame> {
        match self {
            Self::Message(frame) | Self::More(frame) => Some(frame),
            Self::Taken | Self::Failed(_) => None,
        }
    }
}

fn frame(text: &str) -> Frame {
    Frame { bytes: encode_text(text), arrived_us: clock::now_us() }
}
