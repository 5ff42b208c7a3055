//! The way into the shards: one lane per shard, and the interest that says which of them to use.
//!
//! Sources, the admin port and shards publish here. A message is encoded once; each shard that has subscribers gets one
//! command with a clone of the frame (one atomic count). Lanes are bounded: a source waits when one is full, which slows the
//! broker down instead of losing what was accepted.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::channel::{Interest, ShardSet, name};
use crate::clock;
use crate::shard::bell::Bell;
use crate::shard::frame::Frame;
use crate::shard::inspect::{ChannelList, ConnectionInfo, ShardLatency, TypeCount};
use crate::ws::close::CloseCode;
use crate::ws::frame::encode_text;

/// Commands that may wait in one lane.
const LANE_COMMANDS: usize = 4096;

/// What a shard is told from outside.
pub enum Command {
    Publish(Publication),
    /// Closes all connections of a user.
    Disconnect {
        user: Box<str>,
        code: CloseCode,
        answer: Answer<usize>,
    },
    /// Lists up to `limit` connections.
    Connections {
        limit: usize,
        user: Option<Box<str>>,
        answer: Answer<Vec<ConnectionInfo>>,
    },
    /// Lists the `limit` largest channels whose names begin with `prefix`.
    Channels {
        prefix: Arc<str>,
        limit: usize,
        answer: Answer<ChannelList>,
    },
    /// Counts the subscriptions to channels of each of these kinds (the word before the colon), and last of all others.
    Kinds {
        kinds: &'static [&'static str],
        answer: Answer<Vec<usize>>,
    },
    /// Copies what has been timed so far.
    Latency {
        answer: Answer<ShardLatency>,
    },
    /// Counts sessions by user type.
    Types {
        answer: Answer<Vec<TypeCount>>,
    },
    /// Closes everybody with 1001, spread over this time, then ends the shard.
    Drain {
        over: Duration,
    },
}

/// A message for the subscribers of one channel.
#[derive(Clone)]
pub struct Publication {
    pub channel: Channel,
    pub frame: Frame,
    pub filter: Option<Arc<Filter>>,
    /// Told how many connections the message reached; only who asks pays.
    pub answer: Option<Answer<usize>>,
}

/// A channel's name with its hash, computed once per message.
#[derive(Clone)]
pub struct Channel {
    pub name: Arc<str>,
    pub hash: u64,
}

/// Narrows the recipients of a publication to sessions of a type or platform.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub user_type: Option<String>,
    pub platform: Option<String>,
}

/// Takes a shard's answer; run on the shard's thread, so it must only pass the value on.
pub type Answer<T> = Arc<dyn Fn(T) + Send + Sync>;

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

/// One shard's lane, as others see it.
pub struct Lane {
    sender: Sender<Posted>,
    bell: Bell,
}

/// One shard's lane, as the shard sees it.
pub struct LaneEnd {
    pub receiver: Receiver<Posted>,
    pub bell: Bell,
}

impl Lane {
    pub fn new() -> std::io::Result<(Self, LaneEnd)> {
        let (sender, receiver) = bounded(LANE_COMMANDS);
        let bell = Bell::new()?;
        Ok((Self { sender, bell: bell.clone() }, LaneEnd { receiver, bell }))
    }

    /// Waits while the lane is full. False when the shard has ended.
    fn put(&self, command: Command) -> bool {
        let taken = self.sender.send(Posted::now(command)).is_ok();
        self.bell.wake();
        taken
    }
}

/// Everybody's handle for reaching the shards.
#[derive(Clone)]
pub struct Bus(Arc<Inner>);

struct Inner {
    lanes: Box<[Lane]>,
    interest: Arc<Interest>,
}

impl Bus {
    pub fn new(lanes: impl IntoIterator<Item = Lane>, interest: Arc<Interest>) -> Self {
        Self(Arc::new(Inner { lanes: lanes.into_iter().collect(), interest }))
    }

    pub fn shards(&self) -> usize {
        self.0.lanes.len()
    }

    /// Publishes `payload`, as it is, as one text message. Returns the number of shards that it visits.
    ///
    /// Must not be called on a shard's thread: it waits for room in the lanes.
    pub fn publish(&self, channel: &str, payload: &[u8]) -> usize {
        self.publish_with(channel, payload, None, None)
    }

    /// The same with a filter, and an answer from every shard visited.
    pub fn publish_with(
        &self,
        channel: &str,
        payload: &[u8],
        filter: Option<Filter>,
        answer: Option<Answer<usize>>,
    ) -> usize {
        let hash = self.0.interest.hash(channel);
        let shards = match channel {
            name::ALL => ShardSet::first(self.shards()),
            _ => self.0.interest.shards(hash),
        };
        if shards.is_empty() {
            return 0;
        }
        let publication = Publication {
            channel: Channel { name: channel.into(), hash },
            frame: Frame { bytes: encode_text(payload), arrived_us: clock::now_us() },
            filter: filter.map(Arc::new),
            answer,
        };
        shards.iter().filter(|&shard| self.0.lanes[shard].put(Command::Publish(publication.clone()))).count()
    }

    /// Gives every shard a command. Returns how many took it.
    pub fn tell_all(&self, command: impl Fn() -> Command) -> usize {
        self.0.lanes.iter().filter(|lane| lane.put(command())).count()
    }
}
