//! What a source says of itself: whether it reaches its broker, and what it has passed on.
//!
//! Written by the source's thread alone, read by the admin port at any time. The counters are touched per message and
//! are plain stores; the link changes seldom and is behind a lock, so that its parts always fit together.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::clock::Now;
use crate::metrics::Counter;

#[derive(Debug)]
pub struct SourceStatus {
    name: &'static str,
    link: Mutex<Link>,
    /// Times the connection was restored after it had been lost.
    pub reconnects: Counter,
    /// Messages from the broker.
    pub messages: Counter,
    /// Bytes of their payloads.
    pub bytes: Counter,
    /// Messages dropped because they cannot be a text message of a channel.
    pub invalid: Counter,
    /// Messages that no shard had a subscriber for.
    pub unmatched: Counter,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceState {
    /// Not reached yet since start.
    Connecting,
    /// Subscribed: what is published arrives.
    Connected,
    /// Not reached, or lost; tried again and again.
    Disconnected,
}

/// The connection to the broker.
#[derive(Clone, Debug, Serialize)]
pub struct Link {
    pub state: SourceState,
    /// When the state was entered, in unix seconds.
    pub since: u64,
    /// Why it was last lost or not reached; kept while connected, for whoever looks later.
    pub error: Option<String>,
    /// Once reached, every further connection is a reconnect.
    #[serde(skip)]
    reached: bool,
}

impl SourceStatus {
    pub fn new(name: &'static str) -> Self {
        let link = Link { state: SourceState::Connecting, since: Now::read().unix_s(), error: None, reached: false };
        Self {
            name,
            link: Mutex::new(link),
            reconnects: Counter::default(),
            messages: Counter::default(),
            bytes: Counter::default(),
            invalid: Counter::default(),
            unmatched: Counter::default(),
        }
    }

    /// `redis`, as in metrics and logs.
    pub fn name(&self) -> &'static str {
        self.name
    }

    pub fn link(&self) -> Link {
        self.lock().clone()
    }

    pub fn is_connected(&self) -> bool {
        self.lock().state == SourceState::Connected
    }

    pub(crate) fn connected(&self) {
        let mut link = self.lock();
        if std::mem::replace(&mut link.reached, true) {
            self.reconnects.add(1);
        }
        link.enter(SourceState::Connected);
    }

    /// False when the same was said before, so that a broker that stays away is logged once.
    pub(crate) fn disconnected(&self, error: String) -> bool {
        let mut link = self.lock();
        let is_news = link.state != SourceState::Disconnected || link.error.as_ref() != Some(&error);
        link.enter(SourceState::Disconnected);
        link.error = Some(error);
        is_news
    }

    fn lock(&self) -> MutexGuard<'_, Link> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Link {
    /// Attempts that fail again do not move `since`: it tells how long the broker has been away.
    fn enter(&mut self, state: SourceState) {
        if self.state != state {
            self.state = state;
            self.since = Now::read().unix_s();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restored_connection_counts_as_a_reconnect() {
        let status = SourceStatus::new("redis");
        assert_eq!(status.link().state, SourceState::Connecting);
        status.disconnected("not there yet".into());
        status.connected();
        assert_eq!((status.is_connected(), status.reconnects.get()), (true, 0));
        status.disconnected("gone".into());
        assert!(!status.is_connected());
        status.connected();
        assert_eq!((status.is_connected(), status.reconnects.get()), (true, 1));
        assert_eq!(status.link().error.as_deref(), Some("gone"));
    }

    #[test]
    fn a_failure_is_news_only_once() {
        let status = SourceStatus::new("redis");
        assert!(status.disconnected("refused".into()));
        assert!(!status.disconnected("refused".into()));
        assert!(status.disconnected("wrong password".into()));
        status.connected();
        assert!(status.disconnected("wrong password".into()));
    }
}
