//! How many clients a lobby lets in: a budget per turn of the shard's loop, so that a reconnect storm cannot starve those who
//! are connected, and a bound on the handshakes under way at once.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

/// Clients accepted between two looks at the open connections. A connect costs some 20 to 50 µs with its token check, so
/// one turn's share is below two milliseconds.
const ACCEPTS_PER_TURN: usize = 32;

#[derive(Clone)]
pub struct Gate(Rc<Inner>);

struct Inner {
    budget: Cell<usize>,
    inside: Cell<usize>,
    inside_max: usize,
    /// The accept loop, while it waits.
    waiting: RefCell<Option<Waker>>,
}

/// One handshake under way; gives its place back when dropped.
pub struct Pass(Gate);

impl Gate {
    pub fn new(handshakes_max: usize) -> Self {
        Self(Rc::new(Inner {
            budget: Cell::new(ACCEPTS_PER_TURN),
            inside: Cell::new(0),
            inside_max: handshakes_max,
            waiting: RefCell::new(None),
        }))
    }

    /// Waits until one more client may come in. `spent` is called when this turn's budget is used up: a sleeping loop
    /// has to be woken to give a new one.
    pub async fn open(&self, spent: impl Fn()) -> Pass {
        poll_fn(|context| {
            if self.0.inside.get() < self.0.inside_max && self.0.budget.get() > 0 {
                return Poll::Ready(());
            }
            if self.0.budget.get() == 0 {
                spent();
            }
            *self.0.waiting.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
        self.0.inside.set(self.0.inside.get() + 1);
        Pass(self.clone())
    }

    /// A client was accepted with the pass: it counts against this turn's budget.
    pub fn spend(&self) {
        self.0.budget.set(self.0.budget.get().saturating_sub(1));
    }

    /// A new turn begins.
    pub fn refill(&self) {
        if self.0.budget.replace(ACCEPTS_PER_TURN) == 0 {
            self.wake();
        }
    }

    fn wake(&self) {
        if let Some(waker) = self.0.waiting.borrow_mut().take() {
            waker.wake();
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let inner = &self.0.0;
        if inner.inside.replace(inner.inside.get() - 1) == inner.inside_max {
            self.0.wake();
        }
    }
}
