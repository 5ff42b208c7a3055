//! Which channels a session may subscribe to: the claim `channels`, or the configured default, which has the same form.
//!
//! Held by a session for as long as it is connected, so it is one allocation: the entries joined by line feeds.
//! Invariant: an entry is neither empty nor has control characters, so the line feed separates without escaping.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::channel::pattern::{self, PatternError};

/// Most entries of one list.
pub const GRANTS_MAX: usize = 256;

const SEPARATOR: char = '\n';

/// Channel names and [patterns](pattern).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Grants(Box<str>);

/// What is wrong with a list of grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrantError {
    TooMany,
    NoPattern(PatternError),
}

impl Grants {
    /// The empty list is a valid one: it allows nothing.
    pub fn parse<I>(list: I) -> Result<Grants, GrantError>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let mut joined = String::new();
        for (index, entry) in list.into_iter().enumerate() {
            if index == GRANTS_MAX {
                return Err(GrantError::TooMany);
            }
            let entry = entry.as_ref();
            pattern::check(entry).map_err(GrantError::NoPattern)?;
            if index > 0 {
                joined.push(SEPARATOR);
            }
            joined.push_str(entry);
        }
        Ok(Grants(joined.into_boxed_str()))
    }

    /// For every channel there is.
    pub fn all() -> Grants {
        Grants("*".into())
    }

    /// Whether one of the entries covers `channel`. This is about names only: the implicit channels (`user:…`,
    /// `type:…`, `all`) are never joined by `subscribe`, whatever is granted.
    pub fn allows(&self, channel: &str) -> bool {
        self.entries().any(|entry| pattern::matches(entry, channel))
    }

    fn entries(&self) -> impl Iterator<Item = &str> {
        self.0.split(SEPARATOR).filter(|entry| !entry.is_empty())
    }
}

impl TryFrom<Vec<String>> for Grants {
    type Error = GrantError;

    fn try_from(list: Vec<String>) -> Result<Grants, GrantError> {
        Grants::parse(list)
    }
}

impl From<Grants> for Vec<String> {
    fn from(grants: Grants) -> Vec<String> {
        grants.entries().map(str::to_owned).collect()
    }
}

impl fmt::Display for GrantError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GrantError::TooMany => write!(f, "more than {GRANTS_MAX} channel grants"),
            GrantError::NoPattern(error) => write!(f, "a channel grant is no pattern: {error}"),
        }
    }
}

impl std::error::Error for GrantError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(list: &[&str]) -> Grants {
        Grants::parse(list).unwrap()
    }

    #[test]
    fn a_name_allows_itself_only() {
        let grants = grants(&["conv:1", "clan:red"]);
        assert!(grants.allows("conv:1") && grants.allows("clan:red"));
        for refused in ["conv:11", "conv:", "xconv:1", "CONV:1", "", "conv:1\nclan:red", "clan:red\n"] {
            assert!(!grants.allows(refused), "{refused:?}");
        }
    }

    #[test]
    fn each_pattern_of_the_list_allows_what_it_matches() {
        let grants = grants(&["conv:*", "team:*:news"]);
        assert!(grants.allows("conv:1") && grants.allows("team:7:news"));
        assert!(!grants.allows("team:7") && !grants.allows("clan:1"));
        assert!(Grants::all().allows("clan:1"));
    }

    #[test]
    fn the_empty_list_allows_nothing() {
        assert!(!grants(&[]).allows("conv:1"));
        assert!(!grants(&[]).allows(""));
    }

    #[test]
    fn a_list_beyond_its_bounds_is_refused() {
        assert_eq!(Grants::parse(vec!["x"; GRANTS_MAX + 1]), Err(GrantError::TooMany));
        assert!(Grants::parse(vec!["x"; GRANTS_MAX]).is_ok());
        let too_long = "x".repeat(pattern::PATTERN_BYTES_MAX + 1);
        assert_eq!(Grants::parse([too_long]), Err(GrantError::NoPattern(PatternError::TooLong)));
        assert_eq!(Grants::parse(["a", ""]), Err(GrantError::NoPattern(PatternError::Empty)));
        assert_eq!(Grants::parse(["a\nb"]), Err(GrantError::NoPattern(PatternError::ControlCharacter)));
    }

    #[test]
    fn a_list_is_written_as_it_was_read() {
        for list in [vec![], vec!["conv:*".to_owned()], vec!["a".to_owned(), "b".to_owned()]] {
            assert_eq!(Vec::from(Grants::parse(&list).unwrap()), list);
        }
    }
}
