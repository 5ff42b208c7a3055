//! How many connections one address and one user have open in the whole process, where that is limited.
//!
//! A [`Quota`] is shared by all shards: a striped map from a keyed 64-bit hash to a count, with an entry for each that
//! has a connection, so it is never larger than the connections are many. Two names with the same hash would share one
//! quota. A [`Share`] gives itself back when dropped; what a connection holds lies beside the slab, in [`Shares`], and
//! only while a limit is on: without one an idle connection pays nothing.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::shard::io::Slot;

const STRIPES: usize = 16;

/// The limits of the process.
#[derive(Default)]
pub struct Quotas {
    pub of_address: Arc<Quota>,
    pub of_user: Arc<Quota>,
}

/// One limit.
#[derive(Default)]
pub struct Quota {
    /// 0: no limit.
    max: u32,
    hasher: RandomState,
    stripes: [Mutex<HashMap<u64, u32>>; STRIPES],
}

/// Nothing is left of the quota.
#[derive(Debug, PartialEq, Eq)]
pub struct Full;

/// One connection's part of a quota.
pub struct Share {
    quota: Arc<Quota>,
    key: u64,
}

/// What one connection holds. Nothing where there is no limit.
#[derive(Default)]
pub struct Held {
    pub address: Option<Share>,
    pub user: Option<Share>,
}

/// What the connections of one shard hold, by slot.
#[derive(Default)]
pub struct Shares {
    of_user: Arc<Quota>,
    held: Vec<Held>,
}

impl Quotas {
    pub fn new(connections_per_address: u32, connections_per_user: u32) -> Self {
        Self { of_address: Quota::new(connections_per_address), of_user: Quota::new(connections_per_user) }
    }

    /// For the connections of one shard.
    pub fn shares(&self) -> Shares {
        Shares { of_user: self.of_user.clone(), held: Vec::new() }
    }
}

impl Quota {
    pub fn new(max: u32) -> Arc<Self> {
        Arc::new(Self { max, ..Self::default() })
    }

    /// Takes a share for `who`; none when there is no limit.
    pub fn take(self: &Arc<Self>, who: impl Hash) -> Result<Option<Share>, Full> {
        self.take_within(who, self.max)
    }

    /// The same for a connection in whose favour another one of theirs is about to go: for as long as both are there
    /// they may be more.
    pub fn take_in_place(self: &Arc<Self>, who: impl Hash) -> Result<Option<Share>, Full> {
        self.take_within(who, u32::MAX)
    }

    fn take_within(self: &Arc<Self>, who: impl Hash, max: u32) -> Result<Option<Share>, Full> {
        if self.max == 0 {
            return Ok(None);
        }
        let key = self.hasher.hash_one(who);
        let mut counts = self.stripe(key);
        let count = counts.entry(key).or_default();
        if *count >= max {
            return Err(Full);
        }
        *count += 1;
        drop(counts);
        Ok(Some(Share { quota: self.clone(), key }))
    }

    fn stripe(&self, key: u64) -> MutexGuard<'_, HashMap<u64, u32>> {
        self.stripes[key as usize % STRIPES].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut counts = self.quota.stripe(self.key);
        if let Some(count) = counts.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.key);
            }
        }
    }
}

impl Shares {
    /// Keeps what a new connection holds.
    pub fn put(&mut self, slot: Slot, held: Held) {
        if held.address.is_some() || held.user.is_some() {
            *self.of_slot(slot) = held;
        }
    }

    /// Takes a share for the connection's user, who is known only now. `in_place`: of another connection, which goes.
    pub fn take_user(&mut self, slot: Slot, user_id: &str, in_place: bool) -> Result<(), Full> {
        let share = if in_place { self.of_user.take_in_place(user_id) } else { self.of_user.take(user_id) };
        if let Some(share) = share? {
            self.of_slot(slot).user = Some(share);
        }
        Ok(())
    }

    /// The connection is not its user's any more: another one may take its place.
    pub fn leave_user(&mut self, slot: Slot) {
        if let Some(held) = self.held.get_mut(slot as usize) {
            held.user = None;
        }
    }

    /// The connection is gone.
    pub fn leave(&mut self, slot: Slot) {
        if let Some(held) = self.held.get_mut(slot as usize) {
            *held = Held::default();
        }
    }

    fn of_slot(&mut self, slot: Slot) -> &mut Held {
        let slot = slot as usize;
        if self.held.len() <= slot {
            self.held.resize_with(slot + 1, Held::default);
        }
        &mut self.held[slot]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(quota: &Quota) -> usize {
        quota.stripes.iter().map(|stripe| stripe.lock().expect("no panic").len()).sum()
    }

    #[test]
    fn a_share_that_is_given_back_can_be_taken_again() {
        let quota = Quota::new(2);
        let first = quota.take("ann").expect("there is room");
        let _second = quota.take("ann").expect("there is room");
        assert!(quota.take("ann").is_err() && quota.take("bob").is_ok());
        drop(first);
        assert!(quota.take("ann").is_ok_and(|share| share.is_some()));
    }

    #[test]
    fn who_takes_the_place_of_another_makes_them_no_more() {
        let quota = Quota::new(1);
        let older = quota.take("ann").expect("there is room");
        let newer = quota.take_in_place("ann").expect("one goes");
        assert!(quota.take("ann").is_err());
        drop(older);
        assert!(quota.take("ann").is_err(), "the newer one has the only place");
        drop(newer);
        assert!(quota.take("ann").is_ok() && entries(&quota) == 0);
    }

    #[test]
    fn nothing_is_remembered_of_those_that_have_gone() {
        let quotas = Quotas::new(2, 2);
        let mut shares = quotas.shares();
        shares.put(7, Held { address: quotas.of_address.take(1).expect("room"), user: None });
        shares.take_user(7, "ann", false).expect("room");
        assert_eq!((entries(&quotas.of_address), entries(&quotas.of_user)), (1, 1));
        shares.leave_user(7);
        assert_eq!((entries(&quotas.of_address), entries(&quotas.of_user)), (1, 0));
        shares.leave(7);
        assert_eq!(entries(&quotas.of_address), 0);
    }

    #[test]
    fn without_a_limit_nothing_is_kept() {
        let quotas = Quotas::default();
        let mut shares = quotas.shares();
        for slot in 0..100 {
            shares.put(slot, Held { address: quotas.of_address.take(1).expect("no limit"), user: None });
            shares.take_user(slot, "ann", false).expect("no limit");
        }
        assert!(shares.held.capacity() == 0 && entries(&quotas.of_address) + entries(&quotas.of_user) == 0);
    }
}
