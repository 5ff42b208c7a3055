//! JSON Web Key Sets (RFC 7517), as issuers publish them. Sans-IO: the bytes of an answer in, keys out.
//!
//! A key that is for something else, or of a kind that is not known here, is left out and the others count: issuers
//! publish keys for encryption in the same set, and new kinds before everybody knows them. A set without any key that
//! can be used is refused, so that an issuer that has lost its keys does not take ours away.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::Algorithm;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::key_set::{BadKey, KEYS_MAX, KeyName, KeySet, PublicKey};
use super::token::algorithm_named;

/// Longest `kid` that is taken.
const KID_BYTES_MAX: usize = 256;

#[derive(Deserialize)]
struct Set<'a> {
    #[serde(borrow)]
    keys: Vec<&'a RawValue>,
}

/// RFC 7517 section 4, RFC 7518 section 6, RFC 8037 section 2: what is read of one key.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    public_use: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// A key of a set that is not taken, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Counted from 0.
    pub place: usize,
    pub why: BadKey,
}

/// Why an answer is no key set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadSet {
    /// Not a JSON object with a list `keys`.
    NotASet,
    /// So many keys.
    TooMany(usize),
    /// No key in it that tokens can be checked with; the first one that is left out, if there is any, says why.
    NoKeys(Option<BadKey>),
}

/// Reads a whole answer.
pub fn read_set(bytes: &[u8]) -> Result<(KeySet, Vec<LeftOut>), BadSet> {
    let set: Set<'_> = serde_json::from_slice(bytes).map_err(|_| BadSet::NotASet)?;
    if set.keys.len() > KEYS_MAX {
        return Err(BadSet::TooMany(set.keys.len()));
    }
    let (mut keys, mut left_out) = (Vec::new(), Vec::new());
    for (place, text) in set.keys.into_iter().enumerate() {
        match read(text.get()) {
            Ok(key) => keys.push(key),
            Err(why) => left_out.push(LeftOut { place, why }),
        }
    }
    if keys.is_empty() {
        return Err(BadSet::NoKeys(left_out.into_iter().next().map(|key| key.why)));
    }
    Ok((KeySet::new(keys), left_out))
}

fn read(text: &str) -> Result<PublicKey, BadKey> {
    let jwk: Jwk = serde_json::from_str(text).map_err(|_| BadKey::Because("not a JSON Web Key"))?;
    if jwk.public_use.as_deref().is_some_and(|public_use| public_use != "sig") {
        return Err(BadKey::Because("its `use` is not `sig`"));
    }
    if jwk.key_ops.as_ref().is_some_and(|operations| !operations.iter().any(|operation| operation == "verify")) {
        return Err(BadKey::Because("`verify` is not among its `key_ops`"));
    }
    if jwk.kid.as_ref().is_some_and(|kid| kid.len() > KID_BYTES_MAX) {
        return Err(BadKey::Because("its `kid` is too long"));
    }
    let key = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("RSA", _) => PublicKey::from_rsa(&bytes(jwk.n.as_deref())?, &bytes(jwk.e.as_deref())?)?,
        ("EC", Some("P-256")) => PublicKey::from_point(Algorithm::ES256, &point(&jwk, 32)?)?,
        ("EC", Some("P-384")) => PublicKey::from_point(Algorithm::ES384, &point(&jwk, 48)?)?,
        ("OKP", Some("Ed25519")) => PublicKey::from_point(Algorithm::EdDSA, &coordinate(jwk.x.as_deref(), 32)?)?,
        ("oct", _) => return Err(BadKey::Because("a shared secret, which nobody publishes")),
        _ => return Err(BadKey::Unknown),
    };
    let name = jwk.kid.map(|kid| KeyName::Kid(kid.into()));
    let key = match jwk.alg {
        None => Some(key),
        Some(alg) => algorithm_named(&alg).and_then(|algorithm| key.only_for(algorithm)),
    };
    Ok(key.ok_or(BadKey::Because("its `alg` is none that its kind of key can check here"))?.named(name))
}

/// An uncompressed point (SEC 1 section 2.3.3) of the two coordinates.
fn point(jwk: &Jwk, length: usize) -> Result<Vec<u8>, BadKey> {
    let (x, y) = (coordinate(jwk.x.as_deref(), length)?, coordinate(jwk.y.as_deref(), length)?);
    Ok([&[4][..], &x, &y].concat())
}

/// RFC 7518 section 6.2.1.2: a coordinate has all its bytes, zeros in front included.
fn coordinate(text: Option<&str>, length: usize) -> Result<Vec<u8>, BadKey> {
    Some(bytes(text)?).filter(|bytes| bytes.len() == length).ok_or(BadKey::Because("a coordinate has a wrong length"))
}

fn bytes(text: Option<&str>) -> Result<Vec<u8>, BadKey> {
    let text = text.ok_or(BadKey::Because("a member is missing"))?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_| BadKey::Because("a member is not base64url"))
}

impl fmt::Display for BadSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotASet => f.write_str("the answer is no JSON Web Key Set"),
            Self::TooMany(keys) => write!(f, "the answer has {keys} keys, and {KEYS_MAX} are taken at most"),
            Self::NoKeys(None) => f.write_str("the answer has no keys"),
            Self::NoKeys(Some(why)) => write!(f, "the answer has no key that can be used: {why}"),
        }
    }
}

impl std::error::Error for BadSet {}
