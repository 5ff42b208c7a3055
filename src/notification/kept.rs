//! The notifications of all users: striped by user, so that shards and sources seldom meet at a lock, and bounded
//! together.
//!
//! Invariant: one lock at a time is held, and nobody does anything under it but look, copy a text and count. While
//! nothing is pending, whoever arrives costs one load.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clock::Now;

use super::bounds::{BOOKKEEPING_BYTES, Bounds, TEXT_BYTES_MAX};
use super::recognise::Recognised;
use super::stripe::{DueOne, Stripe, Told};
use super::tally::Tally;

/// Parts, each under a lock of its own.
const STRIPES: usize = 64;

/// Looked at in one stripe at a time by whoever repeats: a lock that a shard may want is held for some microseconds.
const AT_ONCE: usize = 32;

/// Clones are the same.
#[derive(Clone)]
pub struct Notifications(Arc<Inner>);

struct Inner {
    /// None: nothing is ever kept.
    bounds: Option<Bounds>,
    hasher: RandomState,
    stripes: Box<[Mutex<Stripe>]>,
    /// Where whoever repeats goes on.
    next_stripe: AtomicUsize,
    tally: Tally,
}

/// One that is kept: by it whoever sends it says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    stripe: usize,
    number: u64,
}

/// What is to be sent to a user again.
pub struct Due {
    pub kept: Kept,
    pub user: Arc<str>,
    pub text: Arc<str>,
}

impl Notifications {
    /// Within these bounds; without any, nothing is kept.
    pub fn new(bounds: Option<Bounds>) -> Self {
        debug_assert!(bounds.is_none_or(|bounds| bounds.per_user > 0 && bounds.total > 0));
        Self(Arc::new(Inner {
            bounds,
            hasher: RandomState::new(),
            stripes: (0..STRIPES).map(|_| Mutex::default()).collect(),
            next_stripe: AtomicUsize::new(0),
            tally: Tally::default(),
        }))
    }

    /// Keeps a notification. Called before it is published, so that no confirmation comes before there is something to
    /// confirm, and nobody who connects in between misses it. `None`: it is delivered once, as nothing is kept here, it
    /// is too large, or its id is none.
    pub fn keep(&self, Recognised { user, id }: &Recognised<'_>, text: &str, now: Now) -> Option<Kept> {
        let fits = |bounds: &Bounds| text.len() <= TEXT_BYTES_MAX && text.len() + BOOKKEEPING_BYTES <= bounds.bytes;
        let (Some(id), Some(bounds)) = (id, self.0.bounds.as_ref().filter(|bounds| fits(bounds))) else {
            self.0.tally.unkept.fetch_add(1, Relaxed);
            return None;
        };
        let (stripe, tick) = (self.stripe_of(user), now.tick());
        let number = self.lock(stripe).keep(user, id, text, tick, bounds, &self.0.tally);
        let kept = Kept { stripe, number };
        self.make_room(bounds, kept, tick);
        Some(kept)
    }

    /// It was handed to sessions of its user.
    pub fn sent(&self, kept: Kept) {
        self.lock(kept.stripe).sent(kept.number, &self.0.tally);
    }

    /// A device of the user has it. False when nothing is known of it, as of what was sent by others than this node.
    pub fn confirm(&self, user: &str, id: &str, now: Now) -> bool {
        let Some(bounds) = self.0.bounds.as_ref().filter(|_| !self.has_nothing()) else { return false };
        let stripe = self.stripe_of(user);
        let is_known = self.lock(stripe).confirm(user, id, now.tick(), &self.0.tally);
        self.bound_memory(bounds, stripe);
        is_known
    }

    /// A session of the user has begun: hands out what waits for him, oldest first, as long as `take` takes it. The
    /// rest is due soon.
    pub fn arrived(&self, user: &str, now: Now, take: impl FnMut(&str) -> bool) {
        let Some(bounds) = &self.0.bounds else { return };
        let tally = &self.0.tally;
        if tally.pending.load(Relaxed) > 0 {
            self.lock(self.stripe_of(user)).arrived(user, now.tick(), bounds, tally, take);
        }
    }

    /// What is to be sent again now: some of it, so that a round has an end. Also lets go of what has had its time.
    /// Empty when nothing is left to do at this moment.
    pub fn due(&self, now: Now) -> Vec<Due> {
        let Some(bounds) = self.0.bounds.as_ref().filter(|_| !self.has_nothing()) else { return Vec::new() };
        let mut found = Vec::new();
        for _ in 0..STRIPES {
            let stripe = self.0.next_stripe.fetch_add(1, Relaxed) % STRIPES;
            let here = self.lock(stripe).due(now.tick(), AT_ONCE, bounds, &self.0.tally);
            let due = |DueOne { number, user, text }| Due { kept: Kept { stripe, number }, user, text };
            found.extend(here.into_iter().map(due));
            self.bound_memory(bounds, stripe);
        }
        found
    }

    /// Whether what was due is still pending, and with this very text.
    pub fn is_current(&self, due: &Due) -> bool {
        self.lock(due.kept.stripe).has(due.kept.number, &due.text)
    }

    /// What is known of an id, for one user or for all.
    pub fn told(&self, id: &str, user: Option<&str>) -> Vec<Told> {
        if let Some(user) = user {
            return self.lock(self.stripe_of(user)).told(user, id).into_iter().collect();
        }
        let mut found = Vec::new();
        (0..STRIPES).for_each(|stripe| self.lock(stripe).told_of_all(id, &mut found));
        found
    }

    pub(super) fn tally(&self) -> &Tally {
        &self.0.tally
    }

    /// The oldest go: those beside the new one first, or else of the next stripe that has any.
    fn make_room(&self, bounds: &Bounds, newest: Kept, now: u32) {
        let tally = &self.0.tally;
        let is_over = || tally.pending.load(Relaxed) > bounds.total || tally.bytes.load(Relaxed) > bounds.bytes;
        while is_over() {
            let stripes = (newest.stripe..STRIPES).chain(0..newest.stripe);
            let mut dropped = stripes.map(|stripe| {
                let except = (stripe == newest.stripe).then_some(newest.number);
                self.lock(stripe).drop_oldest(except, now, tally)
            });
            if !dropped.any(|dropped| dropped) {
                break;
            }
        }
        self.bound_memory(bounds, newest.stripe);
    }

    /// As many ends are remembered as there may be pending ones.
    fn bound_memory(&self, bounds: &Bounds, stripe: usize) {
        let tally = &self.0.tally;
        while tally.ended.load(Relaxed) > bounds.total {
            let mut forgotten = (stripe..STRIPES).chain(0..stripe).map(|stripe| self.lock(stripe).forget_oldest(tally));
            if !forgotten.any(|forgotten| forgotten) {
                break;
            }
        }
    }

    fn has_nothing(&self) -> bool {
        let Tally { pending, ended, .. } = &self.0.tally;
        pending.load(Relaxed) == 0 && ended.load(Relaxed) == 0
    }

    fn stripe_of(&self, user: &str) -> usize {
        self.0.hasher.hash_one(user) as usize % STRIPES
    }

    fn lock(&self, stripe: usize) -> MutexGuard<'_, Stripe> {
        self.0.stripes[stripe].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
