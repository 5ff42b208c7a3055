//! The shard's timer wheel: one deadline per connection, in ticks.
//!
//! A hashed wheel whose buckets are doubly linked lists through one array indexed by slot, so that setting, moving and
//! cancelling are O(1) and allocate nothing per timer. A deadline further away than one turn of the wheel is looked at
//! once per turn. The kernel sees a single timeout per shard, whatever the number of connections.

use crate::shard::io::Slot;

/// One turn: 51.2 s at 100 ms a tick, so that a heartbeat of 30 s and an idle close of 60
/// s are looked at once or twice.
const BUCKETS: usize = 512;

const NONE: u32 = u32::MAX;

pub struct Wheel {
    heads: Box<[u32; BUCKETS]>,
    links: Vec<Link>,
    /// The tick up to which deadlines have expired.
    now: u32,
    armed: usize,
}

#[derive(Clone, Copy)]
struct Link {
    previous: u32,
    next: u32,
    /// `NONE` while no deadline is set.
    due: u32,
}

const UNSET: Link = Link { previous: NONE, next: NONE, due: NONE };

impl Wheel {
    /// A wheel for `slots` slots that begins at tick `now`.
    pub fn new(now: u32, slots: usize) -> Self {
        Self { heads: Box::new([NONE; BUCKETS]), links: Vec::with_capacity(slots), now, armed: 0 }
    }

    /// Sets the slot's deadline, in place of one it may have. A deadline in the past expires with the next tick.
    pub fn set(&mut self, slot: Slot, due: u32) {
        debug_assert!(due != NONE);
        let due = due.max(self.now + 1);
        if self.links.len() <= slot as usize {
            self.links.resize(slot as usize + 1, UNSET);
        } else if self.links[slot as usize].due == due {
            return;
        }
        self.cancel(slot);
        let head = &mut self.heads[due as usize % BUCKETS];
        let next = std::mem::replace(head, slot);
        self.links[slot as usize] = Link { previous: NONE, next, due };
        if next != NONE {
            self.links[next as usize].previous = slot;
        }
        self.armed += 1;
    }

    pub fn cancel(&mut self, slot: Slot) {
        let Some(link) = self.links.get_mut(slot as usize) else { return };
        let Link { previous, next, due } = std::mem::replace(link, UNSET);
        if due == NONE {
            return;
        }
        match previous {
            NONE => self.heads[due as usize % BUCKETS] = next,
            previous => self.links[previous as usize].next = next,
        }
        if next != NONE {
            self.links[next as usize].previous = previous;
        }
        self.armed -= 1;
    }

    /// Moves on to tick `now` and puts the slots whose deadline has come into `expired`; their deadlines are unset.
    pub fn advance(&mut self, now: u32, expired: &mut impl Extend<Slot>) {
        // After a long pause one turn visits every bucket.
        let mut tick = self.now.max(now.saturating_sub(BUCKETS as u32));
        while tick < now {
            tick += 1;
            let mut slot = self.heads[tick as usize % BUCKETS];
            while slot != NONE {
                let Link { next, due, .. } = self.links[slot as usize];
                if due <= now {
                    self.cancel(slot);
                    expired.extend([slot]);
                }
                slot = next;
            }
        }
        self.now = self.now.max(now);
    }

    /// No deadline is set.
    pub fn is_empty(&self) -> bool {
        self.armed == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn deadlines_expire_exactly_when_due(steps in prop::collection::vec((0u32..20, 0u32..1500, 0u8..4), 1..200)) {
            let mut wheel = Wheel::new(0, 0);
            let mut model = BTreeMap::<Slot, u32>::new();
            let mut now = 0;
            for (slot, value, step) in steps {
                match step {
                    0 | 1 => {
                        wheel.set(slot, now + value);
                        model.insert(slot, (now + value).max(now + 1));
                    }
                    2 => {
                        wheel.cancel(slot);
                        model.remove(&slot);
                    }
                    _ => {
                        now += value;
                        let mut expired = Vec::new();
                        wheel.advance(now, &mut expired);
                        expired.sort_unstable();
                        let due = model.iter().filter(|(_, due)| **due <= now);
                        let expected: Vec<Slot> = due.map(|(slot, _)| *slot).collect();
                        prop_assert_eq!(&expired, &expected);
                        model.retain(|_, due| *due > now);
                    }
                }
                prop_assert_eq!(wheel.is_empty(), model.is_empty());
            }
        }
    }
}
