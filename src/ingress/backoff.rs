//! How long a source waits before it tries to reach its broker again. Sans-IO: the caller sleeps.
//!
//! Exponential, so that a broker that is down for long costs nothing; jittered, so that the nodes of a cluster do not
//! all come back in the same instant.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);

pub struct Backoff {
    next: Duration,
    /// Seeded by the system and different in every process, which is all that jitter needs.
    random: RandomState,
    draws: u64,
}

impl Backoff {
    pub fn new() -> Self {
        Self { next: FIRST, random: RandomState::new(), draws: 0 }
    }

    /// The broker was reached.
    pub fn reset(&mut self) {
        self.next = FIRST;
    }

    /// The next delay: between half and all of a bound that doubles each time.
    pub fn delay(&mut self) -> Duration {
        let bound = self.next;
        self.next = (bound * 2).min(LONGEST);
        self.draws += 1;
        let fraction = self.random.hash_one(self.draws) as u32;
        bound / 2 + (bound / 2).mul_f64(f64::from(fraction) / f64::from(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_longest() {
        let mut backoff = Backoff::new();
        let mut bound = FIRST;
        for _ in 0..20 {
            let delay = backoff.delay();
            assert!(bound / 2 <= delay && delay <= bound, "{delay:?} of {bound:?}");
            bound = (bound * 2).min(LONGEST);
        }
        assert_eq!(bound, LONGEST);
    }

    #[test]
    fn a_broker_that_was_reached_is_tried_again_soon() {
        let mut backoff = Backoff::new();
        while backoff.delay() < LONGEST / 2 {}
        backoff.reset();
        assert!(backoff.delay() <= FIRST);
    }

    #[test]
    fn two_nodes_do_not_wait_alike() {
        let (mut a, mut b) = (Backoff::new(), Backoff::new());
        assert!((0..20).any(|_| a.delay() != b.delay()));
    }
}
