//! What travels in a lane, all of it commands: messages, answers of services among them, and orders.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::channel::{Overflow, ShardSet};
use crate::clock;
use crate::geo::{Place, Position};
use crate::ws::close::CloseCode;

use super::authorization::Verdict;
use super::call::Response;
use super::frame::{Channel, Frame};
use super::id::ConnectionId;
use super::query::{Answer, Query};

/// What a shard is told from outside: messages, which clients are to get or wait for, and orders, which are never
/// behind them ([`super::queue`]); a question is one. [`Command::message_bytes`] tells them apart.
pub enum Command {
    Publish(Publication),
    Send(Addressed),
    /// What a service says to a message of a client.
    Respond(Response),
    /// Whether a message of a client may join what it asks for.
    Permit(Verdict),
    /// Closes all connections of a user.
    Disconnect {
        user: Box<str>,
        code: CloseCode,
        answer: Answer<usize>,
    },
    /// Has a question answered, when those that came before it are.
    Ask(Query),
    /// Closes everybody with 1001, spread over this time, then ends the shard.
    Drain {
        over: Duration,
    },
}

impl Command {
    /// The bytes that it has sent on to clients, if it is a message. An answer without any counts as one: it travels
    /// with the messages, so that nothing overtakes within an answer.
    pub fn message_bytes(&self) -> Option<usize> {
        match self {
            Self::Publish(publication) => Some(publication.frame.bytes.len()),
            Self::Send(addressed) => Some(addressed.frame.bytes.len()),
            Self::Respond(response) => Some(response.part.frame().map_or(1, |frame| frame.bytes.len())),
            // As an answer without bytes: bounded with the messages.
            Self::Permit(_) => Some(1),
            Self::Disconnect { .. } | Self::Ask(_) | Self::Drain { .. } => None,
        }
    }
}

/// A message for the subscribers of one channel.
#[derive(Clone)]
pub struct Publication {
    pub channel: Channel,
    pub frame: Frame,
    pub filter: Option<Arc<Filter>>,
    /// Told how many connections the message reached; only who asks pays.
    pub answer: Option<Answer<usize>>,
    /// How long it may wait for others of its channel, to leave with them; 0: not at all.
    pub batch_delay_us: u32,
    /// What becomes of it where it finds no room with a slow subscriber.
    pub overflow: Overflow,
    /// With [`Overflow::Latest`]: of what it is the newest. The channel's hash, unless one channel tells of many
    /// things.
    pub key: u64,
    /// Who of the subscribers does not get it.
    pub except: Except,
    /// Where somebody is of whom it tells: it is also for those who are near.
    pub near: Option<Arc<Near>>,
}

/// A position that is told to those in whose circle it lies and who are not in the publication's channel. A shard looks
/// for both at one moment: whoever goes from one to the other meanwhile is told once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Near {
    pub position: Position,
    /// Who tells it, and is not near himself.
    pub session: ConnectionId,
}

/// Who is left out. Named by hashes, so that a publication carries no names: a shard looks up once, for many
/// recipients, whom they mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Except {
    #[default]
    Nobody,
    Session(ConnectionId),
    /// All sessions of a user, by the hash of his own channel.
    User(u64),
    /// The session, and who is in a channel, by its hash: he has it from there.
    SessionAndMembers(ConnectionId, u64),
}

/// What a shard has to say to a channel, in one frame. It becomes a [`Publication`] where somebody listens.
#[derive(Clone, Debug)]
pub struct Draft<'a> {
    pub channel: &'a str,
    pub bytes: Bytes,
    pub filter: Option<Arc<Filter>>,
    /// What holds where no policy says anything but [`Overflow::Disconnect`], which is the default.
    pub overflow: Overflow,
    /// See [`Publication::key`]; none: the channel's hash.
    pub key: Option<u64>,
    pub except: Except,
    /// See [`Publication::near`]; and the shards on which somebody may be near.
    pub near: Option<(Near, ShardSet)>,
}

impl<'a> Draft<'a> {
    /// A frame for everybody in the channel.
    pub fn new(channel: &'a str, bytes: Bytes) -> Self {
        let (overflow, except) = (Overflow::default(), Except::Nobody);
        Self { channel, bytes, filter: None, overflow, key: None, except, near: None }
    }
}

/// A message for one connection. Nothing is promised of its order beside publications: these may have to gather first.
pub struct Addressed {
    pub to: ConnectionId,
    pub frame: Frame,
    /// Told whether the connection was there and open: 1, or else 0.
    pub answer: Option<Answer<usize>>,
}

/// Narrows the recipients of a publication to sessions of a type or platform, or to those whose circle a place lies in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    pub user_type: Option<String>,
    pub platform: Option<String>,
    pub near: Option<Place>,
}

impl Filter {
    /// Those whose circle this place lies in.
    pub fn near(place: Place) -> Self {
        Self { near: Some(place), ..Self::default() }
    }

    /// Whether it looks at what a session is.
    pub fn names_sessions(&self) -> bool {
        self.user_type.is_some() || self.platform.is_some()
    }

    /// The same but for the place: what tells of a later place concerns the same members.
    pub fn is_like(&self, other: &Self) -> bool {
        let is_near_alike = self.near.is_some() == other.near.is_some();
        is_near_alike && self.user_type == other.user_type && self.platform == other.platform
    }
}

/// A command on its way.
pub struct Posted {
    /// Microseconds of [`crate::clock`] when it was put into the lane, or began to wait for room there.
    pub at_us: u64,
    pub command: Command,
}

impl Posted {
    pub fn now(command: Command) -> Self {
        Self { at_us: clock::now_us(), command }
    }
}
