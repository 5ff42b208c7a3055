//! What is going on with one slot, in four bytes.
//!
//! ```text
//!             something is there            nothing more is there, or the chunk was released
//!   POLLING ─────────────────────► RECEIVING ─────────────────────────────────────────────────► POLLING
//!
//!   SENDING and SHUTTING come and go beside them. CLOSING lets all of them end and begins none; when the last has
//!   ended, RESET becomes one more SHUTTING, and then the socket is closed and the state is that of a free slot again.
//! ```

/// Flags in the lowest byte, and above them the key of the slot's send. All zeroes: the slot is free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State(u32);

impl State {
    pub const OPEN: u32 = 1;
    /// Exactly while a poll is with the kernel.
    pub const POLLING: u32 = 1 << 1;
    /// Exactly while a receive is with the kernel or waits for a buffer.
    pub const RECEIVING: u32 = 1 << 2;
    /// Exactly while a send is with the kernel.
    pub const SENDING: u32 = 1 << 3;
    /// The floor waits for `Event::Sent`.
    pub const AWAITED: u32 = 1 << 4;
    pub const CLOSING: u32 = 1 << 5;
    /// Exactly while a shutdown or a reset is with the kernel.
    pub const SHUTTING: u32 = 1 << 6;
    /// Closing begins with a reset.
    pub const RESET: u32 = 1 << 7;

    const WITH_KERNEL: u32 = Self::POLLING | Self::RECEIVING | Self::SENDING | Self::SHUTTING;

    pub fn has(self, bits: u32) -> bool {
        self.0 & bits != 0
    }

    pub fn is_free(self) -> bool {
        self.0 == 0
    }

    /// Nothing of the slot is with the kernel, or will be without being asked for.
    pub fn is_quiet(self) -> bool {
        !self.has(Self::WITH_KERNEL)
    }

    /// Something begins that was not going on.
    pub fn begin(&mut self, bit: u32) {
        debug_assert!(bit.count_ones() == 1 && !self.has(bit), "{bit:#x} begins twice: {self:?}");
        debug_assert!(bit == Self::OPEN || self.has(Self::OPEN), "{bit:#x} begins on a free slot");
        self.0 |= bit;
    }

    /// Something ends that was going on.
    pub fn end(&mut self, bit: u32) {
        debug_assert!(bit.count_ones() == 1 && self.has(bit), "{bit:#x} ends and has not begun: {self:?}");
        self.0 &= !bit;
    }

    /// A send has begun.
    pub fn begin_send(&mut self, key: usize) {
        debug_assert!(key < 1 << 24 && !self.has(Self::AWAITED | Self::CLOSING));
        self.begin(Self::SENDING);
        self.0 = self.0 & 0xff | (key as u32) << 8;
    }

    /// The key of the send that is with the kernel.
    pub fn send_key(self) -> usize {
        debug_assert!(self.has(Self::SENDING));
        (self.0 >> 8) as usize
    }

    /// Somebody waits for the end of the send.
    pub fn await_sent(&mut self) {
        debug_assert!(self.has(Self::SENDING));
        self.0 |= Self::AWAITED;
    }

    /// The send is over. Says whether somebody has waited for that.
    pub fn end_send(&mut self) -> bool {
        self.end(Self::SENDING);
        let awaited = self.has(Self::AWAITED);
        self.0 &= 0xff & !Self::AWAITED;
        awaited
    }

    /// The socket is closed: the slot may be used again.
    pub fn free(&mut self) {
        debug_assert!(self.has(Self::CLOSING) && self.is_quiet(), "{self:?}");
        *self = Self::default();
    }
}
