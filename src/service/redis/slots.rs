//! What waits for the streams of a Redis Cluster, by the slots of their keys, and in which order it goes. Sans-IO:
//! [`super::cluster`] sends.
//!
//! Invariant: of one slot at most one batch is under way, and what a server has not taken but sent elsewhere goes
//! before all that waits. So whatever slots move, and wherever their servers are, what is said for one slot arrives in
//! the order in which it was said. And servers do not wait for each other.
//!
//! A slot is *listed* at the server that has it exactly while something waits for it and nothing is under way.

use std::collections::{HashMap, VecDeque};

use crate::broker::redis::cluster::{Map, Place, Redirect};

pub struct Slots<J> {
    map: Map,
    queues: HashMap<u16, Queue<J>>,
    listed: HashMap<Place, VecDeque<u16>>,
}

struct Queue<J> {
    jobs: VecDeque<J>,
    is_under_way: bool,
    /// So many of the first go to a server that has them ahead of the slot.
    ahead: Option<(Place, usize)>,
}

/// One job of a batch.
#[derive(Debug, PartialEq, Eq)]
pub struct Sent<J> {
    pub slot: u16,
    pub job: J,
    /// It goes behind an `ASKING`.
    pub is_ahead: bool,
}

impl<J> Default for Slots<J> {
    fn default() -> Self {
        Self { map: Map::default(), queues: HashMap::new(), listed: HashMap::new() }
    }
}

impl<J> Slots<J> {
    /// From now on these have the slots.
    pub fn set_map(&mut self, map: Map) {
        self.map = map;
        self.listed.clear();
        let waiting: Vec<u16> =
            self.queues.iter().filter(|(_, queue)| !queue.is_under_way).map(|(slot, _)| *slot).collect();
        waiting.into_iter().for_each(|slot| self.list(slot));
    }

    pub fn map(&self) -> &Map {
        &self.map
    }

    /// One job more for a slot that somebody has.
    pub fn put(&mut self, slot: u16, job: J) {
        let queue = self.queues.entry(slot).or_insert_with(Queue::new);
        queue.jobs.push_back(job);
        if queue.jobs.len() == 1 && !queue.is_under_way {
            self.list(slot);
        }
    }

    /// The servers that something waits for.
    pub fn servers(&self) -> Vec<Place> {
        self.listed.keys().cloned().collect()
    }

    /// The next batch for a server, of `max` jobs at most; those of one slot stand together. Each of its slots is to be
    /// [`settle`](Self::settle)d.
    pub fn take(&mut self, server: &Place, max: usize) -> Vec<Sent<J>> {
        let mut batch = Vec::new();
        while batch.len() < max {
            let Some(slot) = self.next_listed(server) else { break };
            let Some(queue) = self.queues.get_mut(&slot) else { continue };
            let ahead = queue.ahead.take();
            let (is_ahead, waiting) = (ahead.is_some(), ahead.as_ref().map_or(queue.jobs.len(), |(_, count)| *count));
            let some = waiting.min(queue.jobs.len()).min(max - batch.len());
            queue.ahead = ahead.filter(|_| some < waiting).map(|(to, _)| (to, waiting - some));
            queue.is_under_way = true;
            batch.extend(queue.jobs.drain(..some).map(|job| Sent { slot, job, is_ahead }));
        }
        batch
    }

    /// Nothing of a slot is under way any more. What the server did not take, in its order, goes where it says.
    pub fn settle(&mut self, slot: u16, not_taken: Vec<J>, to: Option<Redirect>) {
        let Some(queue) = self.queues.get_mut(&slot) else { return };
        queue.is_under_way = false;
        let count = not_taken.len();
        not_taken.into_iter().rev().for_each(|job| queue.jobs.push_front(job));
        match to {
            Some(Redirect::Asked(to)) => {
                let left = queue.ahead.take().map_or(0, |(_, left)| left);
                queue.ahead = Some((to, count + left));
            }
            Some(Redirect::Moved(to)) => {
                queue.ahead = None;
                self.map.move_slot(slot, to);
            }
            None => {}
        }
        self.list(slot);
    }

    /// All that waits for a server, and is not under way.
    pub fn drain(&mut self, server: &Place) -> Vec<J> {
        let mut drained = Vec::new();
        while let Some(slot) = self.next_listed(server) {
            drained.extend(self.queues.remove(&slot).into_iter().flat_map(|queue| queue.jobs));
        }
        drained
    }

    /// All that waits for slots that nobody has.
    pub fn drain_unowned(&mut self) -> Vec<J> {
        let (map, mut drained) = (&self.map, Vec::new());
        self.queues.retain(|slot, queue| {
            let stays = queue.is_under_way || queue.ahead.is_some() || map.owner(*slot).is_some();
            if !stays {
                drained.extend(queue.jobs.drain(..));
            }
            stays
        });
        drained
    }

    fn list(&mut self, slot: u16) {
        let Some(queue) = self.queues.get(&slot) else { return };
        if queue.jobs.is_empty() {
            self.queues.remove(&slot);
            return;
        }
        let server = queue.ahead.as_ref().map(|(to, _)| to).or_else(|| self.map.owner(slot)).cloned();
        if let Some(server) = server {
            self.listed.entry(server).or_default().push_back(slot);
        }
    }

    /// Whose turn it is; who has no more is not kept.
    fn next_listed(&mut self, server: &Place) -> Option<u16> {
        let slot = self.listed.get_mut(server)?.pop_front();
        if slot.is_none() {
            self.listed.remove(server);
        }
        slot
    }
}

impl<J> Queue<J> {
    fn new() -> Self {
        Self { jobs: VecDeque::new(), is_under_way: false, ahead: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::redis::cluster::tests::{map, place};

    /// Two servers, 1 with the slots below 10 and 2 with those up to 19.
    fn slots() -> Slots<u32> {
        let mut slots = Slots::default();
        slots.set_map(map(&[(0, 9, "a", 1), (10, 19, "a", 2)]).expect("a map"));
        slots
    }

    /// The jobs of the next batch for a server.
    fn batch(slots: &mut Slots<u32>, server: u16) -> Vec<u32> {
        slots.take(&place(server), 100).into_iter().map(|sent| sent.job).collect()
    }

    #[test]
    fn servers_do_not_wait_for_each_other() {
        let mut slots = slots();
        (0..6).for_each(|n| slots.put(if n % 2 == 0 { 1 } else { 11 }, n));
        assert_eq!(batch(&mut slots, 1), [0, 2, 4]);
        // Of which nothing has come back.
        assert_eq!(batch(&mut slots, 2), [1, 3, 5]);
        slots.settle(11, vec![], None);
        slots.put(11, 7);
        assert_eq!(batch(&mut slots, 2), [7]);
    }

    #[test]
    fn of_a_slot_one_batch_is_under_way_also_when_it_has_moved_meanwhile() {
        let mut slots = slots();
        slots.put(1, 0);
        assert_eq!(batch(&mut slots, 1), [0]);
        slots.put(1, 1);
        slots.set_map(map(&[(0, 19, "a", 2)]).expect("a map"));
        assert_eq!((batch(&mut slots, 1), batch(&mut slots, 2)), (vec![], vec![]));
        slots.settle(1, vec![0], Some(Redirect::Moved(place(2))));
        assert_eq!((batch(&mut slots, 1), batch(&mut slots, 2)), (vec![], vec![0, 1]));
    }

    #[test]
    fn what_waits_for_a_slot_goes_where_the_slot_goes() {
        let mut slots = slots();
        (0..3).for_each(|n| slots.put(1, n));
        slots.set_map(map(&[(0, 19, "a", 2)]).expect("a map"));
        assert_eq!((batch(&mut slots, 1), batch(&mut slots, 2)), (vec![], vec![0, 1, 2]));
    }

    #[test]
    fn what_was_sent_elsewhere_goes_there_before_what_waits() {
        let mut slots = slots();
        (0..4).for_each(|n| slots.put(1, n));
        assert_eq!(batch(&mut slots, 1), [0, 1, 2, 3]);
        slots.put(1, 4);
        // 0 and 2 were taken, by streams that have not moved yet.
        slots.settle(1, vec![1, 3], Some(Redirect::Asked(place(2))));
        assert!(batch(&mut slots, 1).is_empty());
        let ahead = slots.take(&place(2), 1);
        assert_eq!(ahead, [Sent { slot: 1, job: 1, is_ahead: true }]);
        slots.settle(1, vec![], None);
        assert_eq!(slots.take(&place(2), 9), [Sent { slot: 1, job: 3, is_ahead: true }]);
        slots.settle(1, vec![], None);
        assert_eq!(slots.take(&place(1), 9), [Sent { slot: 1, job: 4, is_ahead: false }]);
        slots.settle(1, vec![4], Some(Redirect::Moved(place(2))));
        assert_eq!(slots.take(&place(2), 9), [Sent { slot: 1, job: 4, is_ahead: false }]);
    }

    #[test]
    fn nothing_is_left_of_what_is_settled_or_drained() {
        let mut slots = slots();
        [(1, 0), (2, 1), (11, 2), (12, 3)].into_iter().for_each(|(slot, job)| slots.put(slot, job));
        assert_eq!(slots.take(&place(2), 1).len(), 1);
        let mut drained = slots.drain(&place(1));
        drained.sort_unstable();
        assert_eq!(drained, [0, 1]);
        slots.set_map(map(&[(0, 9, "a", 1)]).expect("a map"));
        assert_eq!(slots.drain_unowned(), [3]);
        slots.settle(11, vec![], None);
        assert!(slots.queues.is_empty());
        assert!(slots.servers().is_empty());
    }

    /// Whatever happens, of each slot the jobs are taken in their order, and none is lost.
    #[test]
    fn order_holds_whatever_moves() {
        for seed in 0..300 {
            let (mut random, mut slots) = (fastrand::Rng::with_seed(seed), slots());
            let (mut said, mut taken, mut under_way) = ([0_u32; 20], [0_u32; 20], Vec::new());
            for _ in 0..400 {
                match random.u8(0..8) {
                    0..=2 => {
                        let slot = random.u16(0..20);
                        slots.put(slot, said[usize::from(slot)]);
                        said[usize::from(slot)] += 1;
                    }
                    3 => {
                        let at = random.i64(0..20);
                        slots.set_map(map(&[(0, at, "a", 1), (at + 1, 19, "a", 2)]).expect("a map"));
                    }
                    4 | 5 => under_way.extend(slots.take(&place(random.u16(1..4)), random.usize(1..5))),
                    _ => answer(&mut slots, &mut taken, std::mem::take(&mut under_way), &mut random),
                }
            }
            answer(&mut slots, &mut taken, under_way, &mut random);
            while taken != said {
                let batch = (1..4).flat_map(|server| slots.take(&place(server), 100)).collect::<Vec<_>>();
                assert!(!batch.is_empty(), "seed {seed}: {taken:?} of {said:?}");
                answer(&mut slots, &mut taken, batch, &mut random);
            }
        }
    }

    /// Of each slot some are taken, and some are sent elsewhere, as servers do while it moves.
    fn answer(slots: &mut Slots<u32>, taken: &mut [u32], sent: Vec<Sent<u32>>, random: &mut fastrand::Rng) {
        let mut by_slot: HashMap<u16, Vec<u32>> = HashMap::new();
        sent.into_iter().for_each(|sent| by_slot.entry(sent.slot).or_default().push(sent.job));
        for (slot, jobs) in by_slot {
            let some = random.usize(0..=jobs.len());
            for job in &jobs[..some] {
                assert_eq!(*job, taken[usize::from(slot)], "slot {slot}");
                taken[usize::from(slot)] += 1;
            }
            let to = place(random.u16(1..4));
            let to = if random.bool() { Redirect::Moved(to) } else { Redirect::Asked(to) };
            slots.settle(slot, jobs[some..].to_vec(), (some < jobs.len()).then_some(to));
        }
    }
}
