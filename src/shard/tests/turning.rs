//! What a turn does, and when it ends.

use std::sync::Arc;

use crate::channel::name;
use crate::lane::frame::Frame;
use crate::lane::{Command, Filter, Publication};
use crate::shard::floor::delivery::FRAMES_MAX;
use crate::shard::io::Io;
use crate::ws::frame::encode_text;

use super::client::{Client, Said};
use super::{Shard, arrival, under_faults};

/// More members than are visited in one go.
const MANY: usize = 700;

fn many(seed: u64) -> (Shard, Vec<Client>) {
    let mut shard = Shard::with_capacity(seed, MANY + 10, |_| {});
    let mut clients: Vec<_> = (0..MANY).map(|n| shard.adopt(arrival(&format!("u{n}")))).collect();
    clients.iter().for_each(|client| client.subscribe("conv:1"));
    shard.settle();
    clients.iter_mut().for_each(|client| {
        client.heard();
        client.peer.take_sends();
    });
    (shard, clients)
}

#[test]
fn what_comes_together_leaves_with_one_send_for_each() {
    let (mut shard, mut clients) = many(1);
    let delivered_before = shard.delivered();
    let messages: Vec<String> = (0..50).map(|n| format!("message {n}")).collect();
    messages.iter().for_each(|message| shard.post("conv:1", message));
    shard.settle();
    for client in &mut clients {
        assert_eq!(client.texts(), messages);
        assert_eq!(client.peer.take_sends(), [1], "joined, and copied once for all");
    }
    assert_eq!(shard.counters().deliveries.get(), 50 * MANY as u64);
    assert_eq!(shard.delivered() - delivered_before, 50 * MANY as u64, "each one is timed");
}

#[test]
fn what_comes_while_a_fan_out_is_under_way_goes_next_and_in_order() {
    for seed in 0..4 {
        let (mut shard, mut clients) = many(seed);
        let messages: Vec<String> = (0..40).map(|n| format!("message {n}")).collect();
        for message in &messages {
            shard.post("conv:1", message);
            shard.floor.turn(shard.clock.now());
        }
        shard.settle();
        clients.iter_mut().for_each(|client| assert_eq!(client.texts(), messages));
    }
}

#[test]
fn several_things_for_one_connection_leave_with_one_send() {
    under_faults(|mut shard| {
        let [mut ann, mut bob] = shard.subscribers("conv:1");
        ann.subscribe("news");
        shard.settle();
        ann.heard();
        ann.peer.take_sends();
        bob.peer.take_sends();
        for (channel, text) in [("conv:1", "a"), ("news", "b"), ("user:u0", "c"), ("conv:1", "d"), (name::ALL, "e")] {
            shard.post(channel, text);
        }
        shard.settle();
        assert_eq!(
            (ann.texts(), bob.texts()),
            (
                vec!["a", "b", "c", "d", "e"].into_iter().map(String::from).collect(),
                vec!["a".to_owned(), "d".into(), "e".into()]
            )
        );
        assert_eq!((ann.peer.take_sends(), bob.peer.take_sends()), (vec![5], vec![3]));
    });
}

#[test]
fn a_large_fan_out_holds_nobody_up() {
    let (mut shard, mut clients) = many(2);
    clients.iter().for_each(|client| client.peer.stall(true));
    let mut guest = shard.client("guest");
    let turns_before = shard.counters().turns.get();
    shard.post("conv:1", "to many");
    guest.say(r#"{"type":"ping"}"#);
    shard.post("user:guest", "to one");
    let (mut turns, mut heard) = (0, 0);
    while heard < 2 {
        shard.floor.turn(shard.clock.now());
        turns += 1;
        heard += guest.heard().len();
        assert!(turns < 100, "neither the answer nor the message comes");
    }
    shard.settle();
    assert!(shard.counters().turns.get() > turns_before + 1);
    clients.iter_mut().for_each(|client| {
        client.peer.stall(false);
    });
    shard.settle();
    clients.iter_mut().for_each(|client| assert_eq!(client.texts(), ["to many"]));
}

#[test]
fn a_turn_ends_also_when_its_fan_outs_are_for_nobody() {
    let (mut shard, mut clients) = many(6);
    let mut guest = shard.client("guest");
    let nobody = Arc::new(Filter { user_type: Some("nobody".into()), ..Filter::default() });
    for _ in 0..160 {
        let publication = shard.publication("conv:1", encode_text("to nobody"));
        shard.command(Command::Publish(Publication { filter: Some(nobody.clone()), ..publication }));
    }
    guest.say(r#"{"type":"ping"}"#);
    shard.clock.slow_down(500);
    let mut turns = 0;
    while guest.heard().is_empty() {
        shard.floor.turn(shard.clock.now());
        assert!(!shard.floor.fan_outs.is_idle(), "the answer comes only behind all fan-outs");
        turns += 1;
        assert!(turns < 100, "the answer does not come");
    }
    shard.clock.slow_down(0);
    shard.settle();
    assert!(clients.iter_mut().all(|client| client.heard().is_empty()));
    assert!(shard.floor.fan_outs.is_idle());
}

#[test]
fn who_stays_gets_a_fan_out_once_whoever_comes_and_goes_meanwhile() {
    for seed in 0..8 {
        let (mut shard, mut clients) = many(seed);
        // The batch is under way, and its members change with every turn.
        shard.post("conv:1", "first");
        shard.post(name::ALL, "second");
        for at in 0..40 {
            shard.floor.turn(shard.clock.now());
            clients[at * 7].say(r#"{"type":"unsubscribe","channels":["conv:1"]}"#);
            clients[at * 11 + 1].peer.close();
        }
        shard.settle();
        for (n, client) in clients.iter_mut().enumerate() {
            let left = n % 7 == 0 && n / 7 < 40;
            let vanished = n % 11 == 1 && n / 11 < 40;
            let texts = client.heard();
            let count = |text: &str| texts.iter().filter(|said| **said == Said::text(text)).count();
            assert!(count("first") <= 1 && count("second") <= 1, "client {n} heard one twice");
            assert!(vanished || count("second") == 1, "client {n} missed one to all");
            assert!(left || vanished || count("first") == 1, "client {n} missed one of its channel");
        }
        assert!(shard.floor.fan_outs.is_idle());
    }
}

#[test]
fn a_turn_takes_only_what_it_can_gather() {
    let mut shard = Shard::with(3, |rules| rules.outbox_bytes_max = 1 << 20);
    let mut clients = shard.subscribers::<50>("conv:1");
    clients.iter_mut().for_each(|client| client.peer.stall(true));
    let messages: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
    messages.iter().for_each(|message| shard.post("conv:1", message));
    shard.floor.turn(shard.clock.now());
    assert!(!shard.floor.lane.is_empty(), "1,000 messages for 50 are more than a turn gathers");
    assert!(shard.floor.wire.cork.frames() <= FRAMES_MAX + clients.len());
    clients.iter().for_each(|client| client.peer.stall(false));
    shard.settle();
    clients.iter_mut().for_each(|client| assert_eq!(client.texts(), messages));
}

#[test]
fn a_large_message_is_not_copied_for_being_joined() {
    let (mut shard, clients) = many(5);
    clients.iter().for_each(|client| client.peer.stall(true));
    let large = encode_text(&"x".repeat(20_000));
    let address = large.as_ptr();
    shard.post_frame("conv:1", Frame { bytes: large, arrived_us: 0 });
    shard.post("conv:1", "small");
    shard.settle();
    let io = &shard.floor.wire.io;
    assert!(clients.iter().all(|client| io.sending(client.id.slot)[0].bytes.as_ptr() == address));
    assert_eq!(io.in_flight().sends, MANY);
}
