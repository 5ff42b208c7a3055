//! Session ids: how a connection's id is shown to clients and operators, and found again by what they show.

use std::fmt;
use std::hash::{BuildHasher, RandomState};

use uuid::fmt::Hyphenated;
use uuid::{Builder, Uuid, Variant, Version};

use crate::lane::ConnectionId;

/// A connection's id as clients and operators see it: a UUID of version 8 (RFC 9562 section 5.8) that says nothing of
/// shard, slot or how many came before. Computed when it is shown, so it costs an idle connection nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId(u128);

/// Makes session ids of connection ids: a permutation of the 122 bits that are free in a UUID, under a key of the
/// process. So two connections never share one, and who has many of them cannot tell what the next one will be. It is a
/// Feistel network, whose rounds need not be invertible: they are the keyed hash of the standard library, SipHash with
/// a key from the system's randomness. Four rounds of a pseudorandom function make a strong pseudorandom permutation
/// (Luby and Rackoff); there are twice as many, and all of them together take less than half a microsecond.
#[derive(Clone, Default)]
pub struct SessionKey(RandomState);

const ROUNDS: u8 = 8;

/// Bits of half a block.
const HALF: u32 = 61;
const HALF_MASK: u64 = (1 << HALF) - 1;

impl SessionKey {
    pub fn session(&self, id: ConnectionId) -> SessionId {
        let plain = u128::from(id.shard) << 64 | u128::from(id.slot) << 32 | u128::from(id.generation);
        let halves = ((plain >> HALF) as u64, plain as u64 & HALF_MASK);
        let (left, right) = (0..ROUNDS)
            .fold(halves, |(left, right), round| (right, left ^ self.0.hash_one((round, right)) & HALF_MASK));
        SessionId(u128::from(left) << HALF | u128::from(right))
    }

    /// The connection that was given this id, which may be gone by now. `None` when this process never gave it: of ids
    /// that somebody made up, one in 2^42 is taken for one that was given, and then finds nobody.
    pub fn connection(&self, session: SessionId) -> Option<ConnectionId> {
        let halves = ((session.0 >> HALF) as u64, session.0 as u64 & HALF_MASK);
        let (left, right) = (0..ROUNDS)
            .rev()
            .fold(halves, |(left, right), round| (right ^ self.0.hash_one((round, left)) & HALF_MASK, left));
        let plain = u128::from(left) << HALF | u128::from(right);
        let shard = u16::try_from(plain >> 64).ok()?;
        Some(ConnectionId { shard, slot: (plain >> 32) as u32, generation: plain as u32 })
    }
}

impl SessionId {
    /// Reads what [`fmt::Display`] writes, in small or capital letters.
    pub fn parse(text: &str) -> Option<Self> {
        // The library takes other forms too, none of them as long.
        let uuid = if text.len() == Hyphenated::LENGTH { Uuid::try_parse(text).ok()? } else { return None };
        let bits = uuid.as_u128();
        let free = bits >> 80 << 74 | (bits >> 64 & 0xfff) << 62 | bits & ((1 << 62) - 1);
        let is_ours = uuid.get_version() == Some(Version::Custom) && uuid.get_variant() == Variant::RFC4122;
        is_ours.then_some(Self(free))
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(free) = self;
        // 48 bits | version | 12 bits | variant | 62 bits
        let bits = free >> 74 << 80 | (free >> 62 & 0xfff) << 64 | free & ((1 << 62) - 1);
        let uuid = Builder::from_u128(bits).with_version(Version::Custom).with_variant(Variant::RFC4122);
        fmt::Display::fmt(uuid.as_uuid(), f)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_session_id_is_a_uuid_of_version_8() {
        let shown = SessionId(0x2ab_cdef_0123_4567_89ab_cdef_0123_4567).to_string();
        assert_eq!(shown, "aaf37bc0-48d1-859e-89ab-cdef01234567");
        let all = SessionId((1 << 122) - 1).to_string();
        assert_eq!(all, "ffffffff-ffff-8fff-bfff-ffffffffffff");
    }

    #[test]
    fn neighbours_have_nothing_in_common() {
        let key = SessionKey::default();
        let connection = |slot, generation| ConnectionId { shard: 0, slot, generation };
        let ids: Vec<u128> = (0..1000).map(|n| key.session(connection(n, n + 1)).0).collect();
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len());
        // Of 122 bits 61 differ on the average, with a deviation of 5.5 for one pair and 0.2 for all.
        let differing: u32 = ids.windows(2).map(|pair| (pair[0] ^ pair[1]).count_ones()).sum();
        assert!((60.0..62.0).contains(&(f64::from(differing) / 999.0)), "{differing} bits in 999 pairs");
        assert!(ids.iter().all(|id| id >> 122 == 0));
        // Another process, other ids.
        assert!(SessionKey::default().session(connection(0, 1)) != key.session(connection(0, 1)));
    }

    proptest! {
        #[test]
        fn no_two_connections_share_an_id(a: (u16, u32, u32), b: (u16, u32, u32)) {
            let key = SessionKey::default();
            let session = |(shard, slot, generation)| key.session(ConnectionId { shard, slot, generation }).0;
            prop_assert_eq!(a == b, session(a) == session(b));
        }

        #[test]
        fn the_connection_is_found_again_by_the_id_that_was_shown(shard: u16, slot: u32, generation: u32) {
            let (key, id) = (SessionKey::default(), ConnectionId { shard, slot, generation });
            let shown = key.session(id).to_string();
            for text in [shown.clone(), shown.to_uppercase()] {
                prop_assert_eq!(SessionId::parse(&text).and_then(|session| key.connection(session)), Some(id));
            }
            let other_process = SessionKey::default();
            prop_assert_eq!(SessionId::parse(&shown).and_then(|session| other_process.connection(session)), None);
        }

        #[test]
        fn nothing_else_is_taken_for_a_session_id(text: String, at in 0..Hyphenated::LENGTH, wrong in "[g-z -]") {
            prop_assert!(SessionId::parse(&text).is_none());
            let connection = ConnectionId { shard: 1, slot: 2, generation: 3 };
            let mut shown = SessionKey::default().session(connection).to_string();
            let is_dash = shown.as_bytes()[at] == b'-';
            shown.replace_range(at..=at, if is_dash { "0" } else { &wrong });
            prop_assert!(SessionId::parse(&shown).is_none());
            shown.push('0');
            prop_assert!(SessionId::parse(&shown).is_none());
        }
    }
}
