//! `[vocabularies]`: which of the shipped routes there are. `core` is always on.

use serde::{Deserialize, Serialize};

use crate::route::Vocabulary;

/// The vocabularies inside the binary, beside `core`: docs/ROUTES.md. All are on; their messages do not collide.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Vocabularies {
    pub conversations: bool,
    pub dispatch: bool,
    pub community: bool,
    pub tracking: bool,
    pub relay: bool,
}

impl Default for Vocabularies {
    fn default() -> Vocabularies {
        Vocabularies { conversations: true, dispatch: true, community: true, tracking: true, relay: true }
    }
}

impl Vocabularies {
    pub const SECTION: &'static str = "vocabularies";

    /// In the order in which their routes are looked at.
    pub fn on(&self) -> Vec<Vocabulary> {
        let Vocabularies { conversations, dispatch, community, tracking, relay } = *self;
        let chosen = [
            (conversations, Vocabulary::CONVERSATIONS),
            (dispatch, Vocabulary::DISPATCH),
            (community, Vocabulary::COMMUNITY),
            (tracking, Vocabulary::TRACKING),
            (relay, Vocabulary::RELAY),
            (true, Vocabulary::CORE),
        ];
        chosen.into_iter().filter(|(is_on, _)| *is_on).map(|(_, vocabulary)| vocabulary).collect()
    }
}
