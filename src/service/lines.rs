//! What waits for a backend, in lines: what has the same key goes one after the other, and what has another does not
//! wait for it. Sans-IO; one for each service that speaks with its backend in many calls at once (`grpc`, `http`).
//!
//! ```text
//!  put ──► the line of its key ──► begin: the first of a line that is not held ──► under way, the line is held
//!                                                                                     │
//!                                        the line's next may go ◄── release ◄─────────┘
//! ```
//!
//! Invariant: of a key no two are under way, and they go in the order in which they came. Lines take turns in the order
//! in which they became free. A key that has nothing here costs nothing.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};

use crate::lane::Content;

/// What is ordered by: a hash. Two keys with the same one wait for each other, and nothing else comes of it.
pub type Key = u64;

pub struct Lines<T> {
    by_key: HashMap<Key, Line<T>>,
    /// Lines whose first may go.
    free: VecDeque<Key>,
    hasher: RandomState,
}

struct Line<T> {
    waiting: VecDeque<T>,
    is_held: bool,
}

impl<T> Default for Lines<T> {
    fn default() -> Self {
        Self { by_key: HashMap::new(), free: VecDeque::new(), hasher: RandomState::new() }
    }
}

impl<T> Lines<T> {
    /// What a message is ordered by: its key, or its session where it has none.
    pub fn key(&self, content: &Content) -> Key {
        match &content.key {
            Some(key) => self.hasher.hash_one((true, key)),
            None => self.hasher.hash_one((false, &content.session_id)),
        }
    }

    /// Whether one more may wait in a line, of a queue that has so many places left for all. No line is longer than
    /// that: a key that hangs takes half of the queue at most, the next one half of the rest, and the last place is for
    /// a key that has nothing here.
    pub fn has_room(&self, key: Key, places_left: usize) -> bool {
        self.by_key.get(&key).is_none_or(|line| line.waiting.len() <= places_left)
    }

    /// Behind all of its key.
    pub fn put(&mut self, key: Key, item: T) {
        let line = self.by_key.entry(key).or_insert_with(|| Line { waiting: VecDeque::new(), is_held: false });
        line.waiting.push_back(item);
        if !line.is_held && line.waiting.len() == 1 {
            self.free.push_back(key);
        }
    }

    /// The next one that may go. Its line is held until it is released.
    pub fn begin(&mut self) -> Option<(Key, T)> {
        let key = self.free.pop_front()?;
        let line = self.by_key.get_mut(&key)?;
        line.is_held = true;
        line.waiting.pop_front().map(|item| (key, item))
    }

    /// The backend has what was under way: the next one of the key may go.
    pub fn release(&mut self, key: Key) {
        let Some(line) = self.by_key.get_mut(&key) else { return };
        line.is_held = false;
        if line.waiting.is_empty() {
            self.by_key.remove(&key);
        } else {
            self.free.push_back(key);
        }
    }

    /// What was under way is to go once more, and before all others of its key.
    pub fn put_back(&mut self, key: Key, item: T) {
        if let Some(line) = self.by_key.get_mut(&key) {
            line.waiting.push_front(item);
            self.release(key);
        }
    }

    /// Lines whose first may go.
    pub fn ready(&self) -> usize {
        self.free.len()
    }

    /// Takes out all that waits. What is under way holds its line as before.
    pub fn drain(&mut self) -> Vec<T> {
        self.free.clear();
        let waiting = self.by_key.values_mut().flat_map(|line| line.waiting.drain(..)).collect();
        self.by_key.retain(|_, line| line.is_held);
        waiting
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(items: &[(Key, u32)]) -> Lines<u32> {
        let mut lines = Lines::default();
        items.iter().for_each(|(key, item)| lines.put(*key, *item));
        lines
    }

    fn all_begun(lines: &mut Lines<u32>) -> Vec<(Key, u32)> {
        std::iter::from_fn(|| lines.begin()).collect()
    }

    #[test]
    fn of_a_key_one_is_under_way_and_others_do_not_wait_for_it() {
        let mut lines = lines(&[(1, 10), (1, 11), (2, 20), (1, 12), (3, 30)]);
        assert_eq!(all_begun(&mut lines), [(1, 10), (2, 20), (3, 30)]);
        lines.put(2, 21);
        assert_eq!(lines.ready(), 0);
        lines.release(1);
        assert_eq!(all_begun(&mut lines), [(1, 11)]);
        lines.release(2);
        lines.release(1);
        assert_eq!(all_begun(&mut lines), [(2, 21), (1, 12)]);
    }

    #[test]
    fn what_goes_once_more_goes_first() {
        let mut lines = lines(&[(1, 10), (1, 11), (2, 20)]);
        assert_eq!(lines.begin(), Some((1, 10)));
        lines.put_back(1, 10);
        assert_eq!(all_begun(&mut lines), [(2, 20), (1, 10)]);
        lines.release(1);
        assert_eq!(all_begun(&mut lines), [(1, 11)]);
    }

    #[test]
    fn a_key_has_as_many_places_as_are_left_for_others() {
        const PLACES: usize = 12;
        let (mut lines, mut taken) = (Lines::default(), 0);
        let mut fill = |lines: &mut Lines<u32>, key| {
            let before = taken;
            // Whoever comes has his place already.
            while taken < PLACES && lines.has_room(key, PLACES - taken - 1) {
                lines.put(key, 0);
                taken += 1;
            }
            taken - before
        };
        assert_eq!([1, 2, 3].map(|key| fill(&mut lines, key)), [6, 3, 2]);
        assert_eq!(fill(&mut lines, 4), 1, "there is always one for somebody else");
    }

    #[test]
    fn nothing_is_left_of_a_key_that_has_nothing_here() {
        let mut lines = lines(&[(1, 10), (2, 20)]);
        assert_eq!(all_begun(&mut lines).len(), 2);
        (1..=3).for_each(|key| lines.release(key));
        assert!(lines.by_key.is_empty() && lines.free.is_empty());
    }

    #[test]
    fn what_waits_is_taken_out_and_what_is_under_way_still_holds_its_line() {
        let mut lines = lines(&[(1, 10), (1, 11), (2, 20), (2, 21)]);
        assert_eq!(lines.begin(), Some((1, 10)));
        let mut waiting = lines.drain();
        waiting.sort_unstable();
        assert_eq!(waiting, [11, 20, 21]);
        lines.put(1, 12);
        assert_eq!(lines.ready(), 0);
        lines.release(1);
        assert_eq!(all_begun(&mut lines), [(1, 12)]);
    }
}
