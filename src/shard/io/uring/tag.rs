//! What a completion is about: the 64 bits that a request carries to the kernel and back.

use crate::shard::io::Slot;

/// Kind in the highest byte, below it the key of the send or the number of the buffer, then the slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    pub kind: Kind,
    pub key: usize,
    pub slot: Slot,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    Poll,
    Receive,
    Send,
    Shutdown,
    Cancel,
    Close,
    Tick,
    Alarm,
}

const KINDS: [Kind; 8] =
    [Kind::Poll, Kind::Receive, Kind::Send, Kind::Shutdown, Kind::Cancel, Kind::Close, Kind::Tick, Kind::Alarm];

impl Tag {
    /// Of a request of which a slot has one at most.
    pub fn of(kind: Kind, slot: Slot) -> Self {
        Self { kind, key: 0, slot }
    }

    pub fn user_data(self) -> u64 {
        debug_assert!(self.key < 1 << 24);
        (self.kind as u64) << 56 | (self.key as u64) << 32 | u64::from(self.slot)
    }

    pub fn parse(user_data: u64) -> Self {
        let kind = KINDS[(user_data >> 56) as usize];
        Self { kind, key: (user_data >> 32 & 0xff_ffff) as usize, slot: user_data as Slot }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sent_to_the_kernel_is_known_again() {
        for kind in KINDS {
            for (key, slot) in [(0, 0), (1, Slot::MAX), ((1 << 24) - 1, 7)] {
                let tag = Tag { kind, key, slot };
                assert_eq!(Tag::parse(tag.user_data()), tag);
            }
        }
    }
}
