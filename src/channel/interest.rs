//! Which shards have subscribers of a channel, so that a message visits only those.
//!
//! Shared by all shards (they write when a channel gets its first or loses its last local subscriber) and by everything
//! that publishes (one look-up per message). A million users mean a million `user:` channels, so an entry is
//! 12 bytes and holds no name: the key is the 64-bit hash of the name, seeded per process. Two names with one
//! hash would at worst send a message to a shard that then finds nobody; nothing is delivered wrongly,
//! because the shard compares names.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::HashTable;
use slab::Slab;

/// Most shards in one process: the width of a [`ShardSet`]. More than this share few cores among many rings, which only
/// costs.
pub const SHARDS_MAX: usize = 128;

/// Stripes of the map, so that shards that connect users at the same time seldom meet at a lock.
const STRIPES: usize = 64;

/// A set of shard numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShardSet(u128);

impl ShardSet {
    /// The shards from 0 to `count` - 1.
    pub fn first(count: usize) -> Self {
        debug_assert!(count <= SHARDS_MAX);
        if count == SHARDS_MAX { Self(u128::MAX) } else { Self((1 << count) - 1) }
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn insert(&mut self, shard: usize) {
        debug_assert!(shard < SHARDS_MAX);
        self.0 |= 1 << shard;
    }

    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    pub fn contains(self, shard: usize) -> bool {
        self.0 >> shard & 1 == 1
    }

    /// Those that are in either.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub fn iter(self) -> impl Iterator<Item = usize> + Clone {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let shard = rest.trailing_zeros() as usize;
            rest &= rest.wrapping_sub(1);
            (shard < SHARDS_MAX).then_some(shard)
        })
    }
}

/// The map from a channel's hash to the shards that have subscribers of it.
pub struct Interest {
    hasher: RandomState,
    stripes: Box<[Mutex<Stripe>]>,
}

#[derive(Default)]
struct Stripe {
    entries: HashTable<Entry>,
    /// Sets of two shards and more; most channels are of one user on one shard and need none.
    sets: Slab<ShardSet>,
}

/// One channel. The hash is split so that the entry is aligned to 4 bytes and stays 12 long.
#[derive(Clone, Copy)]
struct Entry {
    hash: [u32; 2],
    shards: Shards,
}

const _: () = assert!(size_of::<Entry>() == 12);

/// Either one shard's number, or with the top bit set an index into `Stripe::sets`.
#[derive(Clone, Copy)]
struct Shards(u32);

impl Shards {
    const IN_SETS: u32 = 1 << 31;

    fn one(shard: usize) -> Self {
        Self(shard as u32)
    }

    fn set(key: usize) -> Self {
        Self(key as u32 | Self::IN_SETS)
    }

    fn key(self) -> Option<usize> {
        (self.0 & Self::IN_SETS != 0).then_some((self.0 & !Self::IN_SETS) as usize)
    }
}

impl Entry {
    fn new(hash: u64, shards: Shards) -> Self {
        Self { hash: [(hash >> 32) as u32, hash as u32], shards }
    }

    fn hash(&self) -> u64 {
        u64::from(self.hash[0]) << 32 | u64::from(self.hash[1])
    }
}

impl Default for Interest {
    fn default() -> Self {
        Self { hasher: RandomState::new(), stripes: (0..STRIPES).map(|_| Mutex::default()).collect() }
    }
}

impl Interest {
    /// The hash by which shards and sources speak of a channel. Seeded (SipHash), since clients choose names.
    pub fn hash(&self, name: &str) -> u64 {
        self.hasher.hash_one(name)
    }

    /// The shards that have subscribers.
    pub fn shards(&self, hash: u64) -> ShardSet {
        let stripe = self.stripe(hash);
        stripe.entries.find(hash, |e| e.hash() == hash).map_or(ShardSet::default(), |e| stripe.shards_of(e))
    }

    /// `shard` has its first subscriber. True when it is the first of all shards.
    pub fn add(&self, hash: u64, shard: usize) -> bool {
        debug_assert!(shard < SHARDS_MAX);
        let mut stripe = self.stripe(hash);
        let Stripe { entries, sets } = &mut *stripe;
        match entries.find_mut(hash, |e| e.hash() == hash) {
            None => {
                entries.insert_unique(hash, Entry::new(hash, Shards::one(shard)), Entry::hash);
                true
            }
            Some(entry) => {
                match entry.shards.key() {
                    Some(key) => sets[key].0 |= 1 << shard,
                    None if entry.shards.0 == shard as u32 => {}
                    None => entry.shards = Shards::set(sets.insert(ShardSet(1 << entry.shards.0 | 1 << shard))),
                }
                false
            }
        }
    }

    /// `shard` has lost its last subscriber. True when no shard has any.
    pub fn remove(&self, hash: u64, shard: usize) -> bool {
        let mut stripe = self.stripe(hash);
        let Stripe { entries, sets } = &mut *stripe;
        let Ok(mut found) = entries.find_entry(hash, |e| e.hash() == hash) else { return false };
        match found.get().shards.key() {
            Some(key) => {
                sets[key].0 &= !(1 << shard);
                if !sets[key].is_empty() {
                    return false;
                }
                sets.remove(key);
            }
            None if found.get().shards.0 != shard as u32 => return false,
            None => {}
        }
        found.get_mut().shards = Shards(0);
        found.remove();
        true
    }

    fn stripe(&self, hash: u64) -> MutexGuard<'_, Stripe> {
        // The top bits choose the bucket's tag in hashbrown, the low ones the bucket: take some from the middle.
        let stripe = &self.stripes[(hash >> 40) as usize % STRIPES];
        stripe.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stripe {
    fn shards_of(&self, entry: &Entry) -> ShardSet {
        match entry.shards.key() {
            Some(key) => self.sets[key],
            None => ShardSet(1 << entry.shards.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn numbers(set: ShardSet) -> Vec<usize> {
        set.iter().collect()
    }

    #[test]
    fn a_channel_without_subscribers_visits_no_shard() {
        let interest = Interest::default();
        assert!(interest.shards(interest.hash("conv:1")).is_empty());
    }

    #[test]
    fn first_and_last_subscriber_are_told() {
        let interest = Interest::default();
        let hash = interest.hash("user:1");
        assert!(interest.add(hash, 3));
        assert!(!interest.add(hash, 127));
        assert_eq!(numbers(interest.shards(hash)), [3, 127]);
        assert!(!interest.remove(hash, 3));
        assert!(interest.remove(hash, 127));
        assert!(interest.shards(hash).is_empty());
    }

    #[test]
    fn the_first_shards_of_any_count() {
        assert!(numbers(ShardSet::first(0)).is_empty());
        assert_eq!(numbers(ShardSet::first(3)), [0, 1, 2]);
        assert_eq!(numbers(ShardSet::first(SHARDS_MAX)).len(), SHARDS_MAX);
    }

    proptest! {
        #[test]
        fn agrees_with_a_plain_map_of_sets(
            steps in prop::collection::vec((0u64..12, 0usize..SHARDS_MAX, any::<bool>()), 0..200),
        ) {
            let interest = Interest::default();
            let mut model = std::collections::HashMap::<u64, std::collections::BTreeSet<usize>>::new();
            for (channel, shard, add) in steps {
                let hash = interest.hash(&channel.to_string());
                let shards = model.entry(hash).or_default();
                if add {
                    let first = shards.is_empty();
                    shards.insert(shard);
                    prop_assert_eq!(interest.add(hash, shard), first);
                } else if shards.remove(&shard) {
                    prop_assert_eq!(interest.remove(hash, shard), shards.is_empty());
                }
                prop_assert_eq!(numbers(interest.shards(hash)), shards.iter().copied().collect::<Vec<_>>());
            }
        }
    }
}
