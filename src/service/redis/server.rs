//! One server of a Redis Cluster, as [`super::cluster`] sees it: whether it is connected, whether it is at work, and
//! how much of the service's room it takes.

use std::time::{Duration, Instant};

use redis::RedisError;

use crate::broker::redis::Connection;
use crate::control::{Backoff, Link};

pub struct Server {
    state: State,
    /// Since when it has been connected.
    since: Option<Instant>,
    backoff: Backoff,
    /// What the log has been told of it.
    link: Link,
    /// What waits for it takes so much of its share.
    pub room: usize,
}

enum State {
    /// For the first time: what is for it waits.
    Connecting,
    /// At work exactly while something is under way.
    Connected {
        connection: Connection,
        is_at_work: bool,
        /// Whether anything was said since it was last asked.
        is_heard: bool,
    },
    Away,
}

impl Server {
    /// One that is not connected yet.
    pub fn new() -> Self {
        let (link, backoff) = (Link::default(), Backoff::default());
        Self { state: State::Connecting, since: None, backoff, link, room: 0 }
    }

    pub fn is_away(&self) -> bool {
        matches!(self.state, State::Away)
    }

    /// The connection, and whether it is at work.
    pub fn connection(&self) -> Option<(&Connection, bool)> {
        match &self.state {
            State::Connected { connection, is_at_work, .. } => Some((connection, *is_at_work)),
            _ => None,
        }
    }

    /// Puts it to work, if it is connected and has nothing to do.
    pub fn work(&mut self) -> Option<Connection> {
        let State::Connected { connection, is_at_work: is_at_work @ false, is_heard } = &mut self.state else {
            return None;
        };
        (*is_at_work, *is_heard) = (true, true);
        Some(connection.clone())
    }

    /// The same, if it has said nothing since this was last asked.
    pub fn work_if_silent(&mut self) -> Option<Connection> {
        let State::Connected { is_at_work: false, is_heard, .. } = &mut self.state else { return None };
        if std::mem::take(is_heard) {
            return None;
        }
        let connection = self.work();
        if let State::Connected { is_heard, .. } = &mut self.state {
            *is_heard = false;
        }
        connection
    }

    /// It has nothing to do.
    pub fn rest(&mut self) {
        if let State::Connected { is_at_work, .. } = &mut self.state {
            *is_at_work = false;
        }
    }

    /// True when the log is to tell that it is back.
    pub fn connected(&mut self, connection: Connection) -> bool {
        let is_back = self.link.connected() && self.since.is_some();
        self.since = Some(Instant::now());
        self.state = State::Connected { connection, is_at_work: false, is_heard: true };
        is_back
    }

    /// When it is tried again, and whether the log is to tell that it is lost.
    pub fn lost(&mut self, error: &RedisError) -> (Duration, bool) {
        self.state = State::Away;
        if let Some(since) = self.since {
            self.backoff.lived(since.elapsed());
        }
        (self.backoff.delay(), self.link.disconnected(error.to_string()))
    }
}
