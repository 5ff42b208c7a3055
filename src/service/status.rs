//! What a service says of itself: whether its backend is reached, what waits, and how long answers take.
//!
//! Read by the admin port at any time. What clients are told of their calls is counted by the shards
//! ([`crate::lane::services`]); this is the backend's side.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::debug;

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
    /// From a call to the backend's last answer, in microseconds.
    latency: SharedTimes,
    /// Why a call failed last, for the log.
    why: Mutex<Option<String>>,
}

/// Characters of a reason that are kept: it may be the backend's.
const WHY_MAX: usize = 200;

/// A call that waits, until this is dropped; then it is known how long it took the backend.
#[derive(Debug)]
pub struct Waiting {
    status: Arc<ServiceStatus>,
    bytes: usize,
    begun_us: u64,
    is_timed: bool,
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
            why: Mutex::default(),
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

    /// Further ones that may.
    pub fn places_left(&self) -> usize {
        self.waiting_max.saturating_sub(self.waiting())
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

    /// The backend is there and does not do what a call wants: in its words, or ours.
    pub fn tell_failed(&self, why: &str) {
        debug!(service = self.name(), why, "a call has failed");
        *self.why.lock().unwrap_or_else(PoisonError::into_inner) = Some(why.chars().take(WHY_MAX).collect());
    }

    /// Why a call failed last, if one has since this was last asked.
    pub fn take_why(&self) -> Option<String> {
        self.why.lock().unwrap_or_else(PoisonError::into_inner).take()
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
        fits.then(|| Waiting { status: self.clone(), bytes, begun_us: now_us(), is_timed: true })
    }

    fn leave(&self, bytes: usize) {
        self.waiting.fetch_sub(1, Relaxed);
        self.waiting_bytes.fetch_sub(bytes, Relaxed);
    }
}

impl Waiting {
    /// That it is over says nothing about the backend.
    pub fn untimed(&mut self) {
        self.is_timed = false;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.status.leave(self.bytes);
        if self.is_timed {
            self.status.latency.record(now_us().saturating_sub(self.begun_us));
        }
    }
}
