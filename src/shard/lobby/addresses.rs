//! How often each address has connected lately: the limit that is answered with 429.
//!
//! Shared by the lobbies of all shards and off by default. A fixed window per address (per /64 for IPv6, which one
//! customer usually has whole), kept in a striped map that is emptied when its window ends, so its size is bounded
//! by the connects of one window.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

use crate::clock::Now;

const STRIPES: usize = 16;

pub struct Addresses {
    /// Connects of one address in one window; 0: no limit.
    connects_max: u32,
    window_ticks: u32,
    hasher: RandomState,
    stripes: [Mutex<Window>; STRIPES],
}

#[derive(Default)]
struct Window {
    start: u32,
    connects: HashMap<IpAddr, u32>,
}

impl Addresses {
    pub fn new(connects_max: u32, window_ticks: u32) -> Self {
        Self { connects_max, window_ticks, hasher: RandomState::new(), stripes: Default::default() }
    }

    /// Counts a connect; when it is one too many, says after how many seconds to try again.
    pub fn admit(&self, address: IpAddr, now: Now) -> Result<(), u32> {
        if self.connects_max == 0 {
            return Ok(());
        }
        let address = customer(address);
        let stripe = &self.stripes[self.hasher.hash_one(address) as usize % STRIPES];
        let mut window = stripe.lock().unwrap_or_else(PoisonError::into_inner);
        // Another shard may have begun a window a moment after this one looked at the clock.
        let since_start = now.tick().saturating_sub(window.start);
        if since_start >= self.window_ticks {
            *window = Window { start: now.tick(), connects: HashMap::new() };
        }
        let connects = window.connects.entry(address).or_default();
        *connects = connects.saturating_add(1);
        if *connects <= self.connects_max {
            return Ok(());
        }
        let ticks_left = self.window_ticks - since_start;
        Err((ticks_left * crate::clock::TICK_MS).div_ceil(1000).max(1))
    }
}

/// The address as it is counted: an IPv6 network of 64 bits is one customer's.
pub fn customer(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Now {
        Now { us: seconds * 1_000_000, unix_ms: 0 }
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn one_connect_too_many_is_told_when_to_come_back() {
        let addresses = Addresses::new(2, 600);
        let (one, other) = (address("10.0.0.1"), address("10.0.0.2"));
        assert_eq!(addresses.admit(one, at(100)), Ok(()));
        assert_eq!(addresses.admit(one, at(101)), Ok(()));
        assert_eq!(addresses.admit(one, at(110)), Err(50));
        assert_eq!(addresses.admit(other, at(110)), Ok(()));
        assert_eq!(addresses.admit(one, at(160)), Ok(()));
    }

    #[test]
    fn a_shard_whose_clock_was_read_earlier_begins_no_window() {
        let addresses = Addresses::new(1, 600);
        assert_eq!(addresses.admit(address("10.0.0.1"), at(100)), Ok(()));
        assert_eq!(addresses.admit(address("10.0.0.1"), at(99)), Err(60));
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_address() {
        let addresses = Addresses::new(1, 600);
        assert_eq!(addresses.admit(address("2001:db8::1"), at(100)), Ok(()));
        assert!(addresses.admit(address("2001:db8::ffff:1"), at(100)).is_err());
        assert_eq!(addresses.admit(address("2001:db8:0:1::1"), at(100)), Ok(()));
        assert_eq!(addresses.admit(address("::ffff:10.0.0.1"), at(100)), Ok(()));
        assert!(addresses.admit(address("10.0.0.1"), at(100)).is_err());
    }

    #[test]
    fn without_a_limit_nothing_is_remembered() {
        let addresses = Addresses::new(0, 600);
        (0..100).for_each(|_| assert_eq!(addresses.admit(address("10.0.0.1"), at(0)), Ok(())));
        assert!(addresses.stripes.iter().all(|s| s.lock().expect("no panic").connects.is_empty()));
    }
}
