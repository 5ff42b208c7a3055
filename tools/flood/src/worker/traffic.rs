//! What the clients send: on a schedule (open loop), or a given number under way (closed loop).

use std::sync::Arc;

use bytes::Bytes;
use ringway::clock::now_us;
use ringway::lane::frame::{Frame, LocalFrame};
use ringway::shard::io::Slot;
use ringway::ws::frame::{Opcode, encode_masked};

use super::Worker;
use super::talk::MASK;
use super::tally::record;
use crate::client::connection::Phase;
use crate::schedule::RoundRobin;

/// Messages in one turn: what has been received meanwhile does not wait for longer.
const SENDS_PER_TURN: usize = 256;

#[derive(Clone, Debug)]
pub struct Plan {
    pub message: Arc<[u8]>,
    pub start_us: u64,
    pub until_us: u64,
    pub pace: Pace,
    /// Answers are awaited: their latency is measured and a missing one is lost.
    pub is_answered: bool,
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
    pub plan: Option<Running>,
}

pub(super) struct Running {
    frame: LocalFrame,
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

impl Traffic {
    /// When something is to be sent.
    pub fn due_us(&self) -> Option<u64> {
        let running = self.plan.as_ref()?;
        match running.rounds {
            Some(rounds) => {
                let due = rounds.schedule.intended_us(running.next);
                (due < running.until_us).then_some(due)
            }
            None => (running.missing > 0).then_some(running.started_us),
        }
    }
}

impl Worker {
    pub(super) fn start_sending(&mut self, plan: Plan) {
        if !(0..self.assignment.count).any(|slot| self.assignment.cast.part(self.number(slot)).sends) {
            return;
        }
        for connection in &mut self.connections {
            (connection.sent, connection.answered) = (0, 0);
        }
        let bytes = Bytes::from(encode_masked(Opcode::Text, &plan.message, MASK));
        let (rounds, missing) = match plan.pace {
            Pace::Interval { us } => (Some(RoundRobin::new(plan.start_us, self.assignment.count, us)), 0),
            Pace::InFlight { count } => (None, count.min(self.held as u32)),
        };
        self.traffic.plan = Some(Running {
            frame: Frame::local(bytes, plan.start_us),
            until_us: plan.until_us,
            rounds,
            next: 0,
            is_answered: plan.is_answered,
            started_us: plan.start_us,
            missing,
        });
    }

    pub(super) fn send_due(&mut self) -> bool {
        let Some(mut running) = self.traffic.plan.take() else { return false };
        let worked = match running.rounds {
            Some(rounds) => self.send_scheduled(&mut running, rounds),
            None => self.fill_up(&mut running),
        };
        self.traffic.plan = Some(running);
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
            if self.may_send(slot) {
                record(&mut self.tally.lag, now - due);
                self.send_counted(slot, &running.frame);
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
                self.send_counted(slot, &running.frame);
            }
        }
        true
    }

    fn may_send(&self, slot: Slot) -> bool {
        let connection = &self.connections[slot as usize];
        connection.phase == Phase::Held && !connection.is_mute && self.assignment.cast.part(self.number(slot)).sends
    }

    fn send_counted(&mut self, slot: Slot, frame: &LocalFrame) {
        self.connections[slot as usize].sent += 1;
        self.tally.sent += 1;
        self.sockets.send(slot, frame);
    }

    /// An answer came: to the oldest message that has none, since answers keep the order.
    pub(super) fn take_answer(&mut self, slot: Slot, now: u64) {
        let connection = &mut self.connections[slot as usize];
        let Some(running) = self.traffic.plan.as_mut().filter(|running| running.is_answered) else {
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
