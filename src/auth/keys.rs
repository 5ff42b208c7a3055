//! The keys that tokens are checked with. `token` asks; the configuration and, for published keys, the issuer fill it.
//!
//! Invariant: a key only ever checks a signature of its own kind. The token's header names the algorithm, the key says
//! whether it fits, so a public key can never be taken for a shared secret.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, crypto};

use super::TokenError;
use super::key_set::{Checked, IssuedKeys, KeySet};

/// Every key that may have signed a token.
pub(super) struct Keys {
    /// HS256, HS384 and HS512: secrets shared with the issuer, in the order in which they are tried.
    secrets: Vec<DecodingKey>,
    /// Those of the configuration.
    configured: KeySet,
    /// Those that the issuer publishes.
    issued: Option<IssuedKeys>,
}

/// What a token's header says of its key.
pub(super) struct Claimed<'a> {
    pub algorithm: Algorithm,
    pub kid: Option<&'a str>,
}

impl Keys {
    /// Without any, no token passes.
    pub(super) fn new(secrets: &[String], configured: KeySet, issued: Option<IssuedKeys>) -> Keys {
        assert!(!secrets.iter().any(String::is_empty), "anybody can sign with an empty secret");
        let secrets = secrets.iter().map(|secret| DecodingKey::from_secret(secret.as_bytes())).collect();
        Keys { secrets, configured, issued }
    }

    /// Whether a check takes tens of microseconds and more: that of a public key, where there are any.
    pub(super) fn is_slow(&self, algorithm: Algorithm) -> bool {
        algorithm.family() != AlgorithmFamily::Hmac && self.has_public()
    }

    pub(super) fn has_public(&self) -> bool {
        self.issued.is_some() || !self.configured.is_empty()
    }

    /// Passes when one of the keys that are meant has signed `message`. `signature` is base64url.
    pub(super) fn check(&self, claimed: &Claimed<'_>, message: &str, signature: &str) -> Result<(), TokenError> {
        match claimed.algorithm.family() {
            AlgorithmFamily::Hmac => self.check_secrets(claimed.algorithm, message, signature),
            _ if self.has_public() => self.check_public(claimed, message.as_bytes(), signature),
            _ => Err(TokenError::AlgorithmNotAllowed),
        }
    }

    fn check_secrets(&self, algorithm: Algorithm, message: &str, signature: &str) -> Result<(), TokenError> {
        let mut outcome = Err(TokenError::AlgorithmNotAllowed);
        for secret in &self.secrets {
            outcome = match crypto::verify(signature, message.as_bytes(), secret, algorithm) {
                Ok(true) => return Ok(()),
                Ok(false) => Err(TokenError::BadSignature),
                // The key fits, so what failed is the base64 of the signature.
                Err(_) => Err(TokenError::Malformed),
            };
        }
        outcome
    }

    fn check_public(&self, claimed: &Claimed<'_>, message: &[u8], signature: &str) -> Result<(), TokenError> {
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| TokenError::Malformed)?;
        let Claimed { algorithm, kid } = *claimed;
        let configured = self.configured.check(algorithm, kid, message, &signature);
        if configured == Checked::Signed {
            return Ok(());
        }
        let Some(issued) = &self.issued else { return Err(refusal(configured)) };
        let issued = issued.load();
        let issued_says = issued.check(algorithm, kid, message, &signature);
        match issued_says {
            Checked::Signed => Ok(()),
            // The issuer may have a key by now that it had not when it was asked last.
            Checked::NoSuchKey if kid.is_some() || issued.is_empty() => Err(TokenError::UnknownKey),
            _ if configured == Checked::NotSigned => Err(TokenError::BadSignature),
            Checked::NoSuchKey => Err(refusal(configured)),
            _ => Err(refusal(issued_says)),
        }
    }
}

/// What it means for a token that no key has signed it.
fn refusal(checked: Checked) -> TokenError {
    match checked {
        Checked::Signed | Checked::NotSigned => TokenError::BadSignature,
        Checked::OtherAlgorithm => TokenError::AlgorithmNotAllowed,
        Checked::NoSuchKey => TokenError::UnknownKey,
    }
}
