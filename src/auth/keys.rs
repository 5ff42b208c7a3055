//! The keys that tokens are checked with. `token` asks; the configuration fills it.
//!
//! Invariant: a key only ever checks a signature of its own kind. The token's header names the algorithm, the key says
//! whether it fits, so a public key can never be taken for a shared secret.

use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, crypto};

use super::TokenError;

/// Every key that may have signed a token, in the order in which they are tried.
pub(super) struct Keys(Vec<Key>);

/// One source of keys. Each kind of key is a variant of its own, so that `fits` stays the one place that pairs keys
/// with algorithms.
enum Key {
    /// HS256, HS384 and HS512: a secret shared with the issuer.
    Secret(DecodingKey),
}

impl Keys {
    /// Without any, no token passes.
    pub(super) fn from_secrets(secrets: &[String]) -> Keys {
        assert!(!secrets.iter().any(String::is_empty), "anybody can sign with an empty secret");
        Keys(secrets.iter().map(|secret| Key::Secret(DecodingKey::from_secret(secret.as_bytes()))).collect())
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
