//! What is known of each slot, what is in flight for it, and what of that has come back.

use std::collections::VecDeque;
use std::ops::{Index, IndexMut};

use io_uring::cqueue;

use super::sends::Sends;
use super::state::State;
use super::tag::{Kind, Tag};
use crate::clock;
use crate::metrics::latency::Deliveries;
use crate::shard::io::Slot;

#[derive(Default)]
pub struct Slots {
    states: Vec<State>,
    pub sends: Sends,
    /// Completions fetched from the rings and not handled yet.
    completed: VecDeque<cqueue::Entry>,
    pub deliveries: Deliveries,
}

impl Slots {
    pub fn with_capacity(slots: usize) -> Self {
        Self { states: Vec::with_capacity(slots), ..Self::default() }
    }

    /// The state of a slot that is used, perhaps for the first time.
    pub fn take(&mut self, slot: Slot) -> &mut State {
        if self.states.len() <= slot as usize {
            self.states.resize(slot as usize + 1, State::default());
        }
        let state = &mut self[slot];
        debug_assert!(state.is_free(), "a slot is reused only after it was closed");
        state
    }

    /// Takes over what one ring has completed. A send that nobody waits for is finished on the spot: in a fan-out they
    /// are all there is. The others keep their slot busy until the floor hears of them, or a later frame would overtake
    /// the queued ones.
    pub fn fetch(&mut self, entries: cqueue::CompletionQueue<'_>) {
        let Self { states, sends, completed, deliveries } = self;
        let mut departures = deliveries.at(clock::now_us());
        for entry in entries {
            let Tag { kind, key, slot } = Tag::parse(entry.user_data());
            if kind == Kind::Send && sends.is_whole(key, entry.result()) {
                sends.departed(key, &mut departures);
                let state = &mut states[slot as usize];
                if !state.has(State::AWAITED | State::CLOSING) {
                    sends.finish(key);
                    state.end_send();
                    continue;
                }
            }
            completed.push_back(entry);
        }
    }

    pub fn next_completed(&mut self) -> Option<cqueue::Entry> {
        self.completed.pop_front()
    }

    pub fn has_completed(&self) -> bool {
        !self.completed.is_empty()
    }
}

impl Index<Slot> for Slots {
    type Output = State;

    fn index(&self, slot: Slot) -> &State {
        &self.states[slot as usize]
    }
}

impl IndexMut<Slot> for Slots {
    fn index_mut(&mut self, slot: Slot) -> &mut State {
        &mut self.states[slot as usize]
    }
}
