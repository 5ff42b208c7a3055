//! Which channels a session may subscribe to: the claim `channels`, or the configured default, which has the same form.
//!
//! Held by a session for as long as it is connected, so it is one allocation: the entries joined by line feeds.
//! Invariant: an entry is neither empty nor has control characters, so the line feed separates without escaping.

use std::fmt;

/// Most entries of one list.
pub const GRANTS_MAX: usize = 256;
/// Longest entry in bytes: the longest channel name.
pub const GRANT_BYTES_MAX: usize = 255;

const SEPARATOR: char = '\n';
const ANY_RUN: char = '*';

/// Channel names and patterns. In a pattern `*` stands for any run of characters, the empty one too: `conv:*`,
/// `team:*:news`, or `*` for every channel. There is no escape: a channel whose name has a `*` needs a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grants(Box<str>);

/// What is wrong with a list of grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GrantError {
    TooMany,
    Empty,
    TooLong,
    ControlCharacter,
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
            check(entry)?;
            if index > 0 {
                joined.push(SEPARATOR);
            }
            joined.push_str(entry);
        }
        Ok(Grants(joined.into_boxed_str()))
    }

    /// Whether one of the entries covers `channel`. This is about names only: the implicit channels (`user:…`,
    /// `type:…`, `all`) are never joined by `subscribe`, whatever is granted.
    pub fn allows(&self, channel: &str) -> bool {
        !channel.is_empty() && self.0.split(SEPARATOR).any(|pattern| matches(pattern, channel))
    }
}

fn check(entry: &str) -> Result<(), GrantError> {
    if entry.is_empty() {
        Err(GrantError::Empty)
    } else if entry.len() > GRANT_BYTES_MAX {
        Err(GrantError::TooLong)
    } else if entry.chars().any(char::is_control) {
        Err(GrantError::ControlCharacter)
    } else {
        Ok(())
    }
}

/// Matches without going back: what stands before the first `*` is a prefix, what stands after the last one a suffix,
/// and the first place where a middle piece is found leaves the most for the pieces after it.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((prefix, pattern)) = pattern.split_once(ANY_RUN) else { return pattern == name };
    let Some(mut rest) = name.strip_prefix(prefix) else { return false };
    let (middle, suffix) = pattern.rsplit_once(ANY_RUN).unwrap_or(("", pattern));
    for piece in middle.split(ANY_RUN) {
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    rest.ends_with(suffix)
}

impl fmt::Display for GrantError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GrantError::TooMany => write!(f, "more than {GRANTS_MAX} channel grants"),
            GrantError::Empty => f.write_str("a channel grant is empty"),
            GrantError::TooLong => write!(f, "a channel grant is longer than {GRANT_BYTES_MAX} bytes"),
            GrantError::ControlCharacter => f.write_str("a channel grant has a control character"),
        }
    }
}

impl std::error::Error for GrantError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
    fn a_star_stands_for_any_run_of_characters() {
        for (pattern, name, expected) in [
            ("*", "conv:1", true),
            ("conv:*", "conv:1", true),
            ("conv:*", "conv:", true),
            ("conv:*", "clan:1", false),
            ("*:news", "team:7:news", true),
            ("*:news", "team:7:newsletter", false),
            ("team:*:news", "team:7:news", true),
            ("team:*:news", "team:news", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("a*bc*c", "abcc", true),
            ("a*bc*c", "abc", false),
            ("a**b", "ab", true),
            ("*b*b*", "abab", true),
            ("*b*b*", "aba", false),
            ("ü*", "über", true),
        ] {
            assert_eq!(grants(&[pattern]).allows(name), expected, "{pattern} on {name}");
        }
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
        assert_eq!(Grants::parse(["x".repeat(GRANT_BYTES_MAX + 1)]), Err(GrantError::TooLong));
        assert!(Grants::parse(["x".repeat(GRANT_BYTES_MAX)]).is_ok());
        assert_eq!(Grants::parse(["a", ""]), Err(GrantError::Empty));
        assert_eq!(Grants::parse(["a\nb"]), Err(GrantError::ControlCharacter));
    }

    /// The definition of the pattern, slow and obvious.
    fn matches_by_definition(pattern: &[u8], name: &[u8]) -> bool {
        match pattern.split_first() {
            None => name.is_empty(),
            Some((b'*', rest)) => (0..=name.len()).any(|skip| matches_by_definition(rest, &name[skip..])),
            Some((byte, rest)) => name.first() == Some(byte) && matches_by_definition(rest, &name[1..]),
        }
    }

    proptest! {
        #[test]
        fn a_pattern_matches_as_defined(pattern in "[ab*]{1,8}", name in "[ab]{1,10}") {
            prop_assert_eq!(
                grants(&[&pattern]).allows(&name),
                matches_by_definition(pattern.as_bytes(), name.as_bytes())
            );
        }
    }
}
