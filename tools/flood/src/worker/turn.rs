//! The worker's loop: orders, connects, due messages, completions; then sleep until the bell rings or something is due.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use ringway::clock::now_us;
use ringway::shard::io::{Event, Io, Slot};

use super::ledger::Ledger;
use super::{Order, Worker};
use crate::client::connection::{After, Phase, Sequence};
use crate::publish::under_way::UnderWay;
use crate::sockets::SLEEP_MAX;

impl Worker {
    pub fn run(mut self) {
        while !self.ended {
            if !self.turn() {
                self.sleep();
            }
        }
    }

    /// Does what there is to do. False when that was nothing.
    fn turn(&mut self) -> bool {
        let mut worked = self.take_orders() | self.open_due() | self.send_due();
        self.sockets.enter();
        while let Some(event) = self.sockets.next() {
            self.handle(event);
            worked = true;
        }
        if worked {
            if let Some(ledger) = &mut self.ledger {
                ledger.tell();
            }
            self.show();
        }
        // Behind the gauges.
        self.traffic.tell_if_over();
        worked
    }

    fn sleep(&mut self) {
        let Self { sockets, assignment, opening, traffic, .. } = self;
        sockets.sleep(|| {
            let now = now_us();
            let due = [opening.due_us(now), traffic.due_us()].into_iter().flatten().min();
            let time = due.map_or(SLEEP_MAX, |due| Duration::from_micros(due.saturating_sub(now)).min(SLEEP_MAX));
            (!time.is_zero() && assignment.orders.is_empty()).then_some(time)
        });
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Received { slot, chunk } => self.receive(slot, chunk),
            Event::Ended { slot } => self.end(slot),
            Event::Closed { slot } => self.free(slot),
            Event::Sent { .. } | Event::Tick | Event::Alarm => {}
        }
    }

    fn take_orders(&mut self) -> bool {
        let mut took = false;
        while let Ok(order) = self.assignment.orders.try_recv() {
            took = true;
            match order {
                Order::Open(ramp) => self.start_opening(ramp),
                Order::Drop => self.drop_all(),
                Order::Follow { stream, next } => {
                    self.connections.iter_mut().for_each(|c| c.sequences[stream] = Sequence::from(next));
                }
                // Whoever waits hears that `ready` is gone.
                Order::KeepBooks { under_way, ready: _ready } => self.open_books(under_way),
                Order::Send(plan) => self.start_sending(plan),
                Order::Finish { done } => self.traffic.waiting.push(done),
                Order::Hush => self.traffic.plans.clear(),
                Order::Report(to) => {
                    let tally = std::mem::take(&mut self.tally);
                    self.reported.add(&tally);
                    // Nobody waits any more: nobody misses it.
                    let _ = to.send(tally);
                }
                Order::End => self.ended = true,
            }
        }
        took
    }

    fn open_books(&mut self, under_way: Arc<UnderWay>) {
        let Self { assignment, connections, .. } = self;
        let (_, each) = assignment.cast.troupe.groups();
        let first_channels = connections.iter().enumerate().map(|(slot, connection)| {
            let part = assignment.cast.part(assignment.first + slot as u32);
            (connection.phase == Phase::Held && part.is_audience()).then_some(part.group)
        });
        self.ledger = Some(Ledger::open(under_way, each, first_channels));
    }

    /// The server or the network has ended a connection.
    pub(super) fn end(&mut self, slot: Slot) {
        let connection = &mut self.connections[slot as usize];
        let is_mute = connection.is_mute;
        let after = match connection.phase {
            Phase::Free | Phase::Closing(_) => return,
            Phase::Held => {
                self.held -= 1;
                if is_mute {
                    self.tally.count_error("vanished");
                } else {
                    self.tally.lost += 1;
                }
                After::Nothing
            }
            Phase::Upgrading | Phase::Greeting | Phase::Subscribing => {
                self.opening.in_progress -= 1;
                self.tally.refused += 1;
                After::Retry
            }
        };
        self.connections[slot as usize].phase = Phase::Closing(after);
        self.sockets.io.close(slot);
    }

    fn free(&mut self, slot: Slot) {
        self.partials.remove(&slot);
        let connection = std::mem::take(&mut self.connections[slot as usize]);
        if let Phase::Closing(after) = connection.phase {
            self.opening.freed(slot, after);
        }
    }

    fn drop_all(&mut self) {
        for slot in 0..self.assignment.count {
            let stays = self.assignment.cast.part(self.number(slot)).stays;
            let connection = &mut self.connections[slot as usize];
            if connection.phase == Phase::Held && !stays {
                connection.phase = Phase::Closing(After::Again);
                self.held -= 1;
                self.sockets.io.close(slot);
            }
        }
    }

    fn show(&self) {
        let gauges = &self.assignment.gauges;
        gauges.held.store(self.held, Relaxed);
        gauges.connecting.store(self.opening.in_progress.into(), Relaxed);
        gauges.show(&self.reported, &self.tally);
    }
}
