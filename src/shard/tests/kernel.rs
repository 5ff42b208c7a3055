//! What only the production backend can get wrong: the floor's contract on a real io_uring.

use std::cell::Cell;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::shard::bell::Bell;
use crate::shard::io::uring::Uring;
use crate::shard::io::{Event, InFlight, Io, Slot};

/// More than there are receive buffers, so that most slots have to wait for one.
const SLOTS: usize = 300;

/// A ring with [`SLOTS`] open sockets, and their far ends.
fn opened() -> (Uring, Vec<UnixStream>) {
    let bell = Bell::new().unwrap();
    let mut uring = Uring::new(SLOTS, bell.as_raw_fd()).unwrap();
    let far_ends = (0..SLOTS).map(|slot| {
        let (near, far) = UnixStream::pair().unwrap();
        uring.open(slot as Slot, OwnedFd::from(near)).unwrap();
        far
    });
    let far_ends = far_ends.collect();
    uring.enter().unwrap();
    (uring, far_ends)
}

/// Fetches all completions before the first one is handled: a kernel may hand out only some with each entry.
fn fetch_all(uring: &mut Uring) {
    (0..SLOTS).for_each(|_| uring.enter().unwrap());
}

/// Handles events until `enough`.
fn run(uring: &mut Uring, mut handle: impl FnMut(&mut Uring, Event), enough: impl Fn(&Uring) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !enough(uring) {
        assert!(Instant::now() < deadline, "something never comes");
        uring.enter().unwrap();
        while let Some(event) = uring.next() {
            handle(uring, event);
        }
    }
}

#[test]
fn peers_that_hang_up_together_are_all_noticed_and_freed() {
    let (mut uring, far_ends) = opened();
    drop(far_ends);
    fetch_all(&mut uring);
    let (ended, closed) = (Cell::new(0), Cell::new(0));
    let handle = |uring: &mut Uring, event| match event {
        Event::Ended { slot } => {
            ended.set(ended.get() + 1);
            uring.close(slot);
        }
        Event::Closed { .. } => closed.set(closed.get() + 1),
        other => panic!("{other:?}"),
    };
    run(&mut uring, handle, |_| closed.get() == SLOTS);
    assert_eq!((ended.get(), uring.in_flight()), (SLOTS, InFlight::default()));
}

#[test]
fn slots_that_wait_for_a_buffer_are_freed_when_they_are_closed() {
    let (mut uring, mut far_ends) = opened();
    far_ends.iter_mut().for_each(|far| far.write_all(b"never read").unwrap());
    fetch_all(&mut uring);
    // The receives are queued, or wait.
    assert!(uring.next().is_none());
    (0..SLOTS).for_each(|slot| uring.close(slot as Slot));
    let closed = Cell::new(0);
    let handle = |_: &mut Uring, event| match event {
        Event::Closed { .. } => closed.set(closed.get() + 1),
        other => panic!("{other:?} for a slot that is closing"),
    };
    run(&mut uring, handle, |_| closed.get() == SLOTS);
    assert_eq!(uring.in_flight(), InFlight::default());
}

#[test]
fn more_input_than_buffers_is_all_received() {
    let (mut uring, mut far_ends) = opened();
    far_ends.iter_mut().for_each(|far| far.write_all(&[7; 10_000]).unwrap());
    fetch_all(&mut uring);
    let received = Cell::new(0);
    let handle = |uring: &mut Uring, event| match event {
        Event::Received { chunk, .. } => {
            received.set(received.get() + uring.bytes(&chunk).len());
            uring.release(chunk, true);
        }
        other => panic!("{other:?}"),
    };
    run(&mut uring, handle, |_| received.get() == SLOTS * 10_000);
}
