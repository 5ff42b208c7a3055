//! Messages of clients that wait until it is known whether they may join what they ask for, and those behind them that
//! join or leave channels too. Sans-IO: messages and verdicts in, messages that may go on out.
//!
//! ```text
//!  session: begin ─► waits ──── resume (a verdict), expire ────► goes on ─► next ─► the messages behind it, in order
//!                      └─────── forget: the connection has gone
//! ```
//!
//! Called by the session (a message asks) and the floor (verdicts, deadlines, connections that end).
//!
//! Invariants: of one connection at most one message waits for a verdict, and what joins or leaves behind it keeps the
//! order of the messages. A connection of which nothing waits has no entry here. What waits is bounded: messages and
//! bytes per connection and in all. Whatever is not known to be granted is not joined.

use std::collections::{HashMap, VecDeque};

use slab::Slab;

use crate::lane::authorization::{Permission, Verdict};
use crate::lane::queue;
use crate::lane::{ConnectionId, Ticket};
use crate::shard::connection::wheel::Wheel;
use crate::shard::connection::{WAITING_BYTES_MAX, WAITING_MAX};
use crate::shard::io::Slot;

/// Messages of one connection that may wait, and their bytes.
pub const MESSAGES_OF_CONNECTION_MAX: usize = WAITING_MAX;
pub const BYTES_OF_CONNECTION_MAX: usize = WAITING_BYTES_MAX;

/// Bytes of all messages of one shard that wait, as much as its lane holds.
pub const BYTES_MAX: usize = queue::BYTES_MAX;

/// For how long a verdict is waited for. Whoever is asked has a shorter deadline of his own and always answers, so this
/// is for answers that were lost on their way.
pub const TIMEOUT_TICKS: u32 = 300;

/// As many wait already as may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// Of this connection.
    Connection,
    Shard,
}

pub struct Pending {
    lines: Slab<Line>,
    /// Where the line of a connection stands.
    places: HashMap<Slot, u32>,
    /// The deadlines, by place.
    wheel: Wheel,
    /// Places whose deadline has come, to be attended to.
    expired: VecDeque<u32>,
    bytes: usize,
    begun: u64,
    served: Served,
}

/// The message that is served now.
enum Served {
    /// One that has just come, or none.
    New,
    /// One that has waited behind others. It may have to ask.
    Behind,
    /// One that has asked, with what is known by now.
    Asked(Known),
}

/// What waits of one connection.
struct Line {
    from: ConnectionId,
    /// The first message, until its verdict comes.
    waiting: Option<(Ticket, Box<str>)>,
    behind: VecDeque<Box<str>>,
    bytes: usize,
}

enum Known {
    Each(Vec<(Box<str>, Permission)>),
    /// Nobody could be asked.
    Nothing,
}

impl Pending {
    pub fn new(tick: u32) -> Self {
        Self {
            lines: Slab::new(),
            places: HashMap::new(),
            wheel: Wheel::new(tick, 0),
            expired: VecDeque::new(),
            bytes: 0,
            begun: 0,
            served: Served::New,
        }
    }

    /// Whether a message of this connection that joins or leaves has to wait behind others.
    pub fn is_behind(&self, slot: Slot) -> bool {
        matches!(self.served, Served::New) && self.places.contains_key(&slot)
    }

    /// The message that is served has asked, and does not ask again.
    pub fn has_asked(&self) -> bool {
        matches!(self.served, Served::Asked(_))
    }

    /// A message waits behind those of its connection that wait already.
    ///
    /// # Errors
    ///
    /// When there is no room for it.
    pub fn follow(&mut self, slot: Slot, message: &str) -> Result<(), Full> {
        let place = self.places[&slot] as usize;
        let line = &self.lines[place];
        if line.behind.len() + 1 >= MESSAGES_OF_CONNECTION_MAX || line.bytes + message.len() > BYTES_OF_CONNECTION_MAX {
            return Err(Full::Connection);
        }
        if self.bytes + message.len() > BYTES_MAX {
            return Err(Full::Shard);
        }
        self.count_in(place, message.len());
        self.lines[place].behind.push_back(message.into());
        Ok(())
    }

    /// A message begins to wait for a verdict, before somebody is asked for it.
    ///
    /// # Errors
    ///
    /// When there is no room for it.
    pub fn begin(&mut self, from: ConnectionId, message: &str, tick: u32) -> Result<Ticket, Full> {
        if self.bytes + message.len() > BYTES_MAX {
            return Err(Full::Shard);
        }
        let lines = &mut self.lines;
        let new = || lines.insert(Line { from, waiting: None, behind: VecDeque::new(), bytes: 0 }) as u32;
        let place = *self.places.entry(from.slot).or_insert_with(new);
        self.begun += 1;
        let ticket = Ticket(self.begun);
        let line = &mut self.lines[place as usize];
        assert!(line.from == from && line.waiting.is_none(), "one message of a connection waits for a verdict");
        line.waiting = Some((ticket, message.into()));
        self.count_in(place as usize, message.len());
        self.wheel.set(place, tick.saturating_add(TIMEOUT_TICKS));
        Ok(ticket)
    }

    /// Nobody could be asked: the message that has just begun to wait goes on at once.
    pub fn go_on_without(&mut self, slot: Slot) {
        self.take_waiting(self.places[&slot] as usize, Known::Nothing);
    }

    /// A verdict comes: the message that waited for it, which goes on with it. `None` when none did: its connection has
    /// gone, or its time was over.
    pub fn resume(&mut self, verdict: Verdict) -> Option<Box<str>> {
        let Verdict { to, ticket, permissions } = verdict;
        let place = *self.places.get(&to.slot)? as usize;
        let line = &self.lines[place];
        let waits = line.from == to && line.waiting.as_ref().is_some_and(|(waits_for, _)| *waits_for == ticket);
        waits.then(|| self.take_waiting(place, Known::Each(permissions)))
    }

    /// What is known of a channel to the message that goes on. Not granted unless it is known to be.
    pub fn permission(&self, channel: &str) -> Permission {
        match &self.served {
            Served::Asked(Known::Each(permissions)) => {
                let found = permissions.iter().find(|(name, _)| **name == *channel);
                found.map_or(Permission::Unavailable, |(_, permission)| *permission)
            }
            _ => Permission::Unavailable,
        }
    }

    /// A message of this connection that had waited has been served. The next one behind it; `None` when none is left,
    /// or one waits for a verdict again.
    pub fn next(&mut self, slot: Slot) -> Option<Box<str>> {
        self.served = Served::New;
        let place = *self.places.get(&slot)? as usize;
        if self.lines[place].waiting.is_some() {
            return None;
        }
        let next = self.lines[place].behind.pop_front();
        match &next {
            Some(message) => {
                self.count_out(place, message.len());
                self.served = Served::Behind;
            }
            None => self.forget(slot),
        }
        next
    }

    /// A connection has gone, or is about to.
    pub fn forget(&mut self, slot: Slot) {
        let Some(place) = self.places.remove(&slot) else { return };
        let line = self.lines.remove(place as usize);
        self.wheel.cancel(place);
        self.bytes -= line.bytes;
    }

    /// A tick has come: finds whose deadline is over.
    pub fn tick(&mut self, tick: u32) {
        if self.is_waiting() {
            self.wheel.advance(tick, &mut self.expired);
        }
    }

    /// The next message whose deadline is over, with its connection: it goes on without a verdict.
    pub fn expire(&mut self) -> Option<(ConnectionId, Box<str>)> {
        while let Some(place) = self.expired.pop_front() {
            // Another one may have come in its place meanwhile.
            let place = place as usize;
            let Some(line) = self.lines.get(place).filter(|line| line.waiting.is_some()) else { continue };
            let from = line.from;
            return Some((from, self.take_waiting(place, Known::Nothing)));
        }
        None
    }

    /// Whether ticks are needed.
    pub fn is_waiting(&self) -> bool {
        !self.wheel.is_empty() || !self.expired.is_empty()
    }

    /// Whether something is to be done now.
    pub fn has_work(&self) -> bool {
        !self.expired.is_empty()
    }

    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    fn take_waiting(&mut self, place: usize, known: Known) -> Box<str> {
        let (_, message) = self.lines[place].waiting.take().expect("it waits");
        self.wheel.cancel(place as u32);
        self.count_out(place, message.len());
        self.served = Served::Asked(known);
        message
    }

    fn count_in(&mut self, place: usize, bytes: usize) {
        self.lines[place].bytes += bytes;
        self.bytes += bytes;
    }

    fn count_out(&mut self, place: usize, bytes: usize) {
        self.lines[place].bytes -= bytes;
        self.bytes -= bytes;
    }
}
