//! The receipts' fast path: a run of stamped messages is read where the kernel has put it, without a copy and without a
//! look at anything else than the message, its sequence and the tally.

use ringway::shard::io::Slot;
use ringway::ws::frame::Opcode;

use super::ledger::Ledger;
use super::tally::{Tally, record_many};
use crate::client::connection::{Connection, STREAMS};
use crate::client::parser::{self, Front};
use crate::client::stamp::Stamp;

/// One connection's receipts, at one moment.
pub(super) struct Receipts<'a> {
    pub slot: Slot,
    /// The first of its groups.
    pub group: u32,
    pub connection: &'a mut Connection,
    pub ledger: Option<&'a mut Ledger>,
    pub tally: &'a mut Tally,
    pub now: u64,
}

/// Receipts with the same latency: messages that were published together come together.
#[derive(Default)]
struct Alike {
    intended_us: u64,
    count: u64,
}

impl Receipts<'_> {
    /// Reads stamped messages from the front of the input. Returns the bytes of those; what is next is
    /// something else, or incomplete.
    pub fn take_all(mut self, input: &[u8]) -> usize {
        let mut taken = 0;
        let mut alike = Alike::default();
        while let Front::Frame { opcode: Opcode::Text | Opcode::Binary, fin: true, payload, bytes } =
            parser::frame(&input[taken..])
            && let Some(stamp) = Stamp::read(payload)
        {
            self.judge(stamp);
            if stamp.intended_us != alike.intended_us {
                self.record(&alike);
                alike = Alike { intended_us: stamp.intended_us, count: 0 };
            }
            alike.count += 1;
            taken += bytes;
        }
        self.record(&alike);
        taken
    }

    #[inline]
    fn judge(&mut self, stamp: Stamp) {
        let receipt = match &mut self.ledger {
            Some(ledger) => ledger.receive(self.slot, self.group, stamp),
            None => Some(self.connection.sequences[usize::from(stamp.stream) % STREAMS].receive(stamp.number)),
        };
        match receipt {
            Some(receipt) => self.tally.count_receipt(receipt),
            None => self.tally.count_foreign(),
        }
        self.tally.receipts += 1;
    }

    fn record(&mut self, alike: &Alike) {
        if alike.count > 0 {
            record_many(&mut self.tally.latency, self.now.saturating_sub(alike.intended_us), alike.count);
        }
    }
}
