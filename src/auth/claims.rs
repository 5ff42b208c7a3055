//! The claims of a token that Ringway reads, and what they must look like. Called by `token` once the signature holds.
//!
//! Invariant: a claim that is present and cannot be used refuses the token. Ignoring it would let, say, an unreadable
//! `role` fall back to what the client asks for.

use serde::Deserialize;

use super::{Grants, Identity, TokenError};

/// Longest user id and user type: with its prefix (`user:`, `type:`) it still is a channel name of 255 bytes.
pub(super) const NAME_BYTES_MAX: usize = 250;

/// Everything else in the token is skipped while parsing.
#[derive(Deserialize)]
pub(super) struct Claims {
    sub: Option<Box<str>>,
    /// RFC 7519 section 2: a NumericDate may have a fraction.
    exp: Option<f64>,
    nbf: Option<f64>,
    pub(super) iat: Option<f64>,
    pub(super) jti: Option<Box<str>>,
    aud: Option<OneOrMany>,
    iss: Option<Box<str>>,
    role: Option<Box<str>>,
    #[serde(rename = "userType")]
    user_type: Option<Box<str>>,
    #[serde(rename = "user_type")]
    user_type_snake: Option<Box<str>>,
    channels: Option<Vec<Box<str>>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(Box<str>),
    Many(Vec<Box<str>>),
}

impl Claims {
    /// Checks the times against `now_unix_s` and returns the moment the token ends, leeway included.
    pub(super) fn check_times(&self, now_unix_s: u64, leeway_s: u64) -> Result<u64, TokenError> {
        // A float turns into an integer by saturation: what is negative is long past, what is huge never comes.
        let exp = self.exp.ok_or(TokenError::NoExpiry)? as u64;
        let expires_at = exp.saturating_add(leeway_s);
        if expires_at <= now_unix_s {
            return Err(TokenError::Expired);
        }
        match self.nbf {
            Some(nbf) if nbf.ceil() as u64 > now_unix_s.saturating_add(leeway_s) => Err(TokenError::NotYetValid),
            _ => Ok(expires_at),
        }
    }

    pub(super) fn is_for(&self, accepted: &[String]) -> bool {
        let is_accepted = |name: &str| accepted.iter().any(|accepted| accepted == name);
        match &self.aud {
            None => false,
            Some(OneOrMany::One(name)) => is_accepted(name),
            Some(OneOrMany::Many(names)) => names.iter().any(|name| is_accepted(name)),
        }
    }

    pub(super) fn is_from(&self, accepted: &[String]) -> bool {
        self.iss.as_deref().is_some_and(|issuer| accepted.iter().any(|accepted| accepted == issuer))
    }

    pub(super) fn into_identity(self, expires_at: u64) -> Result<Identity, TokenError> {
        let user_id = self.sub.filter(|sub| !sub.is_empty()).ok_or(TokenError::NoSubject)?;
        let user_type =
            [self.role, self.user_type, self.user_type_snake].into_iter().flatten().find(|name| !name.is_empty());
        if !is_name(&user_id) || !user_type.as_deref().is_none_or(is_name) {
            return Err(TokenError::BadClaim);
        }
        let grants = self.channels.map(Grants::parse).transpose().map_err(|_| TokenError::BadClaim)?;
        Ok(Identity { user_id, user_type, expires_at, grants, claims: 0 })
    }
}

/// Whether `text` can be a user id or a user type: it becomes a part of channel names, log lines and broker subjects.
pub fn is_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= NAME_BYTES_MAX && !text.chars().any(char::is_control)
}
