//! How many clients a lobby lets in: budgets per turn of the shard's loop, so that neither a storm of connects nor one
//! of complete requests can starve those who are connected, and a bound on the handshakes under way at once.
//!
//! ```text
//!   backlog ──► accept ──► its head is awaited ──► head complete: waits for a ticket ──► answered
//!        Gate::open        Pass, in Heads          Gate::admit, first come first served
//! ```
//!
//! When all places are taken, one whose head is still awaited makes room ([`crate::shard::lobby::heads`] says which); accepting waits
//! only while every place is held by somebody with a complete head, and those move on with every turn.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::metrics::latency::Stopwatch;

use crate::lane::bell::Bell;
use crate::shard::lobby::heads::{Heads, Rank, Turn};

/// Clients accepted between two looks at the open connections: some 10 µs each, with the first read.
const ACCEPTS_PER_TURN: usize = 32;

/// Complete requests decided in one turn. A token check takes 30 µs and more.
const ADMISSIONS_PER_TURN: u32 = 16;

/// And how long all of them together may take: an asymmetric signature costs ten times as much as a shared secret.
const ADMISSION_US_PER_TURN: u64 = 1000;

#[derive(Clone)]
pub struct Gate(Rc<Inner>);

struct Inner {
    /// Wakes the shard's loop, which gives the next budgets.
    bell: Bell,
    accepts: Cell<usize>,
    /// Handshakes that hold a place.
    inside: Cell<usize>,
    inside_max: usize,
    /// The accept loop, while it waits.
    waiting: RefCell<Option<Waker>>,
    heads: RefCell<Heads>,
    admissions: RefCell<Admissions>,
}

/// One handshake under way; gives its place back when dropped.
pub struct Pass {
    gate: Gate,
    stage: Cell<Stage>,
}

#[derive(Clone, Copy)]
enum Stage {
    HeadAwaited(Turn),
    HeadComplete,
}

/// The right to be decided on now. To be dropped when that is done.
pub struct Ticket<'a> {
    gate: &'a Gate,
    watch: Stopwatch,
}

/// This turn's budget of decisions, and who waits for the next ones.
struct Admissions {
    left: u32,
    left_us: u64,
    /// The number of the first in the queue.
    first: u64,
    queue: VecDeque<Waker>,
}

impl Gate {
    /// At most `handshakes_max` handshakes at once, `of_address_max` of them from one address (0: no limit).
    pub fn new(bell: Bell, handshakes_max: usize, of_address_max: usize) -> Self {
        Self(Rc::new(Inner {
            bell,
            accepts: Cell::new(ACCEPTS_PER_TURN),
            inside: Cell::new(0),
            inside_max: handshakes_max,
            waiting: RefCell::new(None),
            heads: RefCell::new(Heads::new(of_address_max)),
            admissions: RefCell::new(Admissions::new()),
        }))
    }

    /// Waits until one more client may come in.
    pub async fn open(&self) {
        poll_fn(|context| {
            let has_room = self.0.inside.get() < self.0.inside_max || !self.0.heads.borrow().is_empty();
            if has_room && self.0.accepts.get() > 0 {
                return Poll::Ready(());
            }
            if self.0.accepts.get() == 0 {
                self.0.bell.wake();
            }
            *self.0.waiting.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// A client was accepted: it takes a place, if need be that of one whose head is still awaited. `address` is whom
    /// it counts for; none for those that speak for many.
    pub fn enter(&self, address: Option<IpAddr>, rank: Rank) -> Pass {
        let inner = &self.0;
        inner.accepts.set(inner.accepts.get().saturating_sub(1));
        let mut heads = inner.heads.borrow_mut();
        let displaced = heads.displace_of(address) || inner.inside.get() >= inner.inside_max && heads.displace();
        if !displaced {
            inner.inside.set(inner.inside.get() + 1);
        }
        Pass { gate: self.clone(), stage: Cell::new(Stage::HeadAwaited(heads.enter(address, rank))) }
    }

    /// Waits for this turn's or a later turn's permission to decide on a complete request. To be awaited to its end:
    /// whoever gave up would keep those behind waiting for ever.
    pub async fn admit(&self) -> Ticket<'_> {
        let mut number = None;
        poll_fn(|context| {
            let mut admissions = self.0.admissions.borrow_mut();
            if admissions.admit(&mut number, context.waker()) {
                return Poll::Ready(());
            }
            if admissions.left == 0 {
                self.0.bell.wake();
            }
            Poll::Pending
        })
        .await;
        Ticket { gate: self, watch: Stopwatch::start() }
    }

    /// A new turn begins.
    pub fn refill(&self) {
        if self.0.accepts.replace(ACCEPTS_PER_TURN) == 0 {
            self.wake();
        }
        self.0.admissions.borrow_mut().refill();
    }

    fn leave(&self) {
        self.0.inside.set(self.0.inside.get() - 1);
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = self.0.waiting.borrow_mut().take() {
            waker.wake();
        }
    }
}

impl Pass {
    /// What `reading` brings; none when the place was given to somebody else meanwhile.
    pub async fn unless_displaced<T>(&self, reading: impl Future<Output = T>) -> Option<T> {
        let mut reading = pin!(reading);
        poll_fn(|context| {
            if self.is_displaced(context) {
                return Poll::Ready(None);
            }
            reading.as_mut().poll(context).map(Some)
        })
        .await
    }

    /// The client has sent something.
    pub fn heard(&self) {
        if let Stage::HeadAwaited(turn) = self.stage.get() {
            self.stage.set(Stage::HeadAwaited(self.gate.0.heads.borrow_mut().heard(turn)));
        }
    }

    /// The head is complete: the place is kept until the client has been answered.
    pub fn head_is_complete(&self) {
        if let Stage::HeadAwaited(turn) = self.stage.get()
            && self.gate.0.heads.borrow_mut().leave(turn)
        {
            self.stage.set(Stage::HeadComplete);
        }
    }

    fn is_displaced(&self, context: &Context<'_>) -> bool {
        match self.stage.get() {
            Stage::HeadAwaited(turn) => !self.gate.0.heads.borrow_mut().wait(turn, context.waker()),
            Stage::HeadComplete => false,
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let holds_its_place = match self.stage.get() {
            Stage::HeadAwaited(turn) => self.gate.0.heads.borrow_mut().leave(turn),
            Stage::HeadComplete => true,
        };
        if holds_its_place {
            self.gate.leave();
        }
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        let mut admissions = self.gate.0.admissions.borrow_mut();
        admissions.took(self.watch.us());
        if admissions.left == 0 && !admissions.queue.is_empty() {
            self.gate.0.bell.wake();
        }
    }
}

impl Admissions {
    fn new() -> Self {
        Self { left: ADMISSIONS_PER_TURN, left_us: ADMISSION_US_PER_TURN, first: 0, queue: VecDeque::new() }
    }

    /// Whether it is the turn of `number`, which is drawn at the first call.
    fn admit(&mut self, number: &mut Option<u64>, waker: &Waker) -> bool {
        let number = *number.get_or_insert_with(|| {
            self.queue.push_back(waker.clone());
            self.first + self.queue.len() as u64 - 1
        });
        if number == self.first && self.left > 0 {
            self.queue.pop_front();
            self.first += 1;
            self.left -= 1;
            return true;
        }
        self.queue[(number - self.first) as usize].clone_from(waker);
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
        (self.left, self.left_us) = (ADMISSIONS_PER_TURN, ADMISSION_US_PER_TURN);
        self.call_next();
    }

    fn call_next(&self) {
        if let Some(waker) = self.queue.front()
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

    fn address(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([10, 0, 0, last]))
    }

    fn gate(handshakes_max: usize) -> Gate {
        Gate::new(Bell::new().expect("an eventfd"), handshakes_max, 0)
    }

    fn is_open(gate: &Gate) -> bool {
        pin!(gate.open()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    fn is_displaced(pass: &Pass) -> bool {
        pass.is_displaced(&Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_turn_accepts_so_many_and_no_more() {
        let gate = gate(usize::MAX);
        let mut passes = Vec::new();
        while is_open(&gate) {
            passes.push(gate.enter(address(1), Rank::Silent));
        }
        assert_eq!(passes.len(), ACCEPTS_PER_TURN);
        gate.refill();
        assert!(is_open(&gate));
    }

    #[test]
    fn a_turn_decides_on_so_many_and_the_others_follow_in_order() {
        let mut admissions = Admissions::new();
        let waker = Waker::from(Arc::new(Calls::default()));
        let mut numbers = vec![None; 2 * ADMISSIONS_PER_TURN as usize + 1];
        let mut decided = Vec::new();
        for _ in 0..3 {
            // Asked in whatever order, they go in the order in which they came.
            let waiting: Vec<usize> = (0..numbers.len()).filter(|n| !decided.contains(n)).collect();
            let mut this_turn = Vec::new();
            for _ in 0..=waiting.len() {
                for &index in &waiting {
                    if !this_turn.contains(&index) && admissions.admit(&mut numbers[index], &waker) {
                        this_turn.push(index);
                    }
                }
            }
            assert!(this_turn.len() <= ADMISSIONS_PER_TURN as usize);
            decided.extend(this_turn);
            admissions.refill();
        }
        assert_eq!(decided, (0..numbers.len()).collect::<Vec<_>>());
    }

    #[test]
    fn a_turn_ends_its_decisions_when_their_time_is_used_up() {
        let mut admissions = Admissions::new();
        let calls = Arc::new(Calls::default());
        let (waker, mut first, mut second) = (Waker::from(calls.clone()), None, None);
        assert!(admissions.admit(&mut first, &waker));
        admissions.took(ADMISSION_US_PER_TURN + 1);
        assert!(!admissions.admit(&mut second, &waker));
        assert_eq!(calls.0.load(Ordering::Relaxed), 0);
        admissions.refill();
        assert_eq!(calls.0.load(Ordering::Relaxed), 1, "the one that waits is called");
        assert!(admissions.admit(&mut second, &waker));
    }

    #[test]
    fn the_oldest_that_has_sent_nothing_makes_room() {
        let gate = gate(3);
        let (first, second, third) = (
            gate.enter(address(1), Rank::Silent),
            gate.enter(address(2), Rank::Silent),
            gate.enter(None, Rank::Silent),
        );
        first.heard();
        assert!(is_open(&gate), "somebody can make room");
        let fourth = gate.enter(address(3), Rank::Silent);
        assert_eq!([&first, &second, &third, &fourth].map(is_displaced), [false, true, false, false]);
        assert_eq!(gate.0.inside.get(), 3);
        drop(second);
        assert_eq!(gate.0.inside.get(), 3, "its place was given away");
        drop([first, third, fourth]);
        assert_eq!(gate.0.inside.get(), 0);
    }

    #[test]
    fn a_complete_head_keeps_its_place_and_makes_others_wait() {
        let gate = gate(1);
        let pass = gate.enter(address(1), Rank::Silent);
        pass.head_is_complete();
        assert!(!is_open(&gate));
        drop(pass);
        assert!(is_open(&gate));
    }
}
