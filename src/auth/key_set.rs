//! Public keys of issuers, each bound to the algorithms that its kind, and who published it, allow. Made of PEM
//! ([`super::pem`]) and of JSON Web Key Sets ([`super::jwk`]); asked by [`super::keys`].
//!
//! Invariant: a key is parsed for each of its algorithms when it is read, and there is no way to ask it for another. So
//! what is no key of its kind, or too weak, is found then and not by a client.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384,
    RSA_PSS_2048_8192_SHA512, RsaPublicKeyComponents, VerificationAlgorithm,
};
use jsonwebtoken::Algorithm;

/// Keys of one set: an issuer has one or two, and while it rotates some more.
pub const KEYS_MAX: usize = 64;

/// Keys that one token is tried with where its `kid` names none: each try costs as much as a whole check.
const TRIES_MAX: usize = 4;

/// RFC 7518 section 3.3: at least 2048 bits. Above 8192 a check takes longer than anybody's key is worth.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

const OF_RSA: [Algorithm; 6] =
    [Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::PS256, Algorithm::PS384, Algorithm::PS512];

/// A public key that is ready to check signatures.
#[derive(Clone)]
pub struct PublicKey {
    name: Option<KeyName>,
    checks: Vec<(Algorithm, ParsedPublicKey)>,
}

/// What of a token's header a key answers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyName {
    /// It is asked for tokens with this `kid` and for those without any.
    Kid(Box<str>),
    /// The same, but it is asked also where a token's `kid` names no key: it is only guessed.
    Guessed(Box<str>),
}

/// The keys of one issuer, or those of the configuration. Immutable; clones are the same.
#[derive(Clone, Default)]
pub struct KeySet(Arc<[PublicKey]>);

/// What a set says to a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Checked {
    Signed,
    NotSigned,
    /// The key that the token names is not for its algorithm.
    OtherAlgorithm,
    /// The token names a key that is not here, or there is none that it could mean.
    NoSuchKey,
}

/// The keys that an issuer has published last, replaced as a whole while tokens are checked. Clones are the same.
#[derive(Clone, Default)]
pub struct IssuedKeys(Arc<ArcSwap<KeySet>>);

/// Why something is no key to check tokens with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadKey {
    /// Neither RSA, nor of P-256, P-384 or Ed25519; or damaged.
    Unknown,
    /// RSA of so many bits.
    RsaBits(usize),
    /// Anything else.
    Because(&'static str),
}

impl PublicKey {
    /// A key in X.509 form (`SubjectPublicKeyInfo`) or, for RSA, PKCS #1. What it is for follows from its kind.
    pub fn from_der(der: &[u8]) -> Result<Self, BadKey> {
        if let Ok(key) = rsa::PublicKey::from_der(der) {
            return Self::of_rsa(&key);
        }
        let kinds = [Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA];
        kinds.into_iter().find_map(|algorithm| Self::parse(&[algorithm], der).ok()).ok_or(BadKey::Unknown)
    }

    /// RSA by modulus and exponent, both big-endian.
    pub(super) fn from_rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, BadKey> {
        let components = RsaPublicKeyComponents { n: without_zeros(modulus), e: without_zeros(exponent) };
        let der = components.as_der().map_err(|_| BadKey::Unknown)?;
        Self::of_rsa(&rsa::PublicKey::from_der(der.as_ref()).map_err(|_| BadKey::Unknown)?)
    }

    /// A point of P-256 or P-384, whichever `algorithm` is for, uncompressed; or the 32 bytes of an Ed25519 key.
    pub(super) fn from_point(algorithm: Algorithm, point: &[u8]) -> Result<Self, BadKey> {
        Self::parse(&[algorithm], point)
    }

    fn of_rsa(key: &rsa::PublicKey) -> Result<Self, BadKey> {
        let modulus = key.modulus();
        let modulus = modulus.big_endian_without_leading_zero();
        let bits = modulus.len() * 8 - modulus.first().map_or(0, |byte| byte.leading_zeros() as usize);
        if !RSA_BITS.contains(&bits) {
            return Err(BadKey::RsaBits(bits));
        }
        Self::parse(&OF_RSA, key.as_ref())
    }

    fn parse(algorithms: &[Algorithm], bytes: &[u8]) -> Result<Self, BadKey> {
        let parse = |algorithm: &Algorithm| {
            let key = ParsedPublicKey::new(verification(*algorithm)?, bytes).ok()?;
            Some((*algorithm, key))
        };
        let checks = algorithms.iter().map(parse).collect::<Option<Vec<_>>>().ok_or(BadKey::Unknown)?;
        Ok(Self { name: None, checks })
    }

    pub fn named(self, name: Option<KeyName>) -> Self {
        Self { name, ..self }
    }

    /// The same for one of its algorithms alone. `None`: it is not for that one.
    pub(super) fn only_for(mut self, algorithm: Algorithm) -> Option<Self> {
        self.checks.retain(|(own, _)| *own == algorithm);
        (!self.checks.is_empty()).then_some(self)
    }

    fn is_called(&self, kid: &str) -> bool {
        matches!(&self.name, Some(KeyName::Kid(own) | KeyName::Guessed(own)) if **own == *kid)
    }

    fn is_for_any(&self) -> bool {
        !matches!(self.name, Some(KeyName::Kid(_)))
    }

    fn for_algorithm(&self, algorithm: Algorithm) -> Option<&ParsedPublicKey> {
        self.checks.iter().find(|(own, _)| *own == algorithm).map(|(_, key)| key)
    }
}

/// `None`: no signature of a public key.
fn verification(algorithm: Algorithm) -> Option<&'static dyn VerificationAlgorithm> {
    Some(match algorithm {
        Algorithm::RS256 => &RSA_PKCS1_2048_8192_SHA256,
        Algorithm::RS384 => &RSA_PKCS1_2048_8192_SHA384,
        Algorithm::RS512 => &RSA_PKCS1_2048_8192_SHA512,
        Algorithm::PS256 => &RSA_PSS_2048_8192_SHA256,
        Algorithm::PS384 => &RSA_PSS_2048_8192_SHA384,
        Algorithm::PS512 => &RSA_PSS_2048_8192_SHA512,
        Algorithm::ES256 => &ECDSA_P256_SHA256_FIXED,
        Algorithm::ES384 => &ECDSA_P384_SHA384_FIXED,
        Algorithm::EdDSA => &ED25519,
        _ => return None,
    })
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

impl KeySet {
    pub fn new(keys: Vec<PublicKey>) -> Self {
        Self(keys.into())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether one of the keys that `kid` names, or without it one of all, has signed `message`.
    pub(super) fn check(&self, algorithm: Algorithm, kid: Option<&str>, message: &[u8], signature: &[u8]) -> Checked {
        let is_named = |key: &&PublicKey| kid.is_some_and(|kid| key.is_called(kid));
        let by_name = self.0.iter().any(|key| is_named(&key));
        let is_meant = |key: &&PublicKey| if by_name { is_named(key) } else { kid.is_none() || key.is_for_any() };
        let mut meant = self.0.iter().filter(is_meant).peekable();
        if meant.peek().is_none() {
            return Checked::NoSuchKey;
        }
        let mut fitting = meant.filter_map(|key| key.for_algorithm(algorithm)).take(TRIES_MAX).peekable();
        if fitting.peek().is_none() {
            return Checked::OtherAlgorithm;
        }
        match fitting.any(|key| key.verify_sig(message, signature).is_ok()) {
            true => Checked::Signed,
            false => Checked::NotSigned,
        }
    }
}

impl IssuedKeys {
    /// From now on tokens are checked with these.
    pub fn replace(&self, keys: KeySet) {
        self.0.store(Arc::new(keys));
    }

    pub(super) fn load(&self) -> arc_swap::Guard<Arc<KeySet>> {
        self.0.load()
    }
}

impl fmt::Display for BadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("neither an RSA key nor one of P-256, P-384 or Ed25519"),
            Self::RsaBits(bits) if *bits < *RSA_BITS.start() => {
                write!(f, "an RSA key of {bits} bits is too weak: it needs {} or more", RSA_BITS.start())
            }
            Self::RsaBits(bits) => write!(f, "an RSA key of {bits} bits is too long: {} at most", RSA_BITS.end()),
            Self::Because(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for BadKey {}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let algorithms: Vec<_> = self.checks.iter().map(|(algorithm, _)| algorithm).collect();
        f.debug_struct("PublicKey").field("name", &self.name).field("algorithms", &algorithms).finish()
    }
}
