//! When things are meant to happen: pure arithmetic on microseconds, no clock.
//!
//! Latency counts from these times and not from when something really happened, so that whoever is late, server or
//! tool, does not hide the messages that should have been sent meanwhile.

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
}

/// Messages of all connections of a worker, evenly spread: connection 0's first, connection 1's
/// first, …, connection 0's second, …
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
    fn events_are_evenly_spread_at_every_rate() {
        for (per_s, gap_us) in [(0.5, 2_000_000), (1.0, 1_000_000), (20.0, 50_000), (1e6, 1)] {
            let schedule = Schedule::new(1_000, per_s);
            assert!((0..1000).all(|k| schedule.intended_us(k) == 1_000 + k * gap_us), "{per_s} a second");
        }
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
