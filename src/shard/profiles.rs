//! What sessions have in common: user type and platform, interned so that a connection holds two bytes of them.
//!
//! Counted per session and freed with the last one: clients may name their own type, and must not be able to fill the
//! table with names that nobody bears any more.

use slab::Slab;

use crate::bus::Filter;

/// Index of a profile; [`NONE`] before authentication.
pub type ProfileId = u16;

pub const NONE: ProfileId = ProfileId::MAX;

#[derive(Default)]
pub struct Profiles(Slab<Profile>);

struct Profile {
    user_type: Option<Box<str>>,
    platform: Option<Box<str>>,
    sessions: usize,
}

impl Profiles {
    /// Counts one session in. [`NONE`] when there are too many different profiles (then the session has neither a type
    /// nor a platform for filters and statistics).
    pub fn enter(&mut self, user_type: Option<&str>, platform: Option<&str>) -> ProfileId {
        let same = |p: &Profile| p.user_type.as_deref() == user_type && p.platform.as_deref() == platform;
        let known = self.0.iter().find(|(_, p)| same(p)).map(|(key, _)| key);
        let key = match known {
            Some(key) => key,
            None if self.0.len() >= usize::from(NONE) => return NONE,
            None => self.0.insert(Profile {
                user_type: user_type.map(Into::into),
                platform: platform.map(Into::into),
                sessions: 0,
            }),
        };
        self.0[key].sessions += 1;
        key as ProfileId
    }

    /// Counts one session out.
    pub fn leave(&mut self, id: ProfileId) {
        let Some(profile) = self.0.get_mut(usize::from(id)) else { return };
        profile.sessions -= 1;
        if profile.sessions == 0 {
            self.0.remove(usize::from(id));
        }
    }

    pub fn user_type(&self, id: ProfileId) -> Option<&str> {
        self.0.get(usize::from(id))?.user_type.as_deref()
    }

    pub fn platform(&self, id: ProfileId) -> Option<&str> {
        self.0.get(usize::from(id))?.platform.as_deref()
    }

    pub fn matches(&self, id: ProfileId, filter: &Filter) -> bool {
        let asked = |wish: &Option<String>, is: Option<&str>| wish.as_deref().is_none_or(|wish| is == Some(wish));
        asked(&filter.user_type, self.user_type(id)) && asked(&filter.platform, self.platform(id))
    }

    /// User types with their number of sessions; a type appears once per platform.
    pub fn types(&self) -> impl Iterator<Item = (&str, usize)> {
        self.0.iter().filter_map(|(_, p)| p.user_type.as_deref().map(|t| (t, p.sessions)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_goes_with_its_last_session() {
        let mut profiles = Profiles::default();
        let a = profiles.enter(Some("driver"), Some("ios"));
        assert_eq!(profiles.enter(Some("driver"), Some("ios")), a);
        let b = profiles.enter(Some("driver"), None);
        assert_ne!(a, b);
        assert_eq!(profiles.types().map(|(_, n)| n).sum::<usize>(), 3);
        profiles.leave(a);
        assert_eq!(profiles.user_type(a), Some("driver"));
        profiles.leave(a);
        assert_eq!(profiles.user_type(a), None);
        profiles.leave(NONE);
        assert_eq!(profiles.types().collect::<Vec<_>>(), [("driver", 1)]);
    }

    #[test]
    fn a_filter_narrows_by_what_it_names() {
        let mut profiles = Profiles::default();
        let id = profiles.enter(Some("driver"), Some("ios"));
        let filter =
            |t: Option<&str>, p: Option<&str>| Filter { user_type: t.map(Into::into), platform: p.map(Into::into) };
        assert!(profiles.matches(id, &filter(None, None)));
        assert!(profiles.matches(id, &filter(Some("driver"), None)));
        assert!(!profiles.matches(id, &filter(Some("rider"), Some("ios"))));
        assert!(!profiles.matches(NONE, &filter(None, Some("ios"))));
    }
}
