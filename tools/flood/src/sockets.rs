//! The sockets of one thread: a ring, what waits behind the send that is under way, and the sleep until something
//! happens.
//!
//! Held by every worker and by every ring of the baseline. A slot has one send under way at a time; what is said
//! meanwhile goes next, in its order. Few slots ever wait, so the queues lie beside them.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, ppoll};
use ringway::lane::bell::Bell;
use ringway::lane::frame::LocalFrame;
use ringway::shard::io::uring::Uring;
use ringway::shard::io::{Event, Io, Slot, VECTOR_MAX};

/// The longest sleep: after it everything is looked at in any case.
pub const SLEEP_MAX: Duration = Duration::from_secs(1);

pub struct Sockets {
    pub io: Uring,
    bell: Bell,
    ear: OwnedFd,
    /// Frames behind the one that is being sent. An entry is never empty.
    queues: HashMap<Slot, VecDeque<LocalFrame>>,
}

impl Sockets {
    /// Of a ring that rings this bell.
    pub fn new(io: Uring, bell: Bell) -> io::Result<Self> {
        Ok(Self { io, ear: bell.duplicate()?, bell, queues: HashMap::new() })
    }

    /// Sends a frame, behind those that wait already.
    pub fn send(&mut self, slot: Slot, frame: &LocalFrame) {
        // The map is empty nearly always: a look at its length is all it costs.
        let waits = !self.queues.is_empty() && self.queues.contains_key(&slot);
        if waits || self.io.await_sent(slot) {
            self.queues.entry(slot).or_default().push_back(frame.clone());
        } else {
            self.io.send_all(slot, [frame.clone()]);
        }
    }

    /// Hands everything queued to the kernel.
    pub fn enter(&mut self) {
        self.io.enter().expect("the ring accepts submissions as long as it lives");
    }

    /// The next thing that happened and concerns somebody: what has been sent is followed by what waits.
    pub fn next(&mut self) -> Option<Event> {
        loop {
            match self.io.next()? {
                Event::Sent { slot } => self.send_queued(slot),
                Event::Tick | Event::Alarm => {}
                Event::Closed { slot } => {
                    self.queues.remove(&slot);
                    return Some(Event::Closed { slot });
                }
                event => return Some(event),
            }
        }
    }

    fn send_queued(&mut self, slot: Slot) {
        let Some(queue) = self.queues.get_mut(&slot) else { return };
        debug_assert!(!queue.is_empty(), "an entry is never empty");
        let count = queue.len().min(VECTOR_MAX);
        self.io.send_all(slot, queue.drain(..count));
        if queue.is_empty() {
            self.queues.remove(&slot);
        } else {
            self.io.await_sent(slot);
        }
    }

    /// Sleeps until the bell rings, or for as long as `time` says. It is asked when the bell would be rung already, and
    /// says `None` when there is something to do.
    pub fn sleep(&mut self, time: impl FnOnce() -> Option<Duration>) {
        self.bell.doze();
        if let Some(at_most) = time()
            && self.io.doze()
        {
            let mut ear = [PollFd::new(self.ear.as_fd(), PollFlags::POLLIN)];
            // An interrupted or failed wait is a short one.
            let _ = ppoll(&mut ear, Some(at_most.into()), None);
        }
        self.io.rouse();
        self.bell.rouse();
    }
}
