//! Heartbeats, silence, and how much a client may say.

use crate::ws::close::CloseCode;
use crate::ws::frame::{Opcode, encode_masked, encode_masked_fragment};

use super::client::Said;
use super::{Shard, token, under_faults, under_faults_with};
use crate::shard::connection::outbox::FRAME_COST_BYTES;

#[test]
fn a_session_with_a_user_type_gets_heartbeats_and_the_others_pings() {
    under_faults(|mut shard| {
        let mut driver = shard.client_with("ann", |identity, _| identity.user_type = Some("driver".into()));
        let mut other = shard.client("bob");
        shard.pass(14_900);
        assert_eq!((driver.heard(), other.heard()), (vec![], vec![]));
        shard.pass(15_200);
        let beat = driver.heard();
        let Said::Text(text) = &beat[0] else { panic!("{beat:?}") };
        assert!(text.starts_with(r#"{"type":"heartbeat","payload":{"timestamp":18000000"#), "{text}");
        assert!(matches!(&other.heard()[..], [Said::Ping(_)]));
        driver.say(r#"{"type":"heartbeat_ack"}"#);
        other.say_frame(Opcode::Pong, b"");
        shard.pass(30_000);
        assert_eq!((driver.heard().len(), other.heard().len()), (1, 1));
        assert_eq!(shard.counters().heartbeats_sent.get(), 4);
    });
}

#[test]
fn the_heartbeats_of_one_tick_are_one_frame() {
    // So short an interval that nothing of it is left to chance.
    under_faults_with(
        |rules| rules.heartbeat_ticks = 1,
        |mut shard| {
            let clients: Vec<_> = (0..5).map(|n| shard.client(&n.to_string())).collect();
            clients.iter().for_each(|client| client.peer.stall(true));
            shard.pass(1_000);
            let io = &shard.floor.wire.io;
            let addresses: Vec<_> = clients.iter().map(|client| io.sending(client.id.slot)[0].bytes.as_ptr()).collect();
            assert!(addresses.iter().all(|address| *address == addresses[0]));
        },
    );
}

#[test]
fn a_silent_client_is_closed() {
    under_faults(|mut shard| {
        let (mut silent, mut talking) = (shard.client("ann"), shard.client("bob"));
        shard.pass(40_000);
        talking.say_frame(Opcode::Pong, b"");
        shard.pass(19_900);
        assert!(!silent.heard().contains(&Said::close(CloseCode::NO_SIGN_OF_LIFE)));
        shard.pass(200);
        assert!(silent.heard().contains(&Said::close(CloseCode::NO_SIGN_OF_LIFE)));
        shard.pass(20_000);
        assert!(silent.peer.is_closed() && !talking.peer.is_closed());
        assert!(talking.heard().iter().all(|said| matches!(said, Said::Ping(_))));
        assert_eq!(shard.closed("no_sign_of_life"), 1);
    });
}

#[test]
fn deadlines_hold_after_the_shard_was_empty_for_long() {
    under_faults(|mut shard| {
        shard.client("first").peer.close();
        shard.pass(200);
        shard.clock.advance(1_800_000);
        let (mut ann, mut stranger) = (shard.client("ann"), shard.stranger());
        shard.pass(9_900);
        assert_eq!((ann.heard(), stranger.heard()), (vec![], vec![]));
        shard.pass(200);
        assert_eq!(stranger.heard(), [Said::close(CloseCode::AUTH_TIMEOUT)]);
        shard.pass(50_000);
        assert_eq!(ann.heard().last(), Some(&Said::close(CloseCode::NO_SIGN_OF_LIFE)));
    });
}

#[test]
fn a_shard_that_stood_still_asks_before_it_judges() {
    under_faults(|mut shard| {
        let (mut lively, mut silent, stranger) = (shard.client("ann"), shard.client("bob"), shard.stranger());
        shard.pass(5_000);
        // The loop does not get to run for more than a minute.
        shard.clock.advance(75_000);
        stranger.authenticate(&token("eve", None, 3600));
        shard.settle();
        assert!(matches!(&lively.heard()[..], [Said::Ping(_)]), "asked and not judged");
        assert!(!stranger.peer.is_closed(), "what it said meanwhile counts");
        lively.say_frame(Opcode::Pong, b"");
        shard.pass(29_800);
        assert!(!silent.heard().iter().any(|said| matches!(said, Said::Close(_))));
        shard.pass(500);
        assert_eq!(silent.heard(), [Said::close(CloseCode::NO_SIGN_OF_LIFE)]);
        assert!(!lively.heard().iter().any(|said| matches!(said, Said::Close(_))));
    });
}

#[test]
fn those_who_came_together_do_not_beat_together() {
    let mut shard = Shard::with(1, |_| {});
    let clients: Vec<_> = (0..60).map(|n| shard.client(&n.to_string())).collect();
    let mut beats = Vec::new();
    let mut before = 0;
    for _ in 0..31 {
        clients.iter().for_each(|client| client.say_frame(Opcode::Pong, b""));
        shard.pass(1_000);
        let sent = shard.counters().heartbeats_sent.get();
        beats.push(sent - before);
        before = sent;
    }
    assert_eq!(beats.iter().sum::<u64>(), 60, "each had its first beat");
    assert!(beats[..14].iter().all(|n| *n == 0) && beats.iter().all(|n| *n < 15), "{beats:?}");
}

#[test]
fn frames_that_are_no_messages_have_a_budget_too() {
    let fragment = |opcode| encode_masked_fragment(opcode, false, b"", [1, 2, 3, 4]);
    let begin = fragment(Opcode::Text);
    let floods: [(&[u8], Vec<u8>); 3] = [
        (b"", encode_masked(Opcode::Ping, b"", [1, 2, 3, 4])),
        (b"", encode_masked(Opcode::Pong, b"", [1, 2, 3, 4])),
        (&begin, fragment(Opcode::Continuation)),
    ];
    for (first, frame) in floods {
        under_faults_with(
            |rules| (rules.frames_max, rules.message_window_ticks) = (50, 50),
            |mut shard| {
                let (mut loud, mut steady) = (shard.client("ann"), shard.client("bob"));
                loud.peer.write(first);
                (0..200).for_each(|_| loud.peer.write(&frame));
                for _ in 0..3 {
                    (0..40).for_each(|_| steady.say_frame(Opcode::Ping, b""));
                    shard.pass(5_000);
                }
                assert_eq!(loud.heard().last(), Some(&Said::close(CloseCode::TOO_MANY_MESSAGES)));
                assert!(loud.peer.is_closed());
                assert!(steady.heard().iter().all(|said| matches!(said, Said::Pong(_))), "each window is counted anew");
                let counters = shard.counters();
                assert!(counters.control_frames_received.get() + counters.fragments_received.get() >= 170);
            },
        );
    }
}

#[test]
fn a_message_that_is_not_finished_in_time_ends_the_connection() {
    under_faults(|mut shard| {
        let (mut slow, mut other) = (shard.client("ann"), shard.client("bob"));
        slow.peer.write(&encode_masked_fragment(Opcode::Text, false, b"{", [1, 2, 3, 4]));
        for _ in 0..29 {
            shard.pass(1_000);
            slow.peer.write(&encode_masked_fragment(Opcode::Continuation, false, b" ", [1, 2, 3, 4]));
            other.say(r#"{"type":"ping"}"#);
        }
        assert!(!slow.heard().iter().any(|said| matches!(said, Said::Close(_))));
        shard.pass(1_500);
        assert_eq!(slow.heard().last(), Some(&Said::close(CloseCode::PROTOCOL_ERROR)));
        assert!(!other.heard().iter().any(|said| matches!(said, Said::Close(_))));
    });
}

#[test]
fn a_ping_is_answered_with_what_it_carried() {
    under_faults(|mut shard| {
        let mut ann = shard.client("ann");
        for payload in [&b"are you there"[..], b""] {
            ann.say_frame(Opcode::Ping, payload);
            shard.settle();
            assert_eq!(ann.heard(), [Said::Pong(payload.into())]);
        }
    });
}

#[test]
fn of_many_pings_only_the_newest_answer_waits() {
    under_faults(|mut shard| {
        let mut ann = shard.client("ann");
        ann.peer.stall(true);
        (0..500u16).for_each(|n| ann.say_frame(Opcode::Ping, &n.to_be_bytes()));
        shard.settle();
        let slot = &shard.floor.wire.connections[ann.id.slot as usize];
        assert!(slot.outbox.as_ref().is_none_or(|outbox| outbox.bytes() <= 4 + FRAME_COST_BYTES));
        ann.peer.stall(false);
        shard.settle();
        let heard = ann.heard();
        assert!(heard.len() <= 2, "one in flight and one that waited: {heard:?}");
        assert_eq!(heard.last(), Some(&Said::Pong(499u16.to_be_bytes().into())));
    });
}

#[test]
fn a_client_that_says_too_much_is_closed() {
    under_faults_with(
        |rules| (rules.messages_max, rules.message_window_ticks) = (5, 50),
        |mut shard| {
            let (mut loud, mut steady) = (shard.client("ann"), shard.client("bob"));
            (0..7).for_each(|_| loud.say(r#"{"type":"ping"}"#));
            for _ in 0..3 {
                (0..5).for_each(|_| steady.say(r#"{"type":"ping"}"#));
                shard.pass(5_000);
            }
            let heard = loud.heard();
            assert_eq!(heard.len(), 6);
            assert_eq!(heard[5], Said::close(CloseCode::TOO_MANY_MESSAGES));
            assert!(loud.peer.is_closed());
            assert_eq!(steady.texts().len(), 15, "each window is counted by itself");
        },
    );
}

#[test]
fn a_shard_whose_last_client_vanished_as_its_deadline_came_sleeps() {
    under_faults(|mut shard| {
        let ann = shard.client("ann");
        shard.pass(14_000);
        for _ in 0..170 {
            shard.clock.advance(100);
            shard.floor.turn(shard.clock.now());
        }
        ann.peer.close();
        shard.clock.advance(60_000);
        shard.settle();
        shard.assert_empty();
    });
}
