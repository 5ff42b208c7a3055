//! What only the production backend can get wrong: the floor's contract on a real io_uring.

use std::cell::Cell;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::lane::bell::Bell;
use crate::lane::frame::Frame;
use crate::shard::io::uring::Uring;
use crate::shard::io::{Backend, Capacity, Event, InFlight, Io, Slot};

/// More than there are receive buffers, so that most slots have to wait for one, and more than two rings take.
const SLOTS: usize = 300;

const CAPACITY: Capacity = Capacity { slots: SLOTS, per_ring: 110 };

const ONE: Capacity = Capacity { slots: 1, per_ring: 1 };

/// Three rings with [`SLOTS`] open sockets, and their far ends.
fn opened() -> (Uring, Vec<UnixStream>) {
    opened_with(&Bell::new().unwrap())
}

fn opened_with(bell: &Bell) -> (Uring, Vec<UnixStream>) {
    let mut uring = Uring::new(CAPACITY, bell).unwrap();
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

fn drop_input(uring: &mut Uring, event: Event) {
    match event {
        Event::Received { chunk, .. } => uring.release(chunk, true),
        other => panic!("{other:?}"),
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
fn a_stream_ends_on_our_side_and_is_read_to_its_own_end() {
    let (mut uring, mut far_ends) = opened();
    for (slot, far) in far_ends.iter_mut().enumerate() {
        uring.send_all(slot as Slot, [Frame::local(b"goodbye"[..].into(), 0)]);
        far.write_all(b"still talking").unwrap();
    }
    run(&mut uring, drop_input, |uring| uring.in_flight().sends == 0);
    (0..SLOTS).for_each(|slot| uring.shut(slot as Slot));
    uring.enter().unwrap();
    for far in &mut far_ends {
        far.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut heard = String::new();
        far.read_to_string(&mut heard).expect("the stream ends though the socket is open");
        assert_eq!(heard, "goodbye");
        far.write_all(b"my last words").unwrap();
    }
    drop(far_ends);
    let closed = Cell::new(0);
    let handle = |uring: &mut Uring, event| match event {
        Event::Ended { slot } => uring.close(slot),
        Event::Closed { .. } => closed.set(closed.get() + 1),
        other => drop_input(uring, other),
    };
    run(&mut uring, handle, |_| closed.get() == SLOTS);
    assert_eq!(uring.in_flight(), InFlight::default());
}

#[test]
fn a_slot_may_be_closed_while_its_stream_is_being_ended() {
    let (mut uring, _far_ends) = opened();
    for slot in 0..SLOTS as Slot {
        uring.shut(slot);
        uring.close(slot);
    }
    let closed = Cell::new(0);
    let handle = |_: &mut Uring, event| match event {
        Event::Closed { .. } => closed.set(closed.get() + 1),
        other => panic!("{other:?} for a slot that is closing"),
    };
    run(&mut uring, handle, |_| closed.get() == SLOTS);
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

#[test]
fn a_peer_that_does_not_take_what_it_was_sent_is_told_by_a_reset() {
    let bell = Bell::new().unwrap();
    let mut uring = Uring::new(ONE, &bell).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    uring.open(0, OwnedFd::from(listener.accept().unwrap().0)).unwrap();
    uring.send_all(0, [Frame::local(vec![7; 64 << 20].into(), 0)]);
    uring.enter().unwrap();
    assert_eq!(uring.in_flight().sends, 1, "more than the kernel takes");
    uring.reset(0);
    let closed = Cell::new(false);
    run(&mut uring, |_, event| closed.set(matches!(event, Event::Closed { slot: 0 })), |_| closed.get());
    let error = far.read_to_end(&mut Vec::new()).expect_err("it ends without order");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert_eq!(uring.in_flight(), InFlight::default());
}

#[test]
fn an_alarm_wakes_whoever_dozes_and_not_before_its_time() {
    let bell = Bell::new().unwrap();
    let mut uring = Uring::new(ONE, &bell).unwrap();
    for ms in [3, 1] {
        let asked = Instant::now();
        uring.alarm(ms * 1000);
        uring.enter().unwrap();
        if uring.doze() {
            let timeout = Timespec { tv_sec: 10, tv_nsec: 0 };
            let rung = poll(&mut [PollFd::new(&bell.duplicate().unwrap(), PollFlags::IN)], Some(&timeout));
            assert_eq!(rung, Ok(1), "the bell is rung");
        }
        bell.rouse();
        uring.rouse();
        uring.enter().unwrap();
        assert!(matches!(uring.next(), Some(Event::Alarm)) && uring.next().is_none());
        assert!(asked.elapsed() >= Duration::from_millis(ms));
    }
}

#[test]
fn a_ring_is_made_when_the_first_of_its_slots_is_opened() {
    let mut uring = Uring::new(CAPACITY, &Bell::new().unwrap()).unwrap();
    let mut far_ends = Vec::new();
    for (slot, rings) in [(0, 1), (109, 1), (110, 2), (299, 3), (111, 3)] {
        let (near, far) = UnixStream::pair().unwrap();
        uring.open(slot, OwnedFd::from(near)).unwrap();
        far_ends.push(far);
        assert_eq!(uring.ring_count(), rings);
    }
}

#[test]
fn whoever_sleeps_is_woken_by_each_ring_and_whoever_is_awake_by_none() {
    let bell = Bell::new().unwrap();
    let (mut uring, mut far_ends) = opened_with(&bell);
    let ear = bell.duplicate().unwrap();
    let rings = |wait_ms: i64| {
        let timeout = Timespec { tv_sec: 0, tv_nsec: wait_ms * 1_000_000 };
        poll(&mut [PollFd::new(&ear, PollFlags::IN)], Some(&timeout)).unwrap() > 0
    };
    for slot in [0, 110, 299] {
        assert!(uring.doze());
        far_ends[slot].write_all(b"wake up").unwrap();
        assert!(rings(900), "slot {slot} wakes nobody");
        uring.rouse();
        bell.rouse();
        let received = Cell::new(false);
        let handle = |uring: &mut Uring, event| {
            received.set(true);
            drop_input(uring, event);
        };
        run(&mut uring, handle, |_| received.get());
        far_ends[slot].write_all(b"heard without a bell").unwrap();
        assert!(!rings(0));
        received.set(false);
        run(&mut uring, handle, |_| received.get());
        // The poll that follows goes to the kernel.
        uring.enter().unwrap();
    }
}
