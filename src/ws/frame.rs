//! Encoding of frames: what the gateway sends, and what a client sends, for tests, benchmarks and `tools/flood`.
//!
//! A message is encoded once, into one buffer of exactly its size, and shared by all its recipients. Server frames are
//! never masked and never fragmented.

use super::close::CloseCode;
use super::header::{self, CONTROL_PAYLOAD_BYTES_MAX};
use super::mask;
use bytes::Bytes;

pub use super::header::Opcode;

/// The longest reason of a close frame, in bytes.
pub const CLOSE_REASON_BYTES_MAX: usize = CONTROL_PAYLOAD_BYTES_MAX - 2;

/// The largest message that can be configured, published or asked to be echoed.
pub const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// A text message in one frame.
pub fn encode_text(text: &str) -> Bytes {
    server_frame(Opcode::Text, &[text.as_bytes()])
}

/// A binary message in one frame.
pub fn encode_binary(payload: &[u8]) -> Bytes {
    server_frame(Opcode::Binary, &[payload])
}

/// A ping; `payload` holds at most 125 bytes.
pub fn encode_ping(payload: &[u8]) -> Bytes {
    control_frame(Opcode::Ping, &[payload])
}

/// The answer to a ping with this payload, at most 125 bytes, which the decoder guarantees for every ping it returns.
pub fn encode_pong(payload: &[u8]) -> Bytes {
    control_frame(Opcode::Pong, &[payload])
}

/// Whether this frame of a server is a pong.
pub fn is_pong(frame: &[u8]) -> bool {
    frame.first() == Some(&(0x80 | Opcode::Pong as u8))
}

/// Whether this frame of a server is a close frame.
pub fn is_close(frame: &[u8]) -> bool {
    frame.first() == Some(&(0x80 | Opcode::Close as u8))
}

/// A close frame. A reason longer than [`CLOSE_REASON_BYTES_MAX`] is cut at a character.
pub fn encode_close(code: CloseCode, reason: &str) -> Bytes {
    let mut end = reason.len().min(CLOSE_REASON_BYTES_MAX);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    control_frame(Opcode::Close, &[&code.0.to_be_bytes(), &reason.as_bytes()[..end]])
}

/// A close frame without a code: the answer to one that carried none.
pub fn encode_close_without_code() -> Bytes {
    control_frame(Opcode::Close, &[])
}

/// A whole message, or a control frame, as a client sends it.
pub fn encode_masked(opcode: Opcode, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    encode_masked_fragment(opcode, true, payload, mask)
}

/// One frame as a client sends it; `fin` marks the last one of its message.
pub fn encode_masked_fragment(opcode: Opcode, fin: bool, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let header_bytes = header::encoded_bytes(payload.len(), true);
    let mut frame = Vec::with_capacity(header_bytes + payload.len());
    header::write(&mut frame, opcode, fin, payload.len(), Some(mask));
    frame.extend_from_slice(payload);
    mask::apply(&mut frame[header_bytes..], mask, 0);
    frame
}

fn control_frame(opcode: Opcode, parts: &[&[u8]]) -> Bytes {
    let payload_bytes: usize = parts.iter().map(|part| part.len()).sum();
    assert!(payload_bytes <= CONTROL_PAYLOAD_BYTES_MAX, "a control frame carries at most 125 bytes");
    server_frame(opcode, parts)
}

#[inline]
fn server_frame(opcode: Opcode, parts: &[&[u8]]) -> Bytes {
    let payload_bytes = parts.iter().map(|part| part.len()).sum();
    let mut frame = Vec::with_capacity(header::encoded_bytes(payload_bytes, false) + payload_bytes);
    header::write(&mut frame, opcode, true, payload_bytes, None);
    for part in parts {
        frame.extend_from_slice(part);
    }
    Bytes::from(frame)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tungstenite::protocol::{Role, WebSocket};
    use tungstenite::{Message, protocol::CloseFrame};

    /// Reads frames the way an independent client does.
    fn client_reads(bytes: &[u8]) -> Message {
        let stream = std::io::Cursor::new(bytes.to_vec());
        WebSocket::from_raw_socket(stream, Role::Client, None).read().unwrap()
    }

    #[test]
    fn text_frames_of_every_length_form_are_read_by_a_client() {
        for length in [0, 1, 125, 126, 127, 1000, 0xffff, 0x1_0000, 100_000] {
            let payload = "x".repeat(length);
            let frame = encode_text(&payload);
            assert_eq!(frame.len(), header::encoded_bytes(length, false) + length);
            assert_eq!(client_reads(&frame), Message::text(payload));
        }
    }

    #[test]
    fn header_and_payload_are_byte_for_byte_those_of_the_standard() {
        // RFC 6455 section 5.7.
        assert_eq!(encode_text("Hello")[..], [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
        assert_eq!(encode_ping(b"Hello")[..], [0x89, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
        assert_eq!(
            encode_masked(Opcode::Text, b"Hello", [0x37, 0xfa, 0x21, 0x3d]),
            [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]
        );
    }

    #[test]
    fn control_frames_are_read_by_a_client() {
        assert_eq!(client_reads(&encode_ping(b"abc")), Message::Ping(Bytes::from_static(b"abc")));
        assert_eq!(client_reads(&encode_pong(&[7; 125])), Message::Pong(Bytes::from_static(&[7; 125])));
        assert_eq!(client_reads(&encode_close_without_code()), Message::Close(None));
    }

    #[test]
    fn every_close_code_reaches_a_client_with_its_reason() {
        for &code in CloseCode::SENT {
            let frame = encode_close(code, code.reason());
            let expected = CloseFrame { code: code.0.into(), reason: code.reason().into() };
            assert_eq!(client_reads(&frame), Message::Close(Some(expected)));
        }
    }

    #[test]
    fn a_long_close_reason_is_cut_at_a_character() {
        let frame = encode_close(CloseCode::NORMAL, &"ü".repeat(100));
        let Message::Close(Some(close)) = client_reads(&frame) else { panic!("not a close frame") };
        assert_eq!(close.reason.as_str(), "ü".repeat(61));
    }

    #[test]
    #[should_panic(expected = "at most 125 bytes")]
    fn a_ping_that_no_client_would_accept_is_our_own_mistake() {
        encode_ping(&[0; 126]);
    }
}
