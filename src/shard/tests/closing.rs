//! Goodbyes: from either side, and for what a peer did wrong.

use std::sync::atomic::Ordering;

use crate::lane::Command;
use crate::ws::close::CloseCode;
use crate::ws::frame::{Opcode, encode_masked, encode_masked_fragment};

use super::client::{Client, Said, text};
use super::{Arrival, Shard, arrival, counted, under_faults};

const MASK: [u8; 4] = [1, 2, 3, 4];

/// More than one send takes.
const QUEUED: usize = 70;

/// Input that breaks a rule, with the code it earns.
fn violations() -> Vec<(CloseCode, Vec<u8>)> {
    let big = [&[0x81, 0xff][..], &(1u64 << 24).to_be_bytes()[..]].concat();
    vec![
        (CloseCode::PROTOCOL_ERROR, b"\x81\x02hi".into()),
        (CloseCode::PROTOCOL_ERROR, b"\xc1\x80\0\0\0\0".into()),
        (CloseCode::PROTOCOL_ERROR, b"GET / HTTP/1.1\r\n\r\n".into()),
        (CloseCode::PROTOCOL_ERROR, encode_masked_fragment(Opcode::Continuation, true, b"x", MASK)),
        (CloseCode::PROTOCOL_ERROR, encode_masked(Opcode::Close, &1005u16.to_be_bytes(), MASK)),
        (CloseCode::UNSUPPORTED_DATA, encode_masked(Opcode::Binary, b"x", MASK)),
        (CloseCode::INVALID_PAYLOAD, encode_masked(Opcode::Text, b"\xff", MASK)),
        (CloseCode::MESSAGE_TOO_BIG, encode_masked(Opcode::Text, &[b'x'; 8193], MASK)),
        (CloseCode::MESSAGE_TOO_BIG, [big, MASK.into()].concat()),
    ]
}

#[test]
fn a_violation_closes_with_its_code_and_lingers() {
    for (code, input) in violations() {
        under_faults(|mut shard| {
            let mut ann = shard.client("ann");
            ann.peer.write(&input);
            shard.settle();
            assert_eq!(ann.heard(), [Said::close(code)], "{input:x?}");
            assert_eq!((shard.counters().violations.total(), shard.closed(code.name())), (1, 1));
            assert!(!shard.is_of_interest("user:ann"));
            // Our side of the stream has ended, but the socket stays for a moment, so that the close frame is not
            // overtaken by a reset; what comes is dropped.
            assert!(ann.peer.is_shut());
            ann.say(r#"{"type":"ping"}"#);
            shard.pass(400);
            assert!(!ann.peer.is_closed() && ann.heard().is_empty());
            shard.pass(200);
            assert!(ann.peer.is_closed());
            shard.assert_empty();
        });
    }
}

#[test]
fn a_violation_is_forgotten_as_soon_as_its_peer_ends_too() {
    for (_, input) in violations() {
        under_faults(|mut shard| {
            let ann = shard.client("ann");
            ann.peer.write(&input);
            shard.settle();
            assert!(ann.peer.is_shut());
            ann.peer.close();
            shard.settle();
            shard.assert_empty();
        });
    }
}

#[test]
fn behind_a_violation_only_so_much_is_read() {
    let flood = vec![0; 8192];
    under_faults(|mut shard| {
        let ann = shard.client("ann");
        ann.peer.write(b"\x81\x02hi");
        shard.settle();
        let mut written = 0;
        while ann.peer.unread() == 0 && written < 100 * flood.len() {
            ann.peer.write(&flood);
            written += flood.len();
            shard.settle();
        }
        assert!((256 * 1024..=256 * 1024 + 2 * flood.len()).contains(&written), "read {written}");
        shard.pass(600);
        assert!(ann.peer.is_closed());
        shard.assert_empty();
    });
}

#[test]
fn a_client_that_goes_on_after_its_goodbye_hears_the_end_of_the_stream() {
    under_faults(|mut shard| {
        let mut ann = shard.client("ann");
        let close = encode_masked(Opcode::Close, &1000u16.to_be_bytes(), MASK);
        // One chunk, or the goodbye is answered before the rest has come.
        let rest = shard.adopt(Arrival { rest: [close, text("{}")].concat(), ..arrival("bob") });
        ann.say_close(1000);
        shard.settle();
        assert!(rest.peer.is_shut() && ann.peer.is_closed());
        assert_eq!(ann.heard(), [Said::Close(Some(1000))]);
        shard.pass(600);
        assert!(rest.peer.is_closed());
        shard.assert_empty();
    });
}

/// A client that takes nothing, with [`QUEUED`] messages on their way to it.
fn stalled_subscriber(shard: &mut Shard) -> Client {
    let [ann] = shard.subscribers("conv:1");
    ann.peer.stall(true);
    for n in 0..QUEUED {
        shard.publish("conv:1", &n.to_string());
    }
    ann
}

#[test]
fn what_was_queued_before_a_violation_still_leaves() {
    under_faults(|mut shard| {
        let mut ann = stalled_subscriber(&mut shard);
        ann.peer.write(b"\x81\x02hi");
        // Longer than a peer that was told would be waited for.
        shard.pass(1000);
        assert!(!ann.peer.is_shut() && !ann.peer.is_closed());
        ann.peer.stall(false);
        shard.settle();
        let heard = ann.heard();
        assert_eq!((heard.len(), heard.last()), (QUEUED + 1, Some(&Said::close(CloseCode::PROTOCOL_ERROR))));
        assert!(ann.peer.is_shut());
        shard.pass(600);
        shard.assert_empty();
    });
}

#[test]
fn messages_before_a_violation_are_answered() {
    under_faults(|mut shard| {
        let mut ann = shard.client("ann");
        ann.peer.write(&[text(r#"{"type":"ping"}"#), b"\x81\x02hi".into()].concat());
        shard.settle();
        let heard = ann.heard();
        assert!(matches!(&heard[..], [Said::Text(_), Said::Close(Some(1002))]), "{heard:?}");
    });
}

#[test]
fn a_client_that_closes_gets_its_code_back() {
    for (payload, code) in [(&[][..], None), (&[0x03, 0xe8], Some(1000)), (b"\x0f\xa0going", Some(4000))] {
        under_faults(|mut shard| {
            let mut ann = shard.client("ann");
            ann.say_frame(Opcode::Close, payload);
            shard.settle();
            assert_eq!(ann.heard(), [Said::Close(code)]);
            assert!(ann.peer.is_closed(), "the socket goes with the last byte");
            assert_eq!(shard.closed("by_peer"), 1);
            shard.assert_empty();
        });
    }
}

#[test]
fn what_was_queued_before_the_clients_goodbye_still_leaves() {
    under_faults(|mut shard| {
        let mut ann = stalled_subscriber(&mut shard);
        ann.say_close(1000);
        shard.settle();
        assert!(!ann.peer.is_closed());
        ann.peer.stall(false);
        shard.settle();
        let heard = ann.heard();
        assert_eq!((heard.len(), heard.last()), (QUEUED + 1, Some(&Said::Close(Some(1000)))));
        shard.assert_empty();
    });
}

#[test]
fn an_operator_disconnects_every_session_of_a_user() {
    under_faults(|mut shard| {
        let mut sessions = [shard.client("ann"), shard.client("ann"), shard.client("bob")];
        let (answer, count) = counted();
        shard.command(Command::Disconnect { user: "ann".into(), code: CloseCode::OPERATOR, answer });
        shard.settle();
        assert_eq!(count.load(Ordering::Relaxed), 2);
        let told = Said::close(CloseCode::OPERATOR);
        assert_eq!(sessions.each_mut().map(|session| session.heard()), [vec![told.clone()], vec![told], vec![]]);
        assert_eq!(shard.closed("operator"), 2);
    });
}

#[test]
fn a_goodbye_from_our_side_ends_with_the_clients_answer() {
    under_faults(|mut shard| {
        let mut ann = shard.client("ann");
        ann.authenticate("nonsense");
        shard.settle();
        assert_eq!(ann.heard().last(), Some(&Said::close(CloseCode::TOKEN_INVALID)));
        // Until then nothing of the client is served.
        ann.say(r#"{"type":"ping"}"#);
        ann.say_frame(Opcode::Ping, b"x");
        shard.pass(1000);
        assert!(!ann.peer.is_closed());
        ann.say_close(4501);
        shard.settle();
        assert!(ann.peer.is_closed() && ann.heard().is_empty());
        assert_eq!((shard.closed("token_invalid"), shard.closed("by_peer")), (1, 0));
        shard.assert_empty();
    });
}

#[track_caller]
fn assert_ends_at_the_deadline(shard: &mut Shard, client: &Client) {
    shard.pass(4_900);
    assert!(!client.peer.is_closed());
    shard.pass(200);
    assert!(client.peer.is_closed());
    shard.assert_empty();
}

#[test]
fn a_goodbye_that_is_not_answered_ends_at_its_deadline() {
    under_faults(|mut shard| {
        let ann = shard.client("ann");
        ann.authenticate("nonsense");
        assert_ends_at_the_deadline(&mut shard, &ann);
    });
}

#[test]
fn a_goodbye_that_cannot_be_sent_ends_at_its_deadline() {
    under_faults(|mut shard| {
        let [ann] = shard.subscribers("conv:1");
        ann.peer.stall(true);
        shard.publish("conv:1", "x");
        ann.say_close(1000);
        assert_ends_at_the_deadline(&mut shard, &ann);
    });
}

#[test]
fn the_first_reason_counts_however_the_rest_is_cut() {
    let close = || encode_masked(Opcode::Close, &1000u16.to_be_bytes(), MASK);
    for rest in [close(), b"\x81\x02hi".into(), [b"\x81\x02hi".into(), close()].concat()] {
        under_faults(|mut shard| {
            let mut ann = shard.client("ann");
            ann.peer.write(&[text(r#"{"type":"auth","token":"x"}"#), rest.clone()].concat());
            shard.pass(600);
            let heard = ann.heard();
            assert_eq!(heard[0].error_code().unwrap(), "malformed");
            assert_eq!(heard[1..], [Said::close(CloseCode::TOKEN_INVALID)]);
            shard.assert_empty();
        });
    }
}
