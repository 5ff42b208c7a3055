//! Promise: tokens signed by a private key are taken wherever a token may stand, each by the key and the algorithm that
//! it was made for, and whoever waits for their check keeps nobody else waiting.

use jsonwebtoken::Algorithm;

use crate::support::client::Client;
use crate::support::config::Config;
use crate::support::gateway::{Gateway, command};
use crate::support::process::{Finished, run};
use crate::support::tokens::{Claims, SECRET, key_file, public_key, signed_elsewhere};
use crate::support::wire::{self, CLOSE_TOKEN_INVALID, auth};

const ALGORITHMS: [(&str, &str); 9] = [
    ("RS256", "rsa"),
    ("RS384", "rsa"),
    ("RS512", "rsa"),
    ("PS256", "rsa"),
    ("PS384", "rsa"),
    ("PS512", "rsa"),
    ("ES256", "p256"),
    ("ES384", "p384"),
    ("EdDSA", "ed25519"),
];

/// No shared secret, and these files.
fn config(files: &[String]) -> Config {
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    Config::without_secret().list("auth.public_keys", &files)
}

fn all_keys() -> Config {
    config(&["rsa", "p256", "p384", "ed25519"].map(key_file))
}

fn refusal(gateway: &Gateway, token: &str) -> String {
    let bearer = format!("Bearer {token}");
    let Err(refusal) = Client::upgrade(gateway, "/ws", &[("Authorization", &bearer)]) else { panic!("accepted") };
    refusal.assert_refusal(token, 401);
    wire::string(&wire::json(&refusal.body), &["error", "code"]).to_owned()
}

fn connect(gateway: &Gateway) -> Client {
    Client::upgrade(gateway, "/ws", &[]).unwrap_or_else(|refusal| panic!("refused: {refusal:?}")).0
}

#[test]
fn every_algorithm_is_taken_at_the_upgrade_and_in_a_message() {
    let gateway = Gateway::start(all_keys());
    // Signed by another program's cryptography.
    let tokens = signed_elsewhere(&ALGORITHMS.map(|(algorithm, key)| (algorithm, key, Claims::of(algorithm))));
    for ((algorithm, _), token) in ALGORITHMS.iter().zip(&tokens) {
        Client::connect(&gateway, token).ping();
        let mut client = connect(&gateway);
        client.send(&auth(token));
        let success = client.expect_type("auth.success");
        assert_eq!(wire::string(&success, &["payload", "user_id"]), *algorithm);
        // A fresh one renews it, and what comes behind it is served behind it.
        client.send(&auth(token));
        client.send(r#"{"type":"ping"}"#);
        client.expect_type("auth.success");
        client.expect_type("pong");
    }
    for token in &tokens {
        let (message, _) = token.rsplit_once('.').expect("three parts");
        assert_eq!(refusal(&gateway, &format!("{message}.AAAA")), "bad_signature");
        let mut client = connect(&gateway);
        client.send(&auth(&format!("{message}.AAAA")));
        client.send(r#"{"type":"ping"}"#);
        assert_eq!(wire::string(&client.expect_type("error"), &["payload", "code"]), "bad_signature");
        assert_eq!(client.expect_close(), CLOSE_TOKEN_INVALID);
    }
}

#[test]
fn with_public_keys_alone_no_shared_secret_counts_and_it_is_no_development_mode() {
    let gateway = Gateway::start(all_keys());
    let published = "ringway-development-secret-known-to-everybody";
    for secret in [SECRET, published, public_key("rsa"), public_key("p256"), ""] {
        let token = Claims::of("u1").sign_with(Algorithm::HS256, secret);
        assert_eq!(refusal(&gateway, &token), "algorithm_not_allowed");
    }
    assert_eq!(refusal(&gateway, &Claims::of("u1").unsigned()), "algorithm_not_allowed");
    assert!(!gateway.log().contains("development"), "{}", gateway.log());
}

#[test]
fn a_shared_secret_and_a_public_key_hold_beside_each_other() {
    let gateway = Gateway::start(all_keys().set("auth.secret", SECRET));
    Client::connect(&gateway, &Claims::of("u1").sign()).ping();
    Client::connect(&gateway, &Claims::of("u1").sign_by("ES256", "p256", None)).ping();
    let confused = Claims::of("u1").sign_with(Algorithm::HS256, public_key("rsa"));
    assert_eq!(refusal(&gateway, &confused), "bad_signature");
}

#[test]
fn keys_are_rotated_by_their_kid() {
    let by_kid = ["rsa", "rsa_next"].map(|name| format!("{name}-2026={}", key_file(name)));
    let gateway = Gateway::start(config(&by_kid));
    let token = |kid: Option<&str>, key| Claims::of("u1").sign_by("RS256", key, kid);
    for (kid, key) in
        [(Some("rsa-2026"), "rsa"), (Some("rsa_next-2026"), "rsa_next"), (None, "rsa"), (None, "rsa_next")]
    {
        Client::connect(&gateway, &token(kid, key)).ping();
    }
    assert_eq!(refusal(&gateway, &token(Some("rsa-2026"), "rsa_next")), "bad_signature");
    assert_eq!(refusal(&gateway, &token(Some("rsa-2025"), "rsa")), "unknown_key");
    // The name of a file is a guess, which a token may not know of.
    let guessed = Gateway::start(config(&[key_file("rsa"), public_key("p256").to_owned()]));
    for (algorithm, key, kid) in [("RS256", "rsa", "rsa.pub"), ("RS256", "rsa", "other"), ("ES256", "p256", "other")] {
        Client::connect(&guessed, &Claims::of("u1").sign_by(algorithm, key, Some(kid))).ping();
    }
}

#[test]
fn a_key_that_cannot_check_tokens_is_refused_at_start() {
    let check = |entry: &str| run_with(&config(&[entry.to_owned()]), &["check-config"]);
    for (entry, why) in [
        (key_file("rsa_1024"), "an RSA key of 1024 bits is too weak"),
        (key_file("p521"), "neither an RSA key nor one of"),
        (key_file("rsa").replace(".pub.pem", ".pem"), "a private key"),
        (key_file("rsa").replace(".pub.pem", ".cert.pem"), "a certificate"),
        ("/nonexistent/key.pem".to_owned(), "/nonexistent/key.pem: cannot be read"),
        ("kid=/nonexistent/key.pem".to_owned(), "/nonexistent/key.pem: cannot be read"),
        ("/dev/zero".to_owned(), "longer than"),
        ("=x".to_owned(), "neither a path nor kid=path"),
    ] {
        let finished = check(&entry);
        assert_eq!(finished.code, Some(78), "{finished:?}");
        assert!(finished.stderr.contains("auth.public_keys (file ") && finished.stderr.contains(why), "{finished:?}");
        assert_eq!(finished.stderr.lines().count(), 1, "{finished:?}");
    }
}

#[test]
fn what_cannot_sign_says_so_and_what_is_printed_reads_back() {
    let finished = run_with(&all_keys(), &["token", "--user", "u1"]);
    assert_eq!((finished.code, finished.stdout.as_str()), (Some(1), ""), "{finished:?}");
    assert!(finished.stderr.contains("auth.secret is not set"), "{finished:?}");
    let printed = run_with(&all_keys(), &["print-config"]);
    assert!(
        printed.stdout.contains(&key_file("p384")) && printed.stdout.contains("# secret is not set"),
        "{printed:?}"
    );
    let folder = tempfile::tempdir().expect("a temp dir");
    let path = folder.path().join("printed.toml");
    std::fs::write(&path, &printed.stdout).expect("the temp dir is writable");
    let checked = run(command().arg("check-config").arg("--config").arg(&path));
    assert_eq!(checked.code, Some(0), "{checked:?}");
}

#[test]
fn a_storm_of_tokens_keeps_nobody_from_his_answers() {
    const CLIENTS: usize = 300;
    let gateway = Gateway::start(all_keys());
    let tokens: Vec<String> =
        (0..CLIENTS).map(|n| Claims::of(&format!("c{n}")).sign_by("ES384", "p384", None)).collect();
    let mut bystander = Client::connect(&gateway, &tokens[0]);
    let mut crowd: Vec<Client> = tokens.iter().map(|_| connect(&gateway)).collect();
    crowd.iter_mut().zip(&tokens).for_each(|(client, token)| client.send(&auth(token)));
    bystander.ping();
    for (n, client) in crowd.iter_mut().enumerate() {
        let success = client.expect_type("auth.success");
        assert_eq!(wire::string(&success, &["payload", "user_id"]), format!("c{n}"));
    }
    bystander.ping();
    let metrics = gateway.admin().metrics();
    assert_eq!(metrics.sum("ringway_sessions"), (CLIENTS + 1) as f64);
    assert_eq!(metrics.sum("ringway_tokens_waiting"), 0.0);
}

#[track_caller]
fn run_with(config: &Config, subcommand: &[&str]) -> Finished {
    let folder = tempfile::tempdir().expect("a temp dir");
    run(command().args(subcommand).arg("--config").arg(config.write(folder.path())))
}
