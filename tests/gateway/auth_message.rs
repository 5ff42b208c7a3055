//! Promise: without a token in the request, the first message `auth` brings it, in time, or the connection is closed.

use crate::support::client::Client;
use crate::support::config::Config;
use crate::support::gateway::Gateway;
use crate::support::tokens::{Claims, token};
use crate::support::wire::{self, CLOSE_NO_AUTHENTICATION, CLOSE_TOKEN_INVALID, auth};

#[test]
fn the_first_message_may_bring_the_token() {
    let gateway = Gateway::start(Config::new());
    for message in [auth(&token("u1")), format!(r#"{{"type":"auth","token":"{}"}}"#, token("u1"))] {
        let mut client = connect(&gateway);
        client.send(&message);
        let success = client.expect_type("auth.success");
        assert_eq!(wire::string(&success, &["payload", "user_id"]), "u1");
        assert!(!wire::string(&success, &["payload", "session_id"]).is_empty(), "in {success:?}");
        client.subscribe(&["conv:c1"]);
        assert_eq!(gateway.admin().broadcast("/broadcast/user/u1", "hello"), 1);
        assert_eq!(client.next_text(), "hello");
        client.close();
        gateway.admin().eventually_active(0);
    }
}

#[test]
fn a_bad_token_in_the_message_is_an_error_and_closes() {
    let gateway = Gateway::start(Config::new());
    for bad in [Claims::of("u1").unsigned(), Claims::of("u1").expires_in(-3600).sign(), "abc".to_owned()] {
        let mut client = connect(&gateway);
        client.send(&auth(&bad));
        client.expect_type("error");
        assert_eq!(client.expect_close(), CLOSE_TOKEN_INVALID, "for {bad}");
    }
}

#[test]
fn whoever_says_nothing_is_closed_at_the_deadline() {
    let gateway = Gateway::start(Config::new().set("auth.deadline", "300ms"));
    let mut silent = connect(&gateway);
    let mut known = Client::connect(&gateway, &token("u1"));
    assert_eq!(silent.expect_close(), CLOSE_NO_AUTHENTICATION);
    known.ping();
}

#[test]
fn nothing_is_delivered_before_authentication() {
    let gateway = Gateway::start(Config::new());
    let mut unknown = connect(&gateway);
    unknown.send(r#"{"type":"subscribe","payload":{"channels":["conv:c1"]}}"#);
    unknown.expect_type("error");
    gateway.admin().broadcast("/broadcast/channel/conv:c1", "for subscribers");
    gateway.admin().broadcast("/broadcast/all", "for everybody who is known");
    unknown.send(&auth(&token("u1")));
    unknown.expect_type("auth.success");
}

fn connect(gateway: &Gateway) -> Client {
    Client::upgrade(gateway, "/ws", &[]).unwrap_or_else(|refusal| panic!("refused: {refusal:?}")).0
}
