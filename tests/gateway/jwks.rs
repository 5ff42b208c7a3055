//! Promise: the keys that an issuer publishes are followed: the first token of a new key gets in, an issuer that is
//! away, slow or out of its senses costs nobody anything, and strangers cannot have it asked over and over.

use std::process::Command;
use std::time::Instant;

use tempfile::TempDir;

use crate::support::blocks::blocks;
use crate::support::client::Client;
use crate::support::config::Config;
use crate::support::gateway::{Gateway, command};
use crate::support::issuer::{Issuer, Manner};
use crate::support::ports;
use crate::support::process::{Process, run};
use crate::support::prometheus::REFUSED;
use crate::support::tokens::{Claims, JWKS, jwks_of, key_file};
use crate::support::wait::eventually;
use crate::support::wire::{self, CLOSE_TRY_AGAIN_LATER, auth};

fn config(issuer: &Issuer) -> Config {
    Config::without_secret().set("auth.jwks_url", issuer.url())
}

/// Looks at the issuer's keys all the time.
fn hasty(issuer: &Issuer) -> Config {
    config(issuer).set("auth.jwks_refresh", "20ms")
}

fn token(kid: &str) -> String {
    let algorithm = match kid {
        "p256" => "ES256",
        "p384" => "ES384",
        "ed25519" => "EdDSA",
        _ => "RS256",
    };
    let key = if ["p256", "p384", "ed25519"].contains(&kid) { kid } else { "rsa" };
    Claims::of("ana").sign_by(algorithm, key, Some(kid))
}

/// Nothing is wrong with the token, as far as is known.
#[track_caller]
fn unavailable(gateway: &Gateway, token: &str) -> String {
    let bearer = format!("Bearer {token}");
    let Err(refusal) = Client::upgrade(gateway, "/ws", &[("Authorization", &bearer)]) else { panic!("it is let in") };
    refusal.assert_refusal("a token", 503);
    assert!(refusal.header("Retry-After").is_some(), "{refusal:?}");
    wire::string(&wire::json(&refusal.body), &["error", "code"]).to_owned()
}

fn upgrade(gateway: &Gateway, token: &str) -> Result<Client, String> {
    let bearer = format!("Bearer {token}");
    match Client::upgrade(gateway, "/ws", &[("Authorization", &bearer)]) {
        Ok((client, _)) => Ok(client),
        Err(refusal) => {
            refusal.assert_refusal("a token", 401);
            Err(wire::string(&wire::json(&refusal.body), &["error", "code"]).to_owned())
        }
    }
}

fn refusal(gateway: &Gateway, token: &str) -> String {
    upgrade(gateway, token).err().expect("it is refused")
}

fn connect(gateway: &Gateway) -> Client {
    Client::upgrade(gateway, "/ws", &[]).unwrap_or_else(|refusal| panic!("refused: {refusal:?}")).0
}

fn failures(gateway: &Gateway) -> f64 {
    gateway.admin().metrics().sum("ringway_issuer_failures_total")
}

fn state(gateway: &Gateway) -> (u16, String) {
    let ready = gateway.admin().get("/readyz");
    (ready.status, wire::string(&ready.json(), &["issuer", "state"]).to_owned())
}

#[test]
fn tokens_of_every_published_key_are_taken_and_the_bearer_is_sent_and_never_shown() {
    let issuer = Issuer::start();
    let bearer = "sk_test_a_secret_of_the_tests";
    let gateway = Gateway::start(config(&issuer).set("auth.jwks_bearer", bearer));
    for kid in ["rsa", "p256", "p384", "ed25519"] {
        Client::connect(&gateway, &token(kid)).ping();
        let mut client = connect(&gateway);
        client.send(&auth(&token(kid)));
        client.expect_type("auth.success");
    }
    let head = issuer.heads().remove(0).to_ascii_lowercase();
    assert!(head.contains(&format!("authorization: bearer {bearer}\r\n")), "{head}");
    assert!(head.starts_with("get /.well-known/jwks.json http/1.1\r\n"), "{head}");
    assert_eq!(issuer.requests(), 1, "what is known is not asked for again");
    let metrics = gateway.admin().metrics();
    assert_eq!((metrics.sum("ringway_issuer_keys"), metrics.sum("ringway_issuer_connected")), (4.0, 1.0));
    let shown = format!("{}{}", gateway.log(), gateway.admin().get("/readyz").body);
    assert!(!shown.contains(bearer) && shown.contains("the issuer's keys are here"), "{shown}");
}

#[test]
fn the_first_token_of_a_new_key_gets_in_at_the_upgrade_and_in_a_message() {
    for in_a_message in [false, true] {
        let issuer = Issuer::start_as(Manner::says(jwks_of(&["rsa"])));
        let gateway = Gateway::start(config(&issuer));
        Client::connect(&gateway, &token("rsa")).ping();
        issuer.behave(Manner::says(JWKS));
        if in_a_message {
            let mut client = connect(&gateway);
            client.send(&auth(&token("p256")));
            client.send(r#"{"type":"ping"}"#);
            client.expect_type("auth.success");
            client.expect_type("pong");
        } else {
            Client::connect(&gateway, &token("p256")).ping();
        }
        assert_eq!(issuer.requests(), 2);
    }
}

/// Somebody whose token's key was there before the issuer fell silent, and somebody whose token waits for its key.
#[track_caller]
fn waiting_for_a_silent_issuer() -> (Issuer, Gateway, [Client; 2]) {
    let issuer = Issuer::start_as(Manner::says(jwks_of(&["rsa"])));
    let gateway = Gateway::start(config(&issuer));
    let bystander = Client::connect(&gateway, &token("rsa"));
    issuer.behave(Manner::Silent);
    let mut waiting = connect(&gateway);
    waiting.send(&auth(&token("p256")));
    (issuer, gateway, [bystander, waiting])
}

#[test]
fn who_waits_for_a_slow_issuer_gets_in_when_it_answers_and_keeps_nobody_waiting() {
    let (issuer, gateway, [mut bystander, mut waiting]) = waiting_for_a_silent_issuer();
    eventually("the issuer is asked", || issuer.requests() == 2);
    // Meanwhile everybody else is served.
    bystander.ping();
    Client::connect(&gateway, &token("rsa")).ping();
    issuer.behave(Manner::says(JWKS));
    match wire::kind(&waiting.next_json()) {
        "auth.success" => waiting.ping(),
        // This machine was so busy that two seconds were over before: then it is told that, and is no silence.
        kind => assert_eq!((kind, waiting.expect_close()), ("error", CLOSE_TRY_AGAIN_LATER)),
    }
}

#[test]
fn who_waits_in_vain_is_told_to_come_again() {
    let (_issuer, gateway, [mut bystander, mut waiting]) = waiting_for_a_silent_issuer();
    waiting.send(r#"{"type":"ping"}"#);
    assert_eq!(unavailable(&gateway, &token("p384")), "keys_unavailable");
    assert_eq!(wire::string(&waiting.expect_type("error"), &["payload", "code"]), "keys_unavailable");
    assert_eq!(waiting.expect_close(), CLOSE_TRY_AGAIN_LATER);
    bystander.ping();
    let metrics = gateway.admin().metrics();
    assert_eq!(metrics.labelled("ringway_tokens_refused_total", "reason", "keys_unavailable"), 1.0);
    assert_eq!(metrics.labelled(REFUSED, "reason", "keys_unavailable"), 1.0);
}

#[test]
fn as_many_wait_for_a_key_as_may_and_the_others_are_told_at_once() {
    const MAY_WAIT: usize = 8;
    let issuer = Issuer::start_as(Manner::says(jwks_of(&["rsa"])));
    let gateway = Gateway::start(config(&issuer).set("limits.handshakes", 4 * MAY_WAIT as i64));
    Client::connect(&gateway, &token("rsa")).ping();
    issuer.behave(Manner::Silent);
    let mut waiting: Vec<Client> = (0..4 * MAY_WAIT).map(|_| connect(&gateway)).collect();
    waiting.iter_mut().for_each(|client| client.send(&auth(&token("p256"))));
    let over = waiting.len() - MAY_WAIT;
    eventually("those for whom there is no room are told", || {
        gateway.admin().metrics().labelled("ringway_tokens_refused_total", "reason", "keys_unavailable") >= over as f64
    });
    issuer.behave(Manner::says(JWKS));
    let let_in = waiting.iter_mut().filter_map(|client| {
        let answer = client.next_json();
        let is_in = wire::kind(&answer) == "auth.success";
        assert!(is_in || wire::string(&answer, &["payload", "code"]) == "keys_unavailable", "{answer:?}");
        is_in.then_some(())
    });
    // None of these, if this machine was so busy that two seconds were over before.
    assert!(let_in.count() <= MAY_WAIT);
}

#[test]
fn a_flood_of_unknown_keys_costs_one_look_in_ten_seconds() {
    const TOKENS: usize = 300;
    let issuer = Issuer::start();
    let gateway = Gateway::start(config(&issuer));
    let mut bystander = Client::connect(&gateway, &token("rsa"));
    let began = Instant::now();
    for n in 0..TOKENS {
        assert_eq!(refusal(&gateway, &token(&format!("made-up-{n}"))), "unknown_key");
        if n % 50 == 0 {
            bystander.ping();
        }
    }
    let looks = issuer.requests();
    let allowed = 2 + began.elapsed().as_secs() as usize / 10;
    assert!((2..=allowed).contains(&looks), "{looks} looks, and {allowed} may be");
    Client::connect(&gateway, &token("ed25519")).ping();
}

#[test]
fn keys_hold_while_the_issuer_is_away() {
    let mut issuer = Issuer::start();
    let gateway = Gateway::start(hasty(&issuer));
    Client::connect(&gateway, &token("rsa")).ping();
    issuer.go_away();
    eventually("it is known to be away", || state(&gateway) == (200, "disconnected".into()));
    Client::connect(&gateway, &token("p256")).ping();
    assert_eq!(unavailable(&gateway, &token("unknown")), "keys_unavailable");
    let metrics = gateway.admin().metrics();
    assert_eq!((metrics.sum("ringway_issuer_keys"), metrics.sum("ringway_issuer_connected")), (4.0, 0.0));
    assert!(gateway.log().contains("those that it had hold"), "{}", gateway.log());
    issuer.return_again();
    eventually("it is there again", || state(&gateway) == (200, "connected".into()));
    Client::connect(&gateway, &token("rsa")).ping();
}

#[test]
fn a_start_without_keys_is_not_ready_until_there_are() {
    let mut issuer = Issuer::start();
    issuer.go_away();
    let gateway = Gateway::start_alive(config(&issuer));
    eventually("it is known to be away", || state(&gateway) == (503, "disconnected".into()));
    let ready = gateway.admin().get("/readyz").body;
    assert!(ready.contains("there are no keys of the issuer yet"), "{ready}");
    assert_eq!(unavailable(&gateway, &token("rsa")), "keys_unavailable");
    issuer.return_again();
    eventually("it is ready", || state(&gateway) == (200, "connected".into()));
    Client::connect(&gateway, &token("rsa")).ping();
}

#[test]
fn whatever_the_issuer_answers_the_keys_that_it_had_hold() {
    let issuer = Issuer::start();
    let gateway = Gateway::start(hasty(&issuer));
    let ten_megabytes = [br#"{"keys":["#, &vec![b' '; 10 << 20][..], b"]}"].concat();
    let many =
        format!(r#"{{"keys":[{}]}}"#, vec![r#"{"kty":"RSA","kid":"k","n":"AQAB","e":"AQAB"}"#; 10_000].join(","));
    let manners = [
        (Manner::Status(500), "the answer is 500"),
        (Manner::Status(302), "redirects are not followed"),
        (Manner::says("<html>not JSON</html>"), "no JSON Web Key Set"),
        (Manner::says(""), "no JSON Web Key Set"),
        (Manner::says(r#"{"keys":[]}"#), "the answer has no keys"),
        (Manner::says(r#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#), "a shared secret"),
        (Manner::says(many), "10000 keys"),
        (Manner::says(ten_megabytes), "longer than 1048576 bytes"),
        (Manner::Endless, "longer than 1048576 bytes"),
    ];
    for (manner, why) in manners {
        let before = failures(&gateway);
        issuer.behave(manner);
        eventually("it is asked in vain", || failures(&gateway) > before);
        eventually(why, || gateway.admin().get("/readyz").body.contains(why));
        Client::connect(&gateway, &token("p384")).ping();
        assert_eq!(state(&gateway).0, 200);
        // Each is tried anew, from a good one on.
        issuer.behave(Manner::says(JWKS));
        eventually("good keys", || state(&gateway).1 == "connected");
    }
}

#[test]
fn an_issuer_that_never_ends_its_answer_stops_nobody() {
    let issuer = Issuer::start();
    let gateway = Gateway::start(hasty(&issuer));
    issuer.behave(Manner::Drips);
    let before = issuer.requests();
    eventually("it is asked again", || issuer.requests() > before);
    for _ in 0..20 {
        Client::connect(&gateway, &token("rsa")).ping();
    }
    assert_eq!(gateway.stop().code(), Some(0), "it does not hold up the end");
}

#[test]
fn a_key_that_the_issuer_takes_back_does_not_count_any_more() {
    let issuer = Issuer::start();
    let gateway = Gateway::start(hasty(&issuer));
    Client::connect(&gateway, &token("p256")).ping();
    issuer.behave(Manner::says(jwks_of(&["rsa"])));
    eventually("it is gone", || gateway.admin().metrics().sum("ringway_issuer_keys") == 1.0);
    assert_eq!(refusal(&gateway, &token("p256")), "unknown_key");
    Client::connect(&gateway, &token("rsa")).ping();
}

#[test]
fn an_issuer_behind_tls_is_believed_by_its_certificate_alone() {
    let folder = tempfile::tempdir().expect("a temp dir");
    certificates(&folder);
    std::fs::write(folder.path().join("jwks.json"), JWKS).expect("the temp dir is writable");
    let address = ports::free();
    let mut server = Command::new("openssl");
    server.current_dir(folder.path()).args(["s_server", "-WWW", "-quiet", "-cert", "leaf.pem", "-key", "leaf.key"]);
    server.args(["-accept", &address.to_string()]);
    let _server = Process::start(&mut server, &folder.path().join("log"));
    let url = format!("https://localhost:{}/jwks.json", address.port());
    let authorities = folder.path().join("ca.pem").display().to_string();
    let variables = [("RINGWAY_AUTH_JWKS_URL", url.as_str()), ("SSL_CERT_FILE", &authorities)];
    let gateway = Gateway::start_by_variables("PORT", &variables);
    Client::connect(&gateway, &token("p256")).ping();

    let config = Config::without_secret().set("auth.jwks_url", url);
    let stranger = Gateway::start_alive(config);
    eventually("it is not believed", || stranger.log().contains("invalid peer certificate"));
    assert_eq!(state(&stranger).0, 503);
}

/// An authority, and a certificate of it for localhost.
fn certificates(folder: &TempDir) {
    let script = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 \
                  -subj /CN=authority -keyout ca.key -out ca.pem && \
                  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost \
                  -keyout leaf.key -out leaf.csr && \
                  printf 'subjectAltName=DNS:localhost,IP:127.0.0.1' > leaf.ext && \
                  openssl x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 1 \
                  -extfile leaf.ext -out leaf.pem";
    let mut command = Command::new("sh");
    let finished = run(command.current_dir(folder.path()).args(["-c", script]));
    assert_eq!(finished.code, Some(0), "{finished:?}");
}

#[test]
fn what_stands_in_the_document_works_as_pasted() {
    let issuer = Issuer::start();
    let examples: Vec<_> =
        blocks("docs/integrations/jwks.md").into_iter().filter(|block| block.info == "toml").collect();
    assert_eq!(examples.len(), 2);
    let signed = |key: &str, kid: &str, aud: Option<&str>| {
        let (aud, iss) = (aud.map(str::to_owned), Some("https://issuer.example/".to_owned()));
        Claims { aud, iss, ..Claims::of("ana") }.sign_by(if key == "p256" { "ES256" } else { "RS256" }, key, Some(kid))
    };
    let by_url = examples[0].text.replace("https://issuer.example/.well-known/jwks.json", &issuer.url());
    let gateway = Gateway::start(Config::parse(&by_url));
    Client::connect(&gateway, &signed("p256", "p256", Some("chat"))).ping();
    assert_eq!(refusal(&gateway, &signed("p256", "p256", None)), "wrong_audience");
    let by_files = examples[1].text.replace("/etc/ringway/issuer.pem", &key_file("rsa"));
    let gateway = Gateway::start(Config::parse(&by_files.replace("/etc/ringway/next.pem", &key_file("rsa_next"))));
    Client::connect(&gateway, &signed("rsa_next", "2026-07", None)).ping();
    Client::connect(&gateway, &signed("rsa", "whatever", None)).ping();
    assert_eq!(refusal(&gateway, &signed("rsa", "2026-07", None)), "bad_signature");
}

#[test]
fn settings_that_would_give_the_bearer_away_are_refused() {
    for (url, why) in [
        ("http://issuer.example/jwks.json", "in the clear"),
        ("ftp://issuer.example/jwks.json", "https://host/path"),
        ("https://u:p@issuer.example/jwks.json", "auth.jwks_bearer"),
    ] {
        let config = Config::without_secret().set("auth.jwks_url", url).set("auth.jwks_bearer", "sk_test");
        let folder = tempfile::tempdir().expect("a temp dir");
        let finished = run(command().arg("check-config").arg("--config").arg(config.write(folder.path())));
        assert_eq!(finished.code, Some(78), "{finished:?}");
        assert!(finished.stderr.contains("auth.jwks_url (file ") && finished.stderr.contains(why), "{finished:?}");
    }
}
