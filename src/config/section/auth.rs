//! `[auth]`: who may connect, and what a session may do.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::auth::{Grants, Origin, Verifier, VerifierSettings, Wanted};
use crate::config::check::Check;
use crate::config::value::{Secret, duration, list};

/// Signs tokens in development mode. Published on purpose, and therefore refused on any address but loopback.
pub const DEVELOPMENT_SECRET: &str = "ringway-development-secret-known-to-everybody";

/// RFC 7518, section 3.2: a key as long as the hash is the least for HS256. Shorter ones can be guessed from one token.
pub(super) const SECRET_BYTES_MIN: usize = 32;

/// Who may connect, and what a session may do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// Shared secret of HS256, HS384 and HS512 tokens. Not set, it is the published one: see `Config::development`.
    pub secret: Secret,
    /// Also accepted, while tokens signed with it are still about.
    pub previous_secret: Option<Secret>,
    /// A token's `aud` must name one of these; empty: not checked.
    pub audience: Vec<String>,
    /// A token's `iss` must be one of these; empty: not checked.
    pub issuer: Vec<String>,
    /// How long a connection without a token may take to send `auth`. Then: close 4500.
    #[serde(with = "duration")]
    pub deadline: Duration,
    /// How long before its token expires a session is told; 0s: not told.
    #[serde(with = "duration")]
    pub expiry_warning: Duration,
    /// Web origins that may connect; empty or `*`: any. A request without `Origin` is no browser and may. Any by
    /// default, because a token and not a cookie is what authenticates: another site's page does not have it.
    #[serde(with = "list")]
    pub origins: Vec<Origin>,
    /// User types that may connect, as tokens name them; empty: all. What the query says does not count here.
    pub roles: Vec<String>,
    /// Whose word makes the user type of a session whose token names none. `query` by default: the clients of the
    /// dispatch system name it there, and their tokens do not.
    pub user_type: UserTypeFrom,
    /// What a token without a `channels` claim may subscribe to: names, and patterns with `*`. Everything by default:
    /// services that do not write the claim do not divide their users by channel. The implicit channels (`user:`,
    /// `type:`, `all`) are never given away by a pattern.
    pub channels: Grants,
    /// How far the issuer's clock may be behind or ahead. None by default: `exp` then means what it says.
    #[serde(with = "duration")]
    pub leeway: Duration,
}

/// Who may name a session's user type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UserTypeFrom {
    /// The token, and where it does not, the client with `?userType=`.
    Query,
    /// The token alone.
    Token,
}

impl Default for Auth {
    fn default() -> Auth {
        Auth {
            secret: Secret::new(DEVELOPMENT_SECRET),
            previous_secret: None,
            audience: vec![],
            issuer: vec![],
            deadline: Duration::from_secs(10),
            expiry_warning: Duration::from_secs(30),
            origins: vec![],
            roles: vec![],
            user_type: UserTypeFrom::Query,
            channels: Grants::all(),
            leeway: Duration::from_secs(0),
        }
    }
}

impl Auth {
    /// What tokens are verified with: the current secret, which also signs, then the previous one.
    pub fn secrets(&self) -> impl Iterator<Item = &Secret> {
        std::iter::once(&self.secret).chain(&self.previous_secret)
    }

    /// What checks tokens as configured here.
    pub fn verifier(&self, wanted: Wanted) -> Verifier {
        Verifier::new(&VerifierSettings {
            secrets: self.secrets().map(|secret| secret.expose().to_owned()).collect(),
            audience: self.audience.clone(),
            issuer: self.issuer.clone(),
            leeway_s: self.leeway.as_secs(),
            wanted,
        })
    }

    pub(super) fn check(&self, check: &mut Check<'_>) {
        check.time("deadline", self.deadline);
        check.time_or_none("expiry_warning", self.expiry_warning);
        check.time_or_none("leeway", self.leeway);
        for (name, list) in [("audience", &self.audience), ("issuer", &self.issuer), ("roles", &self.roles)] {
            if list.iter().any(String::is_empty) {
                check.problem(name, "has an empty entry");
            }
        }
        if self.user_type == UserTypeFrom::Query {
            let message = "a client whose token names no user type names its own, and is in that `type:` channel; \
                           `token` leaves it to the token (auth.roles looks at the token alone either way)";
            check.note("user_type", message);
        }
    }
}
