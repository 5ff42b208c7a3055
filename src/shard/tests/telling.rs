//! What a shard tells of its sessions: that each began, once, and how it ended, once, with what it joined and left in
//! between.

use std::time::Duration;

use crate::lane::Command;
use crate::lane::events::{Ended, EventKind, Heard, Hearer, What, open};
use crate::ws::close::CloseCode;
use crate::ws::frame::Opcode;

use super::client::Client;
use super::{Shard, arrival, counted, under_faults};

/// From here on the shard tells of these.
fn listen(shard: &mut Shard, kinds: &[EventKind]) -> Hearer {
    let (teller, hearer) = open(kinds);
    shard.floor.state.events = teller;
    hearer
}

/// What was told since the last time, as short texts.
fn told(hearer: &mut Hearer) -> Vec<String> {
    let mut all = Vec::new();
    hearer.hear(|heard| {
        let Heard::Event(event) = heard else { panic!("{heard:?}") };
        let user = &event.user_id;
        all.push(match event.what {
            What::Connected(who) => format!("{user} {}", who.user_type.as_deref().unwrap_or("comes")),
            What::Disconnected(Ended { code, reason, .. }) => format!("{user} {reason} {code}"),
            What::Subscribed { channel } => format!("{user} +{channel}"),
            What::Unsubscribed { channel } => format!("{user} -{channel}"),
        });
    });
    all
}

type End = fn(&mut Shard, &Client);

/// Every way to end.
const ENDS: [(End, &str); 10] = [
    (|_, client| client.say_close(1000), "by_peer 1000"),
    (|_, client| client.say_close(3001), "by_peer 3001"),
    (|_, client| client.say_frame(Opcode::Close, b""), "by_peer 1005"),
    (|_, client| client.peer.close(), "abnormal 1006"),
    (|_, client| client.peer.write(b"\x81\x02hi"), "protocol_error 1002"),
    (|_, client| client.say_frame(Opcode::Binary, b"x"), "unsupported_data 1003"),
    (|_, client| client.authenticate("nonsense"), "token_invalid 4501"),
    (|shard, _| shard.pass(61_000), "no_sign_of_life 4001"),
    (|shard, _| shard.command(Command::Drain { over: Duration::ZERO }), "going_away 1001"),
    (
        |shard, _| {
            let (user, answer) = ("ann".into(), counted().0);
            shard.command(Command::Disconnect { user, code: CloseCode::OPERATOR, answer });
        },
        "operator 4004",
    ),
];

#[test]
fn every_session_is_told_to_begin_and_to_end_once_however_it_ends() {
    for (end, how) in ENDS {
        under_faults(|mut shard| {
            let mut hearer = listen(&mut shard, &EventKind::ALL);
            let ann = shard.client("ann");
            ann.subscribe("conv:1");
            shard.settle();
            end(&mut shard, &ann);
            shard.settle();
            ann.peer.close();
            shard.pass(6_000);
            let ended = format!("ann {how}");
            assert_eq!(told(&mut hearer), ["ann comes", "ann +conv:1", &ended]);
        });
    }
}

#[test]
fn only_what_changes_something_is_told() {
    under_faults(|mut shard| {
        let mut hearer = listen(&mut shard, &EventKind::ALL);
        let ann = shard.client("ann");
        for _ in 0..2 {
            ann.subscribe("conv:1");
            ann.subscribe("secret");
            ann.subscribe("user:bob");
            ann.say(r#"{"type":"unsubscribe","channels":["conv:2"]}"#);
        }
        (0..2).for_each(|_| ann.say(r#"{"type":"unsubscribe","channels":["conv:1","user:ann"]}"#));
        shard.settle();
        assert_eq!(told(&mut hearer), ["ann comes", "ann +conv:1", "ann -conv:1"]);
    });
}

#[test]
fn who_never_was_a_session_is_not_told_of() {
    under_faults(|mut shard| {
        let mut hearer = listen(&mut shard, &EventKind::ALL);
        let stranger = shard.stranger();
        stranger.subscribe("conv:1");
        let echo = shard.echo();
        shard.settle();
        stranger.peer.close();
        echo.peer.close();
        shard.settle();
        assert_eq!(told(&mut hearer), [""; 0]);
    });
}

#[test]
fn a_session_begins_with_its_token_and_not_again_with_a_fresh_one() {
    under_faults(|mut shard| {
        let mut hearer = listen(&mut shard, &EventKind::ALL);
        let ann = shard.stranger();
        for _ in 0..2 {
            ann.authenticate(&super::token("ann", Some("driver"), 3600));
            shard.settle();
        }
        assert_eq!(told(&mut hearer), ["ann driver"]);
    });
}

#[test]
fn kinds_that_are_not_wanted_are_not_told() {
    under_faults(|mut shard| {
        let mut hearer = listen(&mut shard, &[EventKind::Disconnected]);
        let ann = shard.settled(arrival("ann"));
        ann.subscribe("conv:1");
        ann.say_close(1000);
        shard.settle();
        assert_eq!(told(&mut hearer), ["ann by_peer 1000"]);
    });
}
