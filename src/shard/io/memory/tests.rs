//! The backend in memory behaves as its contract says, and notices who does not.

use super::*;
use crate::lane::frame::Frame;

fn opened() -> (Memory, Peer) {
    let mut memory = Memory::new(1, Clock::default());
    let (peer, socket) = Peer::connect();
    memory.open(0, socket).unwrap();
    (memory, peer)
}

fn wait(memory: &mut Memory) -> Event {
    for _ in 0..1000 {
        memory.enter().unwrap();
        if let Some(event) = memory.next() {
            return event;
        }
    }
    panic!("nothing happens");
}

fn frame(bytes: &'static [u8]) -> LocalFrame {
    Frame::local(bytes.into(), 0)
}

#[test]
fn a_second_send_waits_for_the_first() {
    let (mut memory, peer) = opened();
    peer.stall(true);
    assert!(!memory.await_sent(0), "nothing is in flight");
    memory.send_all(0, [frame(b"abc")]);
    assert!(memory.await_sent(0));
    assert!(memory.is_quiet());
    peer.stall(false);
    assert!(matches!(wait(&mut memory), Event::Sent { slot: 0 }));
    assert_eq!(memory.in_flight(), InFlight::default());
    assert_eq!((peer.take(), peer.take_sends()), (b"abc".to_vec(), vec![1]));
}

#[test]
fn a_closed_slot_tells_nothing_but_that_it_is_closed() {
    let (mut memory, peer) = opened();
    peer.write(b"never read");
    peer.close();
    memory.send_all(0, [frame(b"never sent")]);
    for _ in 0..10 {
        memory.enter().unwrap();
    }
    memory.close(0);
    assert!(matches!(wait(&mut memory), Event::Closed { slot: 0 }));
    assert!(peer.is_closed() && memory.is_quiet() && memory.next().is_none());
    assert_eq!(memory.in_flight(), InFlight::default());
    memory.open(0, Peer::connect().1).unwrap();
}

#[test]
#[should_panic(expected = "is not free")]
fn a_slot_is_opened_once() {
    let (mut memory, _) = opened();
    let _ = memory.open(0, Peer::connect().1);
}

#[test]
#[should_panic(expected = "is closing")]
fn a_closing_slot_takes_no_send() {
    let (mut memory, _) = opened();
    memory.close(0);
    memory.send_all(0, [frame(b"late")]);
}

#[test]
#[should_panic(expected = "a send in flight already")]
fn a_vectored_send_does_not_overtake() {
    let (mut memory, _) = opened();
    memory.send_all(0, [frame(b"abc")]);
    memory.send_all(0, vec![frame(b"def")]);
}

#[test]
fn a_stream_that_has_ended_on_our_side_is_still_read() {
    let (mut memory, peer) = opened();
    memory.shut(0);
    assert!(peer.is_shut());
    peer.write(b"still there");
    let Event::Received { chunk, .. } = wait(&mut memory) else { panic!("something else") };
    memory.release(chunk, true);
}

#[test]
#[should_panic(expected = "nothing more comes")]
fn nothing_is_sent_behind_the_end() {
    let (mut memory, _) = opened();
    memory.shut(0);
    memory.send_all(0, [frame(b"late")]);
}

#[test]
#[should_panic(expected = "a chunk is released")]
fn a_chunk_that_is_kept_is_noticed() {
    let (mut memory, peer) = opened();
    peer.write(b"abc");
    assert!(matches!(wait(&mut memory), Event::Received { .. }));
    let _ = memory.enter();
}

#[test]
#[should_panic(expected = "has ended is closed")]
fn a_slot_that_has_ended_must_be_closed() {
    let (mut memory, peer) = opened();
    peer.close();
    assert!(matches!(wait(&mut memory), Event::Ended { slot: 0 }));
    memory.next();
}

#[test]
fn an_alarm_comes_once_and_not_before_its_time() {
    let clock = Clock::default();
    let mut memory = Memory::new(1, clock.clone());
    memory.alarm(5_000);
    clock.advance(4);
    memory.enter().unwrap();
    assert!(memory.next().is_none() && memory.is_quiet());
    clock.advance(1);
    assert!(!memory.is_quiet());
    assert!(matches!(wait(&mut memory), Event::Alarm));
    assert!(memory.is_quiet() && memory.next().is_none());
}
