//! The way into the shards: one lane per shard, and the interest that says which of them to use.
//!
//! Sources, the admin port and shards publish here. A message is encoded once; each shard that has subscribers gets one
//! command with a clone of the frame (one atomic count). Lanes are bounded: a source waits when one is full, which slows the
//! broker down instead of losing what was accepted.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

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
    /// Counts the subscriptions by kind of channel, in the order of [`name::KINDS`], and last of all others.
    Kinds {
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
    fn put(&self, posted: Posted) -> bool {
        let taken = self.sender.send(posted).is_ok();
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
        self.publication(channel, payload, None, None).put()
    }

    /// The same with a filter and an answer from every shard visited, to be put by the caller.
    pub fn publication(
        &self,
        channel: &str,
        payload: &[u8],
        filter: Option<Filter>,
        answer: Option<Answer<usize>>,
    ) -> Posting {
        let hash = self.0.interest.hash(channel);
        let shards = match channel {
            name::ALL => ShardSet::first(self.shards()),
            _ => self.0.interest.shards(hash),
        };
        if shards.is_empty() {
            return Posting { bus: self.clone(), waiting: Vec::new(), taken: 0 };
        }
        let publication = Publication {
            channel: Channel { name: channel.into(), hash },
            frame: Frame { bytes: encode_text(payload), arrived_us: clock::now_us() },
            filter: filter.map(Arc::new),
            answer,
        };
        self.posting(shards, || Command::Publish(publication.clone()))
    }

    /// A command for every shard.
    pub fn to_all(&self, command: impl Fn() -> Command) -> Posting {
        self.posting(ShardSet::first(self.shards()), command)
    }

    fn posting(&self, shards: ShardSet, command: impl Fn() -> Command) -> Posting {
        let waiting = shards.iter().map(|shard| (shard, Posted::now(command()))).collect();
        Posting { bus: self.clone(), waiting, taken: 0 }
    }
}

/// Commands on their way into lanes.
#[must_use = "nothing is posted before it is put"]
pub struct Posting {
    bus: Bus,
    /// By shard.
    waiting: Vec<(usize, Posted)>,
    taken: usize,
}

impl Posting {
    /// Puts what finds room at once. False when some lane is full: the rest waits for [`Posting::put`].
    pub fn try_put(&mut self) -> bool {
        let lanes = &self.bus.0.lanes;
        let (mut taken, mut full) = (ShardSet::default(), Vec::new());
        for (shard, posted) in self.waiting.drain(..) {
            match lanes[shard].sender.try_send(posted) {
                Ok(()) => taken.insert(shard),
                Err(TrySendError::Full(posted)) => full.push((shard, posted)),
                Err(TrySendError::Disconnected(_)) => {}
            }
        }
        // Only now: a shard that wakes may take this core away.
        Bell::wake_all(taken.iter().map(|shard| &lanes[shard].bell));
        self.taken += taken.len();
        self.waiting = full;
        self.waiting.is_empty()
    }

    /// Puts the rest, and waits while a lane is full. Returns how many shards took a command; one that has ended does not.
    pub fn put(mut self) -> usize {
        self.try_put();
        let Self { bus, waiting, taken } = self;
        taken + waiting.into_iter().map(|(shard, posted)| usize::from(bus.0.lanes[shard].put(posted))).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bus(shards: usize) -> (Bus, Vec<LaneEnd>) {
        let (lanes, ends) = (0..shards).map(|_| Lane::new().unwrap()).unzip::<_, _, Vec<_>, Vec<_>>();
        (Bus::new(lanes, Arc::new(Interest::default())), ends)
    }

    fn message(bus: &Bus) -> Posting {
        bus.publication(name::ALL, b"hello", None, None)
    }

    #[test]
    fn what_finds_no_room_waits_and_keeps_nobody_else_waiting() {
        let (bus, ends) = bus(2);
        (0..LANE_COMMANDS).for_each(|_| assert_eq!(message(&bus).put(), 2));
        ends[1].receiver.try_iter().for_each(drop);
        let mut late = message(&bus);
        assert!(!late.try_put());
        assert_eq!((ends[0].receiver.len(), ends[1].receiver.len()), (LANE_COMMANDS, 1));
        drop(ends[0].receiver.try_recv());
        assert_eq!((late.put(), ends[0].receiver.len()), (2, LANE_COMMANDS));
    }

    #[test]
    fn a_shard_that_has_ended_takes_nothing() {
        let (bus, mut ends) = bus(3);
        ends.remove(1);
        let mut posting = message(&bus);
        assert!(posting.try_put());
        assert_eq!((posting.put(), message(&bus).put()), (2, 2));
    }
}
