//! What a client says and what it makes of what it hears: upgrade, greeting, subscription,
//! heartbeats, receipts, answers.

use ringway::clock::now_us;
use ringway::lane::frame::Frame;
use ringway::shard::io::{Chunk, Io, Slot};
use ringway::ws::frame::{Opcode, encode_masked};
use sonic_rs::JsonValueTrait;

use super::ledger::Ledger;
use super::receipts::Receipts;
use super::tally::{Tally, record};
use super::{Assignment, Worker};
use crate::client::cast::Protocol;
use crate::client::connection::{Connection, Phase};
use crate::client::heard::Heard;
use crate::client::parser::{self, Front, Head};
use crate::client::upgrade;
use crate::limits::Trouble;

/// The mask of every frame: any is as good against a server, and with one for all, connections share a frame.
pub(super) const MASK: [u8; 4] = [0x5a, 0xc3, 0x17, 0x8e];

impl Worker {
    pub(super) fn receive(&mut self, slot: Slot, chunk: Chunk) {
        let now = now_us();
        let mut input = std::mem::take(&mut self.input);
        input.clear();
        let connection = &mut self.connections[slot as usize];
        // A client that does not read stops once it has heard that it is in.
        let reads = connection.phase != Phase::Held || self.assignment.cast.part(self.assignment.first + slot).reads;
        if std::mem::take(&mut connection.is_partial)
            && let Some(partial) = self.partials.remove(&slot)
        {
            input.extend_from_slice(&partial);
            input.extend_from_slice(self.sockets.io.bytes(&chunk));
        } else {
            let Self { sockets, assignment, connections, ledger, tally, .. } = self;
            let bytes = sockets.io.bytes(&chunk);
            let taken = receipts(assignment, connections, ledger, tally, slot, now).map_or(0, |r| r.take_all(bytes));
            input.extend_from_slice(&bytes[taken..]);
        }
        self.sockets.io.release(chunk, reads);
        let taken = self.read(slot, &input, now);
        if taken < input.len() && !matches!(self.connections[slot as usize].phase, Phase::Closing(_)) {
            self.connections[slot as usize].is_partial = true;
            self.partials.insert(slot, input[taken..].to_vec());
        }
        self.input = input;
    }

    /// Reads what is complete. Returns how many bytes that was.
    fn read(&mut self, slot: Slot, input: &[u8], now: u64) -> usize {
        let mut taken = 0;
        if self.connections[slot as usize].phase == Phase::Upgrading {
            match self.read_head(slot, input) {
                Some(head_bytes) => taken = head_bytes,
                None => return 0,
            }
        }
        loop {
            let Self { assignment, connections, ledger, tally, .. } = self;
            if let Some(receipts) = receipts(assignment, connections, ledger, tally, slot, now) {
                taken += receipts.take_all(&input[taken..]);
            }
            let connection = &self.connections[slot as usize];
            if matches!(connection.phase, Phase::Closing(_)) || connection.is_mute {
                return input.len();
            }
            match parser::frame(&input[taken..]) {
                Front::Incomplete => return taken,
                Front::Bad => {
                    self.tally.count_error("bad_frame");
                    self.end(slot);
                    return input.len();
                }
                Front::Frame { opcode, fin, payload, bytes } => {
                    taken += bytes;
                    self.hear(slot, opcode, fin, payload, now);
                }
            }
        }
    }

    /// Reads the answer to the upgrade. `None` while it is incomplete, and when it was a refusal.
    fn read_head(&mut self, slot: Slot, input: &[u8]) -> Option<usize> {
        match parser::head(input) {
            Head::Incomplete => None,
            Head::Response { status: 101, head } if upgrade::is_accepted(head) => {
                self.connections[slot as usize].phase = Phase::Greeting;
                if self.assignment.cast.greeting.is_empty() {
                    self.greeted(slot);
                }
                Some(head.len())
            }
            Head::Response { status, .. } => {
                self.tally.count_error(format!("status_{status}"));
                if matches!(status, 101 | 400..=428) {
                    let body = String::from_utf8_lossy(input);
                    self.give_up(Trouble::new(format!("the server refuses the upgrade: {}", body.trim())));
                }
                self.end(slot);
                None
            }
            Head::Bad => {
                self.give_up(Trouble::new("the server does not speak HTTP"));
                self.end(slot);
                None
            }
        }
    }

    fn hear(&mut self, slot: Slot, opcode: Opcode, fin: bool, payload: &[u8], now: u64) {
        match opcode {
            Opcode::Text | Opcode::Binary if fin => self.hear_message(slot, payload, now),
            Opcode::Text | Opcode::Binary | Opcode::Continuation => self.tally.count_error("fragmented_message"),
            Opcode::Ping => self.say_masked(slot, Opcode::Pong, payload, now),
            Opcode::Pong => {}
            Opcode::Close => {
                let code = payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
                self.tally.count_error(format!("close_{code}"));
                // The server ends the connection when it has the answer.
                self.say_masked(slot, Opcode::Close, &payload[..payload.len().min(2)], now);
            }
        }
    }

    fn hear_message(&mut self, slot: Slot, message: &[u8], now: u64) {
        match self.connections[slot as usize].phase {
            Phase::Greeting if parser::contains(message, self.assignment.cast.greeting.as_bytes()) => {
                self.greeted(slot)
            }
            Phase::Subscribing if parser::contains(message, self.assignment.cast.subscribed.as_bytes()) => {
                self.hold(slot)
            }
            _ => self.hear_other(slot, message, now),
        }
    }

    fn hear_other(&mut self, slot: Slot, message: &[u8], now: u64) {
        if self.assignment.cast.protocol == Protocol::PlainEcho {
            return self.take_answer(slot, now);
        }
        let kind = parser::kind(message);
        if let Some(books) = &mut self.books
            && let Some(heard) = kind.and_then(|kind| Heard::read(kind, message))
        {
            return books.receive(slot, heard, now, &mut self.tally);
        }
        match kind {
            Some(b"pong" | b"message_sent") => self.take_answer(slot, now),
            Some(b"heartbeat") => self.say_masked(slot, Opcode::Text, br#"{"type":"heartbeat_ack"}"#, now),
            Some(b"error") => {
                let code = sonic_rs::get(message, &["payload", "code"]);
                let code = code.ok().and_then(|code| code.as_str().map(str::to_owned));
                self.tally.count_error(code.unwrap_or_else(|| "error".into()));
                if self.connections[slot as usize].phase != Phase::Held {
                    self.end(slot);
                } else if self.books.is_some() {
                    self.tally.denied += 1;
                } else {
                    // An error is an answer as well: the server has done its work.
                    self.take_answer(slot, now);
                }
            }
            _ => self.tally.others += 1,
        }
    }

    /// The server has said that the client is in.
    fn greeted(&mut self, slot: Slot) {
        self.connections[slot as usize].phase = Phase::Subscribing;
        match self.assignment.cast.subscription(self.number(slot)) {
            Some(message) => {
                self.say_masked(slot, Opcode::Text, message.as_bytes(), now_us());
                if self.assignment.cast.subscribed.is_empty() {
                    self.hold(slot);
                }
            }
            None => self.hold(slot),
        }
    }

    fn hold(&mut self, slot: Slot) {
        let is_mute = !self.assignment.cast.part(self.number(slot)).listens();
        let connection = &mut self.connections[slot as usize];
        connection.phase = Phase::Held;
        connection.is_mute = is_mute;
        self.held += 1;
        self.opening.in_progress -= 1;
        let took_us = (now_us() as u32).wrapping_sub(connection.since_us);
        record(&mut self.tally.connect, took_us.into());
    }

    pub(super) fn say_masked(&mut self, slot: Slot, opcode: Opcode, payload: &[u8], now: u64) {
        self.sockets.send(slot, &Frame::local(encode_masked(opcode, payload, MASK).into(), now));
    }
}

/// The stamped messages of the connection in `slot`; none are expected before it is held, nor
/// by one that has fallen silent.
fn receipts<'a>(
    assignment: &Assignment,
    connections: &'a mut [Connection],
    ledger: &'a mut Option<Ledger>,
    tally: &'a mut Tally,
    slot: Slot,
    now: u64,
) -> Option<Receipts<'a>> {
    let connection = &mut connections[slot as usize];
    (connection.phase == Phase::Held && !connection.is_mute).then(|| Receipts {
        slot,
        group: assignment.cast.part(assignment.first + slot).group,
        connection,
        ledger: ledger.as_mut(),
        tally,
        now,
    })
}
