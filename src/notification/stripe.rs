//! The notifications of some users: what is pending, in the order in which it came, and how the others ended.
//!
//! ```text
//!  pending: number → notification      ended: in the order of their ends
//!      ▲   ▲   ▲                          ▲
//!      │   │   └── agenda (what is due next)
//!      │   └────── of_user (oldest first) │
//!      └────────── places (user and id) ──┘
//! ```
//!
//! Invariant: what is pending stands once in each of the three; what has ended, if anywhere, in `places` alone.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use hashbrown::HashTable;
use smallvec::SmallVec;

use super::bounds::Bounds;
use super::fate::Fate;
use super::tally::Tally;

/// What is told of a notification; times are ticks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    pub user: Arc<str>,
    /// None while it is pending.
    pub fate: Option<Fate>,
    /// How often it was handed to the user's sessions of that moment.
    pub attempts: u32,
    pub kept_at: u32,
    /// When it has ended, or will expire.
    pub ends_at: u32,
}

#[derive(Default)]
pub(super) struct Stripe {
    hasher: RandomState,
    next_number: u64,
    pending: BTreeMap<u64, Pending>,
    ended: VecDeque<Ended>,
    /// The number of the first one in `ended`.
    first_ended: u64,
    places: HashTable<Place>,
    of_user: HashMap<Arc<str>, SmallVec<[u64; 1]>>,
    /// When something has to be done about a pending one, by its number.
    agenda: BTreeSet<(u32, u64)>,
}

struct Pending {
    user: Arc<str>,
    id: Box<str>,
    text: Arc<str>,
    kept_at: u32,
    expires_at: u32,
    /// As in the agenda.
    due_at: u32,
    attempts: u32,
    /// Since it was kept, or the user arrived.
    round: u8,
}

const _: () = assert!(size_of::<Pending>() <= 72);

struct Ended {
    user: Arc<str>,
    id: Box<str>,
    fate: Fate,
    attempts: u32,
    kept_at: u32,
    ended_at: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Pending(u64),
    Ended(u64),
}

/// One that is due.
pub(super) struct DueOne {
    pub number: u64,
    pub user: Arc<str>,
    pub text: Arc<str>,
}

impl Stripe {
    /// Keeps one, in the place of one with the same id that is pending. Returns its number.
    pub fn keep(&mut self, user: &str, id: &str, text: &str, now: u32, bounds: &Bounds, tally: &Tally) -> u64 {
        let before = self.place(user, id);
        let older = match before {
            Some(Place::Pending(number)) => Some(self.take_out(number)),
            _ => {
                self.make_room_of_user(user, now, bounds, tally);
                None
            }
        };
        let expires_at = now + bounds.expiry_ticks;
        let (number, due_at) = (self.next_number, expires_at.min(now + bounds.repeat_ticks(0)));
        self.next_number += 1;
        let shared = self.of_user.get_key_value(user).map_or_else(|| user.into(), |(user, _)| user.clone());
        let pending = Pending {
            user: shared.clone(),
            id: id.into(),
            text: text.into(),
            kept_at: now,
            expires_at,
            due_at,
            attempts: 0,
            round: 0,
        };
        self.pending.insert(number, pending);
        self.of_user.entry(shared).or_default().push(number);
        self.agenda.insert((due_at, number));
        self.move_place(self.hash(user, id), before, Place::Pending(number));
        tally.begin(text.len());
        if let Some(older) = older {
            tally.withdraw(older.text.len());
        }
        number
    }

    /// It was handed to the user's sessions.
    pub fn sent(&mut self, number: u64, tally: &Tally) {
        if let Some(pending) = self.pending.get_mut(&number) {
            pending.hand_out(tally);
        }
    }

    /// A device of the user has it. False when nothing is known of it.
    pub fn confirm(&mut self, user: &str, id: &str, now: u32, tally: &Tally) -> bool {
        match self.place(user, id) {
            None => false,
            Some(Place::Pending(number)) => {
                self.end(number, Fate::Confirmed, now, tally);
                true
            }
            Some(Place::Ended(number)) => {
                let ended = &mut self.ended[(number - self.first_ended) as usize];
                // Late is not never.
                if ended.fate != Fate::Confirmed {
                    ended.fate = Fate::Confirmed;
                    tally.count(Fate::Confirmed);
                }
                true
            }
        }
    }

    /// A session of the user begins: hands out what is pending, oldest first, as long as `take` takes it; the rest is
    /// due a little later, one after the other.
    pub fn arrived(
        &mut self,
        user: &str,
        now: u32,
        bounds: &Bounds,
        tally: &Tally,
        mut take: impl FnMut(&str) -> bool,
    ) {
        let Some(numbers) = self.of_user.get(user) else { return };
        let (mut is_taking, mut left_ticks) = (true, 0);
        for number in numbers.clone() {
            let pending = self.pending.get_mut(&number).expect("a user's list leads somewhere");
            if pending.expires_at <= now {
                continue;
            }
            is_taking = is_taking && take(&pending.text);
            pending.round = 0;
            if is_taking {
                pending.hand_out(tally);
                self.reschedule(number, now + bounds.repeat_ticks(0));
            } else {
                left_ticks += 1;
                self.reschedule(number, now + left_ticks);
            }
        }
    }

    /// What is to be sent again, at most so many; what has expired ends, and what has been remembered for long enough
    /// is forgotten.
    pub fn due(&mut self, now: u32, max: usize, bounds: &Bounds, tally: &Tally) -> Vec<DueOne> {
        let mut found = Vec::new();
        for _ in 0..max {
            let Some(&(at, number)) = self.agenda.first().filter(|(at, _)| *at <= now) else { break };
            let pending = self.pending.get_mut(&number).expect("the agenda leads somewhere");
            debug_assert_eq!(pending.due_at, at);
            if pending.expires_at <= now {
                self.end(number, Fate::Expired, now, tally);
                continue;
            }
            pending.round = pending.round.saturating_add(1);
            found.push(DueOne { number, user: pending.user.clone(), text: pending.text.clone() });
            let next = now + bounds.repeat_ticks(pending.round);
            self.reschedule(number, next);
        }
        for _ in 0..max {
            let is_over = |ended: &Ended| ended.ended_at + bounds.memory_ticks <= now;
            if !self.ended.front().is_some_and(is_over) {
                break;
            }
            self.forget_oldest(tally);
        }
        found
    }

    /// Whether this one is pending with this very text, not with a newer one that reads alike.
    pub fn has(&self, number: u64, text: &Arc<str>) -> bool {
        self.pending.get(&number).is_some_and(|pending| Arc::ptr_eq(&pending.text, text))
    }

    /// Drops the oldest pending one but for `except`. False when there is none.
    pub fn drop_oldest(&mut self, except: Option<u64>, now: u32, tally: &Tally) -> bool {
        let oldest = self.pending.keys().copied().find(|number| Some(*number) != except);
        oldest.inspect(|number| self.end(*number, Fate::Dropped, now, tally)).is_some()
    }

    /// Forgets the one that ended first. False when there is none.
    pub fn forget_oldest(&mut self, tally: &Tally) -> bool {
        let Some(ended) = self.ended.pop_front() else { return false };
        let (place, hash) = (Place::Ended(self.first_ended), self.hash(&ended.user, &ended.id));
        self.first_ended += 1;
        // Of the same user and id there may be a newer one.
        if let Ok(found) = self.places.find_entry(hash, |other| *other == place) {
            found.remove();
        }
        tally.forget();
        true
    }

    /// What is known of this id for one user.
    pub fn told(&self, user: &str, id: &str) -> Option<Told> {
        self.place(user, id).map(|place| self.tell(place))
    }

    /// What is known of this id, for all users here.
    pub fn told_of_all(&self, id: &str, found: &mut Vec<Told>) {
        let pending = self.pending.iter().filter(|(_, pending)| *pending.id == *id);
        found.extend(pending.map(|(number, _)| self.tell(Place::Pending(*number))));
        let ended = (self.first_ended..).zip(&self.ended).filter(|(_, ended)| *ended.id == *id);
        // Of the same user there may be a newer one.
        let latest = ended.filter(|(number, ended)| self.place(&ended.user, id) == Some(Place::Ended(*number)));
        found.extend(latest.map(|(number, _)| self.tell(Place::Ended(number))));
    }

    fn make_room_of_user(&mut self, user: &str, now: u32, bounds: &Bounds, tally: &Tally) {
        let oldest =
            self.of_user.get(user).filter(|numbers| numbers.len() >= bounds.per_user).map(|numbers| numbers[0]);
        if let Some(oldest) = oldest {
            self.end(oldest, Fate::Dropped, now, tally);
        }
    }

    fn end(&mut self, number: u64, fate: Fate, now: u32, tally: &Tally) {
        let Pending { user, id, text, kept_at, attempts, .. } = self.take_out(number);
        let place = Place::Ended(self.first_ended + self.ended.len() as u64);
        self.move_place(self.hash(&user, &id), Some(Place::Pending(number)), place);
        self.ended.push_back(Ended { user, id, fate, attempts, kept_at, ended_at: now });
        tally.end(text.len(), fate);
    }

    /// Takes a pending one out of all but `places`, where another one is to stand for it.
    fn take_out(&mut self, number: u64) -> Pending {
        let pending = self.pending.remove(&number).expect("only what is pending is taken out");
        self.agenda.remove(&(pending.due_at, number));
        let numbers = self.of_user.get_mut(&pending.user).expect("what is pending stands in its user's list");
        numbers.retain(|other| *other != number);
        if numbers.is_empty() {
            self.of_user.remove(&pending.user);
        }
        pending
    }

    fn reschedule(&mut self, number: u64, due_at: u32) {
        let pending = self.pending.get_mut(&number).expect("only what is pending is due");
        let due_at = due_at.min(pending.expires_at);
        self.agenda.remove(&(pending.due_at, number));
        self.agenda.insert((due_at, number));
        pending.due_at = due_at;
    }

    fn tell(&self, place: Place) -> Told {
        match place {
            Place::Pending(number) => {
                let Pending { user, attempts, kept_at, expires_at, .. } = &self.pending[&number];
                let (attempts, kept_at, ends_at) = (*attempts, *kept_at, *expires_at);
                Told { user: user.clone(), fate: None, attempts, kept_at, ends_at }
            }
            Place::Ended(number) => {
                let Ended { user, fate, attempts, kept_at, ended_at, .. } =
                    &self.ended[(number - self.first_ended) as usize];
                let (attempts, kept_at, ends_at) = (*attempts, *kept_at, *ended_at);
                Told { user: user.clone(), fate: Some(*fate), attempts, kept_at, ends_at }
            }
        }
    }

    fn place(&self, user: &str, id: &str) -> Option<Place> {
        let found = self.places.find(self.hash(user, id), |place| self.names(*place) == (user, id));
        found.copied()
    }

    /// What was found `from` there, if anywhere, is found `to` be there.
    fn move_place(&mut self, hash: u64, from: Option<Place>, to: Place) {
        let Self { places, pending, ended, first_ended, hasher, .. } = self;
        match from.and_then(|from| places.find_mut(hash, |other| *other == from)) {
            Some(place) => *place = to,
            None => {
                let hash_of = |place: &Place| hasher.hash_one(names(pending, ended, *first_ended, *place));
                places.insert_unique(hash, to, hash_of);
            }
        }
    }

    fn hash(&self, user: &str, id: &str) -> u64 {
        self.hasher.hash_one((user, id))
    }

    fn names(&self, place: Place) -> (&str, &str) {
        names(&self.pending, &self.ended, self.first_ended, place)
    }
}

impl Pending {
    fn hand_out(&mut self, tally: &Tally) {
        if self.attempts > 0 {
            tally.repeated();
        }
        self.attempts = self.attempts.saturating_add(1);
    }
}

/// Whose it is, and its id.
fn names<'a>(
    pending: &'a BTreeMap<u64, Pending>,
    ended: &'a VecDeque<Ended>,
    first_ended: u64,
    place: Place,
) -> (&'a str, &'a str) {
    match place {
        Place::Pending(number) => {
            let pending = &pending[&number];
            (&pending.user, &pending.id)
        }
        Place::Ended(number) => {
            let ended = &ended[(number - first_ended) as usize];
            (&ended.user, &ended.id)
        }
    }
}
