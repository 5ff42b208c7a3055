//! Who of a user's connections stays, where a user, or each device of one, may have only one: the newest.
//!
//! Such a place is a *seat*, found by a keyed 64-bit hash in a striped map that all shards share, as they share
//! [`super::quotas`]: 20 bytes per session, and nothing while every connection may stay. Whoever takes a seat finds in
//! the same step who had it before, and puts that connection into the list at the *door* of its shard, which closes
//! it. So nobody searches for older connections, and no message travels that a full lane could lose.
//!
//! ```text
//!  a session begins ──► take ──► seat ──► who had it ──► door of its shard ──► close 4000
//!  a session ends ────► leave ──► seat, unless somebody else has it by now
//! ```
//!
//! Invariant: of those who ever took a seat all but the last have been put at a door, each once. They come one after
//! the other, in the order in which they held the lock, and it is the one order that every shard sees: when two come at
//! the same moment on two shards, one of them finds the other. A door's list is bounded by the connections of its
//! shard, as each is replaced at most once.
//!
//! Whoever learns of newer sessions elsewhere, as from another node, can do what a shard does, on any thread.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hashbrown::HashTable;
use serde::{Deserialize, Serialize};

use crate::lane::ConnectionId;
use crate::lane::bell::Bell;

/// So that shards that connect users at the same time seldom meet at a lock.
const STRIPES: usize = 64;

/// Room for so many is kept at an empty door; what a storm needed is given back.
const WAITING_USUAL: usize = 1024;

/// How many connections of a user stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sessions {
    /// All.
    #[default]
    Multi,
    /// One of each device. A connection that names no device is one of its own.
    PerDevice,
    /// One.
    Single,
}

/// Whose seat it is.
#[derive(Clone, Copy, Debug)]
pub struct Sitter<'a> {
    pub user_id: &'a str,
    pub device_id: Option<&'a str>,
}

/// The seats of the process.
pub struct Seats {
    sessions: Sessions,
    hasher: RandomState,
    stripes: Box<[Mutex<HashTable<Seat>>]>,
    /// By shard.
    doors: Box<[Door]>,
}

/// The hash is split so that the entry is aligned to 4 bytes.
struct Seat {
    hash: [u32; 2],
    holder: ConnectionId,
}

const _: () = assert!(size_of::<Seat>() == 20);

/// Where a shard finds those of its connections that were replaced.
struct Door {
    replaced: Mutex<VecDeque<ConnectionId>>,
    /// Somebody is in the list: the shard looks here in every turn.
    is_waiting: AtomicBool,
    bell: Bell,
}

impl Seats {
    /// For shards with these bells.
    pub fn new(sessions: Sessions, bells: impl IntoIterator<Item = Bell>) -> Self {
        let door = |bell| Door { replaced: Mutex::default(), is_waiting: AtomicBool::new(false), bell };
        Self {
            sessions,
            hasher: RandomState::new(),
            stripes: (0..STRIPES).map(|_| Mutex::default()).collect(),
            doors: bells.into_iter().map(door).collect(),
        }
    }

    /// A session has begun: it has its seat from now on, and who had it is closed soon.
    pub fn take(&self, sitter: Sitter<'_>, id: ConnectionId) {
        let Some(hash) = self.hash(sitter) else { return };
        if let Some(older) = self.sit(hash, id) {
            debug_assert!(older != id, "a session begins once");
            self.doors[usize::from(older.shard)].put(older);
        }
    }

    /// A session has ended. The seat may be somebody else's by now.
    pub fn leave(&self, sitter: Sitter<'_>, id: ConnectionId) {
        let Some(hash) = self.hash(sitter) else { return };
        let mut stripe = self.stripe(hash);
        if let Ok(seat) = stripe.find_entry(hash, |seat| seat.hash() == hash && seat.holder == id) {
            seat.remove();
        }
    }

    /// Whether the newest connection of this one's kind would take the place of another.
    pub fn is_taken(&self, sitter: Sitter<'_>) -> bool {
        self.hash(sitter).is_some_and(|hash| self.stripe(hash).find(hash, |seat| seat.hash() == hash).is_some())
    }

    /// Whether connections of a shard wait to be closed.
    pub fn has_replaced(&self, shard: usize) -> bool {
        // Whoever put one there has rung afterwards: a shard that sleeps looks again.
        self.doors[shard].is_waiting.load(Ordering::Relaxed)
    }

    /// The next of them, `count` at most. Some may have ended by themselves.
    pub fn next_replaced(&self, shard: usize, count: usize) -> Vec<ConnectionId> {
        if self.has_replaced(shard) { self.doors[shard].take(count) } else { Vec::new() }
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.stripes.iter().all(|stripe| lock(stripe).is_empty())
            && (0..self.doors.len()).all(|s| !self.has_replaced(s))
    }

    /// Gives the seat to `id`, and says who had it.
    fn sit(&self, hash: u64, id: ConnectionId) -> Option<ConnectionId> {
        let mut stripe = self.stripe(hash);
        match stripe.find_mut(hash, |seat| seat.hash() == hash) {
            Some(seat) => Some(std::mem::replace(&mut seat.holder, id)),
            None => {
                let seat = Seat { hash: [(hash >> 32) as u32, hash as u32], holder: id };
                stripe.insert_unique(hash, seat, Seat::hash);
                None
            }
        }
    }

    /// None where every connection of this kind may stay.
    fn hash(&self, Sitter { user_id, device_id }: Sitter<'_>) -> Option<u64> {
        match self.sessions {
            Sessions::Multi => None,
            Sessions::PerDevice => device_id.map(|device_id| self.hasher.hash_one((user_id, device_id))),
            Sessions::Single => Some(self.hasher.hash_one(user_id)),
        }
    }

    fn stripe(&self, hash: u64) -> MutexGuard<'_, HashTable<Seat>> {
        // Other bits than those that choose a place within the table.
        lock(&self.stripes[(hash >> 40) as usize % STRIPES])
    }
}

impl Seat {
    fn hash(&self) -> u64 {
        u64::from(self.hash[0]) << 32 | u64::from(self.hash[1])
    }
}

impl Door {
    fn put(&self, id: ConnectionId) {
        let mut replaced = lock(&self.replaced);
        replaced.push_back(id);
        self.is_waiting.store(true, Ordering::Relaxed);
        drop(replaced);
        self.bell.wake();
    }

    fn take(&self, count: usize) -> Vec<ConnectionId> {
        let mut replaced = lock(&self.replaced);
        let count = count.min(replaced.len());
        let next = replaced.drain(..count).collect();
        if replaced.is_empty() {
            replaced.shrink_to(WAITING_USUAL);
            self.is_waiting.store(false, Ordering::Relaxed);
        }
        next
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn seats(sessions: Sessions, shards: usize) -> Seats {
        Seats::new(sessions, (0..shards).map(|_| Bell::new().unwrap()))
    }

    fn id(shard: u16, slot: u32) -> ConnectionId {
        ConnectionId { shard, slot, generation: slot }
    }

    fn sitter<'a>(user_id: &'a str, device_id: Option<&'a str>) -> Sitter<'a> {
        Sitter { user_id, device_id }
    }

    fn taken(seats: &Seats) -> usize {
        seats.stripes.iter().map(|stripe| lock(stripe).len()).sum()
    }

    #[test]
    fn the_newest_has_the_seat_and_the_one_before_it_is_found_at_the_door_of_its_shard() {
        let seats = seats(Sessions::Single, 2);
        seats.take(sitter("ann", Some("phone")), id(1, 1));
        assert!(!seats.has_replaced(0) && !seats.has_replaced(1) && seats.is_taken(sitter("ann", None)));
        seats.doors[1].bell.doze();
        seats.take(sitter("ann", Some("desk")), id(0, 1));
        assert!(seats.doors[1].bell.was_rung(), "a shard that sleeps is woken");
        assert_eq!(seats.next_replaced(1, 10), [id(1, 1)]);
        assert!(!seats.has_replaced(1) && seats.next_replaced(1, 10).is_empty());
        // Who was replaced leaves nothing behind, and takes nothing along.
        seats.leave(sitter("ann", Some("phone")), id(1, 1));
        assert!(seats.is_taken(sitter("ann", None)));
        seats.leave(sitter("ann", Some("desk")), id(0, 1));
        assert!(!seats.is_taken(sitter("ann", None)) && taken(&seats) == 0);
    }

    #[test]
    fn devices_are_told_apart_and_who_names_none_replaces_nobody() {
        let seats = seats(Sessions::PerDevice, 1);
        for (slot, (user, device)) in
            [("ann", Some("a")), ("ann", Some("b")), ("bob", Some("a")), ("ann", None), ("ann", None)]
                .into_iter()
                .enumerate()
        {
            seats.take(sitter(user, device), id(0, slot as u32));
            assert_eq!(seats.is_taken(sitter(user, device)), device.is_some());
        }
        assert!(!seats.has_replaced(0));
        seats.take(sitter("ann", Some("b")), id(0, 9));
        assert_eq!(seats.next_replaced(0, 10), [id(0, 1)]);
    }

    #[test]
    fn where_all_may_stay_nothing_is_kept() {
        let seats = seats(Sessions::Multi, 1);
        (0..100).for_each(|slot| seats.take(sitter("ann", Some("a")), id(0, slot)));
        assert!(!seats.has_replaced(0) && !seats.is_taken(sitter("ann", Some("a"))) && taken(&seats) == 0);
    }

    #[test]
    fn of_many_at_once_on_several_shards_exactly_one_stays() {
        const EACH: u32 = 500;
        for _ in 0..20 {
            let seats = seats(Sessions::Single, 4);
            std::thread::scope(|scope| {
                for shard in 0..4 {
                    let seats = &seats;
                    scope.spawn(move || (0..EACH).for_each(|slot| seats.take(sitter("ann", None), id(shard, slot))));
                }
            });
            let mut replaced: Vec<_> = (0..4).flat_map(|shard| seats.next_replaced(shard, usize::MAX)).collect();
            replaced.sort_unstable_by_key(|id| (id.shard, id.slot));
            replaced.dedup();
            assert_eq!(replaced.len(), 4 * EACH as usize - 1, "all but one, each once");
            assert_eq!(taken(&seats), 1);
        }
    }

    #[test]
    fn what_a_storm_needed_at_a_door_is_given_back() {
        let seats = seats(Sessions::Single, 1);
        (0..100_001).for_each(|slot| seats.take(sitter("ann", None), id(0, slot)));
        let mut slots = Vec::new();
        while seats.has_replaced(0) {
            slots.extend(seats.next_replaced(0, 128).iter().map(|id| id.slot));
        }
        assert_eq!(slots, Vec::from_iter(0..100_000));
        assert!(lock(&seats.doors[0].replaced).capacity() <= 2 * WAITING_USUAL);
    }

    proptest! {
        #[test]
        fn agrees_with_a_plain_map(steps in prop::collection::vec((0u8..5, 0u16..3, any::<bool>()), 0..200)) {
            let seats = seats(Sessions::Single, 3);
            let mut model = BTreeMap::<u8, Vec<ConnectionId>>::new();
            let mut expected = [const { Vec::new() }; 3];
            for (slot, (user, shard, comes)) in steps.into_iter().enumerate() {
                let (name, open) = (user.to_string(), model.entry(user).or_default());
                if comes {
                    seats.take(sitter(&name, None), id(shard, slot as u32));
                    if let Some(older) = open.last() {
                        expected[usize::from(older.shard)].push(*older);
                    }
                    open.push(id(shard, slot as u32));
                } else if let Some(gone) = open.pop() {
                    // The newest goes, as if all that it replaced were closed already.
                    seats.leave(sitter(&name, None), gone);
                    open.drain(..).for_each(|older| seats.leave(sitter(&name, None), older));
                }
                prop_assert_eq!(seats.is_taken(sitter(&name, None)), !model[&user].is_empty());
            }
            for (shard, expected) in expected.into_iter().enumerate() {
                prop_assert_eq!(seats.next_replaced(shard, usize::MAX), expected);
            }
        }
    }
}
