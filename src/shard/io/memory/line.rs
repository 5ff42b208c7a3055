//! A socket in memory and the clock beside it: what the test holds, and what the backend moves.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use crate::clock::Now;

/// Unix time of a clock's first moment.
const EPOCH_UNIX_MS: u64 = 1_800_000_000_000;

/// Time that passes only when the test says so.
#[derive(Clone, Default)]
pub struct Clock(Rc<Moment>);

#[derive(Default)]
struct Moment {
    us: Cell<u64>,
    /// What passes whenever the floor looks at the clock: it has worked meanwhile.
    us_between_looks: Cell<u64>,
}

/// The far end of a socket, in the hands of the test.
#[derive(Clone, Default)]
pub struct Peer(pub(super) Rc<RefCell<Line>>);

/// The near end, to be adopted by the floor.
pub struct MemorySocket {
    pub(super) peer: Peer,
    /// Opening it fails.
    pub broken: bool,
}

/// What lies between the two ends.
#[derive(Default)]
pub(super) struct Line {
    pub(super) to_floor: VecDeque<u8>,
    pub(super) from_floor: Vec<u8>,
    /// Frames in each send that was completed.
    pub(super) sends: Vec<usize>,
    pub(super) stalled: bool,
    pub(super) gone: bool,
    /// The floor sends no more.
    pub(super) shut: bool,
    pub(super) closed: bool,
    /// The floor has broken the connection off.
    pub(super) reset: bool,
}

impl Clock {
    pub fn now(&self) -> Now {
        Now { us: self.0.us.get(), unix_ms: EPOCH_UNIX_MS + self.ms() }
    }

    pub(super) fn ms(&self) -> u64 {
        self.0.us.get() / 1000
    }

    pub fn advance(&self, ms: u64) {
        self.advance_us(ms * 1000);
    }

    /// So much passes between two looks of the floor: a machine that is slow, or has none of it to spare.
    pub fn slow_down(&self, us_between_looks: u64) {
        self.0.us_between_looks.set(us_between_looks);
    }

    /// The floor looks.
    pub(super) fn look_us(&self) -> u64 {
        let us = self.0.us.get();
        self.advance_us(self.0.us_between_looks.get());
        us
    }

    fn advance_us(&self, us: u64) {
        self.0.us.set(self.0.us.get() + us);
    }
}

impl Peer {
    /// A connected pair.
    pub fn connect() -> (Self, MemorySocket) {
        let peer = Self::default();
        (peer.clone(), MemorySocket { peer, broken: false })
    }

    /// Sends to the floor; lost when either side has closed.
    pub fn write(&self, bytes: &[u8]) {
        let mut line = self.0.borrow_mut();
        if !line.gone && !line.closed {
            line.to_floor.extend(bytes);
        }
    }

    /// What has come from the floor since the last time.
    pub fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.borrow_mut().from_floor)
    }

    /// How many frames each send carried that was completed since the last time.
    pub fn take_sends(&self) -> Vec<usize> {
        std::mem::take(&mut self.0.borrow_mut().sends)
    }

    /// Goes away. What was written before can still be received, what is sent from now on fails.
    pub fn close(&self) {
        self.0.borrow_mut().gone = true;
    }

    /// While stalled the peer reads nothing: sends do not complete.
    pub fn stall(&self, stalled: bool) {
        self.0.borrow_mut().stalled = stalled;
    }

    /// How much of what was written has not been received.
    pub fn unread(&self) -> usize {
        self.0.borrow().to_floor.len()
    }

    /// Whether the floor has ended its side of the stream, and still reads.
    pub fn is_shut(&self) -> bool {
        let line = self.0.borrow();
        line.shut && !line.closed
    }

    /// Whether the floor has broken the connection off.
    pub fn is_reset(&self) -> bool {
        self.0.borrow().reset
    }

    /// Whether the floor has closed the socket.
    pub fn is_closed(&self) -> bool {
        self.0.borrow().closed
    }
}
