//! `auth` messages whose token is verified beside the shard, and what their clients have sent behind them. Sans-IO.
//!
//! A client is answered in the order of its messages, so nothing behind such a message is looked at before its token
//! is: it is kept here, and the client is not read meanwhile. Begun by the session, ended by the floor.
//!
//! Invariant: what is kept is bounded: one message for each connection, so many and so many bytes for a shard, and
//! behind each no more than what one receive brings.

use std::collections::HashMap;

use crate::lane::ConnectionId;
use crate::shard::io::Slot;

/// Messages of one shard that may wait: a storm of everybody who is there, on a small node.
const MESSAGES_MAX: usize = 16_384;

/// And their bytes: so many tokens of 2 KiB.
const BYTES_MAX: usize = 32 << 20;

#[derive(Default)]
pub struct Paused {
    messages: HashMap<Slot, PausedMessage>,
    /// Of the messages.
    bytes: usize,
}

/// One message that waits.
#[derive(Debug, PartialEq, Eq)]
pub struct PausedMessage {
    generation: u32,
    pub message: Box<str>,
    /// What came behind it, from a frame's first byte on.
    pub rest: Vec<u8>,
}

impl Paused {
    /// A message begins to wait. False when it may not: as many do as may.
    pub fn begin(&mut self, of: ConnectionId, message: &str) -> bool {
        if self.messages.len() >= MESSAGES_MAX || self.bytes + message.len() > BYTES_MAX {
            return false;
        }
        self.bytes += message.len();
        let held = PausedMessage { generation: of.generation, message: message.into(), rest: Vec::new() };
        let other = self.messages.insert(of.slot, held);
        debug_assert!(other.is_none(), "a connection whose message waits is not read");
        true
    }

    /// Whether a message of this connection waits. Asked for all input: while there is none, it costs a comparison.
    pub fn has(&self, slot: Slot) -> bool {
        !self.messages.is_empty() && self.messages.contains_key(&slot)
    }

    /// Keeps what has come behind a message that waits. False when none does.
    pub fn keep(&mut self, slot: Slot, input: &[u8]) -> bool {
        if !self.has(slot) {
            return false;
        }
        if let Some(held) = self.messages.get_mut(&slot) {
            held.rest.extend_from_slice(input);
        }
        true
    }

    /// The token of a connection's message is verified. `None`: the connection has gone.
    pub fn take(&mut self, of: ConnectionId) -> Option<PausedMessage> {
        let is_of = |held: &PausedMessage| held.generation == of.generation;
        self.messages.get(&of.slot).is_some_and(is_of).then(|| self.remove(of.slot)).flatten()
    }

    /// A connection has gone.
    pub fn forget(&mut self, slot: Slot) {
        self.remove(slot);
    }

    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    fn remove(&mut self, slot: Slot) -> Option<PausedMessage> {
        let held = self.messages.remove(&slot)?;
        self.bytes -= held.message.len();
        Some(held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(slot: Slot, generation: u32) -> ConnectionId {
        ConnectionId { shard: 0, slot, generation }
    }

    #[test]
    fn what_comes_behind_a_message_waits_with_it() {
        let mut paused = Paused::default();
        assert!(!paused.has(1) && !paused.keep(1, b"x"));
        assert!(paused.begin(id(1, 7), "auth"));
        assert!(paused.has(1) && paused.keep(1, b"a") && paused.keep(1, b"b") && !paused.keep(2, b"c"));
        let held = paused.take(id(1, 7)).unwrap();
        assert_eq!((&*held.message, &*held.rest), ("auth", &b"ab"[..]));
        assert!(paused.is_empty() && paused.bytes == 0);
    }

    #[test]
    fn an_answer_for_a_connection_that_has_gone_finds_nothing() {
        let mut paused = Paused::default();
        paused.begin(id(1, 7), "auth");
        paused.forget(1);
        assert_eq!(paused.take(id(1, 7)), None);
        paused.begin(id(1, 8), "of another one in the same place");
        assert_eq!(paused.take(id(1, 7)), None);
        assert!(paused.take(id(1, 8)).is_some());
    }

    #[test]
    fn so_many_may_wait_and_so_many_bytes() {
        let mut paused = Paused::default();
        for slot in 0..MESSAGES_MAX as Slot {
            assert!(paused.begin(id(slot, 1), "auth"));
        }
        assert!(!paused.begin(id(MESSAGES_MAX as Slot, 1), "auth"));
        let mut paused = Paused::default();
        assert!(paused.begin(id(1, 1), &"x".repeat(BYTES_MAX)) && !paused.begin(id(2, 1), "x"));
        paused.forget(1);
        assert!(paused.begin(id(2, 1), "x"));
    }
}
