//! What a service says of itself: whether its backend is reached, what waits, and how long answers take.
//!
//! Read by the admin port at any time. What clients are told of their calls is counted by the shards
//! ([`crate::lane::services`]); this is the backend's side.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use crate::clock::now_us;
use crate::control::Link;
use crate::metrics::{SharedTimes, Times};

#[derive(Debug)]
pub struct ServiceStatus {
    name: Box<str>,
    kind: &'static str,
    waiting_max: usize,
    /// To the backend.
    pub link: Link,
    /// Calls may come although the backend is away: the answers to some tell whether it still is.
    lets_in: AtomicBool,
    /// Calls that wait in the queue or for the backend, and their bytes.
    waiting: AtomicUsize,
    waiting_bytes: AtomicUsize,
    /// From a call to its last answer, in microseconds. Written by the service's thread.
    latency: SharedTimes,
}

/// A call that waits, until this is dropped; then it is known how long.
#[derive(Debug)]
pub struct Waiting {
    status: Arc<ServiceStatus>,
    bytes: usize,
    begun_us: u64,
}

impl ServiceStatus {
    /// Of a service for which so many calls may wait.
    pub fn new(name: &str, kind: &'static str, waiting_max: usize) -> Self {
        Self {
            name: name.into(),
            kind,
            waiting_max,
            link: Link::default(),
            lets_in: AtomicBool::new(false),
            waiting: AtomicUsize::new(0),
            waiting_bytes: AtomicUsize::new(0),
            latency: SharedTimes::default(),
        }
    }

    /// As routes name it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `redis`, as the configuration says.
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// Of the service's task: services have names of their own, and no other task is named so.
    pub fn task_name(&self) -> String {
        format!("service.{}", self.name)
    }

    /// Calls that wait.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Relaxed)
    }

    /// Calls that may wait.
    pub fn waiting_max(&self) -> usize {
        self.waiting_max
    }

    /// Bytes of those calls.
    pub fn waiting_bytes(&self) -> usize {
        self.waiting_bytes.load(Relaxed)
    }

    /// Whether calls may come while the backend is away.
    pub fn let_in(&self, is_let_in: bool) {
        self.lets_in.store(is_let_in, Relaxed);
    }

    /// Whether a call may come.
    pub(super) fn takes_calls(&self) -> bool {
        self.link.is_connected() || self.lets_in.load(Relaxed)
    }

    /// A copy of what has been timed.
    pub fn latency(&self) -> Times {
        self.latency.copy()
    }

    /// A call of so many bytes begins to wait, if there is room for it among so many bytes. Several shards may ask at
    /// once.
    pub fn enter(self: &Arc<Self>, bytes: usize, bytes_max: usize) -> Option<Waiting> {
        let calls = self.waiting.fetch_add(1, Relaxed) + 1;
        let fits = self.waiting_bytes.fetch_add(bytes, Relaxed) + bytes <= bytes_max && calls <= self.waiting_max;
        if !fits {
            self.leave(bytes);
        }
        fits.then(|| Waiting { status: self.clone(), bytes, begun_us: now_us() })
    }

    fn leave(&self, bytes: usize) {
        self.waiting.fetch_sub(1, Relaxed);
        self.waiting_bytes.fetch_sub(bytes, Relaxed);
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.status.leave(self.bytes);
        self.status.latency.record(now_us().saturating_sub(self.begun_us));
    }
}
