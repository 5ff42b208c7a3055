//! JSON Web Tokens in, identities out. The lobby calls it at each upgrade, the session for each token that a client
//! sends.
//!
//! Invariant: nothing of a token is believed before its signature holds, and `now` comes from the caller. An error
//! never carries a part of the token, so it can be logged and sent.

use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::Algorithm;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer};

use super::claims::Claims;
use super::key_set::{IssuedKeys, KeySet};
use super::keys::{Claimed, Keys};
use super::{Identity, Revocations, Wanted};

/// Longest token looked at. Well above what any issuer sends in a header, and a bound on
/// the work a stranger can ask for.
const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// What is accepted as a token.
#[derive(Clone, Default)]
pub struct VerifierSettings {
    /// For HS256, HS384 and HS512: the current secret and, while it is being rotated, the previous one. None is empty.
    pub secrets: Vec<String>,
    /// Public keys that are known from the beginning.
    pub public_keys: KeySet,
    /// Public keys that an issuer publishes.
    pub issued_keys: Option<IssuedKeys>,
    /// The claim `aud` must name one of these; empty: not checked.
    pub audience: Vec<String>,
    /// The claim `iss` must be one of these; empty: not checked.
    pub issuer: Vec<String>,
    /// How far the clock of the issuer may be off, for `exp` and `nbf`.
    pub leeway_s: u64,
    /// Claims that routes ask for.
    pub wanted: Wanted,
}

/// Checks tokens. Built once from the configuration, immutable but for what is revoked and which keys an issuer
/// publishes, shared by every shard.
pub struct Verifier {
    keys: Keys,
    audience: Vec<String>,
    issuer: Vec<String>,
    leeway_s: u64,
    wanted: Wanted,
    revocations: Revocations,
}

/// Why a token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TokenError {
    /// Not three parts of base64url with JSON inside, too long, or with a critical header that is not understood.
    Malformed,
    /// `none`, an unknown algorithm, or one for which there is no key.
    AlgorithmNotAllowed,
    /// The key that the token names is none of those that are known.
    UnknownKey,
    /// Nothing is known of the token: the keys of its issuer are not to be had now.
    KeysUnavailable,
    BadSignature,
    Expired,
    NotYetValid,
    WrongAudience,
    WrongIssuer,
    NoSubject,
    NoExpiry,
    /// A claim has the wrong type, is too long or has control characters.
    BadClaim,
    Revoked,
    /// Nothing is wrong with the token: an operator has disconnected its user for a time.
    UserSentAway,
}

/// The JOSE header, RFC 7515 section 4.1: what chooses the key and what must be understood.
#[derive(Deserialize)]
struct Header {
    alg: Option<String>,
    kid: Option<String>,
    #[serde(default, deserialize_with = "is_there")]
    crit: bool,
}

/// Whatever it is.
fn is_there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

impl Verifier {
    pub fn new(settings: &VerifierSettings) -> Verifier {
        Verifier {
            keys: Keys::new(&settings.secrets, settings.public_keys.clone(), settings.issued_keys.clone()),
            audience: settings.audience.clone(),
            issuer: settings.issuer.clone(),
            leeway_s: settings.leeway_s,
            wanted: settings.wanted.clone(),
            revocations: Revocations::default(),
        }
    }

    /// The identity that `token` proves at the moment `now_unix_s`.
    pub fn verify(&self, token: &str, now_unix_s: u64) -> Result<Identity, TokenError> {
        let parts = Parts::of(token)?;
        let header = Header::read(parts.header)?;
        let claimed = Claimed { algorithm: header.algorithm()?, kid: header.kid.as_deref() };
        self.keys.check(&claimed, parts.message, parts.signature)?;
        let mut claims: Claims = decode(parts.payload, TokenError::BadClaim)?;
        let expires_at = claims.check_times(now_unix_s, self.leeway_s)?;
        if !self.audience.is_empty() && !claims.is_for(&self.audience) {
            return Err(TokenError::WrongAudience);
        }
        if !self.issuer.is_empty() && !claims.is_from(&self.issuer) {
            return Err(TokenError::WrongIssuer);
        }
        let (jti, issued_at) = (claims.jti.take(), claims.iat);
        let mut identity = claims.into_identity(expires_at)?;
        if !self.wanted.is_empty() {
            identity.claims = self.wanted.of(&decode(parts.payload, TokenError::BadClaim)?);
        }
        self.revocations.check(&identity.user_id, jti.as_deref(), issued_at, now_unix_s)?;
        Ok(identity)
    }

    /// Whether to verify this token takes tens of microseconds and more: it says that it was signed by a public key,
    /// and there are such. What is no token is refused at once.
    pub fn is_slow(&self, token: &str) -> bool {
        let algorithm = || Header::read(Parts::of(token)?.header)?.algorithm();
        algorithm().is_ok_and(|algorithm| self.keys.is_slow(algorithm))
    }

    /// Whether there may be such tokens.
    pub fn has_slow_keys(&self) -> bool {
        self.keys.has_public()
    }

    /// What is refused although its signature holds.
    pub fn revocations(&self) -> &Revocations {
        &self.revocations
    }
}

impl TokenError {
    pub const ALL: [TokenError; 14] = [
        TokenError::Malformed,
        TokenError::AlgorithmNotAllowed,
        TokenError::UnknownKey,
        TokenError::KeysUnavailable,
        TokenError::BadSignature,
        TokenError::Expired,
        TokenError::NotYetValid,
        TokenError::WrongAudience,
        TokenError::WrongIssuer,
        TokenError::NoSubject,
        TokenError::NoExpiry,
        TokenError::BadClaim,
        TokenError::Revoked,
        TokenError::UserSentAway,
    ];

    /// The word for metrics and bodies.
    pub const fn name(self) -> &'static str {
        match self {
            TokenError::Malformed => "malformed",
            TokenError::AlgorithmNotAllowed => "algorithm_not_allowed",
            TokenError::UnknownKey => "unknown_key",
            TokenError::KeysUnavailable => "keys_unavailable",
            TokenError::BadSignature => "bad_signature",
            TokenError::Expired => "expired",
            TokenError::NotYetValid => "not_yet_valid",
            TokenError::WrongAudience => "wrong_audience",
            TokenError::WrongIssuer => "wrong_issuer",
            TokenError::NoSubject => "no_subject",
            TokenError::NoExpiry => "no_expiry",
            TokenError::BadClaim => "bad_claim",
            TokenError::Revoked => "revoked",
            TokenError::UserSentAway => "user_sent_away",
        }
    }

    /// The sentence for people.
    pub const fn message(self) -> &'static str {
        match self {
            TokenError::Malformed => "the token is not a JSON Web Token",
            TokenError::AlgorithmNotAllowed => "the token's algorithm is not allowed here",
            TokenError::UnknownKey => "the key that the token names (kid) is not known here",
            TokenError::KeysUnavailable => "the keys of the token's issuer are not to be had now: try again later",
            TokenError::BadSignature => "the token's signature does not match",
            TokenError::Expired => "the token has expired",
            TokenError::NotYetValid => "the token is not valid yet",
            TokenError::WrongAudience => "the token is for another audience",
            TokenError::WrongIssuer => "the token is from another issuer",
            TokenError::NoSubject => "the token names no user (sub)",
            TokenError::NoExpiry => "the token has no expiry (exp)",
            TokenError::BadClaim => "a claim of the token cannot be used",
            TokenError::Revoked => "the token has been revoked",
            TokenError::UserSentAway => "an operator has disconnected this user for a time",
        }
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for TokenError {}

/// RFC 7515 section 7.1: `header.payload.signature`, of which `header.payload` is what was signed.
struct Parts<'a> {
    header: &'a str,
    payload: &'a str,
    message: &'a str,
    signature: &'a str,
}

impl<'a> Parts<'a> {
    fn of(token: &'a str) -> Result<Parts<'a>, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Malformed);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, payload) = message.split_once('.').ok_or(TokenError::Malformed)?;
        if payload.contains('.') {
            return Err(TokenError::Malformed);
        }
        Ok(Parts { header, payload, message, signature })
    }
}

impl Header {
    fn read(part: &str) -> Result<Header, TokenError> {
        let header: Header = decode(part, TokenError::Malformed)?;
        // RFC 7515 section 4.1.11: what must be understood and is not makes the token invalid. We understand no
        // extension.
        if header.crit { Err(TokenError::Malformed) } else { Ok(header) }
    }

    fn algorithm(&self) -> Result<Algorithm, TokenError> {
        self.alg.as_deref().and_then(algorithm_named).ok_or(TokenError::AlgorithmNotAllowed)
    }
}

/// An algorithm by its name in tokens and keys. Ed25519 has two: that of RFC 8037, and that of RFC 9864.
pub(super) fn algorithm_named(name: &str) -> Option<Algorithm> {
    if name == "Ed25519" { Some(Algorithm::EdDSA) } else { Algorithm::from_str(name).ok() }
}

/// Base64url and JSON of one part. `wrong_shape` is the error when it is JSON and its fields are not of the right
/// types.
fn decode<T: DeserializeOwned>(part: &str, wrong_shape: TokenError) -> Result<T, TokenError> {
    let json = URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Malformed)?;
    serde_json::from_slice(&json).map_err(|error| if error.is_data() { wrong_shape } else { TokenError::Malformed })
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{EncodingKey, crypto};
    use proptest::prelude::*;

    use super::*;

    const SECRET: &str = "a secret of the tests";
    const NOW: u64 = 1_800_000_000;

    fn settings() -> VerifierSettings {
        VerifierSettings { secrets: vec![SECRET.into()], ..VerifierSettings::default() }
    }

    fn verify(token: &str) -> Result<Identity, TokenError> {
        Verifier::new(&settings()).verify(token, NOW)
    }

    fn base64url(text: &str) -> String {
        URL_SAFE_NO_PAD.encode(text)
    }

    fn signed_as(algorithm: Algorithm, secret: &str, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", base64url(header), base64url(claims));
        let key = EncodingKey::from_secret(secret.as_bytes());
        let signature = crypto::sign(message.as_bytes(), &key, algorithm).unwrap();
        format!("{message}.{signature}")
    }

    fn signed(claims: &str) -> String {
        signed_as(Algorithm::HS256, SECRET, r#"{"alg":"HS256","typ":"JWT"}"#, claims)
    }

    fn with_expiry(claims: &str) -> String {
        signed(&format!(r#"{{"exp":{},{claims}}}"#, NOW + 60))
    }

    #[test]
    fn a_good_token_names_its_user() {
        let identity =
            verify(&with_expiry(r#""sub":"u1","role":"driver","channels":["conv:*"],"x":{"y":[1]}"#)).unwrap();
        assert_eq!(&*identity.user_id, "u1");
        assert_eq!(identity.user_type.as_deref(), Some("driver"));
        assert_eq!(identity.expires_at, NOW + 60);
        let grants = identity.grants.unwrap();
        assert!(grants.allows("conv:1") && !grants.allows("clan:1"));
    }

    #[test]
    fn the_three_hmac_algorithms_are_accepted() {
        for (algorithm, name) in [(Algorithm::HS256, "HS256"), (Algorithm::HS384, "HS384"), (Algorithm::HS512, "HS512")]
        {
            let claims = format!(r#"{{"sub":"u1","exp":{}}}"#, NOW + 1);
            let token = signed_as(algorithm, SECRET, &format!(r#"{{"alg":"{name}"}}"#), &claims);
            assert!(verify(&token).is_ok(), "{name}");
        }
    }

    #[test]
    fn a_token_without_algorithm_or_of_another_kind_of_key_is_refused() {
        let claims = format!(r#"{{"sub":"u1","exp":{}}}"#, NOW + 60);
        for header in [
            r#"{"alg":"none"}"#,
            r#"{"alg":"None"}"#,
            r#"{"alg":"RS256"}"#,
            r#"{"alg":"PS512"}"#,
            r#"{"alg":"ES256"}"#,
            r#"{"alg":"EdDSA"}"#,
            r#"{"alg":"hs256"}"#,
            r#"{"typ":"JWT"}"#,
        ] {
            let token = signed_as(Algorithm::HS256, SECRET, header, &claims);
            assert_eq!(verify(&token), Err(TokenError::AlgorithmNotAllowed), "{header}");
            let (message, _) = token.rsplit_once('.').unwrap();
            assert_eq!(verify(&format!("{message}.")), Err(TokenError::AlgorithmNotAllowed), "{header} unsigned");
        }
    }

    #[test]
    fn a_forged_or_altered_token_is_refused() {
        let good = with_expiry(r#""sub":"u1""#);
        let (message, signature) = good.rsplit_once('.').unwrap();
        let (header, _) = message.split_once('.').unwrap();
        let other_claims = base64url(&format!(r#"{{"sub":"admin","exp":{}}}"#, NOW + 60));
        let forged =
            signed_as(Algorithm::HS256, "guessed", r#"{"alg":"HS256"}"#, &format!(r#"{{"sub":"u1","exp":{NOW}}}"#));
        for token in [format!("{header}.{other_claims}.{signature}"), format!("{message}."), forged] {
            assert_eq!(verify(&token), Err(TokenError::BadSignature));
        }
    }

    #[test]
    fn what_is_no_token_is_malformed() {
        let good = with_expiry(r#""sub":"u1""#);
        let too_long = format!("{}.{good}", "x".repeat(TOKEN_BYTES_MAX));
        let not_json = signed("not json");
        let of_nothing = signed_as(Algorithm::HS256, SECRET, r#"{"alg":"HS256","crit":null}"#, "{}");
        let critical = signed_as(Algorithm::HS256, SECRET, r#"{"alg":"HS256","crit":["b64"],"b64":false}"#, "{}");
        for token in ["", ".", "..", "...", "a.b", "a.b.c", "é.é.é", &format!("{good}.x"), &format!("{good}=")] {
            assert_eq!(verify(token), Err(TokenError::Malformed), "{token}");
        }
        for token in [too_long, not_json, critical, of_nothing] {
            assert_eq!(verify(&token), Err(TokenError::Malformed), "{token}");
        }
    }

    #[test]
    fn base64_that_is_not_the_one_way_to_write_its_bytes_is_malformed() {
        let header = r#"{"alg":"HS256"}"#;
        let written = base64url(header);
        let algorithm_of = |header: &str| Header::read(header)?.algorithm();
        assert!(algorithm_of(&written).is_ok());
        let last = written.chars().last().unwrap();
        // With bits behind the last byte, with padding, in the other alphabet, with a line feed.
        let trailing_bits = format!("{}{}", written.trim_end_matches(last), char::from(last as u8 + 1));
        let blank = base64url(&format!("{header} "));
        for wrong in [trailing_bits, format!("{blank}="), format!("{written}+/"), format!("{written}\n")] {
            assert_eq!(algorithm_of(&wrong), Err(TokenError::Malformed), "{wrong}");
        }
    }

    #[test]
    fn deeply_nested_claims_are_skipped() {
        let nested = format!(r#""sub":"u1","x":{}{}"#, "[".repeat(5000), "]".repeat(5000));
        assert!(verify(&with_expiry(&nested)).is_ok());
        let used = format!(r#""sub":"u1","channels":{}{}"#, "[".repeat(5000), "]".repeat(5000));
        assert!(verify(&with_expiry(&used)).is_err());
    }

    #[test]
    fn the_previous_secret_holds_while_keys_are_rotated() {
        let rotated = VerifierSettings { secrets: vec!["the next secret".into(), SECRET.into()], ..settings() };
        let token = with_expiry(r#""sub":"u1""#);
        assert!(Verifier::new(&rotated).verify(&token, NOW).is_ok());
        let after = VerifierSettings { secrets: vec!["the next secret".into()], ..settings() };
        assert_eq!(Verifier::new(&after).verify(&token, NOW), Err(TokenError::BadSignature));
    }

    #[test]
    fn a_token_ends_at_its_expiry_and_begins_at_its_not_before() {
        let expires = |exp: &str| signed(&format!(r#"{{"sub":"u1","exp":{exp}}}"#));
        assert!(verify(&expires(&(NOW + 1).to_string())).is_ok());
        assert!(verify(&expires(&format!("{}.5", NOW + 1))).is_ok());
        assert!(verify(&expires("1e300")).is_ok());
        for past in [NOW.to_string(), (NOW - 1).to_string(), "-1".into(), "0".into()] {
            assert_eq!(verify(&expires(&past)), Err(TokenError::Expired), "{past}");
        }
        assert_eq!(verify(&with_expiry(&format!(r#""sub":"u1","nbf":{}"#, NOW + 1))), Err(TokenError::NotYetValid));
        assert!(verify(&with_expiry(&format!(r#""sub":"u1","nbf":{NOW}"#))).is_ok());
    }

    #[test]
    fn the_leeway_extends_both_ends() {
        let lenient = Verifier::new(&VerifierSettings { leeway_s: 10, ..settings() });
        let token = signed(&format!(r#"{{"sub":"u1","exp":{NOW},"nbf":{NOW}}}"#));
        assert_eq!(lenient.verify(&token, NOW + 9).unwrap().expires_at, NOW + 10);
        assert_eq!(lenient.verify(&token, NOW + 10), Err(TokenError::Expired));
        assert!(lenient.verify(&token, NOW - 10).is_ok());
        assert_eq!(lenient.verify(&token, NOW - 11), Err(TokenError::NotYetValid));
    }

    #[test]
    fn a_token_without_user_or_expiry_is_refused() {
        assert_eq!(verify(&signed(r#"{"sub":"u1"}"#)), Err(TokenError::NoExpiry));
        assert_eq!(verify(&signed(r#"{"sub":"u1","exp":null}"#)), Err(TokenError::NoExpiry));
        assert_eq!(verify(&with_expiry(r#""role":"driver""#)), Err(TokenError::NoSubject));
        assert_eq!(verify(&with_expiry(r#""sub":"""#)), Err(TokenError::NoSubject));
    }

    #[test]
    fn a_claim_that_cannot_be_used_is_refused() {
        let longest = "x".repeat(250);
        assert!(verify(&with_expiry(&format!(r#""sub":"{longest}""#))).is_ok());
        for claims in [
            format!(r#""sub":"{longest}x""#),
            r#""sub":"a\nb""#.into(),
            r#""sub":7"#.into(),
            r#""sub":"u1","nbf":"soon""#.into(),
            r#""sub":"u1","role":["driver"]"#.into(),
            r#""sub":"u1","role":"a\u0000""#.into(),
            r#""sub":"u1","channels":"conv:*""#.into(),
            r#""sub":"u1","channels":[""]"#.into(),
            r#""sub":"u1","channels":[7]"#.into(),
            r#""sub":"u1","sub":"u2""#.into(),
        ] {
            assert_eq!(verify(&with_expiry(&claims)), Err(TokenError::BadClaim), "{claims}");
        }
    }

    #[test]
    fn audience_and_issuer_are_checked_when_configured() {
        let strict = VerifierSettings {
            audience: vec!["chat".into(), "maps".into()],
            issuer: vec!["https://id.example.com".into()],
            ..settings()
        };
        let strict = Verifier::new(&strict);
        let verify = |claims: &str| strict.verify(&with_expiry(claims), NOW).map(|_| ());
        let iss = r#""sub":"u1","iss":"https://id.example.com""#;
        assert_eq!(verify(&format!(r#"{iss},"aud":"maps""#)), Ok(()));
        assert_eq!(verify(&format!(r#"{iss},"aud":["x","chat"]"#)), Ok(()));
        assert_eq!(verify(&format!(r#"{iss},"aud":["x"]"#)), Err(TokenError::WrongAudience));
        assert_eq!(verify(iss), Err(TokenError::WrongAudience));
        assert_eq!(verify(r#""sub":"u1","aud":"chat""#), Err(TokenError::WrongIssuer));
        assert_eq!(verify(r#""sub":"u1","aud":"chat","iss":"https://evil.example""#), Err(TokenError::WrongIssuer));
    }

    #[test]
    fn the_role_comes_before_the_user_type() {
        let user_type = |claims: &str| verify(&with_expiry(claims)).unwrap().user_type;
        assert_eq!(user_type(r#""sub":"u","role":"a","userType":"b","user_type":"c""#).as_deref(), Some("a"));
        assert_eq!(user_type(r#""sub":"u","role":"","userType":"b""#).as_deref(), Some("b"));
        assert_eq!(user_type(r#""sub":"u","user_type":"c""#).as_deref(), Some("c"));
        assert_eq!(user_type(r#""sub":"u""#), None);
    }

    #[test]
    fn without_a_secret_no_token_passes() {
        let closed = Verifier::new(&VerifierSettings::default());
        assert_eq!(closed.verify(&with_expiry(r#""sub":"u1""#), NOW), Err(TokenError::AlgorithmNotAllowed));
    }

    #[test]
    #[should_panic(expected = "empty secret")]
    fn an_empty_secret_is_a_fault_of_ours() {
        Verifier::new(&VerifierSettings { secrets: vec![String::new()], ..settings() });
    }

    #[test]
    fn every_error_has_its_own_name() {
        let names: std::collections::HashSet<_> = TokenError::ALL.iter().map(|error| error.name()).collect();
        assert_eq!(names.len(), TokenError::ALL.len());
    }

    proptest! {
        #[test]
        fn no_text_is_taken_for_a_token(token in "\\PC{0,80}") {
            prop_assert!(verify(&token).is_err());
        }

        #[test]
        fn no_claims_bring_it_down(claims in "\\PC{0,80}") {
            prop_assert!(verify(&signed(&claims)).is_err());
        }
    }
}
