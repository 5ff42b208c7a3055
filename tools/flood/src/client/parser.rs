//! Reads what a server sends: the answer to the upgrade, and unmasked frames.
//!
//! Called by the workers on whole chunks. Invariant: nothing is taken from a frame that is not complete; the caller
//! keeps the rest and comes again with more.

use ringway::ws::frame::Opcode;

/// The front of the input.
#[derive(Debug, PartialEq, Eq)]
pub enum Front<'a> {
    /// More bytes are needed.
    Incomplete,
    Frame {
        opcode: Opcode,
        fin: bool,
        payload: &'a [u8],
        /// Header and payload.
        bytes: usize,
    },
    /// No server may send this: a masked frame, a reserved bit or opcode.
    Bad,
}

#[inline(always)]
pub fn frame(input: &[u8]) -> Front<'_> {
    let [first, second, rest @ ..] = input else { return Front::Incomplete };
    // All but FIN: with a reserved bit it is no opcode.
    let Some(opcode) = Opcode::from_bits(first & 0x7f) else { return Front::Bad };
    let (length, rest) = match second {
        0..=125 => (u64::from(*second), rest),
        126 => match rest.split_first_chunk::<2>() {
            Some((length, rest)) => (u64::from(u16::from_be_bytes(*length)), rest),
            None => return Front::Incomplete,
        },
        127 => match rest.split_first_chunk::<8>() {
            Some((length, rest)) => (u64::from_be_bytes(*length), rest),
            None => return Front::Incomplete,
        },
        _ => return Front::Bad,
    };
    let Some(payload) = usize::try_from(length).ok().and_then(|length| rest.get(..length)) else {
        return Front::Incomplete;
    };
    let bytes = input.len() - rest.len() + payload.len();
    Front::Frame { opcode, fin: first & 0x80 != 0, payload, bytes }
}

/// The head of an HTTP answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Head<'a> {
    Incomplete,
    Response {
        status: u16,
        head: &'a [u8],
    },
    /// Not HTTP.
    Bad,
}

pub fn head(input: &[u8]) -> Head<'_> {
    let version = b"HTTP/1.";
    if !input.starts_with(&version[..version.len().min(input.len())]) {
        return Head::Bad;
    }
    let Some(end) = input.windows(4).position(|window| window == b"\r\n\r\n") else { return Head::Incomplete };
    let status = input.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    match status {
        Some(status) => Head::Response { status, head: &input[..end + 4] },
        None => Head::Bad,
    }
}

/// The `type` of a JSON message, found without parsing the rest: servers write it first. `None` where it does not come
/// first or has an escape.
#[inline]
pub fn kind(message: &[u8]) -> Option<&[u8]> {
    let rest = message.strip_prefix(b"{\"type\":\"").or_else(|| message.strip_prefix(b"{ \"type\": \""))?;
    let end = rest.iter().position(|&byte| byte == b'"')?;
    Some(&rest[..end])
}

/// Whether `needle` occurs in `message`.
pub fn contains(message: &[u8], needle: &[u8]) -> bool {
    needle.is_empty() || message.windows(needle.len()).any(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway::ws::close::CloseCode;
    use ringway::ws::frame::{encode_close, encode_masked, encode_ping, encode_text};

    #[test]
    fn frames_of_every_length_form_are_read_and_every_cut_waits() {
        for length in [0, 1, 125, 126, 0xffff, 0x1_0000] {
            let payload = "x".repeat(length);
            let bytes = encode_text(&payload);
            let whole =
                Front::Frame { opcode: Opcode::Text, fin: true, payload: payload.as_bytes(), bytes: bytes.len() };
            assert_eq!(frame(&bytes), whole);
            for cut in (0..bytes.len()).step_by(1.max(length / 50)) {
                assert_eq!(frame(&bytes[..cut]), Front::Incomplete, "{length} cut at {cut}");
            }
        }
    }

    #[test]
    fn several_frames_in_one_chunk_are_read_one_by_one() {
        let mut input = encode_ping(b"p").to_vec();
        input.extend(encode_text("hello"));
        input.extend(encode_close(CloseCode::NORMAL, "bye"));
        let mut rest = &input[..];
        let mut opcodes = Vec::new();
        while let Front::Frame { opcode, bytes, .. } = frame(rest) {
            opcodes.push(opcode);
            rest = &rest[bytes..];
        }
        assert_eq!(opcodes, [Opcode::Ping, Opcode::Text, Opcode::Close]);
        assert!(rest.is_empty());
    }

    #[test]
    fn what_no_server_may_send_is_bad() {
        assert_eq!(frame(&encode_masked(Opcode::Text, b"x", [1, 2, 3, 4])), Front::Bad);
        assert_eq!(frame(&[0xc1, 0]), Front::Bad);
        assert_eq!(frame(&[0x83, 0]), Front::Bad);
    }

    #[test]
    fn an_answer_is_read_when_its_head_is_whole() {
        let answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";
        for cut in 0..answer.len() {
            assert_eq!(head(&answer[..cut]), Head::Incomplete, "cut at {cut}");
        }
        let mut with_rest = answer.to_vec();
        with_rest.extend(encode_text("x"));
        assert_eq!(head(&with_rest), Head::Response { status: 101, head: answer });
        assert_eq!(head(b"SSH-2.0\r\n\r\n"), Head::Bad);
    }

    #[test]
    fn the_type_is_found_where_it_comes_first() {
        assert_eq!(kind(br#"{"type":"pong","timestamp":"x"}"#), Some(&b"pong"[..]));
        assert_eq!(kind(br#"{"a":1,"type":"pong"}"#), None);
        assert_eq!(kind(br#"{"type":"po"#), None);
    }
}
