//! What all stripes hold together, and what became of what they held.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use super::bounds::BOOKKEEPING_BYTES;
use super::fate::Fate;

/// Levels and counters; written under the lock of a stripe, each of another one.
#[derive(Debug, Default)]
pub struct Tally {
    pub pending: AtomicUsize,
    /// Of the pending ones.
    pub bytes: AtomicUsize,
    /// Whose end is remembered.
    pub ended: AtomicUsize,
    pub confirmed: AtomicU64,
    pub expired: AtomicU64,
    pub dropped: AtomicU64,
    /// Handed out again.
    pub repeated: AtomicU64,
    /// Delivered once: too large, or the id is none.
    pub unkept: AtomicU64,
}

impl Tally {
    pub fn begin(&self, text_bytes: usize) {
        self.pending.fetch_add(1, Relaxed);
        self.bytes.fetch_add(text_bytes + BOOKKEEPING_BYTES, Relaxed);
    }

    /// One is not pending any more, or another one, which has begun, stands for it.
    pub fn withdraw(&self, text_bytes: usize) {
        self.pending.fetch_sub(1, Relaxed);
        self.bytes.fetch_sub(text_bytes + BOOKKEEPING_BYTES, Relaxed);
    }

    pub fn end(&self, text_bytes: usize, fate: Fate) {
        self.withdraw(text_bytes);
        self.ended.fetch_add(1, Relaxed);
        self.count(fate);
    }

    /// The end of one is not remembered any more.
    pub fn forget(&self) {
        self.ended.fetch_sub(1, Relaxed);
    }

    pub fn repeated(&self) {
        self.repeated.fetch_add(1, Relaxed);
    }

    pub fn count(&self, fate: Fate) {
        match fate {
            Fate::Confirmed => &self.confirmed,
            Fate::Expired => &self.expired,
            Fate::Dropped => &self.dropped,
        }
        .fetch_add(1, Relaxed);
    }
}
