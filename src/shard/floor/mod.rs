//! The hot half of a shard: open connections on an [`Io`] backend, without tasks or futures.
//!
//! Owns the slab of connections and moves bytes between the backend and the sans-IO parts: the decoder, the session,
//! the subscription table, the timer wheel. Here is what it consists of, on which the files beside it work. They know
//! and call each other in one direction, from the first of these lines to the last:
//!
//! - [`turn`]: one round of everything;
//! - [`arrival`]: how a client comes in, [`commands`]: what is done with commands from the lane, and [`verified`]: what
//!   becomes of tokens that were verified beside the shard;
//! - [`authorizing`]: what waited until it was known whether it may be joined;
//! - [`reading`]: what a client sent, and [`sending`]: what is under the cork leaves;
//! - [`answering`]: what services say, [`attention`]: deadlines, [`delivery`]: how publications reach their
//!   subscribers, [`echo`]: the debugging aid, and [`inspect`]: questions, answered in pieces;
//! - [`closing`]: how a connection ends;
//! - [`fan_out`]: publications on their way to many, [`sweeps`]: who is closed together, and [`wire`]: connections,
//!   backend and what waits between them;
//! - [`audience`]: which subscribers a publication is for, [`cork`]: frames gathered within a turn, and [`pace`]: when
//!   a step looks at the clock.
//!
//! Invariant: a slot of the slab is in use exactly from [`Floor::adopt`] to [`crate::shard::io::Event::Closed`], so the
//! backend never completes something for a connection that is gone.

mod answering;
mod arrival;
mod attention;
mod audience;
mod authorizing;
pub(in crate::shard) mod closing;
mod commands;
pub(in crate::shard) mod cork;
pub(in crate::shard) mod delivery;
mod echo;
pub(in crate::shard) mod fan_out;
pub(in crate::shard) mod inspect;
mod pace;
mod reading;
mod sending;
mod sweeps;
mod turn;
mod verified;
pub(in crate::shard) mod wire;

use std::collections::VecDeque;

use slab::Slab;

use crate::lane::{ConnectionId, LaneEnd};
use crate::metrics::Latency;
use crate::metrics::latency::Stopwatch;
use crate::shard::connection::wheel::Wheel;
use crate::shard::floor::attention::Beat;
use crate::shard::floor::fan_out::FanOuts;
use crate::shard::floor::inspect::Inspections;
use crate::shard::floor::sweeps::Sweeps;
use crate::shard::floor::wire::Wire;
use crate::shard::io::{Io, Slot};
use crate::shard::session::Effects;
use crate::shard::state::ShardState;

pub use arrival::Arrival;

pub struct Floor<I: Io> {
    pub(in crate::shard) wire: Wire<I>,
    capacity: usize,
    /// One more than the highest slot ever used.
    pub(in crate::shard) slots_used: Slot,
    pub(in crate::shard) state: ShardState,
    pub(in crate::shard) wheel: Wheel,
    pub(in crate::shard) lane: LaneEnd,
    pub(in crate::shard) fan_outs: FanOuts,
    pub(in crate::shard) sweeps: Sweeps,
    generation: u32,
    /// A tick is on its way.
    ticking: bool,
    /// When it should come.
    tick_due: u32,
    /// An alarm is on its way.
    is_alarm_set: bool,
    /// Questions under way.
    pub(in crate::shard) inspections: Inspections,
    beat: Option<Beat>,
    /// Bytes that had been queued when the kernel was entered last.
    entered_sent_bytes: usize,
    /// Runs since the kernel was asked for what has arrived and is not handled yet.
    since_arrival: Option<Stopwatch>,
    // Kept to be filled anew, so that nothing is allocated per turn.
    effects: Effects,
    /// Slots whose deadline has come, to be attended to.
    expired: VecDeque<Slot>,
}

impl<I: Io> Floor<I> {
    /// A floor for at most `capacity` connections.
    pub fn new(io: I, capacity: usize, state: ShardState, lane: LaneEnd) -> Self {
        Self {
            wire: Wire::new(io, Slab::with_capacity(capacity), state.rules.outbox_bytes_max, state.counters.clone()),
            capacity,
            slots_used: 0,
            wheel: Wheel::new(state.now.tick(), capacity),
            state,
            lane,
            fan_outs: FanOuts::default(),
            sweeps: Sweeps::default(),
            generation: 0,
            ticking: false,
            tick_due: 0,
            is_alarm_set: false,
            inspections: Inspections::default(),
            beat: None,
            entered_sent_bytes: 0,
            since_arrival: None,
            effects: Effects::default(),
            expired: VecDeque::new(),
        }
    }

    pub fn is_full(&self) -> bool {
        self.wire.connections.len() >= self.capacity
    }

    pub fn is_draining(&self) -> bool {
        self.sweeps.is_draining()
    }

    /// Whether `id` still names a connection of this shard.
    pub fn is_current(&self, id: ConnectionId) -> bool {
        self.state.is_current(id, &self.wire.connections)
    }

    /// Has the wheel know the connection's next deadline, by the table of [`crate::shard::connection::deadlines`]. To
    /// be called by whoever has changed one.
    fn watch_clock(&mut self, slot: Slot) {
        let due = self.wire.connections[slot as usize].due(self.state.now, &self.state.rules, self.state.judge_from);
        self.wheel.set(slot, due);
    }

    /// Drained and empty: the shard may end.
    pub fn is_done(&self) -> bool {
        self.is_draining() && self.wire.connections.is_empty() && !self.fan_outs.is_owing()
    }

    /// For what is timed around the floor.
    pub fn latency(&mut self) -> &mut Latency {
        &mut self.state.latency
    }
}
