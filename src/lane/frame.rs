//! A frame on its way to clients: encoded once, shared by every recipient.
//!
//! Between shards it travels as [`Frame`], whose bytes carry one atomic count (one clone per shard visited). Inside a
//! shard it is a [`LocalFrame`] with a plain count, which is all that a recipient costs. Frames that wait for the same
//! recipients are joined there into one run of bytes.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use crate::channel::Overflow;
use crate::metrics::latency::Departures;

/// The bytes of one WebSocket frame (header and payload in one buffer) and when its message reached the gateway.
#[derive(Clone, Debug)]
pub struct Frame {
    pub bytes: Bytes,
    /// Microseconds of [`crate::clock`]; the delivery latency counts from here.
    pub arrived_us: u64,
}

/// A channel's name with its hash, computed once per message.
///
/// The name goes along, as two names may have one hash: each shard looks which of them it has. It is an allocation per
/// message, and none per shard or recipient. In one allocation with the frame it would save that and have a count of
/// its own all the same, and who remembers a channel would keep a frame alive.
#[derive(Clone)]
pub struct Channel {
    pub name: Arc<str>,
    pub hash: u64,
}

/// A frame inside one shard, or several joined.
pub type LocalFrame = Rc<Run>;

/// The bytes of one frame, or of several that go to the same recipients, one behind the other.
#[derive(Debug)]
pub struct Run {
    pub bytes: Bytes,
    /// When the first one's message reached the gateway, in microseconds of [`crate::clock`].
    pub arrived_us: u64,
    /// The same for the others. Shared by whoever times them.
    pub others_us: Option<Rc<[u64]>>,
    /// What becomes of it where it finds no room with a slow connection.
    pub overflow: Overflow,
    /// Where only the newest frame of something waits: of what ([`super::Publication::key`]).
    latest_of: Option<u64>,
}

impl Frame {
    /// A frame for one connection, or one that no channel has brought: it is never dropped alone.
    pub fn local(bytes: Bytes, arrived_us: u64) -> LocalFrame {
        Rc::new(Run { bytes, arrived_us, others_us: None, overflow: Overflow::Disconnect, latest_of: None })
    }
}

impl Run {
    /// Joins frames of one channel, at least one, and copies them for it unless it is only one. `key` is what it is the
    /// newest of, where only the newest waits.
    pub fn join(frames: &[Frame], overflow: Overflow, key: u64) -> LocalFrame {
        let [first, others @ ..] = frames else { unreachable!("nobody joins nothing") };
        debug_assert!(overflow != Overflow::Latest || others.is_empty(), "what is replaced alone is not joined");
        let latest_of = (overflow == Overflow::Latest).then_some(key);
        let arrived_us = first.arrived_us;
        if others.is_empty() {
            return Rc::new(Self { bytes: first.bytes.clone(), arrived_us, others_us: None, overflow, latest_of });
        }
        let mut bytes = Vec::with_capacity(frames.iter().map(|frame| frame.bytes.len()).sum());
        frames.iter().for_each(|frame| bytes.extend_from_slice(&frame.bytes));
        let others_us = Some(others.iter().map(|frame| frame.arrived_us).collect());
        Rc::new(Self { bytes: bytes.into(), arrived_us, others_us, overflow, latest_of })
    }

    /// Whether of this one and one that waits only the newer is to wait.
    pub fn replaces(&self, waiting: &Self) -> bool {
        self.latest_of.is_some() && self.latest_of == waiting.latest_of
    }

    /// Whether this one is older than one that waits: through different channels they may come in the other order.
    pub fn is_older_than(&self, waiting: &Self) -> bool {
        self.arrived_us < waiting.arrived_us
    }

    /// Bytes on the wire.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Records that the kernel has taken them for one recipient.
    pub fn departed(&self, departures: &mut Departures<'_>) {
        departures.frame(self.arrived_us);
        self.others_us.iter().for_each(|others| departures.joined(others));
    }

    /// How many frames these are.
    pub fn frames(&self) -> usize {
        1 + self.others_us.as_ref().map_or(0, |others| others.len())
    }
}
