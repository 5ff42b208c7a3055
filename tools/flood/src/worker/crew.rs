//! One thread and its rings. A ring's table takes only so many connections; the rest is in further rings of the same
//! thread, so that a million connections are not a hundred threads on a few cores. All of them ring one bell.

use std::os::fd::{AsFd, OwnedFd};

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::{TimeSpec, TimeValLike};
use ringway::clock::now_us;
use ringway::shard::bell::Bell;

use super::{Seat, Worker};
use crate::limits::Trouble;

/// The longest sleep: after it the gauges are looked at in any case.
const SLEEP_US_MAX: u64 = 1_000_000;

pub struct Crew {
    workers: Vec<Worker>,
    bell: Bell,
    ear: OwnedFd,
}

impl Crew {
    /// Makes the rings. Runs on the crew's thread, because a ring belongs to the thread that made it.
    pub fn new(seats: Vec<Seat>, bell: Bell) -> Result<Self, Trouble> {
        let ear = bell.duplicate()?;
        let workers = seats.into_iter().map(|seat| Worker::new(seat, &bell)).collect::<Result<_, _>>()?;
        Ok(Self { workers, bell, ear })
    }

    pub fn run(mut self) {
        while !self.workers.iter().all(Worker::has_ended) {
            let mut worked = false;
            for worker in &mut self.workers {
                worked |= worker.turn();
            }
            if !worked {
                self.sleep();
            }
        }
    }

    fn sleep(&mut self) {
        self.bell.doze();
        let now = now_us();
        let due = self.workers.iter().filter_map(|worker| worker.due(now)).min();
        let sleep_us = due.map_or(SLEEP_US_MAX, |due| due.saturating_sub(now).min(SLEEP_US_MAX));
        if sleep_us > 0 && self.workers.iter_mut().all(Worker::doze) {
            let mut ear = [PollFd::new(self.ear.as_fd(), PollFlags::POLLIN)];
            // An interrupted or failed wait is a short one.
            let _ = ppoll(&mut ear, Some(TimeSpec::microseconds(sleep_us as i64)), None);
        }
        self.workers.iter_mut().for_each(Worker::rouse);
        self.bell.rouse();
    }
}
