//! How many clients a lobby lets in: a budget of accepts per turn of the shard's loop, so that a storm of connects
//! cannot starve those who are connected, and a bound on the handshakes under way at once.
//!
//! ```text
//!   backlog ──► accept ──► its head is awaited ──► head complete: waits for a permit ──► answered
//!        Gate::open        Pass, in Heads          Permits::wait, first come first served
//! ```
//!
//! When all places are taken, one whose head is still awaited makes room ([`Heads`] says which); accepting waits only
//! while every place is held by somebody with a complete head, and those move on with every turn.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::lane::bell::Bell;
use crate::shard::lobby::heads::{Heads, Rank, Turn};

/// Clients accepted between two looks at the open connections: some 10 µs each, with the first read.
const ACCEPTS_PER_TURN: usize = 32;

#[derive(Clone)]
pub struct Gate(Rc<Inner>);

struct Inner {
    /// Wakes the shard's loop, which gives the next budget.
    bell: Bell,
    accepts: Cell<usize>,
    /// Handshakes that hold a place.
    inside: Cell<usize>,
    inside_max: usize,
    /// The accept loop, while it waits.
    waiting: RefCell<Option<Waker>>,
    heads: RefCell<Heads>,
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

    /// A new turn begins.
    pub fn refill(&self) {
        if self.0.accepts.replace(ACCEPTS_PER_TURN) == 0 {
            self.wake();
        }
    }

    fn leave(&self) {
        debug_assert!(self.0.inside.get() > 0);
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

#[cfg(test)]
mod tests {
    use super::*;

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
