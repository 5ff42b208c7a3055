//! A turn of the floor: commands from the lane, deadlines, what the kernel has completed, fan-outs, and what all of
//! that is answered with. Called by the shard's loop until there is nothing to do.
//!
//! It ends after about a millisecond whatever there is to do: each step has a share of that time, looks at the clock on
//! its way, and goes on in the next turn. Before sleeping everything is looked at once more that would not ring the
//! bell.

use crate::clock::Now;
use crate::lane::Posted;
use crate::metrics::Timed;
use crate::shard::floor::Floor;
use crate::shard::floor::pace::{BETWEEN_LOOKS, PER_TURN, Pace};
use crate::shard::io::{Event, Io};

/// Until when, from its beginning, each step of a turn may go on, in microseconds: what one leaves is the next one's.
const COMMANDS_UNTIL_US: u64 = 250;
const DEADLINES_UNTIL_US: u64 = 400;
const EVENTS_UNTIL_US: u64 = 700;
const FAN_OUTS_UNTIL_US: u64 = 850;
const SENDS_UNTIL_US: u64 = 1000;

/// While so many connections wait for answers no more input is read: answers must not pile up.
const ANSWERS_MAX: usize = 1024;

impl<I: Io> Floor<I> {
    /// One round: commands from the lane, deadlines, what the kernel has completed, and then what all of that is
    /// answered with. False when there was nothing to do.
    pub fn turn(&mut self, now: Now) -> bool {
        self.state.now = now;
        self.state.counters.turns.add(1);
        let start_us = self.wire.io.now_us();
        let mut worked = self.take_commands(start_us + COMMANDS_UNTIL_US);
        worked |= self.go_on_closing();
        worked |= self.attend_to_expired(start_us + DEADLINES_UNTIL_US);
        worked |= self.go_on_with_calls(start_us + DEADLINES_UNTIL_US);
        worked |= self.go_on_without_verdicts(start_us + DEADLINES_UNTIL_US);
        worked |= self.end_typing();
        worked |= self.take_events(start_us + EVENTS_UNTIL_US);
        worked |= self.fan_out(start_us + FAN_OUTS_UNTIL_US);
        worked |= self.inspect();
        if worked {
            // Before the answers leave: whoever has one and asks the admin port finds there what it was told.
            self.show();
        }
        worked |= self.flush_all(start_us + SENDS_UNTIL_US);
        self.keep_ticking();
        self.set_alarm();
        self.enter();
        worked || self.has_work()
    }

    fn take_commands(&mut self, until_us: u64) -> bool {
        let mut now_us = self.state.now.us;
        for taken in 0..PER_TURN {
            if taken > 0 && taken % BETWEEN_LOOKS == 0 {
                now_us = self.wire.io.now_us();
                if now_us >= until_us {
                    return true;
                }
            }
            let posted = self.take_posted();
            let Some(Posted { at_us, command }) = posted else { return taken > 0 };
            self.state.latency.record(Timed::LaneWait, now_us.saturating_sub(at_us));
            self.state.counters.lane_commands.add(1);
            self.obey(command);
        }
        true
    }

    /// The next one that there is room for. Calls are judged by what was in the lane when they were due: answers wait
    /// there too.
    fn take_posted(&mut self) -> Option<Posted> {
        if !self.has_room() {
            return self.lane.take_order();
        }
        let posted = self.lane.take();
        match &posted {
            None => self.state.calls.heard_until(self.state.now.us),
            Some(posted) if posted.command.message_bytes().is_some() => self.state.calls.heard_until(posted.at_us),
            Some(_) => {}
        }
        posted
    }

    fn take_events(&mut self, until_us: u64) -> bool {
        let mut pace = Pace::until(until_us);
        for handled in 0..PER_TURN {
            if pace.is_over(|| self.wire.io.now_us()) || self.wire.cork.answers() >= ANSWERS_MAX {
                return true;
            }
            let Some(event) = self.wire.io.next() else {
                self.since_arrival = None;
                return handled > 0;
            };
            let (received, sent) = (event.bytes(), self.wire.sent_bytes);
            self.handle(event);
            pace.serves(received + self.wire.sent_bytes - sent);
            self.enter_if_much();
        }
        true
    }

    /// Whether the next turn has something to do, without a look at the lane.
    fn has_work(&mut self) -> bool {
        let waiting = !self.wire.cork.is_empty() || !self.fan_outs.is_idle() || !self.expired.is_empty();
        let is_due = self.state.calls.has_work()
            || self.state.pending.has_work()
            || self.state.typing.is_due(self.state.now.tick());
        waiting || is_due || !self.inspections.is_empty() || self.is_to_close() || self.wire.io.has_queued()
    }

    /// Before sleeping: false when something waits that would not ring the bell.
    pub fn doze(&mut self) -> bool {
        self.lane.is_empty() && !self.has_work() && self.wire.io.doze()
    }

    pub fn rouse(&mut self) {
        self.wire.io.rouse();
    }

    fn handle(&mut self, event: Event) {
        debug_assert!(event.slot().is_none_or(|slot| self.wire.connections.contains(slot as usize)), "{event:?}");
        match event {
            Event::Received { slot, chunk } => self.receive(slot, chunk),
            Event::Sent { slot } => self.sent(slot),
            Event::Ended { slot } => self.vanished(slot),
            Event::Closed { slot } => self.free_slot(slot),
            Event::Tick => self.tick(),
            // What is due begins with the fan-outs of this turn.
            Event::Alarm => {
                debug_assert!(self.is_alarm_set, "an alarm was asked for");
                self.is_alarm_set = false;
            }
        }
    }

    /// Wakes the shard when the next of those fan-outs is due that wait. Not later than after the shortest delay there
    /// is: then nothing that comes meanwhile is due earlier, and one alarm at a time is enough.
    fn set_alarm(&mut self) {
        if !self.is_alarm_set
            && let Some(due_us) = self.fan_outs.next_due_us()
        {
            self.is_alarm_set = true;
            let us = due_us.saturating_sub(self.wire.io.now_us());
            self.wire.io.alarm(us.min(self.state.rules.batch_delay_min_us.into()));
        }
    }

    /// Brings the levels that the admin port shows up to date.
    fn show(&self) {
        let (state, counters) = (&self.state, &self.state.counters);
        let in_flight = self.wire.io.in_flight();
        counters.connections.set(self.wire.connections.len() as i64);
        counters.sessions.set(state.sessions as i64);
        counters.users.set(state.table.user_share());
        counters.channels.set(state.table.channel_count() as i64);
        counters.subscriptions.set(state.table.membership_count() as i64);
        counters.sends_in_flight.set(in_flight.sends as i64);
        counters.receive_buffers_in_use.set(in_flight.receive_buffers as i64);
        counters.outbox_bytes.set(self.wire.outbox_bytes as i64);
    }
}
