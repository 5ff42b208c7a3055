//! How many users may be leaving at once: in all, and of these one user, so that nobody takes the others' places.
//!
//! Counted by the hash of the user, in a table of a fixed size: users who meet there share a share.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};

/// Places of all together: what clients can make us remember is bounded.
const PLACES: usize = 1 << 20;

/// Counters of users.
const COUNTERS: usize = 1 << 15;

#[derive(Default)]
pub struct Places {
    taken: AtomicUsize,
    per_user_max: u32,
    of_users: Box<[AtomicU32]>,
}

impl Places {
    pub fn new(per_user_max: u32) -> Self {
        let of_users = (0..COUNTERS).map(|_| AtomicU32::new(0)).collect();
        Self { taken: AtomicUsize::new(0), per_user_max, of_users }
    }

    /// False when there is none, or none for this user.
    pub fn take(&self, user: u32) -> bool {
        let is_taken = self.taken.fetch_add(1, Relaxed) < PLACES && self.has_room(user);
        if !is_taken {
            self.taken.fetch_sub(1, Relaxed);
        }
        is_taken
    }

    pub fn give_back(&self, user: u32) {
        self.of(user).fetch_sub(1, Relaxed);
        self.taken.fetch_sub(1, Relaxed);
    }

    #[cfg(test)]
    pub fn taken(&self) -> usize {
        self.taken.load(Relaxed)
    }

    fn has_room(&self, user: u32) -> bool {
        let has_room = self.of(user).fetch_add(1, Relaxed) < self.per_user_max;
        if !has_room {
            self.of(user).fetch_sub(1, Relaxed);
        }
        has_room
    }

    fn of(&self, user: u32) -> &AtomicU32 {
        &self.of_users[user as usize % COUNTERS]
    }
}
