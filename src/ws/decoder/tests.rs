//! What the decoder promises: every rule of the protocol by name, and the same events wherever the network cuts.

mod streams;

use super::*;
use crate::ws::frame::{encode_masked, encode_masked_fragment};
use proptest::prelude::*;

const MAX: usize = 8192;
const TEXT: Policy = Policy::text(MAX);
const ANY: Policy = Policy::any(MAX);
const MASK: [u8; 4] = [0x11, 0x22, 0xf3, 0x44];

/// Everything a decoder made of its input, and the violation it ended with.
type Outcome = (Vec<Incoming<'static>>, Option<Violation>);

fn owned(incoming: Incoming<'_>) -> Incoming<'static> {
    match incoming {
        Incoming::Text(text) => Incoming::Text(Cow::Owned(text.into_owned())),
        Incoming::Binary(bytes) => Incoming::Binary(Cow::Owned(bytes.into_owned())),
        Incoming::Fragment => Incoming::Fragment,
        Incoming::Ping(payload) => Incoming::Ping(Cow::Owned(payload.into_owned())),
        Incoming::Pong(payload) => Incoming::Pong(Cow::Owned(payload.into_owned())),
        Incoming::Close(close) => Incoming::Close(
            close.map(|PeerClose { code, reason }| PeerClose { code, reason: Cow::Owned(reason.into_owned()) }),
        ),
    }
}

fn decode_chunks<'a>(chunks: impl IntoIterator<Item = &'a [u8]>, policy: Policy) -> (Outcome, Decoder) {
    let mut decoder = Decoder::new();
    let mut events = Vec::new();
    for chunk in chunks {
        let mut chunk = chunk.to_vec();
        let mut input = &mut chunk[..];
        loop {
            match decoder.next(&mut input, policy) {
                // What counts is what they become; `every_fragment_is_told` looks at them.
                Ok(Some(Incoming::Fragment)) => {}
                Ok(Some(incoming)) => events.push(owned(incoming)),
                Ok(None) => break,
                Err(violation) => return ((events, Some(violation)), decoder),
            }
        }
        assert!(input.is_empty(), "a chunk is consumed to its end");
    }
    ((events, None), decoder)
}

fn decode(bytes: &[u8]) -> Outcome {
    decode_chunks([bytes], TEXT).0
}

fn text(payload: &str) -> Incoming<'static> {
    Incoming::Text(Cow::Owned(payload.to_owned()))
}

fn ping(payload: &[u8]) -> Incoming<'static> {
    Incoming::Ping(Cow::Owned(payload.to_vec()))
}

fn message(payload: impl AsRef<[u8]>) -> Vec<u8> {
    encode_masked(Opcode::Text, payload.as_ref(), MASK)
}

fn fragment(opcode: Opcode, fin: bool, payload: impl AsRef<[u8]>) -> Vec<u8> {
    encode_masked_fragment(opcode, fin, payload.as_ref(), MASK)
}

fn close(payload: &[u8]) -> Vec<u8> {
    encode_masked(Opcode::Close, payload, MASK)
}

/// The stream ends in this violation, after no event, wherever it is cut.
#[track_caller]
fn assert_refused(bytes: &[u8], violation: Violation) {
    assert_eq!(decode(bytes), (vec![], Some(violation)));
    assert_eq!(decode_chunks(bytes.chunks(1), TEXT).0, (vec![], Some(violation)), "byte by byte");
}

#[test]
fn a_message_whole_in_its_chunk_is_borrowed_from_it() {
    let mut bytes = message("hello");
    let chunk = bytes.as_ptr_range();
    let (mut decoder, mut input) = (Decoder::new(), &mut bytes[..]);
    let Ok(Some(Incoming::Text(Cow::Borrowed(payload)))) = decoder.next(&mut input, TEXT) else {
        panic!("not borrowed")
    };
    assert_eq!(payload, "hello");
    assert!(chunk.contains(&payload.as_ptr()));
    assert!(decoder.is_idle());
}

#[test]
fn several_messages_in_one_chunk_come_out_in_order() {
    let bytes = [message("one"), encode_masked(Opcode::Ping, b"!", MASK), message(""), message("three")].concat();
    assert_eq!(decode(&bytes), (vec![text("one"), ping(b"!"), text(""), text("three")], None));
}

#[test]
fn the_box_is_gone_once_the_message_is_whole() {
    let streams = [
        message("cut in the middle"),
        encode_masked(Opcode::Ping, b"cut too", MASK),
        [fragment(Opcode::Text, false, "a"), fragment(Opcode::Continuation, true, "b")].concat(),
    ];
    for bytes in streams {
        for cut in 1..bytes.len() {
            assert!(!decode_chunks([&bytes[..cut]], TEXT).1.is_idle(), "half received at {cut}");
            assert!(decode_chunks([&bytes[..cut], &bytes[cut..]], TEXT).1.is_idle(), "whole after {cut}");
        }
    }
}

#[test]
fn an_empty_chunk_changes_nothing() {
    let bytes = message("x");
    let (outcome, decoder) = decode_chunks([&[][..], &bytes[..3], &[], &bytes[3..], &[]], TEXT);
    assert_eq!(outcome, (vec![text("x")], None));
    assert!(decoder.is_idle());
}

#[test]
fn a_header_of_16_mib_with_a_limit_of_8_kib_fails_at_once_and_stores_nothing() {
    let header = [&[0x81, 0xff][..], &(16u64 << 20).to_be_bytes(), &MASK].concat();
    let (outcome, decoder) = decode_chunks([&header[..]], TEXT);
    assert_eq!(outcome, (vec![], Some(Violation::MessageTooBig)));
    assert!(decoder.is_idle());
    assert_refused(&header, Violation::MessageTooBig);
}

#[test]
fn the_limit_holds_for_one_frame_to_the_byte() {
    assert_eq!(decode(&message([b'x'; MAX])).1, None);
    assert_refused(&message([b'x'; MAX + 1]), Violation::MessageTooBig);
}

#[test]
fn the_limit_holds_for_the_sum_of_the_fragments() {
    let fits = [fragment(Opcode::Text, false, [b'x'; MAX - 1]), fragment(Opcode::Continuation, true, "x")].concat();
    assert_eq!(decode(&fits).0.len(), 1);
    let exceeds = [fragment(Opcode::Text, false, [b'x'; MAX]), fragment(Opcode::Continuation, true, "x")].concat();
    assert_refused(&exceeds, Violation::MessageTooBig);
}

#[test]
fn the_largest_length_a_header_can_announce_overflows_nothing() {
    let header = |first: u8| [&[first, 0xff][..], &(i64::MAX as u64).to_be_bytes(), &MASK].concat();
    assert_refused(&header(0x81), Violation::MessageTooBig);
    let (outcome, _) =
        decode_chunks([&fragment(Opcode::Text, false, "x")[..], &header(0x80)], Policy::text(usize::MAX));
    assert_eq!(outcome, (vec![], None), "admitted under no limit, and nothing is reserved for it");
}

#[test]
fn a_binary_message_is_refused_at_its_header() {
    assert_refused(&encode_masked(Opcode::Binary, &[0xff; 10], MASK)[..6], Violation::BinaryNotSupported);
    assert_refused(&fragment(Opcode::Binary, false, ""), Violation::BinaryNotSupported);
}

#[test]
fn a_binary_message_is_taken_where_the_policy_says_so_and_never_checked_as_text() {
    let payload = [0xff, 0x00, 0xc0, 0x80, 0xfe];
    let whole = encode_masked(Opcode::Binary, &payload, MASK);
    let fragments = [
        fragment(Opcode::Binary, false, &payload[..2]),
        encode_masked(Opcode::Ping, b"between", MASK),
        fragment(Opcode::Continuation, false, ""),
        fragment(Opcode::Continuation, true, &payload[2..]),
    ]
    .concat();
    let binary = Incoming::Binary(Cow::Borrowed(&payload));
    for (bytes, expected) in [(whole, vec![binary.clone()]), (fragments, vec![ping(b"between"), binary])] {
        for cut in 0..=bytes.len() {
            let (outcome, decoder) = decode_chunks([&bytes[..cut], &bytes[cut..]], ANY);
            assert_eq!(outcome, (expected.clone(), None), "cut at {cut}");
            assert!(decoder.is_idle());
        }
        assert_eq!(decode_chunks(bytes.chunks(1), ANY).0, (expected, None), "byte by byte");
    }
}

#[test]
fn a_binary_message_whole_in_its_chunk_is_borrowed_from_it() {
    let mut bytes = encode_masked(Opcode::Binary, &[0xff; 10], MASK);
    let mut input = &mut bytes[..];
    assert!(matches!(Decoder::new().next(&mut input, ANY), Ok(Some(Incoming::Binary(Cow::Borrowed(_))))));
}

#[test]
fn the_limit_holds_for_binary_messages_too() {
    let bytes = [fragment(Opcode::Binary, false, [0; MAX]), fragment(Opcode::Continuation, true, "x")].concat();
    for chunk_bytes in [1, 7, bytes.len()] {
        assert_eq!(decode_chunks(bytes.chunks(chunk_bytes), ANY).0, (vec![], Some(Violation::MessageTooBig)));
    }
}

/// A text with one bad byte or sequence, and how many of its bytes may still become valid.
const BAD_TEXTS: [(&[u8], usize); 8] = [
    (b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited", 12),
    (b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80edited", 12),
    (b"abc\xffdef", 3),
    (b"\x80abc", 0),
    (b"abc\xc0\xaf", 3),
    (b"abc\xe0\x9f\xbf", 4),
    (b"abc\xf0\x8f\xbf\xbf", 4),
    (b"abc\xc3(def", 4),
];

#[test]
fn bad_utf8_fails_at_the_byte_where_it_becomes_invalid() {
    for (text, good_bytes) in BAD_TEXTS {
        let one_frame = message(text);
        let header_bytes = one_frame.len() - text.len();
        let in_fragments =
            [fragment(Opcode::Text, false, &text[..1]), fragment(Opcode::Continuation, true, &text[1..])];
        let in_fragments = in_fragments.concat();
        for (bytes, ahead) in [(one_frame, header_bytes), (in_fragments, 2 * header_bytes)] {
            // Nothing is wrong in the first fragment of one byte, except where that byte is.
            let bad_at = if good_bytes == 0 { header_bytes } else { ahead + good_bytes };
            let good = decode_chunks(bytes[..bad_at].chunks(1), TEXT).0;
            assert_eq!(good, (vec![], None), "{text:x?} is not lost before its byte {good_bytes}");
            let bad = decode_chunks(bytes[..=bad_at].chunks(1), TEXT).0;
            assert_eq!(bad, (vec![], Some(Violation::InvalidUtf8)), "{text:x?} is lost at its byte {good_bytes}");
            let bad = decode_chunks([&bytes[..bad_at], &bytes[bad_at..=bad_at]], TEXT).0;
            assert_eq!(bad, (vec![], Some(Violation::InvalidUtf8)), "{text:x?} in two chunks");
        }
    }
}

#[test]
fn a_continuation_of_nothing_is_refused() {
    assert_refused(&fragment(Opcode::Continuation, true, "x"), Violation::UnexpectedContinuation);
    assert_refused(&fragment(Opcode::Continuation, false, "x"), Violation::UnexpectedContinuation);
    let after_a_whole_one = [message("one"), fragment(Opcode::Continuation, true, "x")].concat();
    assert_eq!(decode(&after_a_whole_one), (vec![text("one")], Some(Violation::UnexpectedContinuation)));
}

#[test]
fn a_new_message_inside_an_unfinished_one_is_refused() {
    for opcode in [Opcode::Text, Opcode::Binary] {
        let bytes = [fragment(Opcode::Text, false, "x"), fragment(opcode, true, "y")].concat();
        assert_refused(&bytes, Violation::ExpectedContinuation);
    }
    let after_an_empty_fragment = [fragment(Opcode::Text, false, ""), message("y")].concat();
    assert_refused(&after_an_empty_fragment, Violation::ExpectedContinuation);
}

#[test]
fn the_rules_of_a_header_hold_in_the_stream() {
    assert_refused(&[0xc1, 0x80, 0, 0, 0, 0], Violation::ReservedBits);
    assert_refused(&[0x83, 0x80, 0, 0, 0, 0], Violation::ReservedOpcode);
    assert_refused(&[0x81, 0x01, b'x'], Violation::UnmaskedFrame);
    assert_refused(&[0x09, 0x80, 0, 0, 0, 0], Violation::FragmentedControlFrame);
    assert_refused(&[0x89, 0xfe, 0, 126, 0, 0, 0, 0], Violation::ControlFrameTooLong);
    assert_refused(&[0x81, 0xfe, 0, 1, 0, 0, 0, 0], Violation::NonMinimalLength);
    assert_refused(&[0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], Violation::LengthTooLarge);
}

#[test]
fn a_character_may_be_cut_by_frames_and_chunks() {
    let bytes = [
        fragment(Opcode::Text, false, b"\xf0\x9f"),
        encode_masked(Opcode::Ping, b"", MASK),
        fragment(Opcode::Continuation, false, b"\x98"),
        fragment(Opcode::Continuation, true, b"\x80!"),
    ]
    .concat();
    for cut in 0..=bytes.len() {
        let (outcome, _) = decode_chunks([&bytes[..cut], &bytes[cut..]], TEXT);
        assert_eq!(outcome, (vec![ping(b""), text("😀!")], None), "cut at {cut}");
    }
}

#[test]
fn text_that_is_not_utf8_is_refused() {
    assert_refused(&message(b"ok\xff"), Violation::InvalidUtf8);
    assert_refused(&message(b"\xed\xa0\x80"), Violation::InvalidUtf8);
    assert_refused(&message(b"cut \xf0\x9f\x98"), Violation::InvalidUtf8);
    let ends_in_a_character =
        [fragment(Opcode::Text, false, b"\xe2\x82"), fragment(Opcode::Continuation, true, b"")].concat();
    assert_refused(&ends_in_a_character, Violation::InvalidUtf8);
}

#[test]
fn a_bad_fragment_is_refused_before_the_message_ends() {
    assert_refused(&fragment(Opcode::Text, false, b"\xff"), Violation::InvalidUtf8);
    let half_a_frame = &message([&[b'x', 0xff][..], &[b'x'; 100]].concat())[..20];
    assert_refused(half_a_frame, Violation::InvalidUtf8);
}

#[test]
fn a_close_frame_gives_its_code_and_reason() {
    let closed = |code, reason: &'static str| {
        Incoming::Close(Some(PeerClose { code: CloseCode(code), reason: Cow::Borrowed(reason) }))
    };
    for (payload, expected) in [
        (&b""[..], Incoming::Close(None)),
        (b"\x03\xe8", closed(1000, "")),
        (b"\x03\xe9bye \xe2\x82\xac", closed(1001, "bye €")),
        (b"\x13\x87", closed(4999, "")),
    ] {
        let bytes = close(payload);
        for cut in 0..=bytes.len() {
            let (outcome, _) = decode_chunks([&bytes[..cut], &bytes[cut..]], TEXT);
            assert_eq!(outcome, (vec![expected.clone()], None), "{payload:?} cut at {cut}");
        }
    }
}

#[test]
fn a_bad_close_frame_is_refused() {
    assert_refused(&close(b"\x03"), Violation::BadCloseLength);
    for code in [0u16, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535] {
        assert_refused(&close(&code.to_be_bytes()), Violation::BadCloseCode);
    }
    assert_refused(&close(b"\x03\xe8\xff"), Violation::InvalidUtf8InCloseReason);
}

#[test]
fn every_fragment_is_told_however_small_it_is_and_however_it_comes() {
    let fragment = |opcode, fin, payload: &[u8]| encode_masked_fragment(opcode, fin, payload, MASK);
    let bytes = [
        fragment(Opcode::Text, false, b""),
        fragment(Opcode::Continuation, false, b""),
        fragment(Opcode::Continuation, false, b"hel"),
        fragment(Opcode::Continuation, true, b"lo"),
    ]
    .concat();
    for chunk_bytes in [1, 2, 3, 7, bytes.len()] {
        let (mut decoder, mut fragments, mut texts) = (Decoder::new(), 0, 0);
        for chunk in bytes.chunks(chunk_bytes) {
            let mut chunk = chunk.to_vec();
            let mut input = &mut chunk[..];
            while let Some(incoming) = decoder.next(&mut input, TEXT).unwrap() {
                match incoming {
                    Incoming::Fragment => fragments += 1,
                    other => texts += usize::from(owned(other) == text("hello")),
                }
            }
        }
        assert_eq!((fragments, texts), (3, 1), "chunks of {chunk_bytes}");
    }
}

#[test]
fn what_is_half_received_has_a_beginning_until_it_is_whole() {
    let mut decoder = Decoder::new();
    let bytes =
        [encode_masked_fragment(Opcode::Text, false, b"a", MASK), encode_masked(Opcode::Ping, b"", MASK)].concat();
    let feed = |decoder: &mut Decoder, bytes: &[u8]| {
        let mut chunk = bytes.to_vec();
        let mut input = &mut chunk[..];
        while decoder.next(&mut input, TEXT).unwrap().is_some() {}
    };
    assert!(!decoder.note_beginning(1));
    feed(&mut decoder, &bytes);
    assert!(decoder.note_beginning(5) && !decoder.note_beginning(6));
    assert_eq!(decoder.unfinished_since(), Some(5));
    feed(&mut decoder, &encode_masked_fragment(Opcode::Continuation, true, b"b", MASK));
    assert_eq!(decoder.unfinished_since(), None);
}
