//! When the issuer is asked for its keys: again and again, sooner when the answer says so or there was none, and at
//! once for a token whose key is not known, but not too often. Sans-IO: the caller sleeps and reads the clock.

use std::time::Duration;

use tokio::time::Instant;

use crate::control::Backoff;

/// Between two times that unknown keys make us ask: tokens of strangers may name anything.
pub const BETWEEN_UNKNOWN: Duration = Duration::from_secs(10);

/// An answer may say that it is old sooner; we do not look sooner.
const REFRESH_MIN: Duration = Duration::from_secs(60);

pub struct Pace {
    refresh: Duration,
    backoff: Backoff,
    due: Instant,
    /// Before that no unknown key makes us ask.
    willing_from: Instant,
}

impl Pace {
    /// Asks at once, and then at least this often.
    pub fn new(refresh: Duration, now: Instant) -> Self {
        Self { refresh, backoff: Backoff::default(), due: now, willing_from: now }
    }

    /// When to ask without any further reason.
    pub fn due(&self) -> Instant {
        self.due
    }

    /// A token names an unknown key. Whether that is a reason to ask now; then it is none for a while.
    pub fn asks_for_unknown(&mut self, now: Instant) -> bool {
        let asks = now >= self.willing_from;
        if asks {
            self.willing_from = now + BETWEEN_UNKNOWN;
        }
        asks
    }

    /// The first moment at which an unknown key is a reason.
    pub fn willing_from(&self) -> Instant {
        self.willing_from
    }

    /// There are keys, which the answer says to be fresh for so long.
    pub fn succeeded(&mut self, fresh_for: Option<Duration>, now: Instant) {
        self.backoff.reset();
        let wanted = fresh_for.unwrap_or(self.refresh);
        self.due = now + wanted.max(REFRESH_MIN).min(self.refresh);
    }

    /// There are none. Returns for how long it is waited.
    pub fn failed(&mut self, now: Instant) -> Duration {
        let delay = self.backoff.delay();
        self.due = now + delay;
        delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn an_answer_is_as_fresh_as_it_says_within_bounds() {
        let now = Instant::now();
        let mut pace = Pace::new(5 * MINUTE, now);
        assert_eq!(pace.due(), now, "at once");
        for (fresh_for, asked_after) in
            [(None, 5), (Some(Duration::ZERO), 1), (Some(2 * MINUTE), 2), (Some(600 * MINUTE), 5)]
        {
            pace.succeeded(fresh_for, now);
            assert_eq!(pace.due() - now, asked_after * MINUTE, "{fresh_for:?}");
        }
        let mut hasty = Pace::new(MINUTE / 6, now);
        hasty.succeeded(None, now);
        assert_eq!(hasty.due() - now, MINUTE / 6, "as it is set");
    }

    #[test]
    fn an_issuer_that_is_away_is_tried_soon_and_then_less_often() {
        let now = Instant::now();
        let mut pace = Pace::new(5 * MINUTE, now);
        let delays: Vec<_> = (0..12).map(|_| pace.failed(now)).collect();
        assert!(delays[0] <= Duration::from_millis(100) && delays[11] <= Duration::from_millis(1500), "{delays:?}");
        assert_eq!(pace.due() - now, delays[11]);
    }

    #[test]
    fn a_flood_of_unknown_keys_is_one_reason_in_a_while() {
        let now = Instant::now();
        let mut pace = Pace::new(5 * MINUTE, now);
        // What was asked for another reason does not count.
        pace.succeeded(None, now);
        let reasons = (0..30_000).filter(|ms| pace.asks_for_unknown(now + Duration::from_millis(*ms))).count();
        assert_eq!(reasons, 3);
    }
}
