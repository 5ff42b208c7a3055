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
//! Invariant: no lock is held for longer than one leaf of a [member tree](members) takes, or a bounded number of
//! channels, however many users a channel has. Nothing of it grows by copying itself.

mod members;
mod pace;
mod places;
mod roster;

use std::collections::{BTreeSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::HashTable;

use super::{Pattern, name};
use pace::Pace;
use places::Places;
use roster::Roster;

pub use roster::{Change, Changes, Listed};

/// Parts of the map, each behind a lock of its own. Many, so that a part with its share of some million channels still
/// grows in a fraction of a turn.
pub const STRIPES: usize = 1024;

/// In which all times are told.
const TICKS_PER_S: u64 = 10;

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
    /// Channels in which one user may be leaving at once. In others, and when too many users are, nobody is given a
    /// grace.
    pub leaving_per_user_max: u32,
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
    /// One for each user who is leaving a channel.
    places: Places,
    /// Of whoever tells.
    pace: Mutex<Pace>,
}

#[derive(Default)]
struct Stripe {
    /// With the hash of their names.
    rosters: HashTable<(u64, Box<Roster>)>,
    /// Hashes of channels with something to tell, each at most once.
    pending: VecDeque<u64>,
    /// One for each user who is leaving a channel, in the order in which they end.
    graces: BTreeSet<Grace>,
    online: usize,
    changes: u64,
}

/// A user is leaving, as the roster says too. Who comes back has none any more.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Grace {
    ends_at: u32,
    user: u32,
    channel: u64,
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
        let is_on = !settings.channels.is_empty();
        let stripes = if is_on { STRIPES } else { 0 };
        Self {
            places: if is_on { Places::new(settings.leaving_per_user_max) } else { Places::default() },
            pace: Mutex::default(),
            settings,
            hasher: RandomState::new(),
            stripes: (0..stripes).map(|_| Mutex::default()).collect(),
        }
    }

    /// Whether the users of any channel are known.
    pub fn is_on(&self) -> bool {
        !self.stripes.is_empty()
    }

    /// Whether the users of this channel are known. Those in an implicit one are not: nobody joins it, so nobody comes
    /// or goes.
    pub fn covers(&self, channel: &str) -> bool {
        !name::is_implicit(channel) && self.settings.channels.iter().any(|pattern| pattern.matches(channel))
    }

    /// A session of `user` has joined the channel.
    pub fn enter(&self, channel: &str, user: &str) {
        if !self.covers(channel) {
            return;
        }
        let (hash, user_hash) = (self.hash(channel), self.user_hash(user));
        let mut stripe = self.stripe(hash);
        let was_leaving = stripe.change(hash, Some(channel), &self.settings, |roster| roster.enter(user_hash, user));
        if let Some(ends_at) = was_leaving.flatten() {
            let had_grace = stripe.graces.remove(&Grace { ends_at, user: user_hash, channel: hash });
            debug_assert!(had_grace, "who is leaving has a grace");
            self.places.give_back(user_hash);
        }
    }

    /// A session of `user` has left the channel of its own accord. If it was his last one there, so has he.
    pub fn leave(&self, channel: &str, user: &str) {
        if self.covers(channel) {
            let (hash, user_hash) = (self.hash(channel), self.user_hash(user));
            self.stripe(hash).change(hash, None, &self.settings, |roster| roster.leave(user_hash, user));
        }
    }

    /// The connection of a session of `user` in the channel has ended, of which something was heard last at `heard_at`.
    /// If it was his last one there, he is leaving: until a grace after the last that was heard of any of them.
    pub fn vanish(&self, channel: &str, user: &str, heard_at: u32) {
        if !self.covers(channel) {
            return;
        }
        let (hash, user_hash) = (self.hash(channel), self.user_hash(user));
        if self.settings.grace_ticks == 0 || !self.places.take(user_hash) {
            return self.leave(channel, user);
        }
        let ends_at = heard_at.saturating_add(self.settings.grace_ticks);
        let begins = self.stripe(hash).begin_grace(Grace { ends_at, user: user_hash, channel: hash }, user);
        if !begins {
            self.places.give_back(user_hash);
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
            let Some(grace) = stripe.next_over(now) else { return false };
            self.places.give_back(grace.user);
            stripe.change(grace.channel, None, &self.settings, |roster| roster.expire(grace.user, grace.ends_at));
        }
        true
    }

    /// Adds what some channels of one stripe have to be told to `told`, as if it had been.
    pub fn take(&self, stripe: usize, now: u32, told: &mut Vec<Changes>) {
        let mut stripe = self.lock(stripe);
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        let mut compared = 0;
        for _ in 0..stripe.pending.len() {
            if compared >= COMPARED_PER_GO {
                return;
            }
            let Some(hash) = stripe.pending.pop_front() else { return };
            compared += stripe.tell(hash, now, &self.settings, &mut pace, told);
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
        roster(&mut self.rosters, hash)
    }

    /// The connection of a session has ended. False when the user has others in the channel.
    fn begin_grace(&mut self, grace: Grace, user: &str) -> bool {
        let Self { rosters, graces, .. } = self;
        let leaving = roster(rosters, grace.channel).and_then(|roster| roster.vanish(grace.user, user, grace.ends_at));
        let Some(ends_at) = leaving else { return false };
        // Each has one of his own, also of users with the same hash.
        while !graces.insert(Grace { ends_at: *ends_at, ..grace }) {
            *ends_at += 1;
        }
        true
    }

    /// Takes a grace that is over.
    fn next_over(&mut self, now: u32) -> Option<Grace> {
        let is_over = self.graces.first()?.ends_at <= now;
        if is_over { self.graces.pop_first() } else { None }
    }

    /// Changes a channel's roster, which is made if there is none and it has a name. Then the channel waits to be told
    /// of, if there is something to tell, and goes if there is nothing more to know of it. `None`: there is no roster.
    fn change<R>(
        &mut self,
        hash: u64,
        name: Option<&str>,
        settings: &Settings,
        change: impl FnOnce(&mut Roster) -> R,
    ) -> Option<R> {
        if let Some(name) = name.filter(|_| self.roster(hash).is_none()) {
            self.rosters.insert_unique(hash, (hash, Roster::new(name)), |(hash, _)| *hash);
        }
        let may_wait = self.pending.len() < PENDING_MAX;
        let roster = self.roster(hash)?;
        let before = roster.online();
        let changed = change(roster);
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
        Some(changed)
    }

    /// Adds what is to be told of a channel, and says how many users were compared for it.
    fn tell(&mut self, hash: u64, now: u32, settings: &Settings, pace: &mut Pace, told: &mut Vec<Changes>) -> usize {
        let Some(roster) = self.roster(hash) else { return 1 };
        let compared = roster.compared();
        if !roster.is_due(now) {
            self.pending.push_back(hash);
            return 1;
        }
        told.extend(roster.tell(now, settings.announce_max, pace));
        if roster.waits() {
            self.pending.push_back(hash);
        } else if roster.is_over() {
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

fn roster(rosters: &mut HashTable<(u64, Box<Roster>)>, hash: u64) -> Option<&mut Roster> {
    rosters.find_mut(hash, |(other, _)| *other == hash).map(|(_, roster)| &mut **roster)
}

#[cfg(test)]
mod tests;
