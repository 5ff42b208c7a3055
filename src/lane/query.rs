//! What a shard is asked, by the admin port, and how its answer goes back. The answers stand in [`super::report`].

use std::sync::Arc;

use super::report::{ChannelList, ConnectionInfo, ShardLatency, TypeCount};

/// Takes a shard's answer; run on the shard's thread, so it must only pass the value on.
pub type Answer<T> = Arc<dyn Fn(T) + Send + Sync>;

/// A question with the way of its answer.
pub enum Query {
    /// Lists up to `limit` connections.
    Connections { limit: usize, user: Option<Box<str>>, answer: Answer<Vec<ConnectionInfo>> },
    /// Lists the `limit` largest channels whose names begin with `prefix`.
    Channels { prefix: Arc<str>, limit: usize, answer: Answer<ChannelList> },
    /// Counts the subscriptions by kind of channel, in the order of [`crate::channel::name::KINDS`], and last of all
    /// others. A circle is one, and not as many as it has cells.
    Kinds { answer: Answer<Vec<usize>> },
    /// Copies what has been timed so far.
    Latency { answer: Answer<ShardLatency> },
    /// Counts sessions by user type.
    Types { answer: Answer<Vec<TypeCount>> },
}
