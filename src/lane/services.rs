//! The services by name, known at start and the same as long as the process lives, and what each shard counts of them.
//!
//! Called by the shards for every message that a route forwards, and read by `/metrics`. A service is *local* when what
//! a route says is all that is done with its messages; otherwise somebody takes them ([`Service`]) and has a deadline.
//! A shard counts for itself, so counting is a plain load and store.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::clock::ticks;
use crate::metrics::Counter;
use crate::metrics::counters::Gauge;

use super::call::Service;

/// Everybody's list of services. Empty by default.
#[derive(Clone, Default)]
pub struct Services(Arc<[Entry]>);

/// A service's place in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceId(u16);

struct Entry {
    name: Box<str>,
    remote: Option<Remote>,
    /// By shard.
    counters: Box<[ServiceCounters]>,
}

/// A service that is not local.
#[derive(Clone)]
pub struct Remote {
    pub service: Arc<dyn Service>,
    /// How long a client waits for an answer, and for each further part of one.
    pub timeout_ticks: u32,
}

/// What one shard counts of one service. In a cache line of its own, as another shard writes the next one.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct ServiceCounters {
    /// Messages of clients that were for the service.
    pub calls: Counter,
    /// Of them, those that wait for an answer.
    pub outstanding: Gauge,
    /// Of them, those that were refused at once: it was full, its backend away, or too much of the client's waited.
    pub refused: Counter,
    /// Of them, those that it answered with a failure, or answered with more than there was room for.
    pub failed: Counter,
    /// Of them, those that it did not answer in time.
    pub late: Counter,
}

/// What all shards together count of a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    pub calls: u64,
    pub refused: u64,
    pub failed: u64,
    pub late: u64,
}

impl Totals {
    /// What was counted after `before`.
    pub fn since(self, before: Self) -> Self {
        Self {
            calls: self.calls.saturating_sub(before.calls),
            refused: self.refused.saturating_sub(before.refused),
            failed: self.failed.saturating_sub(before.failed),
            late: self.late.saturating_sub(before.late),
        }
    }
}

impl Remote {
    pub fn new(service: Arc<dyn Service>, timeout: Duration) -> Self {
        Self { service, timeout_ticks: ticks(timeout) }
    }
}

impl Services {
    /// The services of a process with so many shards; `None` for a local one.
    ///
    /// # Panics
    ///
    /// With more services than 65,536.
    pub fn new(shards: usize, services: impl IntoIterator<Item = (Box<str>, Option<Remote>)>) -> Self {
        let counters = || (0..shards).map(|_| ServiceCounters::default()).collect();
        let entries = services.into_iter().map(|(name, remote)| Entry { name, remote, counters: counters() });
        let entries: Arc<[Entry]> = entries.collect();
        assert!(entries.len() <= 1 << 16, "{} services", entries.len());
        Self(entries)
    }

    pub fn find(&self, name: &str) -> Option<ServiceId> {
        self.0.iter().position(|entry| *entry.name == *name).map(|at| ServiceId(at as u16))
    }

    /// Who takes the messages of a service; `None` when it is local.
    pub fn remote(&self, id: ServiceId) -> Option<&Remote> {
        self.entry(id).remote.as_ref()
    }

    /// What a shard counts of a service. Written by that shard alone.
    pub fn counters(&self, id: ServiceId, shard: usize) -> &ServiceCounters {
        &self.entry(id).counters[shard]
    }

    /// What all shards have counted of a service; `None` when routes know none of this name.
    pub fn totals(&self, name: &str) -> Option<Totals> {
        let counters = &self.0[usize::from(self.find(name)?.0)].counters;
        let sum = |counter: fn(&ServiceCounters) -> &Counter| counters.iter().map(|shard| counter(shard).get()).sum();
        Some(Totals {
            calls: sum(|shard| &shard.calls),
            refused: sum(|shard| &shard.refused),
            failed: sum(|shard| &shard.failed),
            late: sum(|shard| &shard.late),
        })
    }

    /// Each service's name with the counters of all shards.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &[ServiceCounters])> {
        self.0.iter().map(|entry| (&*entry.name, &*entry.counters))
    }

    fn entry(&self, id: ServiceId) -> &Entry {
        &self.0[usize::from(id.0)]
    }
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|entry| &entry.name)).finish()
    }
}
