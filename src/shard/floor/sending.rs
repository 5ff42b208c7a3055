//! The last step of a turn: what is under the cork leaves, connection after connection, and who turns out to be too
//! slow is closed. Likewise when the kernel says that a send is over: what waited behind it goes next.

use crate::metrics::latency::Stopwatch;
use crate::shard::floor::Floor;
use crate::shard::floor::wire::TooSlow;
use crate::shard::io::{Io, Slot};
use crate::ws::close::CloseCode;

/// What is handed to the kernel in one go, and then the clock is looked at: so many sends, one of many bytes counting
/// as several.
const SENDS_AT_ONCE: usize = 64;
const BYTES_PER_SEND: usize = 16 * 1024;

/// Most of the same in one turn, whatever the clock says.
const SENDS_PER_TURN: usize = 1024;

impl<I: Io> Floor<I> {
    /// Sends what is under the cork until `until_us`. False when there was nothing.
    pub(in crate::shard) fn flush_all(&mut self, until_us: u64) -> bool {
        let (mut sends, mut at_once) = (0, 0);
        while let Some(slot) = self.wire.cork.next() {
            debug_assert!(
                !self.wire.connections[slot as usize].phase().is_stopped(),
                "what waits is dropped at the end"
            );
            let before = self.wire.sent_bytes;
            if self.wire.flush(slot) == TooSlow(true) {
                self.close(slot, CloseCode::TOO_SLOW);
            }
            at_once += 1 + (self.wire.sent_bytes - before) / BYTES_PER_SEND;
            if at_once >= SENDS_AT_ONCE || self.wire.cork.has(slot) {
                sends += std::mem::take(&mut at_once);
                self.enter();
                if sends >= SENDS_PER_TURN || self.wire.io.now_us() >= until_us {
                    break;
                }
            }
        }
        debug_assert!(sends + at_once > 0 || self.wire.cork.is_empty(), "where something waits something is sent");
        sends + at_once > 0
    }

    /// Hands what is queued to the kernel and fetches what has completed.
    pub(in crate::shard) fn enter(&mut self) {
        self.wire.io.enter().expect("the kernel takes requests as long as the backend lives");
        self.since_arrival.get_or_insert_with(Stopwatch::start);
        self.entered_sent_bytes = self.wire.sent_bytes;
    }

    /// The same when so many bytes are queued that the kernel takes some time for them.
    pub(in crate::shard) fn enter_if_much(&mut self) {
        if self.wire.sent_bytes - self.entered_sent_bytes >= SENDS_AT_ONCE * BYTES_PER_SEND {
            self.enter();
        }
    }

    /// What was in flight has left, and the slot was waiting for it.
    pub(in crate::shard) fn sent(&mut self, slot: Slot) {
        let phase = self.wire.connections[slot as usize].phase();
        debug_assert!(!phase.is_stopped() && !phase.is_lingering(), "nothing is awaited of who has all: {phase:?}");
        let ends = phase.is_finishing() || phase.is_failing();
        if !self.wire.send_waiting(slot) {
            self.all_sent(slot);
        } else if ends {
            self.wire.io.await_sent(slot);
        }
        self.resume_reading(slot);
        self.state.calls.look_again(slot);
    }
}
