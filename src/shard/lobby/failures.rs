//! Failed accepts, which come in thousands when descriptors have run out, and are told once per while.

use std::time::Duration;

use crate::clock::{Now, ticks};

/// How often they are logged at most, with their count.
const TOLD_EVERY: Duration = Duration::from_secs(10);

#[derive(Default)]
pub struct Failures {
    count: u64,
    told_at: Option<u32>,
}

impl Failures {
    /// Counts one. Some, with how many there were since the last time, when it is time to tell.
    pub fn count(&mut self, now: Now) -> Option<u64> {
        self.count += 1;
        if self.told_at.is_some_and(|told| now.tick() - told < ticks(TOLD_EVERY)) {
            return None;
        }
        self.told_at = Some(now.tick());
        Some(std::mem::take(&mut self.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_accepts_are_told_once_per_while_with_their_count() {
        let mut failures = Failures::default();
        let told: Vec<u64> = (0..450).filter_map(|n| failures.count(Now { us: n * 50_000, unix_ms: 0 })).collect();
        assert_eq!(told, [1, 200, 200]);
    }
}
