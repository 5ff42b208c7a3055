//! The watchdog of the shards: whether their loops come round. What `/readyz` and `/livez` say rests on it.
//!
//! A shard writes down when its loop last came round. One with connections does so at every tick of 100 ms, one without
//! sleeps: so once a second everybody who has not turned for that long is woken, and a healthy shard turns at once. A
//! shard is *stalled* since it last turned, or since it was last woken here; while it sleeps it is not.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::clock::now_us;
use crate::lane::Bus;
use crate::metrics::Counters;

const EVERY: Duration = Duration::from_secs(1);

pub struct Watchdog {
    bus: Bus,
    counters: Arc<[Arc<Counters>]>,
    /// By shard: when it was last woken, in microseconds of [`crate::clock`].
    woken_at_us: Box<[AtomicU64]>,
}

impl Watchdog {
    pub fn new(bus: Bus, counters: Arc<[Arc<Counters>]>) -> Self {
        let woken_at_us = counters.iter().map(|_| AtomicU64::new(0)).collect();
        Self { bus, counters, woken_at_us }
    }

    /// Watches for ever.
    pub async fn watch(&self) -> Infallible {
        let mut rounds = tokio::time::interval(EVERY);
        rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            rounds.tick().await;
            self.wake_sleepers(now_us());
            self.bus.tell_who_recovered();
        }
    }

    /// The shards that have not turned for longer than this, and for how long.
    pub fn stalled(&self, longer_than: Duration) -> Vec<(usize, Duration)> {
        let now_us = now_us();
        let stalls = (0..self.counters.len()).map(|shard| (shard, self.stall(shard, now_us)));
        stalls.filter(|(_, stall)| *stall > longer_than).collect()
    }

    fn wake_sleepers(&self, now_us: u64) {
        for (shard, lane) in self.bus.lanes().iter().enumerate() {
            let idle_us = now_us.saturating_sub(self.turned_at_us(shard));
            if idle_us >= EVERY.as_micros() as u64 && lane.bell.is_asleep() {
                // Written first: from the moment that it is awake its last turn would count, and that is long ago.
                self.woken_at_us[shard].store(now_us, Relaxed);
                lane.bell.wake();
            }
        }
    }

    fn stall(&self, shard: usize, now_us: u64) -> Duration {
        if self.bus.lanes()[shard].bell.is_asleep() {
            return Duration::ZERO;
        }
        let since_us = self.turned_at_us(shard).max(self.woken_at_us[shard].load(Relaxed));
        Duration::from_micros(now_us.saturating_sub(since_us))
    }

    fn turned_at_us(&self, shard: usize) -> u64 {
        self.counters[shard].turned_at_us.get() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::Policies;
    use crate::lane::LaneEnd;

    const SECOND_US: u64 = 1_000_000;

    fn shards(count: usize) -> (Watchdog, Vec<LaneEnd>) {
        let (bus, ends) = Bus::open(count, Arc::default(), Policies::default(), Duration::ZERO).expect("lanes");
        (Watchdog::new(bus, (0..count).map(|_| Arc::default()).collect()), ends)
    }

    fn turn(watchdog: &Watchdog, shard: usize, now_us: u64) {
        watchdog.counters[shard].turned_at_us.set(now_us as i64);
    }

    #[test]
    fn a_shard_that_does_not_come_round_is_stalled_since_its_last_turn() {
        let (watchdog, _ends) = shards(2);
        turn(&watchdog, 0, 10 * SECOND_US);
        turn(&watchdog, 1, 13 * SECOND_US);
        watchdog.wake_sleepers(13 * SECOND_US);
        assert_eq!(watchdog.stall(0, 13 * SECOND_US), Duration::from_secs(3));
        assert_eq!(watchdog.stall(1, 13 * SECOND_US), Duration::ZERO);
    }

    #[test]
    fn a_sleeping_shard_is_healthy_if_it_turns_when_it_is_woken() {
        let (watchdog, ends) = shards(1);
        turn(&watchdog, 0, SECOND_US);
        ends[0].bell.doze();
        assert_eq!(watchdog.stall(0, 900 * SECOND_US), Duration::ZERO);
        watchdog.wake_sleepers(900 * SECOND_US);
        assert!(!ends[0].bell.is_asleep());
        // It has its time from being woken, and does not use it.
        assert_eq!(watchdog.stall(0, 900 * SECOND_US), Duration::ZERO);
        watchdog.wake_sleepers(903 * SECOND_US);
        assert_eq!(watchdog.stall(0, 903 * SECOND_US), Duration::from_secs(3));

        turn(&watchdog, 0, 904 * SECOND_US);
        assert_eq!(watchdog.stall(0, 904 * SECOND_US), Duration::ZERO);
    }

    #[test]
    fn who_has_just_turned_is_left_asleep() {
        let (watchdog, ends) = shards(1);
        turn(&watchdog, 0, 5 * SECOND_US);
        ends[0].bell.doze();
        watchdog.wake_sleepers(5 * SECOND_US + SECOND_US / 2);
        assert!(ends[0].bell.is_asleep());
    }
}
