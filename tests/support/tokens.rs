//! Tokens as an identity provider would mint them, and the ones that must be refused. Called by nearly every test.

use std::time::{SystemTime, UNIX_EPOCH};

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use jsonwebtoken::{Algorithm, AlgorithmFamily, EncodingKey, Header, encode};
use serde::Serialize;
use serde_json::{Value, json};

/// The shared secret of every gateway that the tests start.
pub const SECRET: &str = "the secret of the tests: long enough for any of HS256, HS384 and HS512, and published";

/// A secret that was valid until it was rotated away.
pub const PREVIOUS_SECRET: &str =
    "the secret before that one, still accepted while both are configured, also published";

/// An RSA key that no gateway knows.
const RSA_KEY: &[u8] = include_bytes!("rsa_for_refusal.pem");

/// The key set of the keys `rsa`, `p256`, `p384` and `ed25519`, each with its name as `kid`.
pub const JWKS: &str = include_str!("keys/jwks.json");

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

    /// Signed by one of the private keys of the tests, whose name may stand in the header.
    pub fn sign_by(&self, algorithm: &str, key: &str, kid: Option<&str>) -> String {
        let algorithm: Algorithm = algorithm.parse().expect("an algorithm");
        let pem = std::fs::read(key_file(key).replace(".pub.pem", ".pem")).expect("a private key of the tests");
        let key = match algorithm.family() {
            AlgorithmFamily::Rsa => EncodingKey::from_rsa_pem(&pem),
            AlgorithmFamily::Ec => EncodingKey::from_ec_pem(&pem),
            _ => EncodingKey::from_ed_pem(&pem),
        };
        let header = Header { kid: kid.map(str::to_owned), ..Header::new(algorithm) };
        encode(&header, self, &key.expect("the key of the tests is a key")).expect("these claims can be signed")
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

/// The PEM file of a public key of the tests.
pub fn key_file(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/keys");
    folder.join(format!("{name}.pub.pem")).display().to_string()
}

/// What stands in it.
pub fn public_key(name: &str) -> &'static str {
    match name {
        "rsa" => include_str!("keys/rsa.pub.pem"),
        "p256" => include_str!("keys/p256.pub.pem"),
        other => panic!("{other} is not asked for"),
    }
}

/// A key set of these of the tests' keys.
pub fn jwks_of(kids: &[&str]) -> String {
    let set: Value = serde_json::from_str(JWKS).expect("it is JSON");
    let keys = set["keys"].as_array().expect("a list").iter();
    let keys: Vec<_> = keys.filter(|key| kids.iter().any(|kid| key["kid"] == *kid)).collect();
    json!({ "keys": keys }).to_string()
}

/// Tokens signed by the cryptography of Node.js: algorithm, name of the key, claims.
#[track_caller]
pub fn signed_elsewhere(wishes: &[(&str, &str, Claims)]) -> Vec<String> {
    let wishes: Vec<_> = wishes
        .iter()
        .map(|(algorithm, key, claims)| json!([algorithm, key, { "alg": algorithm, "typ": "JWT" }, claims]))
        .collect();
    let support = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support");
    let mut child = Command::new("node")
        .arg(support.join("sign.mjs"))
        .arg(support.join("keys"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Node.js is installed: run tools/install-test-deps");
    let input = child.stdin.take().expect("it is piped").write_all(json!(wishes).to_string().as_bytes());
    input.expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    serde_json::from_slice(&output.stdout).expect("it prints a list of tokens")
}
