//! How often each address has connected lately: the limit that is answered with 429.
//!
//! Shared by the lobbies of all shards and off by default. A fixed window per address (per /64 for IPv6, which one
//! customer usually has whole). A client chooses its address, so the table is as large as we chose: where more
//! addresses come than it has places, the one that has connected least often is forgotten, and whoever is over the
//! limit stays in it.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

use crate::clock::{Now, TICK_MS};

/// Parts of the table, so that the shards seldom wait for each other.
const STRIPES: usize = 16;

/// Addresses that are told apart by their hash alone. Among so many, those seldom are all over the limit.
const PLACES: usize = 8;

/// In all 131,072 places of 8 bytes: a megabyte where the limit is on.
const BUCKETS_PER_STRIPE: usize = 1024;

pub struct Addresses {
    /// Connects of one address in one window; 0: no limit.
    connects_max: u32,
    window_ticks: u32,
    hasher: RandomState,
    stripes: [Mutex<Window>; STRIPES],
}

/// The connects since some tick.
#[derive(Default)]
struct Window {
    start: u32,
    /// Made with the first connect; [`BUCKETS_PER_STRIPE`] of them ever after.
    buckets: Vec<Bucket>,
}

/// Where the addresses of one hash are.
#[derive(Clone, Copy, Default)]
struct Bucket([Place; PLACES]);

/// One address, told from the others in its bucket by a part of its hash.
#[derive(Clone, Copy, Default)]
struct Place {
    tag: u32,
    /// 0: nobody's.
    connects: u32,
}

const _: () = assert!(size_of::<Bucket>() == 64, "one cache line");

impl Addresses {
    pub fn new(connects_max: u32, window_ticks: u32) -> Self {
        Self { connects_max, window_ticks, hasher: RandomState::new(), stripes: Default::default() }
    }

    /// Counts a connect; when it is one too many, says after how many seconds to try again.
    pub fn admit(&self, address: IpAddr, now: Now) -> Result<(), u32> {
        if self.connects_max == 0 {
            return Ok(());
        }
        let hash = self.hasher.hash_one(customer(address));
        let stripe = &self.stripes[hash as usize % STRIPES];
        let mut window = stripe.lock().unwrap_or_else(PoisonError::into_inner);
        // Another shard may have begun a window a moment after this one looked at the clock.
        let since_start = now.tick().saturating_sub(window.start);
        if window.buckets.is_empty() || since_start >= self.window_ticks {
            window.begin(now.tick());
        }
        if window.count(hash) <= self.connects_max {
            return Ok(());
        }
        let ticks_left = self.window_ticks.saturating_sub(since_start);
        Err((ticks_left * TICK_MS).div_ceil(1000).max(1))
    }
}

impl Window {
    fn begin(&mut self, tick: u32) {
        self.start = tick;
        self.buckets.clear();
        self.buckets.resize(BUCKETS_PER_STRIPE, Bucket::default());
    }

    /// Counts a connect of the address with this hash. Says how many it has.
    fn count(&mut self, hash: u64) -> u32 {
        // The lowest bits have chosen the stripe, the highest are the tag.
        let bucket = &mut self.buckets[hash as usize / STRIPES % BUCKETS_PER_STRIPE];
        bucket.count((hash >> 32) as u32)
    }
}

impl Bucket {
    fn count(&mut self, tag: u32) -> u32 {
        let place = self.place_of(tag);
        place.connects = place.connects.saturating_add(1);
        place.connects
    }

    /// The place of this address; a new one takes that of whoever has connected least often, which nobody has if one is
    /// free.
    fn place_of(&mut self, tag: u32) -> &mut Place {
        let known = self.0.iter().position(|place| place.connects > 0 && place.tag == tag);
        let at = known.unwrap_or_else(|| {
            let least = (0..PLACES).min_by_key(|at| self.0[*at].connects).unwrap_or(0);
            self.0[least] = Place { tag, connects: 0 };
            least
        });
        &mut self.0[at]
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

    /// One /64 of many.
    fn network(n: u32) -> IpAddr {
        IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, (n >> 16) as u16, n as u16, 0, 0, 0, 1))
    }

    fn bytes(addresses: &Addresses) -> usize {
        let of_stripe = |s: &Mutex<Window>| s.lock().expect("no panic").buckets.capacity() * size_of::<Bucket>();
        addresses.stripes.iter().map(of_stripe).sum()
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
    fn a_crowd_of_networks_takes_no_more_memory_than_the_table_has() {
        let addresses = Addresses::new(10, 600);
        (0..300_000).for_each(|n| assert_eq!(addresses.admit(network(n), at(100)), Ok(()), "each comes once"));
        assert_eq!(bytes(&addresses), 1 << 20);
    }

    #[test]
    fn who_is_over_the_limit_is_not_forgotten_in_a_crowd() {
        let addresses = Addresses::new(10, 600);
        let one = address("10.0.0.1");
        (0..10).for_each(|_| assert_eq!(addresses.admit(one, at(100)), Ok(())));
        (0..300_000).for_each(|n| assert_eq!(addresses.admit(network(n), at(100)), Ok(())));
        assert_eq!(addresses.admit(one, at(101)), Err(59));
    }

    #[test]
    fn without_a_limit_nothing_is_remembered() {
        let addresses = Addresses::new(0, 600);
        (0..100).for_each(|_| assert_eq!(addresses.admit(address("10.0.0.1"), at(0)), Ok(())));
        assert_eq!(bytes(&addresses), 0);
    }
}
