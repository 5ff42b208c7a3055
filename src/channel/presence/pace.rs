//! How fast the others are told of one user: what his coming and going costs all of them together has a bound, as what
//! he says has.
//!
//! A message joins or leaves a hundred channels, and each has others who are told. So each user has an account, which
//! what is told of him is charged to and which time pays off. Kept by the hash of the user in a table of a fixed size:
//! users who meet there share an account.

use super::TICKS_PER_S;

/// What time pays off of an account: about what a client causes who says what it may to a hundred others.
const DELIVERIES_PER_S: u64 = 200;

/// What an account may owe, and still be charged: that everybody in 128 channels of a hundred is told once.
const DELIVERIES_AT_ONCE: u64 = 12_800;

const PER_TICK: u64 = DELIVERIES_PER_S / TICKS_PER_S;

const ACCOUNTS: usize = 1 << 15;

/// When each account is paid off, in deliveries that time has paid for since its beginning.
pub struct Pace(Box<[u64]>);

impl Default for Pace {
    fn default() -> Self {
        Self(vec![0; ACCOUNTS].into())
    }
}

impl Pace {
    /// Charges a user for so many who are to be told of him. False: not now.
    pub fn charge(&mut self, user: u32, deliveries: usize, now: u32) -> bool {
        let paid_off = &mut self.0[user as usize % ACCOUNTS];
        let now = u64::from(now) * PER_TICK;
        let may = *paid_off <= now + DELIVERIES_AT_ONCE;
        if may {
            *paid_off = now.max(*paid_off) + deliveries as u64;
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_charged_at_once_and_then_as_fast_as_time_pays() {
        let mut pace = Pace::default();
        assert!((0..=DELIVERIES_AT_ONCE).all(|_| pace.charge(1, 1, 1000)));
        assert!(!pace.charge(1, 1, 1000) && pace.charge(2, 1, 1000), "each has his own");
        let charged = |now| (0..100).filter(|_| pace.charge(1, 1, now)).count() as u64;
        assert_eq!((1001..1011).map(charged).sum::<u64>(), DELIVERIES_PER_S);
        assert!(pace.charge(1, 1 << 30, 2000) && !pace.charge(1, 1, 2000), "one is charged whole");
    }
}
