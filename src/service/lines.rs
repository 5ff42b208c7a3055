//! What waits for a backend, in lines: what has the same key goes one after the other, and what has another does not
//! wait for it. So many go at once, and no user takes all of these places. Sans-IO; one for each service that speaks
//! with its backend in many calls at once (`grpc`, `http`).
//!
//! ```text
//!  put ──► the line of its key ──► begin: users take turns, each with the first of a line ──► under way, in a place
//!                     ▲                                                                        │
//!                     └─── the line's next may go ◄── release: the line ◄── end: the place ◄───┘
//! ```
//!
//! Invariant: of a key no two are under way, and they go in the order in which they came. The last place that is free
//! is for a user who has nothing under way. A key or user that has nothing here costs nothing.

use std::borrow::Borrow;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};

use crate::lane::Content;

/// What is ordered by: a hash. Two keys with the same one wait for each other, and nothing else comes of it.
pub type Key = u64;

/// Whose it is: a hash as well.
type UserHash = u64;

pub struct Lines<T> {
    by_key: HashMap<Key, Line<T>>,
    users: HashMap<UserHash, User>,
    /// Users who have lines whose first may go, each once.
    turns: VecDeque<UserHash>,
    places_left: usize,
    hasher: RandomState,
}

struct Line<T> {
    waiting: VecDeque<(UserHash, T)>,
    is_held: bool,
}

#[derive(Default)]
struct User {
    under_way: usize,
    /// Lines whose first is his and may go.
    ready: VecDeque<Key>,
}

/// Of what is under way: its line while it holds it, and its user.
#[derive(Debug, PartialEq, Eq)]
pub struct Place {
    line: Option<Key>,
    user: UserHash,
}

impl Place {
    /// What is under way goes on, and its line is to be released.
    pub fn leave_line(&mut self) -> Option<Key> {
        self.line.take()
    }
}

impl<T> Lines<T> {
    /// Of which so many go at once.
    pub fn new(places: usize) -> Self {
        Self {
            by_key: HashMap::new(),
            users: HashMap::new(),
            turns: VecDeque::new(),
            places_left: places,
            hasher: RandomState::new(),
        }
    }

    /// Behind all of its key: that of the message, or its session where it has none.
    ///
    /// # Errors
    ///
    /// The item, when its line is as long as there are places left in the queue for all: a key that hangs takes half of
    /// the queue at most, the next one half of the rest, and the last place is for a key that has nothing here.
    pub fn put(&mut self, queue_left: usize, item: T) -> Result<(), T>
    where
        T: Borrow<Content>,
    {
        let content = item.borrow();
        let key = match &content.key {
            Some(key) => self.hasher.hash_one((true, key)),
            None => self.hasher.hash_one((false, &content.session_id)),
        };
        let user = self.hasher.hash_one(&content.user_id);
        if self.by_key.get(&key).is_some_and(|line| line.waiting.len() > queue_left) {
            return Err(item);
        }
        self.put_as(key, user, item);
        Ok(())
    }

    fn put_as(&mut self, key: Key, user: UserHash, item: T) {
        let line = self.by_key.entry(key).or_insert_with(|| Line { waiting: VecDeque::new(), is_held: false });
        line.waiting.push_back((user, item));
        if !line.is_held && line.waiting.len() == 1 {
            self.make_ready(key, user);
        }
    }

    fn make_ready(&mut self, key: Key, user: UserHash) {
        let ready = &mut self.users.entry(user).or_default().ready;
        ready.push_back(key);
        if ready.len() == 1 {
            self.turns.push_back(user);
        }
    }

    /// The next one that may go. Its line is held until it is released, and its place until it ends. A user may have as
    /// many under way as there are places left for others: those who may not have some, so no more are passed over than
    /// there are places.
    pub fn begin(&mut self) -> Option<(Place, T)> {
        for _ in 0..self.turns.len() {
            if self.places_left == 0 {
                return None;
            }
            let id = self.turns.pop_front()?;
            let user = self.users.get_mut(&id)?;
            if user.under_way > 0 && user.under_way >= self.places_left {
                self.turns.push_back(id);
                continue;
            }
            let key = user.ready.pop_front()?;
            if !user.ready.is_empty() {
                self.turns.push_back(id);
            }
            user.under_way += 1;
            self.places_left -= 1;
            let line = self.by_key.get_mut(&key)?;
            line.is_held = true;
            return line.waiting.pop_front().map(|(user, item)| (Place { line: Some(key), user }, item));
        }
        None
    }

    /// The backend has what was under way: the next one of the line may go.
    pub fn release(&mut self, line: Option<Key>) {
        let Some(key) = line else { return };
        let Some(line) = self.by_key.get_mut(&key) else { return };
        line.is_held = false;
        match line.waiting.front() {
            Some((user, _)) => {
                let user = *user;
                self.make_ready(key, user);
            }
            None => _ = self.by_key.remove(&key),
        }
    }

    /// What was under way is over.
    pub fn end(&mut self, mut place: Place) {
        self.release(place.leave_line());
        self.places_left += 1;
        if let Some(user) = self.users.get_mut(&place.user) {
            user.under_way -= 1;
            if user.under_way == 0 && user.ready.is_empty() {
                self.users.remove(&place.user);
            }
        }
    }

    /// What was under way is to go once more, and before all others of its key.
    pub fn put_back(&mut self, place: Place, item: T) {
        if let Some(line) = place.line.and_then(|key| self.by_key.get_mut(&key)) {
            line.waiting.push_front((place.user, item));
        }
        self.end(place);
    }

    /// Whether somebody waits for a place, with none left.
    pub fn are_full(&self) -> bool {
        self.places_left == 0 && !self.turns.is_empty()
    }

    /// Users of whom that is so, with nothing of theirs under way.
    pub fn kept_waiting(&self) -> usize {
        let has_none = |id: &&UserHash| self.users.get(*id).is_some_and(|user| user.under_way == 0);
        if self.are_full() { self.turns.iter().filter(has_none).count() } else { 0 }
    }

    /// Takes out all that waits. What is under way holds its line and its place as before.
    pub fn drain(&mut self) -> Vec<T> {
        self.turns.clear();
        self.users.values_mut().for_each(|user| user.ready.clear());
        self.users.retain(|_, user| user.under_way > 0);
        let waiting = self.by_key.values_mut().flat_map(|line| line.waiting.drain(..)).map(|(_, item)| item).collect();
        self.by_key.retain(|_, line| line.is_held);
        waiting
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of one user each, but for those of whom it says otherwise.
    fn lines(items: &[(Key, u32)]) -> Lines<u32> {
        let mut lines = Lines::new(100);
        items.iter().for_each(|(key, item)| lines.put_as(*key, *key, *item));
        lines
    }

    fn all_begun(lines: &mut Lines<u32>) -> (Vec<Place>, Vec<u32>) {
        std::iter::from_fn(|| lines.begin()).unzip()
    }

    #[test]
    fn of_a_key_one_is_under_way_and_others_do_not_wait_for_it() {
        let mut lines = lines(&[(1, 10), (1, 11), (2, 20), (1, 12), (3, 30)]);
        let (mut places, items) = all_begun(&mut lines);
        assert_eq!(items, [10, 20, 30]);
        lines.put_as(2, 2, 21);
        assert!(lines.begin().is_none());
        let mut first = places.remove(0);
        lines.release(first.leave_line());
        let (more, items) = all_begun(&mut lines);
        assert_eq!(items, [11]);
        lines.end(places.remove(0));
        lines.end(first);
        assert_eq!(all_begun(&mut lines).1, [21], "its line had been released, and is held by the next one");
        more.into_iter().for_each(|place| lines.end(place));
        assert_eq!(all_begun(&mut lines).1, [12]);
    }

    #[test]
    fn what_goes_once_more_goes_first() {
        let mut lines = lines(&[(1, 10), (1, 11), (2, 20)]);
        let (place, item) = lines.begin().expect("one");
        lines.put_back(place, item);
        let (mut places, items) = all_begun(&mut lines);
        assert_eq!(items, [20, 10]);
        lines.end(places.remove(1));
        assert_eq!(all_begun(&mut lines).1, [11]);
    }

    #[test]
    fn a_user_has_as_many_under_way_as_are_left_for_others() {
        let mut lines = Lines::new(8);
        let mut fill = |user: UserHash| {
            (0..8).for_each(|n| lines.put_as(100 * user + n, user, 0));
            all_begun(&mut lines).0
        };
        let mut places = [1, 2, 3, 4].map(&mut fill);
        assert_eq!(places.each_ref().map(Vec::len), [4, 2, 1, 1], "the last is for who has nothing");
        assert_eq!((fill(5).len(), lines.kept_waiting()), (0, 1));
        // Each in his turn, where he has fewer than are left.
        (0..3).for_each(|_| lines.end(places[0].remove(0)));
        let users: Vec<UserHash> = all_begun(&mut lines).0.iter().map(|place| place.user).collect();
        assert_eq!((users, lines.kept_waiting()), (vec![1, 3, 5], 0));
    }

    #[test]
    fn a_key_has_as_many_places_as_are_left_for_others() {
        const PLACES: usize = 12;
        let (mut lines, mut taken) = (Lines::new(1), 0);
        let mut fill = |key: &str| {
            let content = Content { key: Some(key.into()), ..Content::default() };
            let before = taken;
            // Whoever comes has his place already.
            while taken < PLACES && lines.put(PLACES - taken - 1, content.clone()).is_ok() {
                taken += 1;
            }
            taken - before
        };
        assert_eq!(["a", "b", "c"].map(&mut fill), [6, 3, 2]);
        assert_eq!(fill("d"), 1, "there is always one for somebody else");
    }

    #[test]
    fn nothing_is_left_of_whoever_has_nothing_here() {
        let mut lines = lines(&[(1, 10), (2, 20)]);
        let (places, _) = all_begun(&mut lines);
        assert_eq!(places.len(), 2);
        places.into_iter().for_each(|place| lines.end(place));
        assert!(lines.by_key.is_empty() && lines.users.is_empty() && lines.turns.is_empty());
        assert_eq!(lines.places_left, 100);
    }

    #[test]
    fn what_waits_is_taken_out_and_what_is_under_way_still_holds_its_line() {
        let mut lines = lines(&[(1, 10), (1, 11), (2, 20), (2, 21)]);
        let (place, item) = lines.begin().expect("one");
        assert_eq!(item, 10);
        let mut waiting = lines.drain();
        waiting.sort_unstable();
        assert_eq!(waiting, [11, 20, 21]);
        lines.put_as(1, 1, 12);
        assert!(lines.begin().is_none());
        lines.end(place);
        assert_eq!(all_begun(&mut lines).1, [12]);
    }
}
