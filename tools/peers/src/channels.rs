//! Who listens to what: one `tokio::sync::broadcast` per channel, and the number of open connections. Shared by every
//! task of a server.
//!
//! A channel lives as long as the process. `M` is the library's own cheap handle of a message, so that a fan-out clones
//! a reference count and never the bytes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::broadcast;
use tokio_stream::StreamMap;
use tokio_stream::wrappers::BroadcastStream;

/// Messages that a channel keeps for its slowest subscriber; who falls further behind loses the oldest.
const CHANNEL_MESSAGES_MAX: usize = 1024;

/// The channels of one connection, as one stream.
pub type Subscriptions<M> = StreamMap<String, BroadcastStream<M>>;

pub struct Channels<M> {
    by_name: Mutex<HashMap<String, broadcast::Sender<M>>>,
    open: AtomicU64,
    opened: AtomicU64,
}

impl<M> Default for Channels<M> {
    fn default() -> Self {
        Self { by_name: Mutex::default(), open: AtomicU64::new(0), opened: AtomicU64::new(0) }
    }
}

impl<M: Clone + Send + 'static> Channels<M> {
    pub fn subscribe(&self, name: &str) -> BroadcastStream<M> {
        let mut by_name = self.by_name.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = by_name.get(name) {
            return channel.subscribe().into();
        }
        let (channel, first) = broadcast::channel(CHANNEL_MESSAGES_MAX);
        by_name.insert(name.to_owned(), channel);
        first.into()
    }

    /// Posts the message to everybody in the channel and says how many that are.
    pub fn publish(&self, name: &str, message: M) -> usize {
        let channel = self.by_name.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        // The only error of `send` is that nobody listens.
        channel.map_or(0, |channel| channel.send(message).unwrap_or(0))
    }

    pub fn connections(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// Counts a connection for as long as the value lives.
    pub fn enter(&self) -> Presence<'_, M> {
        self.open.fetch_add(1, Ordering::Relaxed);
        Presence { session_id: self.opened.fetch_add(1, Ordering::Relaxed), channels: self }
    }
}

pub struct Presence<'a, M> {
    pub session_id: u64,
    channels: &'a Channels<M>,
}

impl<M> Drop for Presence<'_, M> {
    fn drop(&mut self) {
        self.channels.open.fetch_sub(1, Ordering::Relaxed);
    }
}
