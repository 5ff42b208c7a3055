//! The frame header (RFC 6455 section 5.2): read from a client, written to anyone.
//!
//! [`decoder`](super::decoder) parses with it, [`frame`](super::frame) encodes with it. Parsing judges every byte as
//! soon as it is there, so that a bad frame is refused at its first bad byte, wherever the network cut it.
//!
//! Own code beside tungstenite's `FrameHeader`, which takes an overlong length, a fragmented or long control frame and
//! an unmasked frame for good, judges nothing before the header is whole, and takes several times as long
//! (`benches/ws.rs`).

use super::violation::Violation;

/// The longest header: two bytes, eight of length, four of mask.
pub const HEADER_BYTES_MAX: usize = 14;

/// The longest payload of a control frame.
pub const CONTROL_PAYLOAD_BYTES_MAX: usize = 125;

const FIN: u8 = 0x80;
const RESERVED_BITS: u8 = 0x70;
const OPCODE: u8 = 0x0f;
const MASKED: u8 = 0x80;
const LENGTH: u8 = 0x7f;
const LENGTH_IN_2_BYTES: u8 = 126;
const LENGTH_IN_8_BYTES: u8 = 127;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    Continuation = 0x0,
    Text = 0x1,
    Binary = 0x2,
    Close = 0x8,
    Ping = 0x9,
    Pong = 0xa,
}

impl Opcode {
    #[inline]
    pub const fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }

    /// From the low four bits of a frame's first byte; none for those that RFC 6455 reserves.
    #[inline]
    pub const fn from_bits(bits: u8) -> Option<Opcode> {
        Some(match bits {
            0x0 => Opcode::Continuation,
            0x1 => Opcode::Text,
            0x2 => Opcode::Binary,
            0x8 => Opcode::Close,
            0x9 => Opcode::Ping,
            0xa => Opcode::Pong,
            _ => return None,
        })
    }
}

/// The header of a frame from a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub opcode: Opcode,
    /// Last frame of its message.
    pub fin: bool,
    pub mask: [u8; 4],
    /// Announced bytes of payload; below 2^63, and at most 125 for a control frame.
    pub payload_bytes: u64,
}

impl Header {
    /// Reads a client's header from the front of `bytes`: the header and how many bytes it took, or `None` when more
    /// are needed and nothing is wrong with those that are there.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<Option<(Header, usize)>, Violation> {
        let [first, rest @ ..] = bytes else { return Ok(None) };
        if first & RESERVED_BITS != 0 {
            return Err(Violation::ReservedBits);
        }
        let opcode = Opcode::from_bits(first & OPCODE).ok_or(Violation::ReservedOpcode)?;
        let fin = first & FIN != 0;
        if opcode.is_control() && !fin {
            return Err(Violation::FragmentedControlFrame);
        }

        let [second, rest @ ..] = rest else { return Ok(None) };
        if second & MASKED == 0 {
            return Err(Violation::UnmaskedFrame);
        }
        let length = second & LENGTH;
        if opcode.is_control() && usize::from(length) > CONTROL_PAYLOAD_BYTES_MAX {
            return Err(Violation::ControlFrameTooLong);
        }

        let Some((payload_bytes, rest)) = parse_length(length, rest)? else { return Ok(None) };
        let Some((&mask, rest)) = rest.split_first_chunk::<4>() else { return Ok(None) };
        Ok(Some((Header { opcode, fin, mask, payload_bytes }, bytes.len() - rest.len())))
    }
}

/// The length and what follows it, or `None` when it is cut.
#[inline]
fn parse_length(length: u8, bytes: &[u8]) -> Result<Option<(u64, &[u8])>, Violation> {
    let (length, shortest, rest) = match length {
        LENGTH_IN_2_BYTES => {
            let Some((length, rest)) = bytes.split_first_chunk::<2>() else { return Ok(None) };
            (u64::from(u16::from_be_bytes(*length)), u64::from(LENGTH_IN_2_BYTES), rest)
        }
        LENGTH_IN_8_BYTES => {
            let Some((length, rest)) = bytes.split_first_chunk::<8>() else { return Ok(None) };
            (u64::from_be_bytes(*length), u64::from(u16::MAX) + 1, rest)
        }
        length => (u64::from(length), 0, bytes),
    };
    if length < shortest {
        return Err(Violation::NonMinimalLength);
    }
    if length > i64::MAX as u64 {
        return Err(Violation::LengthTooLarge);
    }
    Ok(Some((length, rest)))
}

/// How many bytes [`write()`] takes for a payload of this size.
pub(super) const fn encoded_bytes(payload_bytes: usize, masked: bool) -> usize {
    let length_bytes = match payload_bytes {
        0..=125 => 0,
        126..=0xffff => 2,
        _ => 8,
    };
    2 + length_bytes + if masked { 4 } else { 0 }
}

/// Appends a header; `mask` only for frames of a client.
pub(super) fn write(out: &mut Vec<u8>, opcode: Opcode, fin: bool, payload_bytes: usize, mask: Option<[u8; 4]>) {
    let first = opcode as u8 | if fin { FIN } else { 0 };
    let masked = if mask.is_some() { MASKED } else { 0 };
    match payload_bytes {
        0..=125 => out.extend_from_slice(&[first, masked | payload_bytes as u8]),
        126..=0xffff => {
            let [high, low] = (payload_bytes as u16).to_be_bytes();
            out.extend_from_slice(&[first, masked | LENGTH_IN_2_BYTES, high, low]);
        }
        _ => {
            out.extend_from_slice(&[first, masked | LENGTH_IN_8_BYTES]);
            out.extend_from_slice(&(payload_bytes as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(mask.as_ref().map_or(&[], |mask| mask));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MASK: [u8; 4] = [1, 2, 3, 4];

    fn encoded(opcode: Opcode, fin: bool, payload_bytes: usize) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out, opcode, fin, payload_bytes, Some(MASK));
        out
    }

    #[test]
    fn every_length_form_is_read_back_and_a_cut_header_waits() {
        for payload_bytes in [0, 1, 125, 126, 127, 0xffff, 0x1_0000, 16 << 20, i64::MAX as usize] {
            let bytes = encoded(Opcode::Text, true, payload_bytes);
            assert_eq!(bytes.len(), encoded_bytes(payload_bytes, true));
            let header = Header { opcode: Opcode::Text, fin: true, mask: MASK, payload_bytes: payload_bytes as u64 };
            assert_eq!(Header::parse(&bytes), Ok(Some((header, bytes.len()))));
            for cut in 0..bytes.len() {
                assert_eq!(Header::parse(&bytes[..cut]), Ok(None), "{payload_bytes} cut at {cut}");
            }
        }
    }

    #[test]
    fn the_opcode_alone_decides_what_is_reserved() {
        for bits in 0..16u8 {
            let known = matches!(bits, 0..=2 | 8..=10);
            let parsed = Header::parse(&[FIN | bits]);
            assert_eq!(parsed, if known { Ok(None) } else { Err(Violation::ReservedOpcode) }, "{bits:#x}");
        }
    }

    #[test]
    fn each_reserved_bit_is_refused_at_the_first_byte() {
        for bit in [0x40, 0x20, 0x10] {
            assert_eq!(Header::parse(&[FIN | bit | 1]), Err(Violation::ReservedBits));
        }
    }

    #[test]
    fn an_unmasked_frame_is_refused_at_the_second_byte() {
        assert_eq!(Header::parse(&[0x81, 0x05]), Err(Violation::UnmaskedFrame));
    }

    #[test]
    fn a_control_frame_is_whole_and_short() {
        for opcode in [Opcode::Close, Opcode::Ping, Opcode::Pong] {
            assert_eq!(Header::parse(&[opcode as u8]), Err(Violation::FragmentedControlFrame));
            assert_eq!(Header::parse(&[FIN | opcode as u8, MASKED | 125]), Ok(None));
            assert_eq!(Header::parse(&[FIN | opcode as u8, MASKED | 126]), Err(Violation::ControlFrameTooLong));
            assert_eq!(Header::parse(&[FIN | opcode as u8, MASKED | 127]), Err(Violation::ControlFrameTooLong));
        }
    }

    #[test]
    fn a_length_that_is_not_minimal_is_refused_before_the_mask_arrives() {
        assert_eq!(Header::parse(&[0x81, MASKED | 126, 0, 125]), Err(Violation::NonMinimalLength));
        assert_eq!(Header::parse(&[0x81, MASKED | 126, 0, 126]), Ok(None));
        assert_eq!(Header::parse(&[0x81, MASKED | 127, 0, 0, 0, 0, 0, 0, 255, 255]), Err(Violation::NonMinimalLength));
        assert_eq!(Header::parse(&[0x81, MASKED | 127, 0, 0, 0, 0, 0, 1, 0, 0]), Ok(None));
    }

    #[test]
    fn a_length_with_its_highest_bit_set_is_refused() {
        assert_eq!(Header::parse(&[0x81, MASKED | 127, 0x80, 0, 0, 0, 0, 0, 0, 0]), Err(Violation::LengthTooLarge));
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic_and_more_bytes_never_change_the_verdict(bytes in any::<[u8; 14]>()) {
            let whole = Header::parse(&bytes);
            prop_assert_ne!(&whole, &Ok(None), "fourteen bytes always decide");
            for cut in 0..bytes.len() {
                let parsed = Header::parse(&bytes[..cut]);
                prop_assert!(parsed == Ok(None) || parsed == whole);
            }
        }

        #[test]
        fn tungstenite_reads_the_same_header(fin: bool, payload_bytes in prop_oneof![0..300u64, 0..1u64 << 63]) {
            use tungstenite::protocol::frame::FrameHeader;
            let bytes = encoded(Opcode::Text, fin, payload_bytes as usize);
            let (theirs, length) = FrameHeader::parse(&mut std::io::Cursor::new(&bytes)).unwrap().unwrap();
            prop_assert_eq!((theirs.is_final, theirs.mask, length), (fin, Some(MASK), payload_bytes));
        }
    }
}
