//! Makes tokens for `ringway token` and for the ready token of development mode. Never called for a client.

use std::fmt;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Map, Value};

use super::claims::is_name;

/// Why no token can be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MintError {
    /// The user id or the user type is empty, longer than 250 bytes or has control characters.
    BadName(&'static str),
    /// `--claim` needs `name=value`.
    BadClaim(String),
    EmptySecret,
    Unsigned(String),
}

/// Signs an HS256 token for `user`. The claims `sub`, `iat`, `exp` and `userType` are made from the arguments; `claims`
/// come after them and replace what has the same name, so that a broken token can be made on purpose.
pub fn mint(
    secret: &str,
    user: &str,
    user_type: Option<&str>,
    ttl_s: u64,
    now_unix_s: u64,
    claims: &[(String, Value)],
) -> Result<String, MintError> {
    if secret.is_empty() {
        return Err(MintError::EmptySecret);
    }
    if !is_name(user) {
        return Err(MintError::BadName("user id"));
    }
    let mut body = Map::new();
    body.insert("sub".to_owned(), user.into());
    body.insert("iat".to_owned(), now_unix_s.into());
    body.insert("exp".to_owned(), now_unix_s.saturating_add(ttl_s).into());
    if let Some(user_type) = user_type {
        if !is_name(user_type) {
            return Err(MintError::BadName("user type"));
        }
        body.insert("userType".to_owned(), user_type.into());
    }
    for (name, value) in claims {
        body.insert(name.clone(), value.clone());
    }
    encode(&Header::new(Algorithm::HS256), &body, &EncodingKey::from_secret(secret.as_bytes()))
        .map_err(|error| MintError::Unsigned(error.to_string()))
}

/// Reads `--claim name=value`: the value is JSON when it parses as such, else a string.
pub fn parse_claim(argument: &str) -> Result<(String, Value), MintError> {
    match argument.split_once('=') {
        Some((name, value)) if !name.is_empty() => {
            let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
            Ok((name.to_owned(), value))
        }
        _ => Err(MintError::BadClaim(argument.to_owned())),
    }
}

impl fmt::Display for MintError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MintError::BadName(what) => {
                write!(f, "the {what} must have 1 to 250 bytes and no control characters")
            }
            MintError::BadClaim(argument) => write!(f, "{argument:?} is not a claim: name=value is expected"),
            MintError::EmptySecret => f.write_str("the secret to sign with is empty"),
            MintError::Unsigned(reason) => write!(f, "the token cannot be signed: {reason}"),
        }
    }
}

impl std::error::Error for MintError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{TokenError, Verifier, VerifierSettings};

    const NOW: u64 = 1_800_000_000;

    fn verifier() -> Verifier {
        Verifier::new(&VerifierSettings { secrets: vec!["secret".into()], ..VerifierSettings::default() })
    }

    #[test]
    fn a_minted_token_is_accepted_until_its_time_is_over() {
        let claims = [parse_claim(r#"channels=["conv:*","clan:red"]"#).unwrap()];
        let token = mint("secret", "u \"1\"", Some("driver"), 60, NOW, &claims).unwrap();
        let identity = verifier().verify(&token, NOW + 59).unwrap();
        assert_eq!(&*identity.user_id, "u \"1\"");
        assert_eq!(identity.user_type.as_deref(), Some("driver"));
        assert!(identity.grants.unwrap().allows("clan:red"));
        assert_eq!(verifier().verify(&token, NOW + 60), Err(TokenError::Expired));
    }

    #[test]
    fn a_claim_is_json_or_else_a_string() {
        for (argument, expected) in [
            ("a=1", "1"),
            ("a=x", r#""x""#),
            ("a=[1", r#""[1""#),
            ("a={\"b\":null}", r#"{"b":null}"#),
            ("a=b=c", r#""b=c""#),
            ("a=", r#""""#),
        ] {
            let (name, value) = parse_claim(argument).unwrap();
            assert_eq!((name.as_str(), value.to_string().as_str()), ("a", expected));
        }
        assert!(parse_claim("a").is_err() && parse_claim("=1").is_err());
    }

    #[test]
    fn a_given_claim_replaces_the_made_one() {
        let token = mint("secret", "u1", None, 60, NOW, &[parse_claim("exp=1").unwrap()]).unwrap();
        assert_eq!(verifier().verify(&token, NOW), Err(TokenError::Expired));
    }

    #[test]
    fn a_token_that_would_be_refused_is_not_made() {
        assert_eq!(mint("", "u1", None, 60, NOW, &[]), Err(MintError::EmptySecret));
        assert_eq!(mint("secret", "", None, 60, NOW, &[]), Err(MintError::BadName("user id")));
        assert_eq!(mint("secret", "u1", Some("a\nb"), 60, NOW, &[]), Err(MintError::BadName("user type")));
    }
}
