//! Requests that are carried out once however often they are sent: by the key that the sender gives them, for a time.
//!
//! Invariant: of the requests with one key one is carried out. Who comes while it is under way is told so; who comes
//! later gets its answer. One that failed has not been carried out, and its key is free again.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::error::AdminError;
use super::published::{Compact, Published};

/// Longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 255;

/// How long an answer is kept: longer than anybody tries again.
const KEPT_FOR: Duration = Duration::from_secs(600);

/// Answers that are kept; the oldest go first. Each has 1,000 results at most, of two or three bytes ([`Compact`]):
/// some 30 MB when all of them are as large as can be.
const KEPT_MAX: usize = 10_000;

#[derive(Clone, Default)]
pub struct Idempotency(Arc<Inner>);

#[derive(Default)]
struct Inner {
    requests: Mutex<Requests>,
    hasher: RandomState,
}

#[derive(Default)]
struct Requests {
    by_key: HashMap<Box<str>, Request>,
    /// Keys of answers that are kept, in the order of their time.
    kept: VecDeque<(Instant, Box<str>)>,
}

struct Request {
    body_hash: u64,
    /// None while it is under way.
    answer: Option<Compact>,
}

pub enum Seen {
    First(Place),
    Before(Published),
}

/// The right to carry a request out. Given back when it is dropped, unless there is an answer.
pub struct Place {
    requests: Idempotency,
    key: Box<str>,
    begun_at: Instant,
    is_kept: bool,
}

impl Idempotency {
    pub fn begin(&self, key: &str, body: &[u8], now: Instant) -> Result<Seen, AdminError> {
        let body_hash = self.0.hasher.hash_one(body);
        let mut requests = self.lock();
        requests.forget(now);
        match requests.by_key.get(key) {
            Some(request) if request.body_hash != body_hash => Err(AdminError::KeyReused),
            Some(Request { answer: Some(answer), .. }) => Ok(Seen::Before(answer.unpack())),
            Some(_) => Err(AdminError::UnderWay),
            None => {
                requests.by_key.insert(key.into(), Request { body_hash, answer: None });
                Ok(Seen::First(Place { requests: self.clone(), key: key.into(), begun_at: now, is_kept: false }))
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Requests> {
        self.0.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Requests {
    fn forget(&mut self, now: Instant) {
        while let Some((at, _)) = self.kept.front()
            && (now - *at > KEPT_FOR || self.kept.len() > KEPT_MAX)
            && let Some((_, key)) = self.kept.pop_front()
        {
            self.by_key.remove(&key);
        }
    }
}

impl Place {
    pub fn keep(mut self, answer: &Published) {
        let answer = Compact::pack(answer);
        let mut requests = self.requests.lock();
        if let Some(request) = requests.by_key.get_mut(&self.key) {
            request.answer = Some(answer);
        }
        requests.kept.push_back((self.begun_at, self.key.clone()));
        drop(requests);
        self.is_kept = true;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.is_kept {
            self.requests.lock().by_key.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::published::Delivered;

    fn first(requests: &Idempotency, key: &str, body: &[u8]) -> Place {
        match requests.begin(key, body, Instant::now()) {
            Ok(Seen::First(place)) => place,
            _ => panic!("{key} has been seen"),
        }
    }

    #[test]
    fn of_the_requests_with_one_key_one_is_carried_out() {
        let requests = Idempotency::default();
        let place = first(&requests, "k", b"a");
        let now = Instant::now();
        assert_eq!(requests.begin("k", b"a", now).err(), Some(AdminError::UnderWay));
        drop(place);
        first(&requests, "k", b"a").keep(&Published::default());
        assert!(matches!(requests.begin("k", b"a", now), Ok(Seen::Before(_))));
        assert_eq!(requests.begin("k", b"b", now).err(), Some(AdminError::KeyReused));
        let later = now + KEPT_FOR + Duration::from_secs(1);
        assert!(matches!(requests.begin("k", b"b", later), Ok(Seen::First(_))));
    }

    #[test]
    fn answers_are_bounded() {
        let requests = Idempotency::default();
        for n in 0..KEPT_MAX + 100 {
            first(&requests, &n.to_string(), b"").keep(&Published::default());
        }
        drop(first(&requests, "0", b""));
        let held = requests.lock();
        assert!(held.kept.len() <= KEPT_MAX && held.by_key.len() <= KEPT_MAX, "{}", held.by_key.len());
    }
    #[test]
    fn large_answers_push_no_key_out() {
        let requests = Idempotency::default();
        let results = |n: usize| (0..1000).map(|at| Delivered { delivered: n * at, kept: None }).collect();
        for n in 0..500 {
            first(&requests, &n.to_string(), b"").keep(&Published { results: results(n), note: None });
        }
        for n in 0..500 {
            let Ok(Seen::Before(answer)) = requests.begin(&n.to_string(), b"", Instant::now()) else {
                panic!("{n} is not known any more")
            };
            assert!(answer.results == results(n), "{n}");
        }
    }
}
