//! What travels in a lane: messages, orders and questions.

use std::sync::Arc;
use std::time::Duration;

use crate::channel::Overflow;
use crate::clock;
use crate::ws::close::CloseCode;

use super::frame::{Channel, Frame};
use super::id::ConnectionId;
use super::query::{Answer, Query};

/// What a shard is told from outside.
pub enum Command {
    Publish(Publication),
    Send(Addressed),
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
    /// What is sent on to clients, if it is a message.
    pub fn frame(&self) -> Option<&Frame> {
        match self {
            Self::Publish(publication) => Some(&publication.frame),
            Self::Send(addressed) => Some(&addressed.frame),
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
}

/// A message for one connection. Nothing is promised of its order beside publications: these may have to gather first.
pub struct Addressed {
    pub to: ConnectionId,
    pub frame: Frame,
    /// Told whether the connection was there and open: 1, or else 0.
    pub answer: Option<Answer<usize>>,
}

/// Narrows the recipients of a publication to sessions of a type or platform.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub user_type: Option<String>,
    pub platform: Option<String>,
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
