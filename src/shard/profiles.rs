//! What sessions have in common: user type and platform, interned so that a connection holds two bytes of them.
//!
//! Counted per session and freed with the last one: clients may name their own type and platform, and must not be able
//! to fill the table with names that nobody bears any more. What they can fill is bounded apart from what tokens name:
//! beyond [`CLAIMED_MAX`] a client's own words count as [`OTHER`].

use std::hash::{BuildHasher, RandomState};
use std::ops::Range;

use hashbrown::HashTable;
use slab::Slab;

use crate::auth::ClaimSet;
use crate::lane::Filter;

/// Index of a profile; [`NONE`] before authentication.
pub type ProfileId = u16;

pub const NONE: ProfileId = ProfileId::MAX;

/// What a type or a platform that is not told apart is called.
pub const OTHER: &str = "other";

/// Profiles of a shard that hold a client's own words. Real applications have some dozens; with all shards of a large
/// node together they still merge within a millisecond or two.
const CLAIMED_MAX: usize = 256;

/// Profiles of a shard.
const PROFILES_MAX: usize = 4096;

#[derive(Default)]
pub struct Profiles {
    profiles: Slab<Profile>,
    /// Ids by the hash of what they hold.
    index: HashTable<ProfileId>,
    hasher: RandomState,
    /// Profiles that were made of a client's own words.
    claimed: usize,
}

/// What a session says of itself, and what its token says of it.
#[derive(Clone, Copy, Default)]
pub struct Claims<'a> {
    pub user_type: Option<&'a str>,
    /// The token names the type, not the client.
    pub is_vouched: bool,
    /// Always the client's own word.
    pub platform: Option<&'a str>,
    /// Which of the claims that routes ask for the token has.
    pub granted: ClaimSet,
}

struct Profile {
    user_type: Option<Box<str>>,
    platform: Option<Box<str>>,
    granted: ClaimSet,
    sessions: usize,
    claimed: bool,
}

impl Profiles {
    /// Counts one session in.
    pub fn enter(&mut self, claims: Claims<'_>) -> ProfileId {
        let key = self.find_or_add(claims);
        self.profiles[usize::from(key)].sessions += 1;
        key
    }

    /// Counts one session out.
    pub fn leave(&mut self, id: ProfileId) {
        let Some(profile) = self.profiles.get_mut(usize::from(id)) else { return };
        debug_assert!(profile.sessions > 0, "a profile goes with its last session");
        profile.sessions -= 1;
        if profile.sessions == 0 {
            self.remove(id);
        }
    }

    /// The same with what a fresh token grants. `is_vouched`: it names the type.
    pub fn regrant(&mut self, id: ProfileId, granted: ClaimSet, is_vouched: bool) -> ProfileId {
        let Some(profile) = self.profiles.get(usize::from(id)).filter(|profile| profile.granted != granted) else {
            return id;
        };
        let (user_type, platform) = (profile.user_type.clone(), profile.platform.clone());
        // First, so that there is room for what takes its place.
        self.leave(id);
        self.enter(Claims { user_type: user_type.as_deref(), platform: platform.as_deref(), is_vouched, granted })
    }

    pub fn user_type(&self, id: ProfileId) -> Option<&str> {
        self.profiles.get(usize::from(id))?.user_type.as_deref()
    }

    pub fn platform(&self, id: ProfileId) -> Option<&str> {
        self.profiles.get(usize::from(id))?.platform.as_deref()
    }

    pub fn granted(&self, id: ProfileId) -> ClaimSet {
        self.profiles.get(usize::from(id)).map_or(0, |profile| profile.granted)
    }

    pub fn matches(&self, id: ProfileId, filter: &Filter) -> bool {
        let asked = |wish: &Option<String>, is: Option<&str>| wish.as_deref().is_none_or(|wish| is == Some(wish));
        asked(&filter.user_type, self.user_type(id)) && asked(&filter.platform, self.platform(id))
    }

    /// The profiles in some of the [`Profiles::places`] that have a user type, each with its number of sessions. Those
    /// of several platforms have the same type.
    pub fn types_at(&self, places: Range<usize>) -> impl Iterator<Item = (&str, usize)> {
        let profiles = places.filter_map(|place| self.profiles.get(place));
        profiles.filter_map(|profile| Some((profile.user_type.as_deref()?, profile.sessions)))
    }

    /// How many places for profiles there are; some of them may be empty.
    pub fn places(&self) -> usize {
        self.profiles.capacity()
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.profiles.is_empty()
    }

    fn find_or_add(&mut self, claims: Claims<'_>) -> ProfileId {
        if let Some(known) = self.find(claims) {
            return known;
        }
        let claimed = claims.is_claimed();
        let is_full = self.profiles.len() >= PROFILES_MAX || claimed && self.claimed >= CLAIMED_MAX;
        let coarse = if self.profiles.len() >= PROFILES_MAX { claims.coarsest() } else { claims.coarse() };
        match is_full && !coarse.is_same(claims) {
            true => self.find_or_add(coarse),
            false => self.add(claims, claimed),
        }
    }

    fn find(&self, claims: Claims<'_>) -> Option<ProfileId> {
        self.index.find(self.hash(claims), |&id| self.profiles[usize::from(id)].claims().is_same(claims)).copied()
    }

    fn add(&mut self, claims: Claims<'_>, claimed: bool) -> ProfileId {
        let owned = |text: Option<&str>| text.map(Into::into);
        let (user_type, platform) = (owned(claims.user_type), owned(claims.platform));
        let id = self.profiles.insert(Profile { user_type, platform, granted: claims.granted, sessions: 0, claimed })
            as ProfileId;
        let (profiles, hasher) = (&self.profiles, &self.hasher);
        self.index.insert_unique(hash(hasher, claims), id, |&id| hash(hasher, profiles[usize::from(id)].claims()));
        self.claimed += usize::from(claimed);
        id
    }

    fn remove(&mut self, id: ProfileId) {
        let profile = self.profiles.remove(usize::from(id));
        if let Ok(entry) = self.index.find_entry(self.hash(profile.claims()), |&other| other == id) {
            entry.remove();
        }
        self.claimed -= usize::from(profile.claimed);
    }

    fn hash(&self, claims: Claims<'_>) -> u64 {
        hash(&self.hasher, claims)
    }
}

fn hash(hasher: &RandomState, claims: Claims<'_>) -> u64 {
    hasher.hash_one((claims.user_type, claims.platform, claims.granted))
}

impl Profile {
    fn claims(&self) -> Claims<'_> {
        let (user_type, platform) = (self.user_type.as_deref(), self.platform.as_deref());
        Claims { user_type, platform, is_vouched: true, granted: self.granted }
    }
}

impl<'a> Claims<'a> {
    fn is_same(self, other: Claims<'_>) -> bool {
        let same_words = self.user_type == other.user_type && self.platform == other.platform;
        same_words && self.granted == other.granted
    }

    fn is_claimed(self) -> bool {
        self.platform.is_some() || self.user_type.is_some() && !self.is_vouched
    }

    /// Without the client's own words.
    fn coarse(self) -> Claims<'a> {
        let user_type = if self.is_vouched { self.user_type } else { self.user_type.map(|_| OTHER) };
        Claims { user_type, platform: self.platform.map(|_| OTHER), ..self }
    }

    /// Without anybody's words: with what the tokens grant there are a thousand of these at most.
    fn coarsest(self) -> Claims<'a> {
        Claims { is_vouched: false, ..self }.coarse()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn claims<'a>(user_type: Option<&'a str>, platform: Option<&'a str>) -> Claims<'a> {
        Claims { user_type, platform, is_vouched: false, granted: 0 }
    }

    fn vouched<'a>(user_type: &'a str, platform: Option<&'a str>) -> Claims<'a> {
        Claims { user_type: Some(user_type), platform, is_vouched: true, granted: 0 }
    }

    /// Sessions by type.
    fn types(profiles: &Profiles) -> BTreeMap<&str, usize> {
        let mut sums = BTreeMap::new();
        profiles.types_at(0..profiles.places()).for_each(|(name, sessions)| *sums.entry(name).or_default() += sessions);
        sums
    }

    #[test]
    fn a_profile_goes_with_its_last_session() {
        let mut profiles = Profiles::default();
        let a = profiles.enter(claims(Some("driver"), Some("ios")));
        assert_eq!(profiles.enter(claims(Some("driver"), Some("ios"))), a);
        let b = profiles.enter(claims(Some("driver"), None));
        assert_ne!(a, b);
        assert_eq!(types(&profiles), [("driver", 3)].into());
        profiles.leave(a);
        assert_eq!(profiles.user_type(a), Some("driver"));
        profiles.leave(a);
        assert_eq!(profiles.user_type(a), None);
        profiles.leave(NONE);
        assert_eq!(types(&profiles), [("driver", 1)].into());
        profiles.leave(b);
        assert_eq!((profiles.profiles.len(), profiles.index.len(), profiles.claimed), (0, 0, 0));
    }

    #[test]
    fn a_fresh_token_grants_something_else() {
        let mut profiles = Profiles::default();
        let id = profiles.enter(claims(Some("driver"), Some("ios")));
        let granted = profiles.regrant(id, 0b101, false);
        assert_eq!((profiles.granted(granted), profiles.user_type(granted)), (0b101, Some("driver")));
        assert_eq!(profiles.regrant(granted, 0b101, false), granted);
        profiles.leave(granted);
        assert!(profiles.is_empty() && profiles.claimed == 0);
    }

    #[test]
    fn a_fresh_token_takes_no_vouched_type_away_where_the_table_is_full() {
        let mut profiles = Profiles::default();
        let driver = profiles.enter(vouched("driver", Some("ios")));
        let words: Vec<String> = (0..CLAIMED_MAX).map(|n| n.to_string()).collect();
        for word in &words {
            profiles.enter(claims(Some(word), None));
        }
        let driver = profiles.regrant(driver, 1, true);
        assert_eq!((profiles.user_type(driver), profiles.granted(driver)), (Some("driver"), 1));
    }

    #[test]
    fn a_filter_narrows_by_what_it_names() {
        let mut profiles = Profiles::default();
        let id = profiles.enter(claims(Some("driver"), Some("ios")));
        let filter = |t: Option<&str>, p: Option<&str>| Filter {
            user_type: t.map(Into::into),
            platform: p.map(Into::into),
            near: None,
        };
        assert!(profiles.matches(id, &filter(None, None)));
        assert!(profiles.matches(id, &filter(Some("driver"), None)));
        assert!(!profiles.matches(id, &filter(Some("rider"), Some("ios"))));
        assert!(!profiles.matches(NONE, &filter(None, Some("ios"))));
    }

    #[test]
    fn clients_cannot_fill_the_table_with_their_own_words() {
        let mut profiles = Profiles::default();
        let words: Vec<String> = (0..20_000).map(|n| n.to_string()).collect();
        let ids: Vec<_> = words.iter().map(|word| profiles.enter(claims(Some(word), Some(word)))).collect();
        assert_eq!(profiles.profiles.len(), CLAIMED_MAX + 1);
        assert_eq!(profiles.user_type(ids[19_999]), Some(OTHER));
        assert_eq!(types(&profiles).values().sum::<usize>(), 20_000);
        // What a token says is told apart still, and so is a type that is known already.
        let driver = profiles.enter(vouched("driver", Some("ios")));
        assert_eq!((profiles.user_type(driver), profiles.platform(driver)), (Some("driver"), Some(OTHER)));
        assert_eq!(profiles.enter(claims(Some("7"), Some("7"))), ids[7]);
        profiles.leave(driver);
        profiles.leave(ids[7]);
        ids.into_iter().for_each(|id| profiles.leave(id));
        assert_eq!((profiles.profiles.len(), profiles.index.len(), profiles.claimed), (0, 0, 0));
    }

    #[test]
    fn an_issuer_with_a_type_for_everybody_is_bounded_too() {
        let mut profiles = Profiles::default();
        for n in 0..2 * PROFILES_MAX {
            profiles.enter(vouched(&n.to_string(), None));
        }
        assert_eq!(profiles.profiles.len(), PROFILES_MAX + 1);
        assert_eq!(types(&profiles)[OTHER], PROFILES_MAX);
    }
}
