//! What the clients send: on a schedule (open loop), or a given number under way (closed loop).

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use crossbeam_channel::Sender;
use ringway::clock::now_us;
use ringway::lane::frame::{Frame, LocalFrame};
use ringway::shard::io::Slot;
use ringway::ws::frame::{Opcode, encode_masked};

use super::Worker;
use super::day::Books;
use super::talk::MASK;
use super::tally::record;
use crate::client::connection::Phase;
use crate::client::day::{Day, Line};
use crate::schedule::RoundRobin;

/// Messages in one turn: what has been received meanwhile does not wait for longer.
const SENDS_PER_TURN: usize = 256;

#[derive(Clone, Debug)]
pub struct Plan {
    pub saying: Saying,
    pub start_us: u64,
    pub until_us: u64,
    pub pace: Pace,
    /// Answers are awaited: their latency is measured and a missing one is lost.
    pub is_answered: bool,
}

#[derive(Clone, Debug)]
pub enum Saying {
    /// The same by all who send.
    Message(Arc<[u8]>),
    /// By those whose line it is, each in his own words; a chat with so many bytes of content.
    Line { line: Line, content_bytes: usize },
}

#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// Every connection sends once per interval, all of them evenly spread.
    Interval { us: u64 },
    /// So many messages of this worker are under way at once.
    InFlight { count: u32 },
}

#[derive(Default)]
pub(super) struct Traffic {
    pub plans: Vec<Running>,
    /// Who hears, by their end being dropped, that nothing more will be sent.
    pub waiting: Vec<Sender<Infallible>>,
}

pub(super) struct Running {
    words: Words,
    until_us: u64,
    /// `None` in a closed loop.
    rounds: Option<RoundRobin>,
    /// Events of the schedule that have been dealt with; in a closed loop, the slot whose turn it is.
    next: u64,
    is_answered: bool,
    started_us: u64,
    /// Of a closed loop: still to be put under way.
    missing: u32,
}

enum Words {
    Frame(LocalFrame),
    Line { line: Line, content_bytes: usize },
}

impl Traffic {
    /// Tells those who wait for it that nothing more will be sent.
    pub fn tell_if_over(&mut self) {
        if !self.waiting.is_empty() && self.plans.iter().all(|plan| plan.is_over(now_us())) {
            self.waiting.clear();
        }
    }

    /// When something is to be sent.
    pub fn due_us(&self) -> Option<u64> {
        self.plans.iter().filter_map(Running::due_us).min()
    }
}

impl Running {
    /// Nothing more will be sent.
    fn is_over(&self, now: u64) -> bool {
        now >= self.until_us && (self.rounds.is_none() || self.due_us().is_none())
    }

    fn due_us(&self) -> Option<u64> {
        match self.rounds {
            Some(rounds) => {
                let due = rounds.schedule.intended_us(self.next);
                (due < self.until_us).then_some(due)
            }
            None => (self.missing > 0).then_some(self.started_us),
        }
    }
}

impl Worker {
    pub(super) fn start_sending(&mut self, plan: Plan) {
        if !(0..self.assignment.count).any(|slot| self.assignment.cast.part(self.number(slot)).sends) {
            return;
        }
        // What is sent beside each other counts together.
        if self.traffic.plans.is_empty() {
            for connection in &mut self.connections {
                (connection.sent, connection.answered) = (0, 0);
            }
            self.books.iter_mut().for_each(Books::begin);
        }
        let words = match plan.saying {
            Saying::Message(message) => {
                let bytes = Bytes::from(encode_masked(Opcode::Text, &message, MASK));
                Words::Frame(Frame::local(bytes, plan.start_us))
            }
            Saying::Line { line, content_bytes } => Words::Line { line, content_bytes },
        };
        let (rounds, missing) = match plan.pace {
            Pace::Interval { us } => (Some(RoundRobin::new(plan.start_us, self.assignment.count, us)), 0),
            Pace::InFlight { count } => (None, count.min(self.held as u32)),
        };
        self.traffic.plans.push(Running {
            words,
            until_us: plan.until_us,
            rounds,
            next: 0,
            is_answered: plan.is_answered,
            started_us: plan.start_us,
            missing,
        });
    }

    pub(super) fn send_due(&mut self) -> bool {
        let mut plans = std::mem::take(&mut self.traffic.plans);
        let mut worked = false;
        for running in &mut plans {
            worked |= match running.rounds {
                Some(rounds) => self.send_scheduled(running, rounds),
                None => self.fill_up(running),
            };
        }
        self.traffic.plans = plans;
        worked
    }

    fn send_scheduled(&mut self, running: &mut Running, rounds: RoundRobin) -> bool {
        let mut worked = false;
        for _ in 0..SENDS_PER_TURN {
            let now = now_us();
            let due = rounds.schedule.intended_us(running.next);
            if due > now || due >= running.until_us {
                break;
            }
            let slot = rounds.connection(running.next);
            running.next += 1;
            worked = true;
            if self.may_send(slot, &running.words) {
                record(&mut self.tally.lag, now - due);
                self.say(slot, &running.words, due);
            }
        }
        worked
    }

    /// Puts messages under way until the wanted number is; every answer makes room for one.
    fn fill_up(&mut self, running: &mut Running) -> bool {
        let now = now_us();
        if now >= running.until_us {
            running.missing = 0;
        }
        if running.missing == 0 || now < running.started_us {
            return false;
        }
        let mut tries = self.assignment.count;
        while running.missing > 0 && tries > 0 {
            let slot = (running.next % u64::from(self.assignment.count)) as Slot;
            running.next += 1;
            tries -= 1;
            let connection = &mut self.connections[slot as usize];
            if connection.sent == connection.answered && connection.phase == Phase::Held && !connection.is_mute {
                connection.since_us = now_us() as u32;
                running.missing -= 1;
                self.say(slot, &running.words, running.started_us);
            }
        }
        true
    }

    fn may_send(&self, slot: Slot, words: &Words) -> bool {
        let (connection, number) = (&self.connections[slot as usize], self.number(slot));
        let has_words = match (words, &self.books) {
            (Words::Line { line, .. }, Some(books)) => line.is_said_by(books.day.role(number)),
            _ => self.assignment.cast.part(number).sends,
        };
        connection.phase == Phase::Held && !connection.is_mute && has_words
    }

    fn say(&mut self, slot: Slot, words: &Words, intended_us: u64) {
        self.tally.sent += 1;
        match words {
            Words::Frame(frame) => {
                self.connections[slot as usize].sent += 1;
                self.sockets.send(slot, frame);
            }
            Words::Line { line, content_bytes } => self.say_line(slot, *line, intended_us, *content_bytes),
        }
    }

    /// Says something to other clients, who are to hear it from now on.
    fn say_line(&mut self, slot: Slot, line: Line, intended_us: u64, content_bytes: usize) {
        let number = self.number(slot);
        let Some(books) = &self.books else { return };
        let connection = &mut self.connections[slot as usize];
        connection.sent += u32::from(line.is_stamped());
        let text = books.day.text(line, number, connection.sent, intended_us, content_bytes);
        self.tally.expected += u64::from(Day::receipts(line, books.audiences[slot as usize]));
        self.say_masked(slot, Opcode::Text, text.as_bytes(), intended_us);
    }

    /// An answer came: to the oldest message that has none, since answers keep the order.
    pub(super) fn take_answer(&mut self, slot: Slot, now: u64) {
        let connection = &mut self.connections[slot as usize];
        let Some(running) = self.traffic.plans.iter_mut().find(|running| running.is_answered) else {
            self.tally.others += 1;
            return;
        };
        if connection.answered == connection.sent {
            self.tally.others += 1;
            return;
        }
        let latency_us = match running.rounds {
            Some(rounds) => now.saturating_sub(rounds.intended_us(slot, connection.answered)),
            None => {
                running.missing += 1;
                (now as u32).wrapping_sub(connection.since_us).into()
            }
        };
        connection.answered += 1;
        self.tally.answered += 1;
        record(&mut self.tally.round_trip, latency_us);
    }
}
