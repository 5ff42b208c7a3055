//! How long to wait before something that failed is tried again. Sans-IO: the caller sleeps.
//!
//! Exponential, so that what is away for long costs little, and never long, so that what is back is found within two
//! seconds; jittered, so that the nodes of a cluster do not all come back in the same instant.
//!
//! Who lets in and hangs up at once is no better than who does not let in: a connection counts as a success when it has
//! [lived](Backoff::lived) for a while.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_millis(1500);

/// A connection that has lived for so long was a good one.
const SETTLED: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    bound: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { bound: FIRST }
    }
}

impl Backoff {
    /// What was tried has worked.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// A connection has ended that lived for so long. Whether it was a good one: then it is tried again soon.
    pub fn lived(&mut self, lived: Duration) -> bool {
        let was_good = lived > SETTLED;
        if was_good {
            self.reset();
        }
        was_good
    }

    /// The next delay: between half and all of a bound that doubles each time.
    pub fn delay(&mut self) -> Duration {
        let bound = self.bound;
        self.bound = (bound * 2).min(LONGEST);
        bound.mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_longest() {
        let mut backoff = Backoff::default();
        let mut bound = FIRST;
        for _ in 0..20 {
            let delay = backoff.delay();
            assert!(bound / 2 <= delay && delay <= bound, "{delay:?} of {bound:?}");
            bound = (bound * 2).min(LONGEST);
        }
        assert_eq!(bound, LONGEST);
    }

    #[test]
    fn what_has_worked_is_tried_again_soon() {
        let mut backoff = Backoff::default();
        while backoff.delay() < LONGEST / 2 {}
        backoff.reset();
        assert!(backoff.delay() <= FIRST);
    }

    #[test]
    fn who_hangs_up_at_once_is_tried_less_and_less_often() {
        let mut backoff = Backoff::default();
        for _ in 0..8 {
            assert!(!backoff.lived(SETTLED / 10));
            backoff.delay();
        }
        assert!(backoff.delay() >= LONGEST / 2);
        assert!(backoff.lived(SETTLED * 2));
        assert!(backoff.delay() <= FIRST);
    }

    #[test]
    fn two_nodes_do_not_wait_alike() {
        let (mut a, mut b) = (Backoff::default(), Backoff::default());
        assert!((0..20).any(|_| a.delay() != b.delay()));
    }
}
