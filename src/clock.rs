//! The process's clock: microseconds since start, and unix time. Read once per turn of a loop and passed on as [`Now`];
//! nothing sans-IO reads it itself, but for the stopwatches of [`crate::metrics::latency`], on which nothing depends.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Length of a tick, the unit of all deadlines of a connection.
pub const TICK_MS: u32 = 100;

/// A moment, as the floor is told it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Microseconds since the process started.
    pub us: u64,
    /// Milliseconds of unix time.
    pub unix_ms: u64,
}

impl Now {
    /// Reads both clocks.
    pub fn read() -> Self {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self { us: now_us(), unix_ms: unix.as_millis() as u64 }
    }

    /// Whole ticks since the process started. 32 bits last 13 years.
    pub fn tick(self) -> u32 {
        (self.us / (u64::from(TICK_MS) * 1000)) as u32
    }

    pub fn unix_s(self) -> u64 {
        self.unix_ms / 1000
    }
}

/// Microseconds since the process started (more exactly: since this was first asked).
pub fn now_us() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_micros() as u64
}

/// A duration in ticks, rounded up, at least one.
pub fn ticks(duration: Duration) -> u32 {
    (duration.as_millis().div_ceil(u128::from(TICK_MS))).clamp(1, u128::from(u32::MAX / 4)) as u32
}
