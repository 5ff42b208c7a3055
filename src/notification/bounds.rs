//! How much is kept, for how long, and when it is sent again.

/// Longest text that is kept, in bytes: half of the default outbox. A larger one is delivered once.
pub const TEXT_BYTES_MAX: usize = 32 * 1024;

/// What a kept notification costs beside its text, as it is counted: names of usual length, its places in the tables.
pub const BOOKKEEPING_BYTES: usize = 384;

/// The settings, as they are used here.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Pending ones of one user.
    pub per_user: usize,
    /// Pending ones in all, and as many whose end is remembered.
    pub total: usize,
    /// Of all pending ones, texts and bookkeeping.
    pub bytes: usize,
    /// From the publication on.
    pub expiry_ticks: u32,
    /// How long the end of one is remembered.
    pub memory_ticks: u32,
    pub first_repeat_ticks: u32,
    pub longest_repeat_ticks: u32,
}

impl Bounds {
    /// With these numbers, and the times of the default settings.
    #[cfg(test)]
    pub fn new(per_user: usize, total: usize, bytes: usize) -> Self {
        use std::time::Duration;

        use crate::clock::ticks;

        Self {
            per_user,
            total,
            bytes,
            expiry_ticks: ticks(Duration::from_secs(24 * 3600)),
            memory_ticks: ticks(Duration::from_secs(3600)),
            first_repeat_ticks: ticks(Duration::from_secs(10)),
            longest_repeat_ticks: ticks(Duration::from_secs(300)),
        }
    }

    /// Until the next repeat, when there were so many rounds: it doubles up to the longest, and up to a quarter more so
    /// that what was published together does not come back together.
    pub(super) fn repeat_ticks(&self, round: u8) -> u32 {
        let doubled = u64::from(self.first_repeat_ticks) << round.min(31);
        let ticks = doubled.min(u64::from(self.longest_repeat_ticks.max(self.first_repeat_ticks))) as u32;
        ticks + fastrand::u32(0..=ticks / 4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_double_up_to_the_longest_and_differ() {
        let bounds = Bounds::new(1, 1, 1);
        for (round, ticks) in [(0, 100), (1, 200), (4, 1600), (5, 3000), (60, 3000), (255, 3000)] {
            let drawn: Vec<u32> = (0..100).map(|_| bounds.repeat_ticks(round)).collect();
            assert!(drawn.iter().all(|drawn| (ticks..=ticks + ticks / 4).contains(drawn)), "{round}: {drawn:?}");
            assert!(drawn.iter().any(|other| *other != drawn[0]));
        }
    }
}
