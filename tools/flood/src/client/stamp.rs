//! What the publisher writes into a message, so that every receipt can be judged: stream, number, intended send time.
//!
//! A JSON object of fixed shape, padded with spaces, so that reading it costs some ten nanoseconds: a comparison, and
//! digits that are read eight at a time: `{"type":"m","p":"0000","s":"0000000001","t":"0000000001234567" }`.

const HEAD: &[u8; 17] = b"{\"type\":\"m\",\"p\":\"";
const BEFORE_NUMBER: &[u8] = b"\",\"s\":\"";
const BEFORE_TIME: &[u8] = b"\",\"t\":\"";

const STREAM_AT: usize = HEAD.len();
const NUMBER_AT: usize = STREAM_AT + 4 + BEFORE_NUMBER.len();
const TIME_AT: usize = NUMBER_AT + 10 + BEFORE_TIME.len();
const END: usize = TIME_AT + 16;

/// The shortest payload that holds a stamp.
pub const BYTES_MIN: usize = END + 2;

/// Streams 0 to 9999.
pub const STREAMS_MAX: u32 = 10_000;

/// The digits of a stamp, as they stand in a message.
type Digits<const N: usize> = [u8; N];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub stream: u16,
    /// Counts from 1 in its stream.
    pub number: u32,
    /// Microseconds of the process's clock.
    pub intended_us: u64,
}

impl Stamp {
    /// The payload of a message, `bytes` long (at least [`BYTES_MIN`]).
    pub fn payload(self, bytes: usize) -> Vec<u8> {
        let mut payload = Vec::with_capacity(bytes.max(BYTES_MIN));
        self.write(bytes, &mut payload);
        payload
    }

    /// The same behind what is in `out` already.
    pub fn write(self, bytes: usize, out: &mut Vec<u8>) {
        let end = out.len() + bytes.max(BYTES_MIN);
        out.extend_from_slice(HEAD);
        out.extend_from_slice(&digits::<4>(self.stream.into()));
        out.extend_from_slice(BEFORE_NUMBER);
        out.extend_from_slice(&digits::<10>(self.number.into()));
        out.extend_from_slice(BEFORE_TIME);
        out.extend_from_slice(&digits::<16>(self.intended_us));
        out.push(b'"');
        out.resize(end - 1, b' ');
        out.push(b'}');
    }

    /// The stamp of a message; `None` when it has none.
    #[inline(always)]
    pub fn read(message: &[u8]) -> Option<Self> {
        let message: &[u8; BYTES_MIN] = message.first_chunk()?;
        // Sixteen bytes are one comparison, seventeen a call.
        if message.first_chunk::<16>() != HEAD.first_chunk() || message[16] != HEAD[16] {
            return None;
        }
        let four = u64::from(u32::from_le_bytes(*part(message, STREAM_AT))) << 32 | 0x3030_3030;
        let two = (message[NUMBER_AT], message[NUMBER_AT + 1]);
        if !(two.0.is_ascii_digit() && two.1.is_ascii_digit()) {
            return None;
        }
        let hundred_millions = u64::from(two.0 - b'0') * 10 + u64::from(two.1 - b'0');
        let number = hundred_millions * 100_000_000 + eight(u64::from_le_bytes(*part(message, NUMBER_AT + 2)))?;
        let seconds = eight(u64::from_le_bytes(*part(message, TIME_AT)))?;
        Some(Self {
            stream: eight(four)? as u16,
            number: u32::try_from(number).ok()?,
            intended_us: seconds * 100_000_000 + eight(u64::from_le_bytes(*part(message, TIME_AT + 8)))?,
        })
    }
}

#[inline(always)]
fn part<const N: usize>(message: &[u8; BYTES_MIN], at: usize) -> &Digits<N> {
    message[at..].first_chunk().expect("places and lengths are constants")
}

/// The number that eight ASCII digits write, the first of them in the lowest byte: neighbours are joined to pairs,
/// pairs to fours, fours to the whole, all of them at once.
#[inline(always)]
fn eight(ascii: u64) -> Option<u64> {
    const HIGH: u64 = 0xf0f0_f0f0_f0f0_f0f0;
    // A digit is 0x30 to 0x39: with 6 added it is still below 0x40.
    let is_digits =
        ascii & HIGH == 0x3030_3030_3030_3030 && ascii.wrapping_add(0x0606_0606_0606_0606) & HIGH == ascii & HIGH;
    if !is_digits {
        return None;
    }
    let ones = ascii & 0x0f0f_0f0f_0f0f_0f0f;
    let pairs = (ones.wrapping_mul(1 + (10 << 8)) >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs.wrapping_mul(1 + (100 << 16)) >> 16) & 0x0000_ffff_0000_ffff;
    Some(fours.wrapping_mul(1 + (10_000 << 32)) >> 32)
}

/// The last `N` decimal digits of a number.
fn digits<const N: usize>(mut number: u64) -> Digits<N> {
    let mut digits = [b'0'; N];
    for digit in digits.iter_mut().rev() {
        *digit += (number % 10) as u8;
        number /= 10;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp { stream: 9_876, number: u32::MAX, intended_us: 9_012_345_678_901_234 };

    #[test]
    fn a_stamp_is_read_back_from_a_message_of_every_length() {
        for bytes in [0, BYTES_MIN, 64, 1000] {
            let payload = STAMP.payload(bytes);
            assert_eq!(payload.len(), bytes.max(BYTES_MIN));
            assert_eq!(Stamp::read(&payload), Some(STAMP));
        }
    }

    #[test]
    fn a_stamp_is_json_and_fits_into_64_bytes() {
        const { assert!(BYTES_MIN <= 64) };
        assert_eq!(STAMP.payload(0), br#"{"type":"m","p":"9876","s":"4294967295","t":"9012345678901234"}"#);
        assert!(sonic_rs::from_slice::<sonic_rs::Value>(&STAMP.payload(64)).is_ok());
    }

    #[test]
    fn other_messages_have_no_stamp() {
        assert_eq!(Stamp::read(br#"{"type":"pong","timestamp":"2025-01-01T00:00:00.000Z","id":123456789}"#), None);
        assert_eq!(Stamp::read(&STAMP.payload(64)[..40]), None);
        let places = [STREAM_AT..STREAM_AT + 4, NUMBER_AT..NUMBER_AT + 10, TIME_AT..END].into_iter().flatten();
        for (place, wrong) in places.flat_map(|place| [b'x', b'/', b':', 0xb5].map(|wrong| (place, wrong))) {
            let mut broken = STAMP.payload(64);
            broken[place] = wrong;
            assert_eq!(Stamp::read(&broken), None, "{} at {place}", wrong as char);
        }
    }
}
