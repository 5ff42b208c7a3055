//! What the publisher writes into a message, so that every receipt can be judged: stream, number, intended send time.
//!
//! A JSON object of fixed shape, padded with spaces, so that reading it costs a comparison and three small numbers:
//! `{"type":"m","p":"00","s":"0000000001","t":"000000001234567"    }`.

const HEAD: &[u8] = b"{\"type\":\"m\",\"p\":\"";
const BEFORE_NUMBER: &[u8] = b"\",\"s\":\"";
const BEFORE_TIME: &[u8] = b"\",\"t\":\"";

const STREAM_AT: usize = HEAD.len();
const NUMBER_AT: usize = STREAM_AT + 2 + BEFORE_NUMBER.len();
const TIME_AT: usize = NUMBER_AT + 10 + BEFORE_TIME.len();
const END: usize = TIME_AT + 15;

/// The shortest payload that holds a stamp.
pub const BYTES_MIN: usize = END + 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub stream: u8,
    /// Counts from 1 in its stream.
    pub number: u32,
    /// Microseconds of the process's clock.
    pub intended_us: u64,
}

impl Stamp {
    /// The payload of a message, `bytes` long (at least [`BYTES_MIN`]).
    pub fn payload(self, bytes: usize) -> Vec<u8> {
        let Self { stream, number, intended_us } = self;
        let mut payload =
            format!("{{\"type\":\"m\",\"p\":\"{stream:02}\",\"s\":\"{number:010}\",\"t\":\"{intended_us:015}\"")
                .into_bytes();
        payload.resize(bytes.max(BYTES_MIN) - 1, b' ');
        payload.push(b'}');
        payload
    }

    /// The stamp of a message; `None` when it has none.
    #[inline]
    pub fn read(message: &[u8]) -> Option<Self> {
        if message.len() < BYTES_MIN || !message.starts_with(HEAD) {
            return None;
        }
        Some(Self {
            stream: number(&message[STREAM_AT..STREAM_AT + 2])? as u8,
            number: u32::try_from(number(&message[NUMBER_AT..NUMBER_AT + 10])?).ok()?,
            intended_us: number(&message[TIME_AT..END])?,
        })
    }
}

#[inline]
fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + u64::from(byte - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp { stream: 1, number: u32::MAX, intended_us: 999_999_999_999_999 };

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
        assert!(sonic_rs::from_slice::<sonic_rs::Value>(&STAMP.payload(64)).is_ok());
    }

    #[test]
    fn other_messages_have_no_stamp() {
        assert_eq!(Stamp::read(br#"{"type":"pong","timestamp":"2025-01-01T00:00:00.000Z","id":123456789}"#), None);
        let mut broken = STAMP.payload(64);
        broken[NUMBER_AT] = b'x';
        assert_eq!(Stamp::read(&broken), None);
        assert_eq!(Stamp::read(&broken[..40]), None);
    }
}
