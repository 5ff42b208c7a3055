//! Promise: a good token is taken wherever it may stand, any other is refused before the upgrade, with 401 and the why.

use jsonwebtoken::Algorithm;

use crate::support::client::Client;
use crate::support::config::Config;
use crate::support::gateway::Gateway;
use crate::support::http::Response;
use crate::support::tokens::{Claims, PREVIOUS_SECRET, SECRET, token};
use crate::support::wire;

#[test]
fn tokens_are_taken_from_header_query_and_subprotocol() {
    let gateway = Gateway::start(Config::new());
    for (target, headers) in places(&token("u1")) {
        let (mut client, response) =
            upgrade(&gateway, &target, &headers).unwrap_or_else(|refusal| panic!("{headers:?}: {refusal:?}"));
        let asked = headers.iter().any(|(name, _)| *name == "Sec-WebSocket-Protocol");
        assert_eq!(response.header("Sec-WebSocket-Protocol"), asked.then_some("ringway.v1"), "for {headers:?}");
        let connected = client.expect_type("connected");
        assert_eq!(wire::string(&connected, &["payload", "user_id"]), "u1", "for {headers:?}");
    }
}

#[test]
fn an_empty_token_in_the_query_counts_as_none() {
    let gateway = Gateway::start(Config::new());
    for target in ["/ws?token=", "/ws?token"] {
        let (mut client, _) = Client::upgrade(&gateway, target, &[]).expect("room for one who authenticates later");
        client.send(r#"{"type":"ping"}"#);
        client.expect_type("pong");
        let offer = format!("ringway.v1, bearer.{}", token("u1"));
        let (mut client, _) =
            Client::upgrade(&gateway, target, &[("Sec-WebSocket-Protocol", &offer)]).expect("the next place counts");
        client.expect_type("connected");
    }
}

#[test]
fn an_empty_token_in_a_header_counts_as_none() {
    let gateway = Gateway::start(Config::new());
    let good = token("u1");
    for header in [("Sec-WebSocket-Protocol", "ringway.v1, bearer."), ("Authorization", "Bearer ")] {
        let (mut client, _) =
            Client::upgrade(&gateway, "/ws", &[header]).expect("room for one who authenticates later");
        client.send(r#"{"type":"ping"}"#);
        client.expect_type("pong");
    }
    let offers = format!("ringway.v1, bearer., bearer.{good}");
    let (mut client, _) =
        Client::upgrade(&gateway, "/ws", &[("Sec-WebSocket-Protocol", &offers)]).expect("the next offer counts");
    client.expect_type("connected");
}

#[test]
fn connected_says_who_and_where_in_both_vocabularies() {
    let gateway = Gateway::start(Config::new().set("server.id", "node-7").set("heartbeat.interval", "25s"));
    let (mut client, _) = Client::upgrade(&gateway, &format!("/ws?token={}", token("u1")), &[]).expect("a good token");
    let connected = client.expect_type("connected");
    let session = gateway.admin().connection_of("u1").session_id;
    assert_eq!(wire::string(&connected, &["userId"]), "u1");
    assert_eq!(wire::string(&connected, &["message"]), "Connected to WebSocket Gateway");
    assert_eq!(wire::string(&connected, &["payload", "session_id"]), session);
    assert_eq!(wire::string(&connected, &["payload", "server_id"]), "node-7");
    assert_eq!(wire::number(&connected, &["payload", "heartbeat_interval"]), Some(25_000));
}

#[test]
fn all_three_lengths_of_hmac_are_accepted() {
    let gateway = Gateway::start(Config::new());
    for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
        Client::connect(&gateway, &Claims::of("u1").sign_with(algorithm, SECRET));
    }
}

#[test]
fn the_previous_secret_is_accepted_while_it_is_configured() {
    let rotating = Gateway::start(Config::new().set("auth.previous_secret", PREVIOUS_SECRET));
    let rotated = Gateway::start(Config::new());
    let old = Claims::of("u1").sign_with(Algorithm::HS256, PREVIOUS_SECRET);
    Client::connect(&rotating, &old);
    Client::connect(&rotating, &token("u1"));
    assert_refused(&rotated, "the previous secret", &old);
}

#[test]
fn tokens_are_refused_in_each_way() {
    let gateway = Gateway::start(Config::new().set("auth.leeway", "0s"));
    let good = token("u1");
    let (signed, _) = good.rsplit_once('.').expect("a token has three parts");
    let (_, other_signature) = token("u2").rsplit_once('.').map(|(a, b)| (a.to_owned(), b.to_owned())).expect("three");
    let ways = [
        ("expired", Claims::of("u1").expires_in(-10).sign()),
        ("another secret", Claims::of("u1").sign_with(Algorithm::HS256, PREVIOUS_SECRET)),
        ("another token's signature", format!("{signed}.{other_signature}")),
        ("no signature", format!("{signed}.")),
        ("alg none", Claims::of("u1").unsigned()),
        ("RS256", Claims::of("u1").sign_rs256()),
        ("no exp", Claims { exp: None, ..Claims::of("u1") }.sign()),
        ("no sub", Claims { sub: None, ..Claims::of("u1") }.sign()),
        ("empty sub", Claims::of("").sign()),
        ("not a token", "abc".to_owned()),
        ("two parts", signed.to_owned()),
    ];
    for (way, token) in ways {
        assert_refused(&gateway, way, &token);
    }
    Client::connect(&gateway, &good).ping();
}

#[test]
fn audience_and_issuer_are_checked_when_configured() {
    let gateway =
        Gateway::start(Config::new().list("auth.audience", &["chat"]).list("auth.issuer", &["https://id.example"]));
    let named = |aud: Option<&str>, iss: Option<&str>| {
        Claims { aud: aud.map(str::to_owned), iss: iss.map(str::to_owned), ..Claims::of("u1") }.sign()
    };
    let issuer = Some("https://id.example");
    Client::connect(&gateway, &named(Some("chat"), issuer)).ping();
    assert_refused(&gateway, "another audience", &named(Some("shop"), issuer));
    assert_refused(&gateway, "no audience", &named(None, issuer));
    assert_refused(&gateway, "another issuer", &named(Some("chat"), Some("https://else.example")));
    assert_refused(&gateway, "no issuer", &named(Some("chat"), None));
}

/// The same token is refused in every place where it may stand.
#[track_caller]
fn assert_refused(gateway: &Gateway, way: &str, token: &str) {
    for (target, headers) in places(token) {
        match upgrade(gateway, &target, &headers) {
            Ok(_) => panic!("{way}: accepted with {headers:?}"),
            Err(refusal) => refusal.assert_refusal(way, 401),
        }
    }
}

type Headers = Vec<(&'static str, String)>;

/// The target and the headers that show this token, for each place where it may stand.
fn places(token: &str) -> [(String, Headers); 3] {
    [
        ("/ws".into(), vec![("Authorization", format!("Bearer {token}"))]),
        (format!("/ws?token={token}"), vec![]),
        ("/ws".into(), vec![("Sec-WebSocket-Protocol", format!("ringway.v1, bearer.{token}"))]),
    ]
}

fn upgrade(gateway: &Gateway, target: &str, headers: &Headers) -> Result<(Client, Response), Response> {
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Client::upgrade(gateway, target, &headers)
}
