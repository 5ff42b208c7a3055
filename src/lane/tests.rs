//! Promises of the lanes: bounded, nobody overtakes, and a shard that stands still keeps the others waiting once.

use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use crate::channel::policy::Policy;
use crate::channel::{Interest, Overflow, Policies, name};
use crate::ws::frame::encode_text;

use super::queue::{BYTES_MAX, MESSAGES_MAX, ORDERS_MAX};
use super::report::TypeCount;
use super::*;

/// Longer than any test: who waits for so long has not been woken.
const FOREVER: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(20);

fn bus(shards: usize, patience: Duration) -> (Bus, Vec<LaneEnd>) {
    Bus::open(shards, Arc::default(), Policies::default(), patience).expect("lanes")
}

fn message(bus: &Bus) -> Posting {
    bus.publication(name::ALL, "hello", None, None)
}

fn to_all(text: &str) -> Draft<'static> {
    Draft::new(name::ALL, encode_text(text))
}

fn outcome(taken: usize, lost: usize) -> Outcome {
    Outcome { taken, lost }
}

/// Posts messages for all until the lanes are full.
fn fill(bus: &Bus) {
    (0..MESSAGES_MAX).for_each(|_| assert!(message(bus).try_put()));
}

fn count(end: &LaneEnd) -> usize {
    std::iter::from_fn(|| end.take()).count()
}

fn payloads(end: &LaneEnd) -> impl Iterator<Item = Vec<u8>> {
    std::iter::from_fn(|| end.wait_and_take()).map(|posted| match posted.command {
        Command::Publish(publication) => publication.frame.bytes[2..].to_vec(),
        _ => panic!("a publication"),
    })
}

fn question() -> Command {
    Command::Ask(Query::Types { answer: Arc::new(|_: Vec<TypeCount>| {}) })
}

#[test]
fn what_finds_no_room_waits_and_keeps_nobody_else_waiting() {
    let (bus, ends) = bus(2, FOREVER);
    fill(&bus);
    assert_eq!(count(&ends[1]), MESSAGES_MAX);
    let mut late = message(&bus);
    assert!(!late.try_put());
    assert_eq!(count(&ends[1]), 1);
    drop(ends[0].take());
    assert_eq!((late.put(), count(&ends[0])), (outcome(2, 0), MESSAGES_MAX));
}

#[test]
fn who_waits_is_woken_when_the_shard_takes_something() {
    let (bus, ends) = bus(1, FOREVER);
    fill(&bus);
    let (began, waits) = mpsc::channel();
    let source = thread::spawn({
        let bus = bus.clone();
        move || {
            began.send(()).expect("the test waits");
            message(&bus).put()
        }
    });
    waits.recv().expect("it begins");
    // Whether it sleeps already or is about to: one of these wakes it.
    while !source.is_finished() {
        assert!(ends[0].take().is_some(), "it was not woken by {MESSAGES_MAX}");
        thread::yield_now();
    }
    assert_eq!(source.join().expect("it ends"), outcome(1, 0));
    assert!(!bus.lanes()[0].is_stuck());
}

#[test]
fn a_lane_that_stays_full_does_not_stop_the_others_and_what_is_lost_is_counted() {
    let (bus, mut ends) = bus(2, SHORT);
    fill(&bus);
    let (stuck, healthy) = (ends.remove(0), ends.remove(0));
    assert_eq!(count(&healthy), MESSAGES_MAX);
    assert_eq!(message(&bus).put(), outcome(1, 1));
    // Nobody waits again: what is put now never finds that it has to wait.
    for _ in 0..MESSAGES_MAX - 1 {
        let mut next = message(&bus);
        assert!(next.try_put());
        assert_eq!(next.put(), outcome(1, 1));
    }
    assert_eq!(count(&healthy), MESSAGES_MAX);
    let lane = &bus.lanes()[0];
    assert_eq!((lane.is_stuck(), lane.lost(), lane.take_recovery()), (true, MESSAGES_MAX as u64, None));

    assert!(stuck.take().is_some());
    assert!(!lane.is_stuck());
    assert_eq!(lane.take_recovery(), Some(MESSAGES_MAX as u64));
    assert_eq!(lane.take_recovery(), None, "said once");
    assert_eq!((message(&bus).put(), lane.lost()), (outcome(2, 0), MESSAGES_MAX as u64));
}

#[test]
fn a_lane_from_which_everything_has_been_taken_meanwhile_is_not_stuck() {
    let (bus, ends) = bus(1, SHORT);
    let lane = &bus.lanes()[0];
    // Its shard takes everything between the last attempt of a source and what that says of it.
    assert!(lane.declare_stuck());
    assert!(!lane.is_stuck());
    assert_eq!((lane.take_recovery(), lane.take_recovery()), (Some(0), None));
    assert_eq!((message(&bus).put(), count(&ends[0]), lane.is_stuck()), (outcome(1, 0), 1, false));
}

#[test]
fn several_full_lanes_cost_one_wait_together() {
    let (bus, ends) = bus(16, Duration::from_millis(300));
    fill(&bus);
    let began = Instant::now();
    assert_eq!(message(&bus).put(), outcome(0, 16));
    assert!(began.elapsed() < Duration::from_millis(16 * 300), "each lane had a wait of its own");
    assert!(bus.lanes().iter().all(Lane::is_stuck));
    drop(ends);
}

#[test]
fn a_lane_is_bounded_by_bytes_as_well() {
    let (bus, ends) = bus(1, SHORT);
    let megabyte = "x".repeat(1 << 20);
    let large = || bus.publication(name::ALL, &megabyte, None, None);
    let put = (0..MESSAGES_MAX).take_while(|_| large().try_put()).count();
    assert_eq!(put, (BYTES_MAX >> 20) - 1, "headers count too");
    assert!(bus.lanes()[0].bytes() <= BYTES_MAX);
    assert_eq!(large().put(), outcome(0, 1));
    assert!(ends[0].take().is_some());
    assert_eq!(large().put(), outcome(1, 0));
    assert_eq!((count(&ends[0]), bus.lanes()[0].bytes()), (put, 0));
    // One that is larger than all the room there is gets through alone.
    let giant = "x".repeat(BYTES_MAX + 1);
    assert!(bus.publication(name::ALL, &giant, None, None).try_put());
    assert!(!message(&bus).try_put());
}

#[test]
fn orders_are_never_behind_messages_and_the_drain_never_behind_questions() {
    let (bus, ends) = bus(1, SHORT);
    fill(&bus);
    assert!(bus.to_all(question).try_put());
    assert!(matches!(ends[0].take().map(|posted| posted.command), Some(Command::Ask(_))));
    while bus.to_all(question).try_put() {}
    assert!(count_orders(&bus) < ORDERS_MAX);
    assert!(bus.to_all(|| Command::Drain { over: SHORT }).try_put());
    assert_eq!(bus.to_all(question).put(), outcome(0, 1));
    assert_eq!(bus.lanes()[0].lost(), 0, "a question is no message");
}

#[test]
fn a_shard_that_only_answers_questions_stays_stuck() {
    let (bus, ends) = bus(1, SHORT);
    fill(&bus);
    assert_eq!(message(&bus).put(), outcome(0, 1));
    assert!(ends[0].take_order().is_none());
    assert!(bus.to_all(question).try_put());
    assert!(ends[0].take_order().is_some());
    assert!(bus.lanes()[0].is_stuck());
    assert!(ends[0].take().is_some());
    assert!(!bus.lanes()[0].is_stuck());
}

#[test]
fn who_must_not_wait_loses_what_finds_a_full_lane_and_the_others_get_it() {
    let (bus, ends) = bus(2, FOREVER);
    fill(&bus);
    assert_eq!(count(&ends[1]), MESSAGES_MAX);
    ends[1].bell.doze();
    let began = Instant::now();
    assert_eq!(bus.try_publish(to_all("hello")), outcome(1, 1));
    assert!(began.elapsed() < FOREVER);
    let lane = &bus.lanes()[0];
    assert_eq!((lane.lost(), lane.is_stuck(), lane.waiting()), (1, false, MESSAGES_MAX), "nobody has waited in vain");
    assert_eq!((bus.lanes()[1].lost(), count(&ends[1])), (0, 1));
    assert!(ends[1].bell.was_rung(), "it slept");
    assert!(!ends[0].bell.was_rung());
    drop(ends[0].take());
    assert_eq!((bus.try_publish(to_all("again")), lane.lost()), (outcome(2, 0), 1));
}

#[test]
fn a_shard_that_publishes_to_itself_does_not_ring_for_itself() {
    let (bus, ends) = bus(1, FOREVER);
    assert_eq!(bus.try_publish(to_all("to myself")), outcome(1, 0));
    assert!(!ends[0].bell.was_rung(), "it is awake");
    assert!(!ends[0].is_empty(), "and looks before it sleeps");
}

#[test]
fn what_a_shard_says_visits_the_shards_that_listen_and_keeps_what_it_carries() {
    let interest = Arc::<Interest>::default();
    let policies = [("ruled", Overflow::DropOldest), ("delayed", Overflow::Disconnect)];
    let policies =
        policies.map(|(name, overflow)| (name.parse().expect("a pattern"), Policy { batch_delay_us: 9, overflow }));
    let (bus, ends) = Bus::open(3, interest.clone(), Policies::new(policies), SHORT).expect("lanes");
    for channel in ["free", "ruled", "delayed"] {
        interest.add(bus.hash(channel), 2);
    }
    let draft = |channel| Draft {
        overflow: Overflow::Latest,
        key: Some(7),
        except: Except::User(8),
        ..Draft::new(channel, encode_text("hello"))
    };
    let told = |channel| {
        assert_eq!(bus.try_publish(draft(channel)), outcome(1, 0));
        match ends[2].take().map(|posted| posted.command) {
            Some(Command::Publish(told)) => (told.batch_delay_us, told.overflow, told.key, told.except),
            _ => panic!("a publication"),
        }
    };
    assert_eq!(told("free"), (0, Overflow::Latest, 7, Except::User(8)));
    assert_eq!(told("ruled"), (9, Overflow::DropOldest, 7, Except::User(8)), "what is configured holds");
    assert_eq!(told("delayed"), (9, Overflow::Latest, 7, Except::User(8)), "which the default is not");
    assert_eq!(bus.try_publish(draft("nobody's")), outcome(0, 0));
    assert!(ends[0].is_empty() && ends[1].is_empty());
}

#[test]
fn an_addressed_message_is_for_one_shard_and_bounded_like_all_messages() {
    let (bus, ends) = bus(2, SHORT);
    let to = ConnectionId { shard: 1, slot: 5, generation: 9 };
    assert_eq!(bus.addressed(to, "hello", None).put(), outcome(1, 0));
    assert_eq!((bus.lanes()[0].waiting(), bus.lanes()[1].bytes()), (0, "..hello".len()));
    match ends[1].take().map(|posted| posted.command) {
        Some(Command::Send(addressed)) => assert_eq!((addressed.to, &addressed.frame.bytes[2..]), (to, &b"hello"[..])),
        _ => panic!("an addressed message"),
    }
    assert_eq!(bus.lanes()[1].bytes(), 0);
    assert_eq!(bus.addressed(ConnectionId { shard: 2, ..to }, "hello", None).put(), outcome(0, 0));
    fill(&bus);
    assert_eq!((bus.addressed(to, "hello", None).put(), bus.lanes()[1].lost()), (outcome(0, 1), 1));
    drop(ends);
}

fn count_orders(bus: &Bus) -> usize {
    bus.lanes()[0].waiting() - MESSAGES_MAX
}

#[test]
fn messages_of_one_source_stay_in_order_however_often_it_waits() {
    const MESSAGES: usize = 5 * MESSAGES_MAX;
    let (bus, ends) = bus(2, FOREVER);
    let sources: Vec<_> = (0..2)
        .map(|source| {
            let bus = bus.clone();
            thread::spawn(move || {
                let sent = |n: usize| bus.publish(name::ALL, &format!("{source} {n}"));
                (0..MESSAGES).for_each(|n| assert_eq!(sent(n), outcome(2, 0)));
            })
        })
        .collect();
    drop(bus);
    let shards = ends.into_iter().map(|end| thread::spawn(move || payloads(&end).collect::<Vec<_>>()));
    for shard in shards.collect::<Vec<_>>() {
        let mut next = [0; 2];
        for payload in shard.join().expect("a shard") {
            let text = String::from_utf8(payload).expect("text");
            let (source, n) = text.split_once(' ').expect("two numbers");
            let next = &mut next[source.parse::<usize>().expect("a source")];
            assert_eq!(n.parse(), Ok(*next));
            *next += 1;
        }
        assert_eq!(next, [MESSAGES; 2]);
    }
    sources.into_iter().for_each(|source| source.join().expect("a source"));
}

#[test]
fn a_shard_that_has_ended_takes_nothing_and_loses_nothing() {
    let (bus, mut ends) = bus(3, FOREVER);
    ends.remove(1);
    let mut posting = message(&bus);
    assert!(posting.try_put());
    assert_eq!((posting.put(), message(&bus).put()), (outcome(2, 0), outcome(2, 0)));
}

#[test]
fn an_answer_of_a_service_reaches_its_shard_in_its_order_with_and_without_a_message() {
    let (bus, ends) = bus(2, SHORT);
    let to = ConnectionId { shard: 1, slot: 3, generation: 5 };
    let parts = [Part::more("a"), Part::more("b"), Part::Failed(Failure::Away), Part::message("c"), Part::Taken];
    for (ticket, part) in parts.into_iter().enumerate() {
        let response = Response { to, ticket: Ticket(ticket as u64), part, fate: None };
        assert_eq!(bus.respond(response).put(), outcome(1, 0));
    }
    assert!(bus.lanes()[1].bytes() > 0 && ends[0].is_empty());
    let tickets = std::iter::from_fn(|| ends[1].take()).map(|posted| match posted.command {
        Command::Respond(Response { ticket, .. }) => ticket.0,
        _ => panic!("an answer"),
    });
    assert_eq!(tickets.collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    assert_eq!(bus.lanes()[1].bytes(), 0);
    let nowhere = Response { to: ConnectionId { shard: 2, ..to }, ticket: Ticket(1), part: Part::Taken, fate: None };
    assert_eq!(bus.respond(nowhere).put(), outcome(0, 0));
}

#[test]
fn an_answer_that_finds_no_room_is_counted_as_lost() {
    let (bus, _ends) = bus(1, SHORT);
    fill(&bus);
    let to = ConnectionId { shard: 0, slot: 0, generation: 1 };
    let response = Response { to, ticket: Ticket(1), part: Part::Taken, fate: None };
    assert_eq!((bus.respond(response).put(), bus.lanes()[0].lost()), (outcome(0, 1), 1));
}
