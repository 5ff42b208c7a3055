//! Public keys, from PEM and from key sets, and tokens that are checked with them.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, AlgorithmFamily, EncodingKey, crypto};
use serde_json::{Value, json};

use super::jwk::{BadSet, read_set};
use super::pem::read_keys;
use super::*;

const NOW: u64 = 1_800_000_000;
const SECRET: &str = "a secret of the tests, of 32 bytes or more";

macro_rules! key {
    ($name:literal) => {
        include_str!(concat!("../../tests/support/keys/", $name))
    };
}

const RSA: (&str, &str) = (key!("rsa.pem"), key!("rsa.pub.pem"));
const RSA_NEXT: (&str, &str) = (key!("rsa_next.pem"), key!("rsa_next.pub.pem"));
const P256: (&str, &str) = (key!("p256.pem"), key!("p256.pub.pem"));
const P384: (&str, &str) = (key!("p384.pem"), key!("p384.pub.pem"));
const ED25519: (&str, &str) = (key!("ed25519.pem"), key!("ed25519.pub.pem"));

/// Every algorithm of a public key, with the key that the tests sign with.
const ALGORITHMS: [(Algorithm, &str, (&str, &str)); 9] = [
    (Algorithm::RS256, "RS256", RSA),
    (Algorithm::RS384, "RS384", RSA),
    (Algorithm::RS512, "RS512", RSA),
    (Algorithm::PS256, "PS256", RSA),
    (Algorithm::PS384, "PS384", RSA),
    (Algorithm::PS512, "PS512", RSA),
    (Algorithm::ES256, "ES256", P256),
    (Algorithm::ES384, "ES384", P384),
    (Algorithm::EdDSA, "EdDSA", ED25519),
];

fn private(pem: &str, algorithm: Algorithm) -> EncodingKey {
    match algorithm.family() {
        AlgorithmFamily::Rsa => EncodingKey::from_rsa_pem(pem.as_bytes()),
        AlgorithmFamily::Ec => EncodingKey::from_ec_pem(pem.as_bytes()),
        AlgorithmFamily::Ed => EncodingKey::from_ed_pem(pem.as_bytes()),
        AlgorithmFamily::Hmac => Ok(EncodingKey::from_secret(pem.as_bytes())),
    }
    .unwrap()
}

/// A token of `ana` with this header, signed whatever the header says.
fn signed(header: &Value, algorithm: Algorithm, pem: &str) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(&json!({ "sub": "ana", "exp": NOW + 60 })));
    let signature = crypto::sign(message.as_bytes(), &private(pem, algorithm), algorithm).unwrap();
    format!("{message}.{signature}")
}

fn configured(pems: &[(&str, Option<KeyName>)]) -> Verifier {
    let keys = pems.iter().flat_map(|(pem, name)| read_keys(pem, name.as_ref()).unwrap());
    Verifier::new(&VerifierSettings { public_keys: KeySet::new(keys.collect()), ..VerifierSettings::default() })
}

fn kid(name: &str) -> Option<KeyName> {
    Some(KeyName::Kid(name.into()))
}

fn refusal(verifier: &Verifier, token: &str) -> Option<TokenError> {
    verifier.verify(token, NOW).err()
}

#[test]
fn each_algorithm_passes_with_its_key_and_with_no_other() {
    let all = configured(&[RSA.1, P256.1, P384.1, ED25519.1].map(|pem| (pem, None)));
    for (algorithm, name, (pem, own)) in ALGORITHMS {
        let token = signed(&json!({ "alg": name }), algorithm, pem);
        assert_eq!(&*all.verify(&token, NOW).unwrap().user_id, "ana", "{name}");
        assert!(all.is_slow(&token), "{name}");
        for other in [RSA.1, P256.1, P384.1, ED25519.1].into_iter().filter(|other| *other != own) {
            let wrong = refusal(&configured(&[(other, None)]), &token);
            assert_eq!(wrong, Some(TokenError::AlgorithmNotAllowed), "{name}");
        }
        let (message, signature) = token.rsplit_once('.').unwrap();
        let (header, _) = message.split_once('.').unwrap();
        let other_claims = URL_SAFE_NO_PAD.encode(json!({ "sub": "admin", "exp": NOW + 60 }).to_string());
        assert_eq!(refusal(&all, &format!("{header}.{other_claims}.{signature}")), Some(TokenError::BadSignature));
        assert_eq!(refusal(&all, &format!("{message}.")), Some(TokenError::BadSignature), "{name} unsigned");
        assert_eq!(refusal(&all, &format!("{message}.!")), Some(TokenError::Malformed), "{name}");
    }
}

#[test]
fn ed25519_has_two_names() {
    let verifier = configured(&[(ED25519.1, None)]);
    let token = signed(&json!({ "alg": "Ed25519" }), Algorithm::EdDSA, ED25519.0);
    assert_eq!(refusal(&verifier, &token), None);
}

#[test]
fn a_signature_of_another_algorithm_of_the_same_key_is_none() {
    let verifier = configured(&[(RSA.1, None)]);
    for (signs, claims) in [(Algorithm::RS256, "RS384"), (Algorithm::RS256, "PS256"), (Algorithm::PS512, "RS512")] {
        let token = signed(&json!({ "alg": claims }), signs, RSA.0);
        assert_eq!(refusal(&verifier, &token), Some(TokenError::BadSignature), "{claims}");
    }
}

#[test]
fn a_public_key_is_no_shared_secret() {
    // Whoever has the public key signs with it as if it were a secret, in each form in which it is known.
    let der = ::pem::parse(RSA.1).unwrap();
    let secrets = [RSA.1.as_bytes(), RSA.1.trim_end().as_bytes(), der.contents()];
    let only_public = configured(&[(RSA.1, None)]);
    let both = Verifier::new(&VerifierSettings {
        secrets: vec![SECRET.into()],
        public_keys: KeySet::new(read_keys(RSA.1, None).unwrap()),
        ..VerifierSettings::default()
    });
    for secret in secrets {
        for (algorithm, name) in [(Algorithm::HS256, "HS256"), (Algorithm::HS384, "HS384"), (Algorithm::HS512, "HS512")]
        {
            let header = URL_SAFE_NO_PAD.encode(json!({ "alg": name }).to_string());
            let claims = URL_SAFE_NO_PAD.encode(json!({ "sub": "ana", "exp": NOW + 60 }).to_string());
            let message = format!("{header}.{claims}");
            let signature = crypto::sign(message.as_bytes(), &EncodingKey::from_secret(secret), algorithm).unwrap();
            let token = format!("{message}.{signature}");
            assert_eq!(refusal(&only_public, &token), Some(TokenError::AlgorithmNotAllowed), "{name}");
            assert_eq!(refusal(&both, &token), Some(TokenError::BadSignature), "{name}");
            assert!(!only_public.is_slow(&token) && !both.is_slow(&token));
        }
    }
    for none in ["none", "None", "NONE", ""] {
        let token = signed(&json!({ "alg": none }), Algorithm::RS256, RSA.0);
        assert_eq!(refusal(&both, &token), Some(TokenError::AlgorithmNotAllowed), "{none}");
    }
}

#[test]
fn a_shared_secret_and_public_keys_hold_beside_each_other() {
    let both = Verifier::new(&VerifierSettings {
        secrets: vec![SECRET.into()],
        public_keys: KeySet::new(read_keys(P256.1, None).unwrap()),
        ..VerifierSettings::default()
    });
    for (algorithm, name, pem) in [(Algorithm::HS256, "HS256", SECRET), (Algorithm::ES256, "ES256", P256.0)] {
        assert_eq!(refusal(&both, &signed(&json!({ "alg": name }), algorithm, pem)), None, "{name}");
    }
}

#[test]
fn the_kid_names_the_key_and_a_guessed_name_is_a_guess() {
    let token = |kid: Option<&str>, pem| {
        let header = kid.map_or(json!({ "alg": "RS256" }), |kid| json!({ "alg": "RS256", "kid": kid }));
        signed(&header, Algorithm::RS256, pem)
    };
    let named = configured(&[(RSA.1, kid("a")), (RSA_NEXT.1, kid("b"))]);
    for (key, pem) in [(Some("a"), RSA.0), (Some("b"), RSA_NEXT.0), (None, RSA.0), (None, RSA_NEXT.0)] {
        assert_eq!(refusal(&named, &token(key, pem)), None, "{key:?}");
    }
    assert_eq!(refusal(&named, &token(Some("a"), RSA_NEXT.0)), Some(TokenError::BadSignature));
    assert_eq!(refusal(&named, &token(Some("c"), RSA.0)), Some(TokenError::UnknownKey));
    let guessed = configured(&[(RSA.1, Some(KeyName::Guessed("a".into()))), (RSA_NEXT.1, None)]);
    for (key, pem) in [(Some("a"), RSA.0), (Some("c"), RSA.0), (Some("c"), RSA_NEXT.0), (None, RSA_NEXT.0)] {
        assert_eq!(refusal(&guessed, &token(key, pem)), None, "{key:?}");
    }
    assert_eq!(refusal(&guessed, &token(Some("a"), RSA_NEXT.0)), Some(TokenError::BadSignature));
}

#[test]
fn a_token_is_tried_with_a_few_keys_at_most() {
    let many = vec![(RSA.1, None); 4];
    let token = signed(&json!({ "alg": "RS256" }), Algorithm::RS256, RSA_NEXT.0);
    let three = [&many[..3], &[(RSA_NEXT.1, None)]].concat();
    let four = [&many[..], &[(RSA_NEXT.1, None)]].concat();
    assert_eq!(refusal(&configured(&three), &token), None);
    assert_eq!(refusal(&configured(&four), &token), Some(TokenError::BadSignature));
}

#[test]
fn pem_that_is_no_public_key_of_use_is_refused_with_the_reason() {
    for (pem, reason) in [
        (key!("rsa_1024.pub.pem"), "1024 bits is too weak"),
        (key!("p521.pub.pem"), "neither an RSA key nor one of P-256, P-384 or Ed25519"),
        (RSA.0, "a private key"),
        (ED25519.0, "a private key"),
        (key!("rsa.cert.pem"), "openssl x509 -pubkey"),
        ("", "no PEM block"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "neither an RSA key"),
        ("-----BEGIN PUBLIC KEY-----\n!\n-----END PUBLIC KEY-----\n", "not PEM"),
        ("-----BEGIN THING-----\nAAAA\n-----END THING-----\n", "no public key"),
    ] {
        let error = read_keys(pem, None).expect_err(reason).to_string();
        assert!(error.contains(reason), "{error}");
    }
    let pair = format!("{}{}", RSA.1, P256.1);
    assert_eq!(read_keys(&pair, None).unwrap().len(), 2);
    assert_eq!(read_keys(key!("rsa.pkcs1.pem"), None).unwrap().len(), 1);
}

/// The key sets' verifier, and what fills it.
fn issued() -> (Verifier, IssuedKeys) {
    let keys = IssuedKeys::default();
    let settings = VerifierSettings { issued_keys: Some(keys.clone()), ..VerifierSettings::default() };
    (Verifier::new(&settings), keys)
}

/// The keys of the tests as another program writes them, by `kid`.
fn jwks() -> BTreeMap<String, Value> {
    let set: Value = serde_json::from_str(key!("jwks.json")).unwrap();
    let keys = set["keys"].as_array().unwrap().clone();
    keys.into_iter().map(|key| (key["kid"].as_str().unwrap().to_owned(), key)).collect()
}

fn set_of(keys: &[Value]) -> Vec<u8> {
    json!({ "keys": keys }).to_string().into_bytes()
}

#[test]
fn each_kind_of_key_of_a_set_checks_its_algorithms() {
    let (verifier, keys) = issued();
    keys.replace(read_set(key!("jwks.json").as_bytes()).unwrap().0);
    for (algorithm, name, (pem, _)) in ALGORITHMS {
        let kid = match name {
            "ES256" => "p256",
            "ES384" => "p384",
            "EdDSA" => "ed25519",
            _ => "rsa",
        };
        let token = signed(&json!({ "alg": name, "kid": kid }), algorithm, pem);
        assert_eq!(refusal(&verifier, &token), None, "{name}");
        for other in ["rsa", "p256", "p384", "ed25519"].into_iter().filter(|other| *other != kid) {
            let token = signed(&json!({ "alg": name, "kid": other }), algorithm, pem);
            assert_eq!(refusal(&verifier, &token), Some(TokenError::AlgorithmNotAllowed), "{name} as {other}");
        }
    }
}

#[test]
fn a_key_is_bound_to_what_its_set_says_of_it() {
    let rsa = &jwks()["rsa"];
    let with = |changes: Value| {
        let mut key = rsa.clone();
        key.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        key
    };
    let (verifier, keys) = issued();
    keys.replace(read_set(&set_of(&[with(json!({ "alg": "RS384" }))])).unwrap().0);
    let token = |alg: &str, algorithm| signed(&json!({ "alg": alg, "kid": "rsa" }), algorithm, RSA.0);
    assert_eq!(refusal(&verifier, &token("RS384", Algorithm::RS384)), None);
    for (alg, algorithm) in [("RS256", Algorithm::RS256), ("PS384", Algorithm::PS384)] {
        assert_eq!(refusal(&verifier, &token(alg, algorithm)), Some(TokenError::AlgorithmNotAllowed), "{alg}");
    }
    for (changes, why) in [
        (json!({ "use": "enc" }), "use"),
        (json!({ "key_ops": ["sign", "encrypt"] }), "key_ops"),
        (json!({ "alg": "RSA-OAEP" }), "alg"),
        (json!({ "alg": "ES256" }), "alg"),
        (json!({ "alg": "HS256" }), "alg"),
        (json!({ "alg": "none" }), "alg"),
        (json!({ "kid": "x".repeat(257) }), "kid"),
        (json!({ "kid": 7 }), "not a JSON Web Key"),
        (json!({ "n": "!" }), "base64url"),
        (json!({ "n": "" }), "neither"),
        (json!({ "e": "AA" }), "neither"),
        (json!({ "e": "Ag" }), "neither"),
        (json!({ "n": "AQAB" }), ""),
        (json!({ "kty": "rsa" }), "neither"),
        (json!({ "kty": "oct", "k": "c2VjcmV0" }), "shared secret"),
    ] {
        let Err(BadSet::NoKeys(Some(reason))) = read_set(&set_of(&[with(changes.clone())])) else {
            panic!("{changes} was taken");
        };
        assert!(reason.to_string().contains(why), "{changes}: {reason}");
        let (set, left_out) = read_set(&set_of(&[with(changes.clone()), rsa.clone()])).unwrap();
        assert_eq!((set.len(), left_out.len(), left_out[0].place), (1, 1, 0), "{changes}");
    }
    for changes in [json!({ "key_ops": ["verify"] }), json!({ "x5c": ["AA"], "x5t": "AA" }), json!({ "alg": "PS512" })]
    {
        assert!(read_set(&set_of(&[with(changes.clone())])).is_ok(), "{changes}");
    }
}

#[test]
fn points_that_are_none_are_no_keys() {
    let keys = jwks();
    let zeros = |bytes| URL_SAFE_NO_PAD.encode(vec![0; bytes]);
    for (kid, changes) in [
        ("p256", json!({ "y": zeros(32) })),
        ("p256", json!({ "x": zeros(31) })),
        ("p256", json!({ "x": zeros(33) })),
        ("p256", json!({ "crv": "P-384" })),
        ("p256", json!({ "crv": "P-521" })),
        ("p256", json!({ "crv": "secp256k1" })),
        ("p256", json!({ "y": null })),
        ("p384", json!({ "crv": "P-256" })),
        ("ed25519", json!({ "x": "AAAA" })),
        ("ed25519", json!({ "x": "" })),
        ("ed25519", json!({ "crv": "X25519" })),
        ("ed25519", json!({ "crv": "Ed448" })),
    ] {
        let mut key = keys[kid].clone();
        key.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        assert!(matches!(read_set(&set_of(&[key])), Err(BadSet::NoKeys(_))), "{kid} {changes}");
    }
}

#[test]
fn what_is_no_set_of_a_few_keys_is_refused() {
    for text in ["", "<html>", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":"x"}"#, "\u{0}", r#"{"keys":[}"#] {
        assert_eq!(read_set(text.as_bytes()).err(), Some(BadSet::NotASet), "{text}");
    }
    assert_eq!(read_set(br#"{"keys":[]}"#).err(), Some(BadSet::NoKeys(None)));
    assert!(matches!(read_set(br#"{"keys":[1,null,"x",[]]}"#), Err(BadSet::NoKeys(Some(_)))));
    let rsa = jwks()["rsa"].clone();
    assert!(read_set(&set_of(&vec![rsa.clone(); KEYS_MAX])).is_ok());
    assert_eq!(read_set(&set_of(&vec![rsa; KEYS_MAX + 1])).err(), Some(BadSet::TooMany(KEYS_MAX + 1)));
    let deep = format!(r#"{{"keys":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert!(read_set(deep.as_bytes()).is_err());
}

#[test]
fn a_key_that_comes_later_is_unknown_until_it_is_there_and_one_that_goes_is_unknown_again() {
    let (verifier, keys) = issued();
    let token = signed(&json!({ "alg": "ES256", "kid": "p256" }), Algorithm::ES256, P256.0);
    let nameless = signed(&json!({ "alg": "ES256" }), Algorithm::ES256, P256.0);
    for token in [&token, &nameless] {
        assert_eq!(refusal(&verifier, token), Some(TokenError::UnknownKey), "there are no keys at all");
    }
    let all = jwks();
    keys.replace(read_set(&set_of(&[all["rsa"].clone()])).unwrap().0);
    assert_eq!(refusal(&verifier, &token), Some(TokenError::UnknownKey));
    assert_eq!(refusal(&verifier, &nameless), Some(TokenError::AlgorithmNotAllowed), "no key of its kind");
    keys.replace(read_set(&set_of(&[all["rsa"].clone(), all["p256"].clone()])).unwrap().0);
    assert_eq!((refusal(&verifier, &token), refusal(&verifier, &nameless)), (None, None));
    keys.replace(read_set(&set_of(&[all["rsa"].clone()])).unwrap().0);
    assert_eq!(refusal(&verifier, &token), Some(TokenError::UnknownKey));
}

#[test]
fn configured_keys_hold_beside_those_of_an_issuer() {
    let keys = IssuedKeys::default();
    let verifier = Verifier::new(&VerifierSettings {
        public_keys: KeySet::new(read_keys(ED25519.1, kid("own").as_ref()).unwrap()),
        issued_keys: Some(keys.clone()),
        ..VerifierSettings::default()
    });
    let own = signed(&json!({ "alg": "EdDSA", "kid": "own" }), Algorithm::EdDSA, ED25519.0);
    assert_eq!(refusal(&verifier, &own), None, "while the issuer has none yet");
    keys.replace(read_set(&set_of(&[jwks()["p256"].clone()])).unwrap().0);
    let issued = signed(&json!({ "alg": "ES256", "kid": "p256" }), Algorithm::ES256, P256.0);
    assert_eq!((refusal(&verifier, &own), refusal(&verifier, &issued)), (None, None));
    let neither = signed(&json!({ "alg": "ES256", "kid": "own" }), Algorithm::ES256, P256.0);
    assert_eq!(refusal(&verifier, &neither), Some(TokenError::UnknownKey));
}

#[test]
fn a_kid_is_a_text() {
    let verifier = configured(&[(RSA.1, None)]);
    for kid in [json!(7), json!(["a"]), json!({})] {
        let token = signed(&json!({ "alg": "RS256", "kid": kid }), Algorithm::RS256, RSA.0);
        assert_eq!(refusal(&verifier, &token), Some(TokenError::Malformed), "{kid}");
    }
}
