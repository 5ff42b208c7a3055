//! Promise: a token's `exp` holds for the life of the connection: a warning, then the close; a fresh `auth` renews.

use crate::support::client::Client;
use crate::support::config::Config;
use crate::support::gateway::Gateway;
use crate::support::tokens::{Claims, token};
use crate::support::wire::{self, CLOSE_TOKEN_EXPIRED, CLOSE_TOKEN_INVALID, auth};

/// Long enough to connect and be warned, short enough to wait for.
const TTL_S: i64 = 4;

#[test]
fn an_expiring_token_is_warned_of_and_then_closes() {
    let gateway = gateway();
    let mut client = Client::connect(&gateway, &Claims::of("u1").expires_in(TTL_S).sign());
    client.expect_type("token_expiring");
    assert_eq!(client.expect_close(), CLOSE_TOKEN_EXPIRED);
    gateway.admin().eventually_active(0);
}

#[test]
fn a_fresh_auth_keeps_the_connection() {
    let gateway = gateway();
    let short = Claims::of("u1").expires_in(TTL_S).sign();
    let mut witness = Client::connect(&gateway, &short);
    let mut client = Client::connect(&gateway, &short);
    client.subscribe(&["conv:c1"]);
    client.expect_type("token_expiring");
    client.send(&auth(&token("u1")));
    client.expect_type("auth.success");
    // The same token was not renewed here: when this one is closed, the old deadline has passed.
    assert_eq!(witness.expect_close(), CLOSE_TOKEN_EXPIRED);
    client.ping();
    gateway.admin().broadcast("/broadcast/channel/conv:c1", "still here");
    assert_eq!(client.next_text(), "still here");
}

#[test]
fn a_renewal_is_warned_of_again() {
    let gateway = gateway();
    let mut client = Client::connect(&gateway, &Claims::of("u1").expires_in(TTL_S).sign());
    client.expect_type("token_expiring");
    client.send(&auth(&Claims::of("u1").expires_in(TTL_S + 2).sign()));
    client.expect_type("auth.success");
    client.expect_type("token_expiring");
    assert_eq!(client.expect_close(), CLOSE_TOKEN_EXPIRED);
}

#[test]
fn a_renewal_with_a_bad_token_closes() {
    let gateway = gateway();
    let mut client = Client::connect(&gateway, &token("u1"));
    client.send(&auth(&Claims::of("u1").unsigned()));
    client.expect_type("error");
    assert_eq!(client.expect_close(), CLOSE_TOKEN_INVALID);
}

#[test]
fn a_renewal_does_not_change_who_one_is() {
    let gateway = gateway();
    let mut client = Client::connect(&gateway, &token("u1"));
    client.send(&auth(&token("u2")));
    let error = client.expect_type("error");
    assert!(!wire::string(&error, &["payload", "code"]).is_empty(), "in {error:?}");
    assert_eq!(gateway.admin().broadcast("/broadcast/user/u2", "not for u1"), 0);
}

fn gateway() -> Gateway {
    Gateway::start(Config::new().set("auth.leeway", "0s").set("auth.expiry_warning", "2s"))
}
