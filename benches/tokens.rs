//! What it costs to verify a token, by algorithm, and to find its key: `cargo bench --bench tokens`.

use std::hint::black_box;
use std::process::Command;

use criterion::{Criterion, criterion_group, criterion_main};
use jsonwebtoken::{Algorithm, AlgorithmFamily, EncodingKey, Header, encode};
use ringway::auth::pem::read_keys;
use ringway::auth::{KEYS_MAX, KeyName, KeySet, Verifier, VerifierSettings};
use serde_json::json;

const NOW_UNIX_S: u64 = 1_800_000_000;
const SECRET: &str = "a secret of thirty-two bytes or more";

/// A private and a public key, made by openssl.
fn key(arguments: &[&str]) -> (String, String) {
    let private = Command::new("openssl").arg("genpkey").args(arguments).output().expect("openssl is installed");
    let folder = tempfile::tempdir().expect("a temp dir");
    let path = folder.path().join("key.pem");
    std::fs::write(&path, &private.stdout).expect("the temp dir is writable");
    let public = Command::new("openssl").args(["pkey", "-pubout", "-in"]).arg(&path).output().expect("it is");
    let text = |output: Vec<u8>| String::from_utf8(output).expect("PEM is text");
    (text(private.stdout), text(public.stdout))
}

fn token(algorithm: Algorithm, key: &str, kid: Option<&str>) -> String {
    let key = match algorithm.family() {
        AlgorithmFamily::Hmac => Ok(EncodingKey::from_secret(key.as_bytes())),
        AlgorithmFamily::Rsa => EncodingKey::from_rsa_pem(key.as_bytes()),
        AlgorithmFamily::Ec => EncodingKey::from_ec_pem(key.as_bytes()),
        AlgorithmFamily::Ed => EncodingKey::from_ed_pem(key.as_bytes()),
    };
    let claims = json!({ "sub": "ana", "exp": NOW_UNIX_S + 60, "iss": "https://issuer.example/", "iat": NOW_UNIX_S,
                         "channels": ["conv:*"] });
    let header = Header { kid: kid.map(str::to_owned), ..Header::new(algorithm) };
    encode(&header, &claims, &key.expect("a key")).expect("it can be signed")
}

fn verify(c: &mut Criterion) {
    let mut group = c.benchmark_group("verify a token");
    let settings = VerifierSettings { secrets: vec![SECRET.into()], ..VerifierSettings::default() };
    let (verifier, signed) = (Verifier::new(&settings), token(Algorithm::HS256, SECRET, None));
    group.bench_function("HS256", |b| b.iter(|| verifier.verify(black_box(&signed), NOW_UNIX_S).expect("good")));
    let rsa = |bits: &str| key(&["-algorithm", "RSA", "-pkeyopt", &format!("rsa_keygen_bits:{bits}")]);
    let ec = |curve: &str| key(&["-algorithm", "EC", "-pkeyopt", &format!("ec_paramgen_curve:{curve}")]);
    let rsa_2048 = rsa("2048");
    for (name, algorithm, (private, public)) in [
        ("RS256, 2048 bits", Algorithm::RS256, rsa_2048.clone()),
        ("RS512, 2048 bits", Algorithm::RS512, rsa_2048.clone()),
        ("PS256, 2048 bits", Algorithm::PS256, rsa_2048),
        ("RS256, 4096 bits", Algorithm::RS256, rsa("4096")),
        ("ES256", Algorithm::ES256, ec("P-256")),
        ("ES384", Algorithm::ES384, ec("P-384")),
        ("EdDSA", Algorithm::EdDSA, key(&["-algorithm", "ED25519"])),
    ] {
        let public_keys = KeySet::new(read_keys(&public, None).expect("a public key"));
        let verifier = Verifier::new(&VerifierSettings { public_keys, ..VerifierSettings::default() });
        let signed = token(algorithm, &private, None);
        group.bench_function(name, |b| b.iter(|| verifier.verify(black_box(&signed), NOW_UNIX_S).expect("good")));
    }
}

fn find(c: &mut Criterion) {
    let (private, public) = key(&["-algorithm", "ED25519"]);
    let named = |n: usize| KeyName::Kid(format!("key-{n}").into());
    let keys = (0..KEYS_MAX).flat_map(|n| read_keys(&public, Some(&named(n))).expect("a public key"));
    let public_keys = KeySet::new(keys.collect());
    let verifier = Verifier::new(&VerifierSettings { public_keys, ..VerifierSettings::default() });
    let unknown = token(Algorithm::EdDSA, &private, Some("key-none"));
    let mut group = c.benchmark_group("a token");
    group.bench_function("whose kid is none of 64", |b| {
        b.iter(|| verifier.verify(black_box(&unknown), NOW_UNIX_S).expect_err("its key is not here"))
    });
    group.bench_function("is it a slow one?", |b| b.iter(|| verifier.is_slow(black_box(&unknown))));
}

criterion_group!(benches, verify, find);
criterion_main!(benches);
