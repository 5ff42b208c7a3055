//! Channel names: what a name may be, and which names nobody joins by asking.
//!
//! A name is `kind:rest` (`conv:c1`, `user:42`) or a single word (`notifications`), at most
//! `limits.channel_name_bytes` long. The names of a user, of a user type and of everybody are implicit: a session is
//! put there by who it is, never by `subscribe`, or anyone could read a stranger's messages. So are the cells of the
//! globe: a session is in those of its circle.

/// The channel that every authenticated session is in.
pub const ALL: &str = "all";

/// `user:{id}`: every session of one user.
pub const USER_PREFIX: &str = "user:";

/// The user whose channel this is.
pub fn user_of(channel: &str) -> &str {
    channel.strip_prefix(USER_PREFIX).unwrap_or_default()
}

/// `type:{userType}`: every session of that type.
pub const TYPE_PREFIX: &str = "type:";

/// `cell:{cell}`: whose circle covers this part of the globe.
pub const CELL_PREFIX: &str = "cell:";

/// The words before the colon of which subscriptions are counted apart.
pub const KINDS: [&str; 7] = ["conv", "clan", "vendor", "user", "type", "notifications", "cell"];

/// Where the cells stand in [`KINDS`]: a circle has several.
pub const CELLS: usize = KINDS.len() - 1;

/// Where the kind of a channel stands in [`KINDS`]; their number for all others.
pub fn kind_of(name: &str) -> usize {
    let kind = name.split_once(':').map_or(name, |(kind, _)| kind);
    KINDS.iter().position(|known| *known == kind).unwrap_or(KINDS.len())
}

/// True for the channels that follow from the session itself.
pub fn is_implicit(name: &str) -> bool {
    name == ALL || [USER_PREFIX, TYPE_PREFIX, CELL_PREFIX].iter().any(|prefix| name.starts_with(prefix))
}

/// A name that can be a channel: not empty, not longer than `bytes_max`, no blanks or control characters (they would
/// make broker subjects and log lines ambiguous).
pub fn is_valid(name: &str, bytes_max: usize) -> bool {
    !name.is_empty() && name.len() <= bytes_max && !name.chars().any(|c| c.is_control() || c.is_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_channels_of_a_session_are_implicit() {
        for name in ["all", "user:1", "type:driver", "cell:8928308280fffff"] {
            assert!(is_implicit(name), "{name}");
        }
        for name in ["conv:1", "allies", "users", "typewriter", "vendor:user:1"] {
            assert!(!is_implicit(name), "{name}");
        }
    }

    #[test]
    fn the_kind_is_the_word_before_the_first_colon() {
        for (name, kind) in [("conv:1", 0), ("notifications", 5), ("type:a:b", 4), ("news", 7), ("conv", 0), ("", 7)] {
            assert_eq!(kind_of(name), kind, "{name}");
        }
        assert_eq!(kind_of(CELL_PREFIX), CELLS);
    }

    #[test]
    fn names_that_would_confuse_a_broker_are_refused() {
        for name in ["", "conv:a b", "conv:\n", "conv:\u{7f}", &"x".repeat(256)] {
            assert!(!is_valid(name, 255), "{name:?}");
        }
        assert!(is_valid("conv:Zürich-1", 255));
        assert!(is_valid(&"x".repeat(255), 255));
    }
}
