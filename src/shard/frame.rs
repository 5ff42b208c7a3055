//! A frame on its way to clients: encoded once, shared by every recipient.
//!
//! Between shards it travels as [`Frame`], whose bytes carry one atomic count (one clone per shard visited). Inside a shard
//! it is a [`LocalFrame`] with a plain count, which is all that a recipient costs.

use std::rc::Rc;

use bytes::Bytes;

/// The bytes of one WebSocket frame (header and payload in one buffer) and when its message reached the gateway.
#[derive(Clone, Debug)]
pub struct Frame {
    pub bytes: Bytes,
    /// Microseconds of [`crate::clock`]; the delivery latency counts from here.
    pub arrived_us: u64,
}

/// A frame inside one shard.
pub type LocalFrame = Rc<Frame>;

impl Frame {
    pub fn local(bytes: Bytes, arrived_us: u64) -> LocalFrame {
        Rc::new(Self { bytes, arrived_us })
    }

    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}
