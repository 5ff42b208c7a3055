//! What comes of the others' messages on the ride-hailing day: from whom, and with which stamp.

use serde::Deserialize;

use super::day::number_of;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Number of the connection that said it.
    pub sender: u32,
    pub what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Position(Mark),
    Chat(Mark),
    Typing { is_typing: bool },
}

/// Number and time of a message, as its sender wrote them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    pub number: u32,
    pub intended_us: u64,
}

#[derive(Deserialize)]
struct VendorLocation<'a> {
    #[serde(borrow)]
    payload: Place<'a>,
}

#[derive(Deserialize)]
struct Place<'a> {
    #[serde(rename = "vendorId")]
    vendor_id: &'a str,
    accuracy: u32,
    timestamp: u64,
}

#[derive(Deserialize)]
struct Chat<'a> {
    #[serde(rename = "userId")]
    user_id: &'a str,
    content: &'a str,
}

#[derive(Deserialize)]
struct Typing<'a> {
    #[serde(rename = "userId")]
    user_id: &'a str,
    #[serde(rename = "isTyping")]
    is_typing: bool,
}

/// A message of this type that none of the clients has brought about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Foreign;

impl Heard {
    /// Reads a message of type `kind`; `None` where it is of another kind than those that clients bring about.
    pub fn read(kind: &[u8], message: &[u8]) -> Option<Result<Self, Foreign>> {
        let heard = match kind {
            b"vendor_location" => position(message),
            b"chat" => chat(message),
            b"typing" => typing(message),
            _ => return None,
        };
        Some(heard.ok_or(Foreign))
    }
}

fn position(message: &[u8]) -> Option<Heard> {
    let VendorLocation { payload } = sonic_rs::from_slice(message).ok()?;
    let mark = Mark { number: payload.accuracy, intended_us: payload.timestamp };
    Some(Heard { sender: number_of(payload.vendor_id)?, what: What::Position(mark) })
}

fn chat(message: &[u8]) -> Option<Heard> {
    let Chat { user_id, content } = sonic_rs::from_slice(message).ok()?;
    let (number, intended_us) = content.trim_end().split_once(' ')?;
    let mark = Mark { number: number.parse().ok()?, intended_us: intended_us.parse().ok()? };
    Some(Heard { sender: number_of(user_id)?, what: What::Chat(mark) })
}

fn typing(message: &[u8]) -> Option<Heard> {
    let Typing { user_id, is_typing } = sonic_rs::from_slice(message).ok()?;
    Some(Heard { sender: number_of(user_id)?, what: What::Typing { is_typing } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_have_said_is_read_with_its_stamp() {
        let mark = Mark { number: 3, intended_us: 77 };
        let position =
            br#"{"type":"vendor_location","payload":{"vendorId":"u10","latitude":1.5,"accuracy":3,"timestamp":77}}"#;
        let chat = br#"{"type":"chat","messageId":"m","userId":"u8","content":"3 77    ","clanId":"k"}"#;
        let typing = br#"{"type":"typing","userId":"u8","clanId":"k","isTyping":true}"#;
        for (kind, message, sender, what) in [
            ("vendor_location", &position[..], 10, What::Position(mark)),
            ("chat", chat, 8, What::Chat(mark)),
            ("typing", typing, 8, What::Typing { is_typing: true }),
        ] {
            assert_eq!(Heard::read(kind.as_bytes(), message), Some(Ok(Heard { sender, what })));
        }
        assert_eq!(Heard::read(b"chat", br#"{"type":"chat","userId":"u8","content":"hello"}"#), Some(Err(Foreign)));
        assert_eq!(Heard::read(b"pong", b"{}"), None);
    }
}
