//! The keys that tokens are checked with. `token` asks; the configuration fills it.
//!
//! Invariant: a key only ever checks a signature of its own kind. The token's header names the algorithm, the key says
//! whether it fits, so a public key can never be taken for a shared secret.

use std::fmt;

use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, crypto};

use super::TokenError;

/// The current secret and, while it is being rotated, the previous one.
const SECRETS_MAX: usize = 2;

/// Every key that may have signed a token, in the order in which they are tried.
pub(super) struct Keys(Vec<Key>);

/// One source of keys. Each kind of key is a variant of its own, so that `fits` stays the one place that pairs keys
/// with algorithms.
enum Key {
    /// HS256, HS384 and HS512: a secret shared with the issuer.
    Secret(DecodingKey),
}

/// Why a set of keys cannot be used. Found while the configuration is checked, before any port is bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyError {
    /// Nothing to check a token with.
    NoKey,
    /// A secret of zero bytes: anybody could sign.
    EmptySecret,
    /// More than the current and the previous secret.
    TooManySecrets,
    /// An audience or issuer check was asked for, and its list is empty: no token could pass.
    EmptyList(&'static str),
}

impl Keys {
    pub(super) fn from_secrets(secrets: &[String]) -> Result<Keys, KeyError> {
        if secrets.is_empty() {
            return Err(KeyError::NoKey);
        }
        if secrets.len() > SECRETS_MAX {
            return Err(KeyError::TooManySecrets);
        }
        if secrets.iter().any(String::is_empty) {
            return Err(KeyError::EmptySecret);
        }
        Ok(Keys(secrets.iter().map(|secret| Key::Secret(DecodingKey::from_secret(secret.as_bytes()))).collect()))
    }

    /// Passes when one of the keys that fit `algorithm` has signed `message`. `signature` is base64url.
    pub(super) fn check(&self, algorithm: Algorithm, message: &str, signature: &str) -> Result<(), TokenError> {
        let mut outcome = Err(TokenError::AlgorithmNotAllowed);
        for key in self.0.iter().filter(|key| key.fits(algorithm)) {
            outcome = key.check(algorithm, message, signature);
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }
}

impl Key {
    fn fits(&self, algorithm: Algorithm) -> bool {
        match self {
            Key::Secret(_) => algorithm.family() == AlgorithmFamily::Hmac,
        }
    }

    fn check(&self, algorithm: Algorithm, message: &str, signature: &str) -> Result<(), TokenError> {
        let Key::Secret(key) = self;
        match crypto::verify(signature, message.as_bytes(), key, algorithm) {
            Ok(true) => Ok(()),
            Ok(false) => Err(TokenError::BadSignature),
            // The key fits, so what failed is the base64 of the signature.
            Err(_) => Err(TokenError::Malformed),
        }
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyError::NoKey => f.write_str("there is no key to check tokens with"),
            KeyError::EmptySecret => f.write_str("a token secret is empty"),
            KeyError::TooManySecrets => {
                write!(f, "at most {SECRETS_MAX} token secrets can be used: the current one and the previous one")
            }
            KeyError::EmptyList(name) => write!(f, "the list of accepted values of {name} is empty"),
        }
    }
}

impl std::error::Error for KeyError {}
