//! Tokens as an identity provider would mint them, and the ones that must be refused. Called by nearly every test.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde::Serialize;

/// The shared secret of every gateway that the tests start.
pub const SECRET: &str = "the secret of the tests: long enough for any of HS256, HS384 and HS512, and published";

/// A secret that was valid until it was rotated away.
pub const PREVIOUS_SECRET: &str =
    "the secret before that one, still accepted while both are configured, also published";

/// An RSA key that no gateway knows.
const RSA_KEY: &[u8] = include_bytes!("rsa_for_refusal.pem");

/// `{"alg":"none","typ":"JWT"}` in base64url.
const HEADER_NONE: &str = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0";

/// The claims of a token; what is None is left out of it.
#[derive(Clone, Serialize)]
pub struct Claims {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exp: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iat: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aud: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<Vec<String>>,
}

impl Claims {
    /// A user and an hour.
    pub fn of(user: &str) -> Claims {
        let sub = Some(user.to_owned());
        Claims { sub, exp: Some(now() + 3600), iat: None, jti: None, aud: None, iss: None, role: None, channels: None }
    }

    /// Seconds from now; negative is past.
    pub fn expires_in(mut self, seconds: i64) -> Claims {
        self.exp = Some(now() + seconds);
        self
    }

    /// Seconds from now; negative is past.
    pub fn issued_in(mut self, seconds: i64) -> Claims {
        self.iat = Some(now() + seconds);
        self
    }

    pub fn id(mut self, jti: &str) -> Claims {
        self.jti = Some(jti.to_owned());
        self
    }

    pub fn role(mut self, role: &str) -> Claims {
        self.role = Some(role.to_owned());
        self
    }

    /// The channels that the session may subscribe to, names and patterns.
    pub fn channels(mut self, channels: &[&str]) -> Claims {
        self.channels = Some(channels.iter().map(|channel| (*channel).to_owned()).collect());
        self
    }

    /// Signed with the secret that the gateways know.
    pub fn sign(&self) -> String {
        self.sign_with(Algorithm::HS256, SECRET)
    }

    pub fn sign_with(&self, algorithm: Algorithm, secret: &str) -> String {
        self.encode(algorithm, &EncodingKey::from_secret(secret.as_bytes()))
    }

    /// Well signed by an RSA key, which a gateway with a shared secret must not take.
    pub fn sign_rs256(&self) -> String {
        self.encode(Algorithm::RS256, &EncodingKey::from_rsa_pem(RSA_KEY).expect("the key of the tests is a key"))
    }

    /// `alg: none`, without a signature.
    pub fn unsigned(&self) -> String {
        let signed = self.sign();
        let claims = signed.split('.').nth(1).expect("a token has three parts");
        format!("{HEADER_NONE}.{claims}.")
    }

    fn encode(&self, algorithm: Algorithm, key: &EncodingKey) -> String {
        encode(&Header::new(algorithm), self, key).expect("these claims can be signed")
    }
}

/// A good token of this user, for an hour.
pub fn token(user: &str) -> String {
    Claims::of(user).sign()
}

pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    i64::try_from(since.as_secs()).expect("seconds fit")
}
