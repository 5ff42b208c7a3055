//! How publications reach the subscribers of a channel, or everybody.
//!
//! ```text
//!  publication ──► small channel ───────────────────────────► wire
//!             └──► large one: fan-out, some members a turn ─────┘
//! ```
//!
//! Per recipient a fan-out puts one entry with a plain count of the frame under the cork of the [`Wire`], and later
//! queues one send of whatever waits for that connection. Nothing is allocated, locked, atomically counted or woken;
//! the connection itself is touched only when it is still sending.

use std::sync::Arc;

use crate::channel::{Overflow, Table, name};
use crate::geo::cells::Cells;
use crate::lane::{Addressed, Channel, Draft, Except, Filter, Near, Publication};

use crate::lane::frame::{Frame, Run};
use crate::shard::floor::Floor;
use crate::shard::floor::audience::{Audience, LeftOut};
use crate::shard::floor::fan_out::{Batch, FanOutId, Reach};
use crate::shard::floor::pace::Pace;
use crate::shard::floor::wire::Wire;
use crate::shard::io::{Io, Slot};

/// Channels of so many members are served at once; for larger ones publications are worth joining.
const SMALL_CHANNEL: usize = 64;

/// Members visited for one fan-out before the next one has its turn.
const MEMBERS_AT_ONCE: usize = 256;

/// Connections that wait for a fan-out's frames. More are not visited before some are served: who comes with another
/// message stands behind these, at some 4 µs each.
const BULK_MAX: usize = 2048;

/// Frames under the cork. Where connections are in many channels each has several of them.
pub(in crate::shard) const FRAMES_MAX: usize = 16 * 1024;

impl<I: Io> Floor<I> {
    /// Takes a message for one connection. One that has gone, or is not open any more or not yet, gets nothing.
    pub(in crate::shard) fn send_addressed(&mut self, addressed: Addressed) {
        let Addressed { to, frame, answer } = addressed;
        let is_there = self.is_current(to) && self.wire.connections[to.slot as usize].phase().is_open();
        if is_there {
            self.state.counters.deliveries.add(1);
            self.wire.send(to.slot, Frame::local(frame.bytes, frame.arrived_us));
        } else {
            self.state.counters.addressed_stale.add(1);
        }
        if let Some(answer) = answer {
            answer(usize::from(is_there));
        }
    }

    /// Takes a publication: a few members get it in this turn, many as one fan-out, and those of a channel with a delay
    /// later.
    pub(in crate::shard) fn publish(&mut self, publication: Publication) {
        self.state.counters.publications.add(1);
        let near = publication.near.clone();
        near.iter().for_each(|near| self.publish_near(&publication, near));
        self.take_in(publication);
    }

    /// Publishes to the cells of a position as well, for those in whose circle it lies.
    fn publish_near(&mut self, publication: &Publication, near: &Near) {
        let Publication { channel, frame, key, .. } = publication;
        let except = Except::SessionAndMembers(near.session, channel.hash);
        let mut filter = None;
        let cells: Cells = self.state.nearby.cells_at(near.position).collect();
        for cell in cells {
            let name = cell.name(name::CELL_PREFIX);
            let hash = self.state.bus.hash(&name);
            if self.state.table.members(hash, &name).len() == 0 {
                continue;
            }
            let filter = filter.get_or_insert_with(|| Arc::new(Filter::near(near.position.place()))).clone();
            let (filter, overflow, key) = (Some(filter), Overflow::Latest, Some(*key));
            let draft = Draft { filter, overflow, key, except, ..Draft::new(&name, frame.bytes.clone()) };
            let to_cell = Publication { frame: frame.clone(), ..self.state.bus.written_out(draft, hash) };
            self.take_in(to_cell);
        }
    }

    fn take_in(&mut self, mut publication: Publication) {
        if self.is_draining() {
            publication.batch_delay_us = 0;
        }
        let Channel { name, hash } = &publication.channel;
        let is_small = &**name != name::ALL && self.state.table.members(*hash, name).len() <= SMALL_CHANNEL;
        if publication.batch_delay_us == 0 && is_small && !self.fan_outs.has(&publication.channel) {
            self.publish_at_once(publication);
        } else {
            let is_newer = self.fan_outs.gather(publication, self.state.now.us);
            self.state.counters.publications_replaced.add(is_newer.into());
        }
    }

    /// Whether more publications may be taken from the lane.
    pub(in crate::shard) fn has_room(&self) -> bool {
        self.fan_outs.has_room() && self.wire.cork.frames() < FRAMES_MAX
    }

    fn publish_at_once(&mut self, publication: Publication) {
        let Publication { channel, frame, filter, answer, overflow, key, except, .. } = publication;
        let frame = Run::join(&[frame], overflow, key);
        let Self { wire, state, .. } = self;
        let left_out = LeftOut::find(except, state, &wire.connections);
        let audience = Audience::new(filter.as_deref(), &state.profiles, &state.nearby, left_out);
        let mut recipients = 0;
        for slot in state.table.members(channel.hash, &channel.name) {
            if audience.has(slot, &state.table, &wire.connections) {
                recipients += 1;
                wire.deliver(slot, &frame);
            }
        }
        debug_assert!(recipients <= SMALL_CHANNEL, "a large channel is a fan-out's");
        state.counters.deliveries.add(recipients as u64);
        if let Some(answer) = answer {
            answer(recipients);
        }
    }

    /// Goes on with the fan-outs, each in its turn, as long as there is room under the cork, until `until_us`. False
    /// when none has anything to do now.
    ///
    /// Room alone ends nothing: who is left out, or has his frame replaced, is visited and adds nothing to the cork.
    pub(in crate::shard) fn fan_out(&mut self, until_us: u64) -> bool {
        let mut pace = Pace::until(until_us);
        self.fan_outs.start_due(self.state.now.us);
        let worked = !self.fan_outs.is_idle();
        while self.wire.cork.bulk() < BULK_MAX && self.wire.cork.frames() < FRAMES_MAX {
            if pace.is_over(|| self.wire.io.now_us()) {
                break;
            }
            let Some(id) = self.fan_outs.next() else { break };
            pace.serves(0);
            if !self.go_on_with(id) {
                self.fan_outs.finish(id);
            }
            self.fan_outs.put_back(id);
        }
        worked
    }

    /// Visits some members. False when the batch has reached all.
    fn go_on_with(&mut self, id: FanOutId) -> bool {
        if self.fan_outs.batch(id).is_none() {
            let reach = self.reach(id);
            self.fan_outs.begin(id, reach);
        }
        let Self { wire, state, fan_outs, .. } = self;
        let Some(Batch { frame, reach, filter, except, recipients, .. }) = fan_outs.batch(id) else { return false };
        let left_out = LeftOut::find(*except, state, &wire.connections);
        let audience = Audience::new(filter.as_deref(), &state.profiles, &state.nearby, left_out);
        let before = *recipients;
        let mut recipient = |wire: &mut Wire<I>, table: &Table, slot: Slot| {
            if audience.has(slot, table, &wire.connections) {
                *recipients += 1;
                wire.deliver(slot, frame);
            }
        };
        let goes_on = match reach {
            Reach::Members(None) => false,
            Reach::Members(Some(walk)) => {
                state.table.go_on_walking(walk, MEMBERS_AT_ONCE, |table, slot| recipient(wire, table, slot))
            }
            Reach::Everybody(end) => {
                debug_assert!(*end <= self.slots_used, "nobody stands behind the last slot");
                let begin = end.saturating_sub(MEMBERS_AT_ONCE as Slot);
                for slot in (begin..*end).rev() {
                    if wire.connections.get(slot as usize).is_some_and(|c| c.phase().is_open()) {
                        recipient(wire, &state.table, slot);
                    }
                }
                *end = begin;
                begin > 0
            }
        };
        state.counters.deliveries.add(((*recipients - before) * frame.frames()) as u64);
        goes_on
    }

    fn reach(&mut self, id: FanOutId) -> Reach {
        let Channel { name, hash } = self.fan_outs.channel(id);
        if &**name == name::ALL {
            Reach::Everybody(self.slots_used)
        } else {
            Reach::Members(self.state.table.begin_walk(*hash, name))
        }
    }
}
