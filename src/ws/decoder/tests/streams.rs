//! Any stream, made up at random: what it means does not depend on where the network cuts it.

use super::*;

#[test]
fn control_frames_come_between_the_fragments_of_a_message() {
    let bytes = [
        fragment(Opcode::Text, false, "Hel"),
        encode_masked(Opcode::Ping, b"a", MASK),
        fragment(Opcode::Continuation, false, ""),
        encode_masked(Opcode::Pong, b"b", MASK),
        fragment(Opcode::Continuation, true, "lo"),
        message("next"),
    ]
    .concat();
    let expected = vec![ping(b"a"), Incoming::Pong(Cow::Borrowed(b"b")), text("Hello"), text("next")];
    for piece_bytes in 1..=bytes.len() {
        assert_eq!(decode_chunks(bytes.chunks(piece_bytes), TEXT).0, (expected.clone(), None), "{piece_bytes}");
    }
}

#[test]
fn control_frames_do_not_count_as_message_bytes() {
    let bytes = encode_masked(Opcode::Ping, &[1; 125], MASK);
    assert_eq!(decode_chunks([&bytes[..]], Policy::text(10)).0, (vec![ping(&[1; 125])], None));
}

/// One message or control frame, and what the decoder is to make of it.
#[derive(Debug, Clone)]
struct Sent {
    frames: Vec<u8>,
    events: Vec<Incoming<'static>>,
}

fn control() -> impl Strategy<Value = Sent> {
    let close = prop_oneof![Just(1000u16), 3000..5000u16];
    prop_oneof![
        (prop::collection::vec(any::<u8>(), 0..=125), any::<[u8; 4]>()).prop_map(|(payload, mask)| Sent {
            frames: encode_masked(Opcode::Ping, &payload, mask),
            events: vec![Incoming::Ping(Cow::Owned(payload))],
        }),
        (prop::collection::vec(any::<u8>(), 0..=125), any::<[u8; 4]>()).prop_map(|(payload, mask)| Sent {
            frames: encode_masked(Opcode::Pong, &payload, mask),
            events: vec![Incoming::Pong(Cow::Owned(payload))],
        }),
        (close, "[a-z€]{0,40}", any::<[u8; 4]>()).prop_map(|(code, reason, mask)| Sent {
            frames: encode_masked(Opcode::Close, &[&code.to_be_bytes(), reason.as_bytes()].concat(), mask),
            events: vec![Incoming::Close(Some(PeerClose { code: CloseCode(code), reason: Cow::Owned(reason) }))],
        }),
    ]
}

/// A text in fragments cut at any byte, with control frames between them.
fn fragmented_text() -> impl Strategy<Value = Sent> {
    let cuts =
        prop::collection::vec((any::<prop::sample::Index>(), any::<[u8; 4]>(), prop::option::of(control())), 0..4);
    (prop_oneof![any::<String>(), "[ -~]{100,300}"], cuts, any::<[u8; 4]>()).prop_map(|(text, cuts, mask)| {
        let bytes = text.as_bytes();
        let mut cuts: Vec<_> =
            cuts.into_iter().map(|(at, mask, between)| (at.index(bytes.len() + 1), mask, between)).collect();
        cuts.sort_by_key(|cut| cut.0);
        let mut sent = Sent { frames: Vec::new(), events: Vec::new() };
        let (mut opcode, mut start) = (Opcode::Text, 0);
        for (at, mask, between) in cuts {
            sent.frames.extend(encode_masked_fragment(opcode, false, &bytes[start..at], mask));
            (opcode, start) = (Opcode::Continuation, at);
            if let Some(between) = between {
                sent.frames.extend(between.frames);
                sent.events.extend(between.events);
            }
        }
        sent.frames.extend(encode_masked_fragment(opcode, true, &bytes[start..], mask));
        sent.events.push(Incoming::Text(Cow::Owned(text)));
        sent
    })
}

fn stream() -> impl Strategy<Value = Sent> {
    prop::collection::vec(prop_oneof![3 => fragmented_text(), 1 => control()], 1..5).prop_map(|parts| Sent {
        frames: parts.iter().flat_map(|part| part.frames.iter().copied()).collect(),
        events: parts.into_iter().flat_map(|part| part.events).collect(),
    })
}

/// `bytes` in chunks of the given sizes, over and over.
fn chunks<'a>(mut bytes: &'a [u8], sizes: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    sizes.iter().cycle().map_while(move |&size| {
        let (chunk, rest) = bytes.split_at_checked(size).unwrap_or((bytes, &[]));
        bytes = rest;
        (!chunk.is_empty()).then_some(chunk)
    })
}

proptest! {
    #[test]
    fn any_stream_gives_the_same_events_cut_at_every_byte(
        sent in stream(),
        sizes in prop::collection::vec(1..50usize, 1..8),
    ) {
        let expected = (sent.events, None);
        prop_assert_eq!(&decode(&sent.frames), &expected);
        prop_assert_eq!(&decode_chunks(sent.frames.chunks(1), TEXT).0, &expected);
        prop_assert_eq!(&decode_chunks(chunks(&sent.frames, &sizes), TEXT).0, &expected);
        for cut in 0..sent.frames.len() {
            let (outcome, decoder) = decode_chunks([&sent.frames[..cut], &sent.frames[cut..]], TEXT);
            prop_assert_eq!(&outcome, &expected, "cut at {}", cut);
            prop_assert!(decoder.is_idle());
        }
    }

    #[test]
    fn a_damaged_stream_gives_the_same_events_and_violation_however_it_is_cut(
        sent in stream(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        policy in prop_oneof![(0..400usize).prop_map(Policy::text), (0..400usize).prop_map(Policy::any)],
        sizes in prop::collection::vec(1..50usize, 1..8),
    ) {
        let mut bytes = sent.frames;
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let whole = decode_chunks([&bytes[..]], policy).0;
        let pieces = decode_chunks(chunks(&bytes, &sizes), policy).0;
        let single = decode_chunks(bytes.chunks(1), policy).0;
        prop_assert_eq!(&pieces, &whole);
        prop_assert_eq!(&single, &whole);
    }

    #[test]
    fn random_bytes_never_panic_and_never_exceed_the_limit(
        bytes in prop::collection::vec(any::<u8>(), 0..600),
        sizes in prop::collection::vec(1..50usize, 1..8),
    ) {
        let ((events, _), _) = decode_chunks(chunks(&bytes, &sizes), Policy::any(100));
        for event in &events {
            prop_assert!(!matches!(event, Incoming::Text(text) if text.len() > 100));
            prop_assert!(!matches!(event, Incoming::Binary(bytes) if bytes.len() > 100));
        }
    }

    #[test]
    fn what_tungstenite_sends_as_a_client_is_understood(
        texts in prop::collection::vec(any::<String>(), 1..6),
        pinged: [u8; 8],
    ) {
        use tungstenite::{Message, protocol::{Role, WebSocket}};
        let mut client = WebSocket::from_raw_socket(std::io::Cursor::new(Vec::new()), Role::Client, None);
        let mut expected = Vec::new();
        for sent in &texts {
            client.write(Message::text(sent.as_str())).unwrap();
            client.write(Message::Ping(pinged.to_vec().into())).unwrap();
            expected.extend([text(sent), ping(&pinged)]);
        }
        client.close(None).unwrap();
        expected.push(Incoming::Close(None));
        let bytes = client.into_inner().into_inner();
        prop_assert_eq!(decode(&bytes), (expected, None));
    }
}
