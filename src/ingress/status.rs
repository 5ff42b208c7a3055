//! What a source says of itself: whether it reaches its broker, and what it has passed on.
//!
//! Written by the source's thread alone, read by the admin port at any time. The counters are touched per message and
//! are plain stores; the histogram has a lock that nobody contends for but a reader now and then.

use crate::control::Link;
use crate::metrics::{Counter, SharedTimes};

#[derive(Debug)]
pub struct SourceStatus {
    name: &'static str,
    /// To the broker.
    pub link: Link,
    /// Messages from the broker.
    pub messages: Counter,
    /// Bytes of their payloads.
    pub bytes: Counter,
    /// Messages dropped because they cannot be a text message of a channel.
    pub invalid: Counter,
    /// Messages that no shard had a subscriber for.
    pub unmatched: Counter,
    /// Messages dropped because more came at once than there is room for.
    pub lost: Counter,
    /// From a message that has been read until all shards that want it have it in their lanes, in microseconds.
    pub latency: SharedTimes,
}

impl SourceStatus {
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            link: Link::default(),
            messages: Counter::default(),
            bytes: Counter::default(),
            invalid: Counter::default(),
            unmatched: Counter::default(),
            lost: Counter::default(),
            latency: SharedTimes::default(),
        }
    }

    /// `redis`, as in metrics and logs.
    pub fn name(&self) -> &'static str {
        self.name
    }
}
