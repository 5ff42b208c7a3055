//! What a verified token says about its bearer. Made by `token`, held by a session for as long as it is connected.

use super::{ClaimSet, Grants, claims::is_name};

/// A user, as the issuer of the token vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The claim `sub`: 1 to 250 bytes, without control characters.
    pub user_id: Box<str>,
    /// The claim `role`, or `userType`, or `user_type`, whichever is first present and not empty.
    pub user_type: Option<Box<str>>,
    /// Unix seconds. The first moment at which the token no longer counts: `exp` and the leeway.
    pub expires_at: u64,
    /// The claim `channels`. `None`: the token does not say, the configured default applies.
    pub grants: Option<Grants>,
    /// Which of the claims that routes ask for it has.
    pub claims: ClaimSet,
}

impl Identity {
    /// The user type of the token or, when it names none, the one asked for with `?userType=`. What was asked for is
    /// ignored when it cannot be a part of a channel name.
    pub fn user_type_or<'a>(&'a self, asked_for: Option<&'a str>) -> Option<&'a str> {
        self.user_type.as_deref().or(asked_for.filter(|name| is_name(name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(user_type: Option<&str>) -> Identity {
        Identity { user_id: "u1".into(), user_type: user_type.map(Into::into), expires_at: 1, grants: None, claims: 0 }
    }

    #[test]
    fn a_role_in_the_token_wins_over_the_query() {
        assert_eq!(identity(Some("rider")).user_type_or(Some("driver")), Some("rider"));
        assert_eq!(identity(None).user_type_or(Some("driver")), Some("driver"));
        assert_eq!(identity(None).user_type_or(None), None);
    }

    #[test]
    fn a_user_type_that_is_no_name_is_ignored() {
        for asked_for in ["", "a\nb", &"x".repeat(251)] {
            assert_eq!(identity(None).user_type_or(Some(asked_for)), None);
        }
    }
}
