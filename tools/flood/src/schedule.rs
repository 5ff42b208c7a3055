//! When things are meant to happen: pure arithmetic on microseconds, no clock.
//!
//! Latency counts from these times and not from when something really happened, so that whoever is late, server or tool,
//! does not hide the messages that should have been sent meanwhile.

/// Events at even distances.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    pub start_us: u64,
    gap_ns: u64,
}

impl Schedule {
    /// `per_s` events a second from `start_us` on.
    pub fn new(start_us: u64, per_s: f64) -> Self {
        Self { start_us, gap_ns: (1e9 / per_s.max(1e-6)) as u64 }
    }

    /// When event `k` is meant to happen.
    #[inline]
    pub fn intended_us(self, k: u64) -> u64 {
        self.start_us + (u128::from(self.gap_ns) * u128::from(k) / 1000) as u64
    }

    /// How many events are due at `now_us`.
    pub fn due(self, now_us: u64) -> u64 {
        let elapsed_ns = match now_us.checked_sub(self.start_us) {
            Some(elapsed_us) => u128::from(elapsed_us) * 1000 + 999,
            None => return 0,
        };
        (elapsed_ns / u128::from(self.gap_ns.max(1))) as u64 + 1
    }
}

/// Messages of all connections of a worker, evenly spread: connection 0's first, connection 1's first, …, connection 0's
/// second, …
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RoundRobin {
    pub schedule: Schedule,
    pub connections: u64,
}

impl RoundRobin {
    /// Every one of `connections` sends once in `interval_us`.
    pub fn new(start_us: u64, connections: u32, interval_us: u64) -> Self {
        let connections = u64::from(connections.max(1));
        Self { schedule: Schedule::new(start_us, connections as f64 * 1e6 / interval_us.max(1) as f64), connections }
    }

    /// When connection `index` is meant to send its message number `k`.
    #[inline]
    pub fn intended_us(self, index: u32, k: u32) -> u64 {
        self.schedule.intended_us(u64::from(k) * self.connections + u64::from(index))
    }

    /// Whose turn event `k` is.
    pub fn connection(self, k: u64) -> u32 {
        (k % self.connections) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_due_exactly_from_its_intended_time_on() {
        for per_s in [0.5, 1.0, 3.0, 20.0, 999.0, 1e6] {
            let schedule = Schedule::new(1_000, per_s);
            for k in [0, 1, 2, 17, 1000] {
                let intended = schedule.intended_us(k);
                assert!(schedule.due(intended) > k, "{per_s}/s, event {k}");
                assert!(k == 0 || schedule.due(schedule.intended_us(k - 1)) < k + 2, "{per_s}/s, event {k}");
            }
        }
        assert_eq!(Schedule::new(1_000, 10.0).due(999), 0);
        assert_eq!(Schedule::new(1_000, 10.0).due(100_999), 1);
        assert_eq!(Schedule::new(1_000, 10.0).due(101_000), 2);
    }

    #[test]
    fn a_million_seconds_do_not_drift() {
        assert_eq!(Schedule::new(0, 1000.0).intended_us(1_000_000_000), 1_000_000_000_000);
    }

    #[test]
    fn every_connection_sends_once_per_interval_and_all_are_spread() {
        let plan = RoundRobin::new(0, 4, 1_000_000);
        assert_eq!([0, 1, 2, 3].map(|i| plan.intended_us(i, 0)), [0, 250_000, 500_000, 750_000]);
        assert_eq!(plan.intended_us(1, 3), 3_250_000);
        assert_eq!((0..6).map(|k| plan.connection(k)).collect::<Vec<_>>(), [0, 1, 2, 3, 0, 1]);
    }
}
