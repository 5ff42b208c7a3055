//! When a complete request is decided on: so many per turn of the shard's loop, and for so long, first come first
//! served. A storm of requests that are all complete does not starve those who are connected.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Poll, Waker};

use crate::lane::bell::Bell;
use crate::metrics::latency::Stopwatch;

/// Complete requests decided in one turn. Tokens that take long are verified beside the shard, and are none of it.
const PER_TURN: u32 = 16;

/// And how long all of them together may take: who is let in is registered with the kernel meanwhile, and greeted.
const US_PER_TURN: u64 = 1000;

pub struct Permits {
    /// Wakes the shard's loop, which gives the next budget.
    bell: Bell,
    queue: RefCell<Queue>,
}

/// The right to be decided on now. To be dropped when that is done.
pub struct Permit<'a> {
    permits: &'a Permits,
    watch: Stopwatch,
}

/// This turn's budget of decisions, and who waits for the next ones.
struct Queue {
    left: u32,
    left_us: u64,
    /// The number of the first of those who wait.
    first: u64,
    waiting: VecDeque<Waker>,
}

impl Permits {
    pub fn new(bell: Bell) -> Self {
        Self { bell, queue: RefCell::new(Queue::new()) }
    }

    /// Waits for this turn's or a later turn's permission to decide on a complete request. To be awaited to its end:
    /// whoever gave up would keep those behind waiting for ever.
    pub async fn wait(&self) -> Permit<'_> {
        let mut number = None;
        poll_fn(|context| {
            let mut queue = self.queue.borrow_mut();
            if queue.admit(&mut number, context.waker()) {
                return Poll::Ready(());
            }
            if queue.left == 0 {
                self.bell.wake();
            }
            Poll::Pending
        })
        .await;
        Permit { permits: self, watch: Stopwatch::start() }
    }

    /// A new turn begins.
    pub fn refill(&self) {
        self.queue.borrow_mut().refill();
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let mut queue = self.permits.queue.borrow_mut();
        queue.took(self.watch.us());
        if queue.left == 0 && !queue.waiting.is_empty() {
            self.permits.bell.wake();
        }
    }
}

impl Queue {
    fn new() -> Self {
        Self { left: PER_TURN, left_us: US_PER_TURN, first: 0, waiting: VecDeque::new() }
    }

    /// Whether it is the turn of `number`, which is given at the first call.
    fn admit(&mut self, number: &mut Option<u64>, waker: &Waker) -> bool {
        let number = *number.get_or_insert_with(|| {
            self.waiting.push_back(waker.clone());
            self.first + self.waiting.len() as u64 - 1
        });
        debug_assert!(number >= self.first, "whoever has had his turn does not ask again");
        if number == self.first && self.left > 0 {
            self.waiting.pop_front();
            self.first += 1;
            self.left -= 1;
            return true;
        }
        self.waiting[(number - self.first) as usize].clone_from(waker);
        false
    }

    /// A decision has taken so long; the next one follows if there is budget left.
    fn took(&mut self, us: u64) {
        self.left_us = self.left_us.saturating_sub(us);
        if self.left_us == 0 {
            self.left = 0;
        }
        self.call_next();
    }

    fn refill(&mut self) {
        (self.left, self.left_us) = (PER_TURN, US_PER_TURN);
        self.call_next();
    }

    fn call_next(&self) {
        if let Some(waker) = self.waiting.front()
            && self.left > 0
        {
            waker.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Calls(AtomicUsize);

    impl Wake for Calls {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_turn_decides_on_so_many_and_the_others_follow_in_order() {
        let mut queue = Queue::new();
        let waker = Waker::from(Arc::new(Calls::default()));
        let mut numbers = vec![None; 2 * PER_TURN as usize + 1];
        let mut decided = Vec::new();
        for _ in 0..3 {
            // Asked in whatever order, they go in the order in which they came.
            let waiting: Vec<usize> = (0..numbers.len()).filter(|n| !decided.contains(n)).collect();
            let mut this_turn = Vec::new();
            for _ in 0..=waiting.len() {
                for &index in &waiting {
                    if !this_turn.contains(&index) && queue.admit(&mut numbers[index], &waker) {
                        this_turn.push(index);
                    }
                }
            }
            assert!(this_turn.len() <= PER_TURN as usize);
            decided.extend(this_turn);
            queue.refill();
        }
        assert_eq!(decided, (0..numbers.len()).collect::<Vec<_>>());
    }

    #[test]
    fn a_turn_ends_its_decisions_when_their_time_is_used_up() {
        let mut queue = Queue::new();
        let calls = Arc::new(Calls::default());
        let (waker, mut first, mut second) = (Waker::from(calls.clone()), None, None);
        assert!(queue.admit(&mut first, &waker));
        queue.took(US_PER_TURN + 1);
        assert!(!queue.admit(&mut second, &waker));
        assert_eq!(calls.0.load(Ordering::Relaxed), 0);
        queue.refill();
        assert_eq!(calls.0.load(Ordering::Relaxed), 1, "the one that waits is called");
        assert!(queue.admit(&mut second, &waker));
    }
}
