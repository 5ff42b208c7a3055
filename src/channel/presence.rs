//! Who is online in which channel, by user and not by connection, and what of it the others have not been told yet.
//!
//! Shared by all shards, as the [interest](super::Interest) is: they say who joins and leaves (once per subscription,
//! never per message) and read the list for who asks. A task of the control side takes from here what is to be told.
//! Nothing is published here.
//!
//! ```text
//!                 first session                 last session's connection ends
//!   not there ──────────────────► online ◄──────────────────────────────────────► online, leaving
//!       ▲                           │                 another session                     │
//!       └───────────────────────────┴─────────────────────────────────────────────────────┘
//!                      last session unsubscribes              the grace is over
//! ```
//!
//! Changes are not listed but compared: each user of a channel bears what the others were told of him, and a channel
//! with a difference waits once in a queue. Whoever came and went meanwhile is no change.
//!
//! Invariant: no lock is held for longer than one leaf of a [member tree](members) takes, or a bounded number of channels,
//! however many users a channel has. Nothing of it grows by copying itself.

mod members;
mod queue;
mod roster;

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::HashTable;

use super::Pattern;
use queue::Queue;
use roster::Roster;

pub use roster::{Change, Changes, Listed};

/// Parts of the map, each behind a lock of its own. Many, so that a part with its share of some million channels still
/// grows in a fraction of a turn.
pub const STRIPES: usize = 1024;

/// Users who may be leaving at once, in all channels together. Beyond it nobody is given a grace: what clients could make
/// us remember is bounded.
const LEAVING_MAX: usize = 1 << 20;

/// Channels of one stripe that may wait to be told of. Beyond it a difference is told at the channel's next change.
const PENDING_MAX: usize = 1 << 16;

/// Graces looked at in one go.
const GRACES_PER_GO: usize = 256;

/// Users compared in one go, or as many as the last channel then has.
const COMPARED_PER_GO: usize = 1024;

/// What is kept, and how it is told. Times are in ticks.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Channels whose users are known. None: nothing is kept at all.
    pub channels: Vec<Pattern>,
    /// How long a user stays online whose last connection has ended; 0: not at all.
    pub grace_ticks: u32,
    /// Users of a channel up to which each is announced; above, only their number is.
    pub announce_max: usize,
    /// Users that a list names.
    pub list_max: usize,
}

/// The users of all channels that match one of the patterns. The default knows nobody's.
pub struct Presence {
    settings: Settings,
    hasher: RandomState,
    stripes: Box<[Mutex<Stripe>]>,
    leaving: AtomicUsize,
}

#[derive(Default)]
struct Stripe {
    /// With the hash of their names.
    rosters: HashTable<(u64, Box<Roster>)>,
    /// Hashes of channels with something to tell, each at most once.
    pending: VecDeque<u64>,
    /// In the order in which they end.
    graces: Queue<Grace>,
    online: usize,
    changes: u64,
}

/// A user is leaving. He may have come back since: what holds stands in the roster.
#[derive(Clone, Copy)]
struct Grace {
    channel: u64,
    user: u32,
    ends_at: u32,
}

const _: () = assert!(size_of::<Grace>() == 16);

/// What there is, for the metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub channels: usize,
    /// Users online, once for each channel that they are in.
    pub online: usize,
    /// First arrivals and last departures so far.
    pub changes: u64,
}

impl Default for Presence {
    fn default() -> Self {
        Self::new(Settings::default())
    }
}

impl Presence {
    pub fn new(settings: Settings) -> Self {
        let stripes = if settings.channels.is_empty() { 0 } else { STRIPES };
        Self {
            settings,
            hasher: RandomState::new(),
            stripes: (0..stripes).map(|_| Mutex::default()).collect(),
            leaving: AtomicUsize::new(0),
        }
    }

    /// Whether the users of any channel are known.
    pub fn is_on(&self) -> bool {
        !self.stripes.is_empty()
    }

    /// Whether the users of this channel are known.
    pub fn covers(&self, channel: &str) -> bool {
        self.settings.channels.iter().any(|pattern| pattern.matches(channel))
    }

    /// A session of `user` has joined the channel.
    pub fn enter(&self, channel: &str, user: &str) {
        if self.covers(channel) {
            let (hash, user_hash) = (self.hash(channel), self.user_hash(user));
            self.stripe(hash).change(hash, Some(channel), &self.settings, |roster| roster.enter(user_hash, user));
        }
    }

    /// A session of `user` has left the channel of its own accord. If it was his last one there, so has he.
    pub fn leave(&self, channel: &str, user: &str) {
        if self.covers(channel) {
            let (hash, user_hash) = (self.hash(channel), self.user_hash(user));
            self.stripe(hash).change(hash, None, &self.settings, |roster| roster.leave(user_hash, user));
        }
    }

    /// The connection of a session of `user` in the channel has ended. If it was his last one there, his grace begins.
    pub fn vanish(&self, channel: &str, user: &str, now: u32) {
        if !self.covers(channel) {
            return;
        }
        if self.settings.grace_ticks == 0 || self.leaving.load(Relaxed) >= LEAVING_MAX {
            return self.leave(channel, user);
        }
        let (hash, user_hash) = (self.hash(channel), self.user_hash(user));
        let ends_at = now.saturating_add(self.settings.grace_ticks);
        let mut stripe = self.stripe(hash);
        if stripe.roster(hash).is_some_and(|roster| roster.vanish(user_hash, user, ends_at)) {
            stripe.graces.push(Grace { channel: hash, user: user_hash, ends_at });
            self.leaving.fetch_add(1, Relaxed);
        }
    }

    /// Who is online in the channel; `None` where that is not known.
    pub fn list(&self, channel: &str) -> Option<Listed> {
        if !self.covers(channel) {
            return None;
        }
        let hash = self.hash(channel);
        let mut stripe = self.stripe(hash);
        Some(stripe.roster(hash).map_or_else(Listed::default, |roster| roster.list(self.settings.list_max)))
    }

    /// The number of parts in which [`Presence::expire`] and [`Presence::take`] go through everything.
    pub fn stripes(&self) -> usize {
        self.stripes.len()
    }

    /// Ends graces of one stripe that are over. False when none is left that is.
    pub fn expire(&self, stripe: usize, now: u32) -> bool {
        let mut stripe = self.lock(stripe);
        for _ in 0..GRACES_PER_GO {
            let Some(grace) = stripe.graces.pop_if(|grace| grace.ends_at <= now) else { return false };
            self.leaving.fetch_sub(1, Relaxed);
            stripe.change(grace.channel, None, &self.settings, |roster| roster.expire(grace.user, now));
        }
        true
    }

    /// Adds what some channels of one stripe have to be told to `told`, as if it had been.
    pub fn take(&self, stripe: usize, now: u32, told: &mut Vec<Changes>) {
        let mut stripe = self.lock(stripe);
        let mut compared = 0;
        for _ in 0..stripe.pending.len() {
            if compared >= COMPARED_PER_GO {
                return;
            }
            let Some(hash) = stripe.pending.pop_front() else { return };
            compared += stripe.tell(hash, now, &self.settings, told);
        }
    }

    pub fn totals(&self) -> Totals {
        let each = (0..self.stripes.len()).map(|index| {
            let stripe = self.lock(index);
            Totals { channels: stripe.rosters.len(), online: stripe.online, changes: stripe.changes }
        });
        each.fold(Totals::default(), |sum, part| Totals {
            channels: sum.channels + part.channels,
            online: sum.online + part.online,
            changes: sum.changes + part.changes,
        })
    }

    /// Seeded, since clients choose names.
    fn hash(&self, name: &str) -> u64 {
        self.hasher.hash_one(name)
    }

    fn user_hash(&self, user: &str) -> u32 {
        self.hash(user) as u32
    }

    fn stripe(&self, hash: u64) -> MutexGuard<'_, Stripe> {
        // Other bits than the table of the stripe uses first.
        self.lock((hash >> 40) as usize % STRIPES)
    }

    fn lock(&self, index: usize) -> MutexGuard<'_, Stripe> {
        self.stripes[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stripe {
    fn roster(&mut self, hash: u64) -> Option<&mut Roster> {
        self.rosters.find_mut(hash, |(other, _)| *other == hash).map(|(_, roster)| &mut **roster)
    }

    /// Changes a channel's roster, which is made if there is none and it has a name. Then the channel waits to be told of,
    /// if there is something to tell, and goes if there is nothing more to know of it.
    fn change(&mut self, hash: u64, name: Option<&str>, settings: &Settings, change: impl FnOnce(&mut Roster)) {
        if let Some(name) = name.filter(|_| self.roster(hash).is_none()) {
            self.rosters.insert_unique(hash, (hash, Roster::new(name)), |(hash, _)| *hash);
        }
        let may_wait = self.pending.len() < PENDING_MAX;
        let Some(roster) = self.roster(hash) else { return };
        let before = roster.online();
        change(roster);
        roster.fit(settings.announce_max);
        let after = roster.online();
        let waits = may_wait && before != after && roster.begin_to_wait();
        let is_over = roster.is_over();
        debug_assert!(before.abs_diff(after) <= 1, "one user at a time");
        self.online = self.online + after - before;
        self.changes += before.abs_diff(after) as u64;
        if waits {
            self.pending.push_back(hash);
        }
        if is_over {
            self.forget(hash);
        }
    }

    /// Adds what is to be told of a channel, and says how many users were compared for it.
    fn tell(&mut self, hash: u64, now: u32, settings: &Settings, told: &mut Vec<Changes>) -> usize {
        let Some(roster) = self.roster(hash) else { return 1 };
        let compared = roster.compared();
        if !roster.is_due(now) {
            self.pending.push_back(hash);
            return 1;
        }
        told.extend(roster.tell(now, settings.announce_max));
        if roster.is_over() {
            self.forget(hash);
        }
        compared
    }

    fn forget(&mut self, hash: u64) {
        if let Ok(found) = self.rosters.find_entry(hash, |(other, _)| *other == hash) {
            found.remove();
        }
    }
}

#[cfg(test)]
mod tests;
