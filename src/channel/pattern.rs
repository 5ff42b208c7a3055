//! Channel patterns: what a grant allows, and for which channels a policy holds. A name is the pattern of itself alone.
//!
//! In a pattern `*` stands for any run of characters, the empty one too: `conv:*`, `team:*:news`, or `*` for every
//! channel. There is no escape: a channel whose name has a `*` needs a pattern.

use std::fmt;
use std::str::FromStr;

/// Longest pattern in bytes: the longest channel name.
pub const PATTERN_BYTES_MAX: usize = 255;

const ANY_RUN: char = '*';

/// A checked pattern. The default matches every channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(Box<str>);

/// Why a text is no pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatternError {
    Empty,
    TooLong,
    ControlCharacter,
}

impl Pattern {
    pub fn matches(&self, channel: &str) -> bool {
        matches(&self.0, channel)
    }

    /// Whether every channel that `other` matches is matched by this one: its `*` is but one more character to it.
    pub fn covers(&self, other: &Pattern) -> bool {
        self.matches(&other.0)
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Pattern, PatternError> {
        check(text).map(|()| Pattern(text.into()))
    }
}

impl Default for Pattern {
    fn default() -> Self {
        Pattern(ANY_RUN.to_string().into())
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether `text` can be a pattern.
pub fn check(text: &str) -> Result<(), PatternError> {
    if text.is_empty() {
        Err(PatternError::Empty)
    } else if text.len() > PATTERN_BYTES_MAX {
        Err(PatternError::TooLong)
    } else if text.chars().any(char::is_control) {
        Err(PatternError::ControlCharacter)
    } else {
        Ok(())
    }
}

/// Matches without going back: what stands before the first `*` is a prefix, what stands after the last one a suffix,
/// and the first place where a middle piece is found leaves the most for the pieces after it. No pattern matches the
/// empty name.
pub fn matches(pattern: &str, name: &str) -> bool {
    if name.is_empty() {
        return false;
    }
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

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PatternError::Empty => f.write_str("the pattern is empty"),
            PatternError::TooLong => write!(f, "the pattern is longer than {PATTERN_BYTES_MAX} bytes"),
            PatternError::ControlCharacter => f.write_str("the pattern has a control character"),
        }
    }
}

impl std::error::Error for PatternError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_star_stands_for_any_run_of_characters() {
        for (pattern, name, expected) in [
            ("*", "conv:1", true),
            ("*", "", false),
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
            assert_eq!(matches(pattern, name), expected, "{pattern} on {name}");
        }
    }

    #[test]
    fn a_text_that_is_no_pattern_is_refused() {
        assert_eq!("x".repeat(PATTERN_BYTES_MAX + 1).parse::<Pattern>(), Err(PatternError::TooLong));
        assert!("x".repeat(PATTERN_BYTES_MAX).parse::<Pattern>().is_ok());
        assert_eq!("".parse::<Pattern>(), Err(PatternError::Empty));
        assert_eq!("a\nb".parse::<Pattern>(), Err(PatternError::ControlCharacter));
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
            prop_assert_eq!(matches(&pattern, &name), matches_by_definition(pattern.as_bytes(), name.as_bytes()));
        }
    }
}
