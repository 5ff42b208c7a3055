//! Whether somebody outside is reached: a broker, a backend, a database.
//!
//! Written by the task that holds the connection, read at any time by the admin port and by who would use it. It
//! changes seldom and is behind a lock, so that its parts always fit together; whether it is there is also a flag, for
//! those who ask per message.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::clock::Now;
use crate::metrics::Counter;

/// Between two lines of the log about why somebody is away.
const TOLD_EVERY: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkState {
    /// Not reached yet since start.
    Connecting,
    Connected,
    /// Not reached, or lost; tried again and again.
    Disconnected,
}

/// What is wrong beside a connection is told until it was well for so long.
const TROUBLED_FOR: Duration = Duration::from_secs(60);

/// How it is now.
#[derive(Clone, Debug, Serialize)]
pub struct LinkStatus {
    pub state: LinkState,
    /// When the state was entered, in unix seconds.
    pub since: u64,
    /// Why it was last lost or not reached, kept while connected for whoever looks later; or what was wrong beside the
    /// connection within the last minute.
    pub error: Option<String>,
    /// When that was, if it was beside the connection.
    #[serde(skip)]
    troubled_at: Option<Instant>,
    /// Once reached, every further connection is a reconnect.
    #[serde(skip)]
    reached: bool,
    #[serde(skip)]
    told: Told,
}

/// What the log has been told: who comes and goes, or is away for ever new reasons, does not fill it.
#[derive(Clone, Debug, Default)]
struct Told {
    /// Why it is away, until it is told that it is back.
    why: Option<String>,
    at: Option<Instant>,
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
        let state = LinkState::Connecting;
        let status = LinkStatus { state, since, error: None, troubled_at: None, reached: false, told: Told::default() };
        Self { status: Mutex::new(status), is_connected: AtomicBool::new(false), reconnects: Counter::default() }
    }
}

impl Link {
    pub fn status(&self) -> LinkStatus {
        self.status_at(Instant::now())
    }

    fn status_at(&self, now: Instant) -> LinkStatus {
        let mut status = self.lock();
        let is_over = |at: Instant| now.saturating_duration_since(at) > TROUBLED_FOR;
        if status.troubled_at.is_some_and(is_over) {
            (status.error, status.troubled_at) = (None, None);
        }
        status.clone()
    }

    pub fn is_connected(&self) -> bool {
        self.is_connected.load(Relaxed)
    }

    /// True when the log is to tell it: the first time, and whenever it has told that it was away.
    pub fn connected(&self) -> bool {
        let mut status = self.lock();
        let was_reached = std::mem::replace(&mut status.reached, true);
        if was_reached && status.state != LinkState::Connected {
            self.reconnects.add(1);
        }
        status.enter(LinkState::Connected);
        self.is_connected.store(true, Relaxed);
        status.told.why.take().is_some() || !was_reached
    }

    /// True when the log is to tell it: at once, but not the same again, and nothing within ten seconds of the last
    /// time. What was not told then is told later if it still is so.
    pub fn disconnected(&self, error: String) -> bool {
        self.disconnected_at(error, Instant::now())
    }

    fn disconnected_at(&self, error: String, now: Instant) -> bool {
        let mut status = self.lock();
        let is_news = status.told.is_news(&error, now);
        status.enter(LinkState::Disconnected);
        (status.error, status.troubled_at) = (Some(error), None);
        self.is_connected.store(false, Relaxed);
        is_news
    }

    /// It is connected, and something is wrong.
    pub fn troubled(&self, error: String) {
        let mut status = self.lock();
        (status.error, status.troubled_at) = (Some(error), Some(Instant::now()));
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

impl Told {
    fn is_news(&mut self, why: &str, now: Instant) -> bool {
        let is_known = self.why.as_deref() == Some(why);
        let is_soon = self.at.is_some_and(|at| now.saturating_duration_since(at) < TOLD_EVERY);
        if is_known || is_soon {
            return false;
        }
        (self.why, self.at) = (Some(why.into()), Some(now));
        true
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
    fn what_is_wrong_beside_a_connection_is_told_until_it_was_well_for_a_minute() {
        let link = Link::default();
        link.connected();
        link.troubled("OOM".into());
        let error_in = |time| link.status_at(Instant::now() + time).error;
        assert_eq!(error_in(TROUBLED_FOR / 2).as_deref(), Some("OOM"));
        assert_eq!(error_in(TROUBLED_FOR * 2), None);
        link.disconnected("gone".into());
        link.connected();
        assert_eq!(error_in(TROUBLED_FOR * 2).as_deref(), Some("gone"), "why it was lost stays for who looks later");
    }

    #[test]
    fn a_failure_is_news_only_once() {
        let (link, start) = (Link::default(), Instant::now());
        let away = |seconds, why: &str| link.disconnected_at(why.into(), start + Duration::from_secs(seconds));
        assert!(away(0, "refused") && !away(100, "refused"));
        assert!(away(200, "wrong password"));
        assert!(link.connected() && !link.connected());
        assert!(away(300, "wrong password"));
    }

    #[test]
    fn whoever_is_away_for_ever_new_reasons_is_told_once_in_ten_seconds() {
        let (link, start) = (Link::default(), Instant::now());
        let told = (0..200)
            .filter(|n| link.disconnected_at(format!("reset by peer {n}"), start + Duration::from_millis(100 * n)));
        assert_eq!(told.collect::<Vec<_>>(), [0, 100]);
        // The last one is shown in any case.
        assert_eq!(link.status().error.as_deref(), Some("reset by peer 199"));
    }

    #[test]
    fn whoever_comes_and_goes_is_told_once_in_ten_seconds() {
        let (link, start) = (Link::default(), Instant::now());
        let told = (0..20).map(|n| (link.connected(), link.disconnected_at("gone".into(), start + TOLD_EVERY * n / 5)));
        let [back, gone] = told
            .fold([0, 0], |[back, gone], (is_back, is_gone)| [back + u32::from(is_back), gone + u32::from(is_gone)]);
        assert_eq!([back, gone, link.reconnects.get() as u32], [5, 4, 19]);
    }
}
