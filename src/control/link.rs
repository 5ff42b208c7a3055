//! Whether somebody outside is reached: a broker, a backend, a database.
//!
//! Written by the task that holds the connection, read at any time by the admin port and by who would use it. It
//! changes seldom and is behind a lock, so that its parts always fit together; whether it is there is also a flag, for
//! those who ask per message.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use crate::clock::Now;
use crate::metrics::Counter;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkState {
    /// Not reached yet since start.
    Connecting,
    Connected,
    /// Not reached, or lost; tried again and again.
    Disconnected,
}

/// How it is now.
#[derive(Clone, Debug, Serialize)]
pub struct LinkStatus {
    pub state: LinkState,
    /// When the state was entered, in unix seconds.
    pub since: u64,
    /// Why it was last lost or not reached; kept while connected, for whoever looks later.
    pub error: Option<String>,
    /// Once reached, every further connection is a reconnect.
    #[serde(skip)]
    reached: bool,
}

#[derive(Debug)]
pub struct Link {
    status: Mutex<LinkStatus>,
    is_connected: AtomicBool,
    /// Times the connection was restored after it had been lost.
    pub reconnects: Counter,
}

impl Default for Link {
    fn default() -> Self {
        let since = Now::read().unix_s();
        let status = LinkStatus { state: LinkState::Connecting, since, error: None, reached: false };
        Self { status: Mutex::new(status), is_connected: AtomicBool::new(false), reconnects: Counter::default() }
    }
}

impl Link {
    pub fn status(&self) -> LinkStatus {
        self.lock().clone()
    }

    pub fn is_connected(&self) -> bool {
        self.is_connected.load(Relaxed)
    }

    pub fn connected(&self) {
        let mut status = self.lock();
        if std::mem::replace(&mut status.reached, true) && status.state != LinkState::Connected {
            self.reconnects.add(1);
        }
        status.enter(LinkState::Connected);
        self.is_connected.store(true, Relaxed);
    }

    /// False when the same was said before, so that who stays away is logged once.
    pub fn disconnected(&self, error: String) -> bool {
        let mut status = self.lock();
        let is_news = status.state != LinkState::Disconnected || status.error.as_ref() != Some(&error);
        status.enter(LinkState::Disconnected);
        status.error = Some(error);
        self.is_connected.store(false, Relaxed);
        is_news
    }

    /// It is connected, and something is wrong.
    pub fn troubled(&self, error: String) {
        self.lock().error = Some(error);
    }

    fn lock(&self) -> MutexGuard<'_, LinkStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LinkStatus {
    /// Attempts that fail again do not move `since`: it tells for how long somebody has been away.
    fn enter(&mut self, state: LinkState) {
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
        let link = Link::default();
        assert_eq!(link.status().state, LinkState::Connecting);
        link.disconnected("not there yet".into());
        link.connected();
        link.connected();
        assert_eq!((link.is_connected(), link.reconnects.get()), (true, 0));
        link.disconnected("gone".into());
        assert!(!link.is_connected());
        link.connected();
        assert_eq!((link.is_connected(), link.reconnects.get()), (true, 1));
        assert_eq!(link.status().error.as_deref(), Some("gone"));
    }

    #[test]
    fn a_failure_is_news_only_once() {
        let link = Link::default();
        assert!(link.disconnected("refused".into()));
        assert!(!link.disconnected("refused".into()));
        assert!(link.disconnected("wrong password".into()));
        link.connected();
        assert!(link.disconnected("wrong password".into()));
    }
}
