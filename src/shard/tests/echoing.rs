//! The echo endpoint: everything comes back, nobody becomes a session, and a flood that is not read grows nothing.

use crate::lane::frame::Frame;
use crate::shard::floor::wire::TooSlow;
use crate::shard::io::VECTOR_MAX;
use crate::ws::close::CloseCode;
use crate::ws::frame::{Opcode, encode_masked, encode_masked_fragment, encode_pong};

use super::client::{Said, text};
use super::{ECHO_MESSAGE_BYTES_MAX, Shard, under_faults, under_faults_with};

const MASK: [u8; 4] = [5, 6, 7, 8];

fn binary(payload: &[u8]) -> Vec<u8> {
    encode_masked(Opcode::Binary, payload, MASK)
}

#[test]
fn every_message_comes_back_as_it_was() {
    let large = "ü".repeat(ECHO_MESSAGE_BYTES_MAX / 2);
    under_faults(|mut shard| {
        let mut ann = shard.echo();
        ann.say("");
        ann.say(r#"{"type":"ping"}"#);
        ann.peer.write(&binary(b"\xff\x00"));
        ann.peer.write(&encode_masked_fragment(Opcode::Binary, false, b"\xc0", MASK));
        ann.peer.write(&encode_masked_fragment(Opcode::Continuation, true, b"\x80", MASK));
        ann.say(&large);
        shard.settle();
        let expected = [
            Said::text(""),
            Said::text(r#"{"type":"ping"}"#),
            Said::Binary(b"\xff\x00".into()),
            Said::Binary(b"\xc0\x80".into()),
            Said::text(&large),
        ];
        assert!(ann.heard() == expected, "something else came back");
    });
}

#[test]
fn every_ping_is_answered_in_order() {
    under_faults(|mut shard| {
        let mut ann = shard.echo();
        let pings: Vec<u8> = (0..10u8).flat_map(|n| encode_masked(Opcode::Ping, &[n], MASK)).collect();
        ann.peer.write(&pings);
        shard.settle();
        assert_eq!(ann.heard(), Vec::from_iter((0..10u8).map(|n| Said::Pong(vec![n]))));
    });
}

#[test]
fn an_echo_is_no_session() {
    under_faults(|mut shard| {
        let mut ann = shard.echo();
        ann.authenticate("nonsense");
        ann.subscribe("conv:1");
        shard.settle();
        assert_eq!(ann.texts().len(), 2, "messages come back, and nothing else");
        assert_eq!((shard.publish("conv:1", "x"), shard.publish("all", "x")), (0, 0));
        let counters = shard.counters();
        assert_eq!((counters.sessions.get(), counters.subscriptions.get(), counters.connections.get()), (0, 0, 1));
        // Neither a deadline for a token nor heartbeats.
        shard.pass(45_000);
        assert!(ann.heard().is_empty());
        shard.pass(20_000);
        assert_eq!(ann.heard(), [Said::close(CloseCode::NO_SIGN_OF_LIFE)]);
        shard.pass(6_000);
        shard.assert_empty();
    });
}

#[test]
fn rates_do_not_hold_for_an_echo() {
    under_faults_with(
        |rules| rules.messages_max = 5,
        |mut shard| {
            let mut ann = shard.echo();
            (0..200).for_each(|_| ann.say("again"));
            shard.settle();
            assert_eq!(ann.texts().len(), 200);
        },
    );
}

#[test]
fn a_message_beyond_the_limit_of_the_echo_is_closed() {
    under_faults(|mut shard| {
        let mut ann = shard.echo();
        ann.say(&"x".repeat(ECHO_MESSAGE_BYTES_MAX));
        ann.say(&"x".repeat(ECHO_MESSAGE_BYTES_MAX + 1));
        shard.settle();
        let heard = ann.heard();
        assert_eq!((heard.len(), heard.last()), (2, Some(&Said::close(CloseCode::MESSAGE_TOO_BIG))));
        shard.pass(600);
        shard.assert_empty();
    });
}

#[test]
fn binary_stays_a_violation_for_a_session() {
    under_faults(|mut shard| {
        let mut ann = shard.client("ann");
        ann.peer.write(&binary(b"x"));
        shard.settle();
        assert_eq!(ann.heard(), [Said::close(CloseCode::UNSUPPORTED_DATA)]);
    });
}

/// Sends for as long as it is read, at most `bytes_max`; says how much was.
fn flood(shard: &mut Shard, client: &super::Client, messages: &[u8], bytes_max: usize) -> usize {
    let mut taken = 0;
    while client.peer.unread() == 0 && taken < bytes_max {
        client.peer.write(messages);
        taken += messages.len();
        shard.settle();
    }
    taken
}

#[test]
fn an_echo_that_does_not_read_is_not_read_until_it_does() {
    let kinds = [
        ("messages of 1,000 bytes", text(&"x".repeat(1000))),
        ("empty messages", text("").repeat(100)),
        ("empty pings", encode_masked(Opcode::Ping, b"", MASK).repeat(100)),
        ("large messages", binary(&vec![0; ECHO_MESSAGE_BYTES_MAX])),
    ];
    for (kind, messages) in kinds {
        under_faults(|mut shard| {
            let mut ann = shard.echo();
            ann.peer.stall(true);
            let taken = flood(&mut shard, &ann, &messages, 100 * ECHO_MESSAGE_BYTES_MAX);
            assert!(taken < 10 * ECHO_MESSAGE_BYTES_MAX, "{kind}: {taken} bytes were read");
            assert!(shard.floor.wire.outbox_bytes <= 3 * ECHO_MESSAGE_BYTES_MAX, "{kind}");
            assert!(shard.floor.wire.connections[ann.id.slot as usize].is_alive(), "{kind}");
            ann.peer.stall(false);
            shard.settle();
            assert_eq!((ann.peer.unread(), shard.floor.wire.outbox_bytes), (0, 0), "{kind}: read on to the end");
            ann.say_close(1000);
            shard.settle();
            assert_eq!(ann.heard().last(), Some(&Said::Close(Some(1000))));
            assert!(ann.peer.is_shut(), "only our side ends: whatever follows is no reason for a reset");
            ann.peer.close();
            shard.settle();
            shard.assert_empty();
        });
    }
}

#[test]
fn what_is_behind_a_full_send_counts_at_once() {
    under_faults(|mut shard| {
        let ann = shard.echo();
        let wire = &mut shard.floor.wire;
        (0..=VECTOR_MAX).for_each(|_| wire.send(ann.id.slot, Frame::local(encode_pong(b""), 0)));
        assert_eq!(wire.flush(ann.id.slot), TooSlow(false));
        // Under the cork it would be read on for as long as turns have no time to take it from there.
        assert!(wire.cork.is_empty() && wire.outbox_bytes > 0);
        shard.settle();
    });
}

#[test]
fn an_echo_that_never_reads_is_ended_by_its_silence() {
    under_faults(|mut shard| {
        let ann = shard.echo();
        ann.peer.stall(true);
        flood(&mut shard, &ann, &text(&"x".repeat(1000)), 100 * ECHO_MESSAGE_BYTES_MAX);
        shard.pass(60_000 + 5_200);
        assert!(ann.peer.is_closed());
        shard.assert_empty();
    });
}

#[test]
fn an_echo_that_is_far_ahead_can_still_answer_our_goodbye() {
    under_faults(|mut shard| {
        let mut ann = shard.echo();
        ann.peer.stall(true);
        flood(&mut shard, &ann, &text(&"x".repeat(1000)), 100 * ECHO_MESSAGE_BYTES_MAX);
        shard.command(crate::lane::Command::Drain { over: std::time::Duration::from_millis(100) });
        shard.pass(300);
        ann.peer.stall(false);
        shard.settle();
        assert_eq!(ann.heard().last(), Some(&Said::close(CloseCode::GOING_AWAY)));
        ann.say_close(1001);
        shard.settle();
        assert!(ann.peer.is_closed());
        shard.assert_empty();
    });
}
