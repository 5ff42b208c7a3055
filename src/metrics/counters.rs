//! The counters of one shard: written by its thread alone, readable by all.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

/// Labels of [`Counters::closed`] beside the close codes that we send: the peer closed, or vanished without a close
/// frame.
pub const BY_PEER: &str = "by_peer";
pub const ABNORMAL: &str = "abnormal";

/// A number that only grows and that only one thread writes: no locked instruction.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A level that only one thread sets.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    pub fn set(&self, value: i64) {
        self.0.store(value, Relaxed);
    }

    pub fn add(&self, change: i64) {
        self.set(self.get() + change);
    }

    pub fn get(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

/// Counters that differ in one label whose values are known beforehand.
#[derive(Debug)]
pub struct Family {
    labels: Box<[&'static str]>,
    counts: Box<[Counter]>,
}

impl Family {
    pub fn new(labels: impl IntoIterator<Item = &'static str>) -> Self {
        let labels: Box<[_]> = labels.into_iter().collect();
        Self { counts: labels.iter().map(|_| Counter::default()).collect(), labels }
    }

    /// Counts one event under `label`, which must be one of those named at the start.
    pub fn count(&self, label: &str) {
        self.add(label, 1);
    }

    /// The same for several.
    pub fn add(&self, label: &str, n: u64) {
        let at = self.labels.iter().position(|l| *l == label);
        debug_assert!(at.is_some(), "unknown label {label}");
        if let Some(at) = at {
            self.counts[at].add(n);
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.labels.iter().copied().zip(self.counts.iter().map(Counter::get))
    }

    pub fn total(&self) -> u64 {
        self.counts.iter().map(Counter::get).sum()
    }
}

macro_rules! counters {
    ($($(#[doc = $help:literal])+ $name:ident: $kind:ident,)*) => {
        /// All counters of one shard. The doc of a field is its help text in `/metrics`.
        #[derive(Debug)]
        pub struct Counters {
            $($(#[doc = $help])+ pub $name: counters!(@type $kind),)*
        }

        impl Default for Counters {
            fn default() -> Self {
                Self { $($name: counters!(@new $kind),)* }
            }
        }

        impl Counters {
            /// Shows every counter to `visit`: name, help, value.
            pub fn visit<'a>(&'a self, mut visit: impl FnMut(&'static str, &'static str, Value<'a>)) {
                $(visit(stringify!($name), concat!($($help),+).trim(), counters!(@value $kind &self.$name));)*
            }
        }
    };
    (@type counter) => { Counter };
    (@type gauge) => { Gauge };
    (@type close_codes) => { Family };
    (@type refusals) => { Family };
    (@type token_errors) => { Family };
    (@type violations) => { Family };
    (@type overflows) => { Family };
    (@new counter) => { Counter::default() };
    (@new gauge) => { Gauge::default() };
    (@new close_codes) => { {
        let by_us = crate::ws::close::CloseCode::SENT.iter().map(|code| code.name());
        Family::new(by_us.chain([BY_PEER, ABNORMAL]))
    } };
    (@new refusals) => { Family::new(crate::ws::handshake::Refusal::ALL.iter().map(|r| r.label())) };
    (@new token_errors) => { Family::new(crate::auth::TokenError::ALL.iter().map(|e| e.name())) };
    (@new violations) => { Family::new(crate::ws::violation::Violation::ALL.iter().map(|v| v.name())) };
    (@new overflows) => { Family::new(crate::channel::Overflow::ALL.iter().map(|o| o.name())) };
    (@value counter $value:expr) => { Value::Counter($value.get()) };
    (@value gauge $value:expr) => { Value::Gauge($value.get()) };
    (@value close_codes $value:expr) => { Value::Family("code", $value) };
    (@value refusals $value:expr) => { Value::Family("reason", $value) };
    (@value token_errors $value:expr) => { Value::Family("reason", $value) };
    (@value violations $value:expr) => { Value::Family("kind", $value) };
    (@value overflows $value:expr) => { Value::Family("policy", $value) };
}

/// A counter's value as a reader sees it.
pub enum Value<'a> {
    Counter(u64),
    Gauge(i64),
    /// The label's name and the counters by its values.
    Family(&'static str, &'a Family),
}

counters! {
    /// Connections that are open now, from the upgrade to the closed socket.
    connections: gauge,
    /// Connections with a verified token.
    sessions: gauge,
    /// Connections that have yet to send their token in an `auth` message.
    unauthenticated: gauge,
    /// This shard's share of the distinct users; only the sum over shards means something.
    users: gauge,
    /// Channels with at least one subscriber.
    channels: gauge,
    /// Subscriptions of all connections.
    subscriptions: gauge,
    /// Sends that the kernel has not completed.
    sends_in_flight: gauge,
    /// Receive buffers in use.
    receive_buffers_in_use: gauge,
    /// Bytes waiting in the outboxes of slow connections.
    outbox_bytes: gauge,
    /// TCP connections accepted.
    accepted: counter,
    /// Connections upgraded to WebSocket.
    upgraded: counter,
    /// Clients handed over to another shard because this one was full.
    handed_over: counter,
    /// Upgrades refused, by reason.
    refused: refusals,
    /// Tokens refused, by reason.
    tokens_refused: token_errors,
    /// Connections closed, by close code; `abnormal` where the peer vanished without a close frame.
    closed: close_codes,
    /// Peers that broke the WebSocket protocol, by rule.
    violations: violations,
    /// Messages received from clients.
    messages_received: counter,
    /// Pings and pongs received from clients.
    control_frames_received: counter,
    /// Fragments of messages received from clients, but for the last of each.
    fragments_received: counter,
    /// Bytes received from clients.
    received_bytes: counter,
    /// Requests answered with an error message.
    errors_sent: counter,
    /// Commands taken from this shard's lane.
    lane_commands: counter,
    /// Messages published to this shard, whether anybody was there or not.
    publications: counter,
    /// Messages for one connection that was gone or not open.
    addressed_stale: counter,
    /// Answers of services that nobody waited for any more.
    answers_stale: counter,
    /// Frames handed to connections by publications and addressed messages.
    deliveries: counter,
    /// Frames that had to wait in an outbox because the connection was still sending.
    deliveries_queued: counter,
    /// Frames dropped because their connection was too slow or has gone, or because a newer one replaced them.
    deliveries_dropped: counter,
    /// Of them, those that an overflow policy dropped, by policy.
    overflow_dropped: overflows,
    /// Messages that a newer one of their channel replaced before they were handed to connections (`overflow =
    /// "latest"`).
    publications_replaced: counter,
    /// Pings and heartbeats sent.
    heartbeats_sent: counter,
    /// Turns of the loop.
    turns: counter,
    /// When the loop last came round, in microseconds since the process started.
    turned_at_us: gauge,
}
