//! The vocabularies inside the binary: one TOML file each, which is its documentation too.
//!
//! A new one is a file in `vocabularies/`, a constant here and its place in [`Vocabulary::ALL`].

use super::definition::Definitions;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vocabulary {
    pub name: &'static str,
    text: &'static str,
}

macro_rules! vocabulary {
    ($name:literal) => {
        Vocabulary { name: $name, text: include_str!(concat!("vocabularies/", $name, ".toml")) }
    };
}

impl Vocabulary {
    /// What every client may say, whatever else it speaks. Always on.
    pub const CORE: Vocabulary = vocabulary!("core");
    pub const CONVERSATIONS: Vocabulary = vocabulary!("conversations");
    pub const DISPATCH: Vocabulary = vocabulary!("dispatch");
    pub const COMMUNITY: Vocabulary = vocabulary!("community");
    pub const TRACKING: Vocabulary = vocabulary!("tracking");
    pub const RELAY: Vocabulary = vocabulary!("relay");

    /// In the order in which their routes are looked at: `core` takes what the others leave.
    pub const ALL: [Vocabulary; 6] =
        [Self::CONVERSATIONS, Self::DISPATCH, Self::COMMUNITY, Self::TRACKING, Self::RELAY, Self::CORE];

    pub fn definitions(self) -> Definitions {
        let file = format!("{}.toml", self.name);
        Definitions::read_vocabulary(&file, self.text)
            .unwrap_or_else(|error| panic!("{file}, line {}: {}", error.line, error.message))
    }
}
