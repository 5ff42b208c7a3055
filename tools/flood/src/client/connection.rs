//! What a worker remembers of one connection: 32 bytes, so that a million of them fit into 32 MB.
//!
//! ```text
//!   free ──► upgrading ──► greeting ──► subscribing ──► held ──► closing ──► free
//!                └─────────────┴─────────────┴─── refused ─────────┘   what is not awaited is skipped
//! ```

/// Independent sequences that one connection can follow: the channel that it subscribed to, and its user's own channel.
pub const STREAMS: usize = 2;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    #[default]
    Free,
    /// The request has been sent, the 101 is awaited.
    Upgrading,
    /// The server's first message is awaited.
    Greeting,
    /// The answer to the subscription is awaited.
    Subscribing,
    Held,
    /// Being closed; the slot is free when the ring says so.
    Closing(After),
}

/// What happens with a slot that has been freed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// Nothing: the connection was lost.
    Nothing,
    /// It is opened again.
    Again,
    /// It is opened again after a while, since it was refused.
    Retry,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Connection {
    pub phase: Phase,
    /// The beginning of a frame waits for its rest among the worker's partial frames.
    pub is_partial: bool,
    /// Understands and answers nothing any more, and says no goodbye.
    pub is_mute: bool,
    /// The low 32 bits of a time in microseconds: of the connect, and of the last send in a closed loop.
    pub since_us: u32,
    /// Messages sent and answers received in the present echo phase.
    pub sent: u32,
    pub answered: u32,
    pub sequences: [Sequence; STREAMS],
}

const _: () = assert!(size_of::<Connection>() <= 32);

/// Checks that numbered messages come once and in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sequence {
    /// The number that comes next; 0: whatever comes first.
    next: u32,
    /// Bit i is set while number `next - 1 - i` has not come.
    missing: u32,
}

/// What a receipt turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipt {
    InOrder,
    /// Numbers before it are missing so far.
    AfterGap,
    /// One of the missing numbers, late.
    OutOfOrder,
    Duplicate,
}

impl Sequence {
    /// Expects `next` as the next number.
    pub fn from(next: u32) -> Self {
        Self { next, missing: 0 }
    }

    #[inline(always)]
    pub fn receive(&mut self, number: u32) -> Receipt {
        if self.next == 0 || number == self.next {
            self.missing <<= 1;
            self.next = number.wrapping_add(1);
            return Receipt::InOrder;
        }
        self.receive_unordered(number)
    }

    /// Receives one of which only the latest counts: how many were skipped for it, `None` when it is no later one.
    pub fn receive_latest(&mut self, number: u32) -> Option<u32> {
        let skipped = number.checked_sub(self.next)?;
        self.next = number.wrapping_add(1);
        Some(skipped)
    }

    #[cold]
    fn receive_unordered(&mut self, number: u32) -> Receipt {
        let ahead = number.wrapping_sub(self.next);
        if ahead < u32::MAX / 2 {
            self.advance(ahead + 1);
            // The skipped ones lie just behind the one that came.
            let skipped = if ahead >= 31 { u32::MAX } else { (1 << ahead) - 1 };
            self.missing |= skipped << 1;
            self.next = number.wrapping_add(1);
            return Receipt::AfterGap;
        }
        // Further back than the window: nobody knows any more, and a duplicate is the less likely cause.
        let behind = self.next.wrapping_sub(number).wrapping_sub(1);
        if behind >= u32::BITS {
            return Receipt::OutOfOrder;
        }
        let bit = 1 << behind;
        if self.missing & bit == 0 {
            return Receipt::Duplicate;
        }
        self.missing &= !bit;
        Receipt::OutOfOrder
    }

    fn advance(&mut self, by: u32) {
        self.missing = self.missing.checked_shl(by).unwrap_or(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Receipt::{AfterGap, Duplicate, InOrder, OutOfOrder};

    fn receive_all(numbers: &[u32]) -> Vec<Receipt> {
        let mut sequence = Sequence::from(1);
        numbers.iter().map(|&number| sequence.receive(number)).collect()
    }

    #[test]
    fn an_unbroken_sequence_is_in_order() {
        assert_eq!(receive_all(&[1, 2, 3, 4]), [InOrder; 4]);
    }

    #[test]
    fn a_repeated_message_is_a_duplicate() {
        assert_eq!(receive_all(&[1, 1, 2, 1, 2]), [InOrder, Duplicate, InOrder, Duplicate, Duplicate]);
    }

    #[test]
    fn a_late_message_is_out_of_order_once_and_then_a_duplicate() {
        assert_eq!(receive_all(&[1, 4, 2, 3, 3, 5]), [InOrder, AfterGap, OutOfOrder, OutOfOrder, Duplicate, InOrder]);
    }

    #[test]
    fn the_first_message_may_be_missing() {
        assert_eq!(receive_all(&[2, 1, 1]), [AfterGap, OutOfOrder, Duplicate]);
    }

    #[test]
    fn a_gap_wider_than_the_window_does_not_hide_what_follows() {
        assert_eq!(
            receive_all(&[1, 100, 99, 69, 101, 100]),
            [InOrder, AfterGap, OutOfOrder, OutOfOrder, InOrder, Duplicate]
        );
    }

    #[test]
    fn who_joins_late_takes_the_first_number_as_it_comes() {
        let mut sequence = Sequence::default();
        assert_eq!([70, 71, 71, 73].map(|number| sequence.receive(number)), [InOrder, InOrder, Duplicate, AfterGap]);
    }
}
