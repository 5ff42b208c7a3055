//! `[auth]`: who may connect, and what a session may do.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::auth::{Grants, IssuedKeys, KEYS_MAX, KeySet, Origin, Verifier, VerifierSettings, Wanted};
use crate::config::check::Check;
use crate::config::value::{JwksUrl, PublicKeys, Secret, duration, list};

/// Signs tokens in development mode. Published on purpose, and therefore refused on any address but loopback.
pub const DEVELOPMENT_SECRET: &str = "ringway-development-secret-known-to-everybody";

/// RFC 7518, section 3.2: a key as long as the hash is the least for HS256. Shorter ones can be guessed from one token.
pub(super) const SECRET_BYTES_MIN: usize = 32;

/// Who may connect, and what a session may do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Auth {
    /// Shared secret of HS256, HS384 and HS512 tokens. Once loaded: the published one in development mode (see
    /// `Config::development`), and none where public keys check the tokens.
    pub secret: Option<Secret>,
    /// Also accepted, while tokens signed with it are still about.
    pub previous_secret: Option<Secret>,
    /// Public keys of tokens' issuers: PEM files, `kid=path` or PEM. Several while they are rotated.
    #[serde(with = "list")]
    pub public_keys: Vec<PublicKeys>,
    /// Where an issuer publishes its keys, as a JSON Web Key Set.
    pub jwks_url: Option<JwksUrl>,
    /// Sent there as `Authorization: Bearer`.
    pub jwks_bearer: Option<Secret>,
    /// Longest time between two looks at the key set. The issuer may ask for more with `max-age`, not for less.
    #[serde(with = "duration")]
    pub jwks_refresh: Duration,
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
            secret: None,
            previous_secret: None,
            public_keys: vec![],
            jwks_url: None,
            jwks_bearer: None,
            jwks_refresh: Duration::from_secs(300),
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
        self.secret.iter().chain(&self.previous_secret)
    }

    /// What checks tokens as configured here, and with the keys that the issuer publishes.
    pub fn verifier(&self, issued_keys: Option<IssuedKeys>, wanted: Wanted) -> Verifier {
        let public_keys = self.public_keys.iter().flat_map(|entry| entry.keys.iter().cloned());
        Verifier::new(&VerifierSettings {
            secrets: self.secrets().map(|secret| secret.expose().to_owned()).collect(),
            public_keys: KeySet::new(public_keys.collect()),
            issued_keys,
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
        self.check_public_keys(check);
        if self.user_type == UserTypeFrom::Query {
            let message = "a client whose token names no user type names its own, and is in that `type:` channel; \
                           `token` leaves it to the token (auth.roles looks at the token alone either way)";
            check.note("user_type", message);
        }
    }

    fn check_public_keys(&self, check: &mut Check<'_>) {
        let keys: usize = self.public_keys.iter().map(|entry| entry.keys.len()).sum();
        if keys > KEYS_MAX {
            check.problem("public_keys", format_args!("has {keys} keys, and {KEYS_MAX} are taken at most"));
        }
        check.time("jwks_refresh", self.jwks_refresh);
        match &self.jwks_url {
            Some(_) if cfg!(not(feature = "jwks")) => {
                check.problem("jwks_url", "is set, and this build has no part that fetches keys (feature `jwks`)");
            }
            Some(url) if url.is_in_the_clear() && self.jwks_bearer.is_some() => {
                check.problem("jwks_url", "would send auth.jwks_bearer in the clear: use https");
            }
            Some(url) if url.is_in_the_clear() => {
                check.warning("jwks_url", "is not https: who can change what comes from there can sign tokens");
            }
            Some(_) if self.jwks_bearer.as_ref().is_some_and(|bearer| !is_header_value(bearer.expose())) => {
                check.problem("jwks_bearer", "cannot be sent in a header");
            }
            None if self.jwks_bearer.is_some() && !check.is_refused("jwks_url") => {
                check.warning("jwks_bearer", "has no effect: auth.jwks_url is not set");
            }
            _ => {}
        }
    }
}

/// RFC 9110 section 5.5, without what is not ASCII.
fn is_header_value(text: &str) -> bool {
    text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
}
