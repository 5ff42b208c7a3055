//! Promise: who was sent away stays away for that time, and what was revoked is refused wherever it is shown.

use crate::support::client::Client;
use crate::support::config::Config;
use crate::support::gateway::Gateway;
use crate::support::tokens::{Claims, now, token};
use crate::support::wait::eventually_some;
use crate::support::wire;

#[test]
fn a_user_who_was_sent_away_does_not_come_back_with_the_same_token() {
    let gateway = Gateway::start(Config::new());
    let mut client = Client::connect(&gateway, &token("ana"));
    let mut waiting = Client::upgrade(&gateway, "/ws", &[]).expect("a token may come later").0;
    let mut other = Client::connect(&gateway, &token("bob"));
    assert_eq!(ended(&gateway, "/disconnect/user/ana?for=1h"), 1);
    assert_eq!(client.expect_close(), 4004);
    let refusal = refused(&gateway, &token("ana"));
    refusal.assert_refusal("sent away", 403);
    assert!(refusal.body.contains(r#""user_sent_away""#), "{refusal:?}");
    assert_eq!(authenticate(&mut waiting, &token("ana")), "user_sent_away");
    assert_eq!(waiting.expect_close(), 4004);
    other.ping();
}

#[test]
fn who_was_sent_away_for_a_moment_comes_back_after_it() {
    let gateway = Gateway::start(Config::new());
    assert_eq!(ended(&gateway, "/disconnect/user/ana?for=1s"), 0);
    let bearer = format!("Bearer {}", token("ana"));
    eventually_some("the time is over", || Client::upgrade(&gateway, "/ws", &[("Authorization", &bearer)]).ok());
    // Without a time nobody is kept out.
    assert_eq!(gateway.admin().post("/disconnect/user/bob", "").status, 200);
    Client::connect(&gateway, &token("bob")).ping();
}

#[test]
fn tokens_issued_before_are_revoked_and_later_ones_are_not() {
    let gateway = Gateway::start(Config::new());
    let old = Claims::of("ana").issued_in(-100).sign();
    let fresh = Claims::of("ana").issued_in(100).sign();
    let mut client = Client::connect(&gateway, &old);
    assert_eq!(ended(&gateway, &format!("/revoke/user/ana?until={}", now() + 3600)), 1);
    assert_eq!(client.expect_close(), 4501);
    for stale in [&old, &token("ana")] {
        let refusal = refused(&gateway, stale);
        refusal.assert_refusal("revoked", 401);
        assert!(refusal.body.contains(r#""revoked""#), "{refusal:?}");
    }
    let mut back = Client::connect(&gateway, &fresh);
    assert_eq!(authenticate(&mut back, &old), "revoked");
    assert_eq!(back.expect_close(), 4501);
}

#[test]
fn a_token_is_revoked_by_its_id() {
    let gateway = Gateway::start(Config::new());
    let (stolen, own) = (Claims::of("ana").id("t-1").sign(), Claims::of("ana").id("t-2").sign());
    let mut thief = Client::connect(&gateway, &stolen);
    let until = now() + 3600;
    assert_eq!(ended(&gateway, &format!("/revoke/token/t-1?until={until}")), 0);
    refused(&gateway, &stolen).assert_refusal("revoked", 401);
    thief.ping();
    assert_eq!(ended(&gateway, &format!("/revoke/token/t-1?until={until}&user=ana")), 1);
    assert_eq!(thief.expect_close(), 4501);
    Client::connect(&gateway, &own).ping();
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let gateway = Gateway::start(Config::new());
    let long = "x".repeat(251);
    for path in [
        "/disconnect/user/ana?for=soon",
        "/disconnect/user/ana?for=0s",
        "/disconnect/user/ana?four=10m",
        "/revoke/user/ana",
        "/revoke/user/ana?until=1",
        "/revoke/token/t-1?until=-1",
        &format!("/revoke/token/{long}?until={}", now() + 60),
    ] {
        assert_eq!(gateway.admin().post(path, "").status, 400, "{path}");
    }
    Client::connect(&gateway, &token("ana")).ping();
}

/// How many connections were closed.
#[track_caller]
fn ended(gateway: &Gateway, path: &str) -> u64 {
    let answer = gateway.admin().post(path, "");
    assert_eq!(answer.status, 200, "{answer:?}");
    wire::number(&answer.json(), &["disconnected"]).expect("a number")
}

#[track_caller]
fn refused(gateway: &Gateway, token: &str) -> crate::support::http::Response {
    let bearer = format!("Bearer {token}");
    match Client::upgrade(gateway, "/ws", &[("Authorization", &bearer)]) {
        Ok(_) => panic!("the token was accepted"),
        Err(refusal) => refusal,
    }
}

/// The code of the error that answers.
#[track_caller]
fn authenticate(client: &mut Client, token: &str) -> String {
    client.send(&format!(r#"{{"type":"auth","token":"{token}"}}"#));
    wire::string(&client.expect_type("error"), &["payload", "code"]).to_owned()
}
