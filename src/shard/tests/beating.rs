//! Heartbeats, silence, and how much a client may say.

use crate::ws::close::CloseCode;
use crate::ws::frame::Opcode;

use super::client::Said;
use super::{under_faults, under_faults_with};
use crate::shard::outbox::FRAME_COST_BYTES;

#[test]
fn a_session_with_a_user_type_gets_heartbeats_and_the_others_pings() {
    under_faults(|mut shard| {
        let mut driver = shard.client_with("ann", |identity, _| identity.user_type = Some("driver".into()));
        let mut other = shard.client("bob");
        shard.pass(29_900);
        assert_eq!((driver.heard(), other.heard()), (vec![], vec![]));
        shard.pass(200);
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
    under_faults(|mut shard| {
        let clients: Vec<_> = (0..5).map(|n| shard.client(&n.to_string())).collect();
        clients.iter().for_each(|client| client.peer.stall(true));
        shard.pass(31_000);
        let io = &shard.floor.wire.io;
        let addresses: Vec<_> = clients.iter().map(|client| io.sending(client.id.slot)[0].bytes.as_ptr()).collect();
        assert!(addresses.iter().all(|address| *address == addresses[0]));
    });
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
fn deadlines_hold_after_the_shard_was_empty_for_long_and_after_a_long_pause() {
    under_faults(|mut shard| {
        shard.client("first").peer.close();
        shard.pass(200);
        shard.clock.advance(1_800_000);
        let (mut ann, mut stranger) = (shard.client("ann"), shard.stranger());
        shard.pass(9_900);
        assert_eq!((ann.heard(), stranger.heard()), (vec![], vec![]));
        // The loop does not get to run for more than a minute.
        shard.clock.advance(75_000);
        shard.settle();
        assert_eq!(stranger.heard(), [Said::close(CloseCode::AUTH_TIMEOUT)]);
        assert_eq!(ann.heard(), [Said::close(CloseCode::NO_SIGN_OF_LIFE)]);
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
