//! Promise: a session subscribes to what its token allows and to nothing else; what is
//! refused is named, the rest holds.

use crate::support::client::Client;
use crate::support::config::Config;
use crate::support::gateway::Gateway;
use crate::support::tokens::{Claims, token};
use crate::support::wire;

#[test]
fn the_claim_allows_names_and_patterns() {
    let gateway = Gateway::start(Config::new());
    let mut client = Client::connect(&gateway, &Claims::of("u1").channels(&["conv:*", "news"]).sign());
    assert_partly_refused(&gateway, &mut client, &["conv:1", "news"], &["clan:1", "newsletter"]);
}

#[test]
fn an_empty_claim_allows_nothing() {
    let gateway = Gateway::start(Config::new());
    let mut client = Client::connect(&gateway, &Claims::of("u1").channels(&[]).sign());
    client.send(r#"{"type":"subscribe","payload":{"channels":["conv:1"]}}"#);
    let error = client.expect_type("error");
    assert!(sonic_rs::to_string(&error).expect("JSON").contains("conv:1"), "in {error:?}");
    assert_eq!(gateway.admin().broadcast("/broadcast/channel/conv:1", "not for u1"), 0);
}

#[test]
fn without_the_claim_the_configured_default_holds() {
    let gateway = Gateway::start(Config::new().list("auth.channels", &["conv:*"]));
    let mut client = Client::connect(&gateway, &token("u1"));
    assert_partly_refused(&gateway, &mut client, &["conv:1"], &["clan:1"]);
}

#[test]
fn implicit_channels_cannot_be_subscribed_to() {
    let gateway = Gateway::start(Config::new());
    let mut client = Client::connect(&gateway, &Claims::of("u1").channels(&["*"]).sign());
    assert_partly_refused(&gateway, &mut client, &["conv:1"], &["user:u2", "type:driver", "all"]);
}

#[test]
fn implicit_channels_cannot_be_left() {
    let gateway = Gateway::start(Config::new());
    let mut client = Client::connect(&gateway, &token("u1"));
    client.send(r#"{"type":"unsubscribe","payload":{"channels":["user:u1","all"]}}"#);
    client.expect_type("error");
    assert_eq!(gateway.admin().broadcast("/broadcast/user/u1", "mine"), 1);
    assert_eq!(gateway.admin().broadcast("/broadcast/all", "everybody's"), 1);
    assert_eq!(client.next_text(), "mine");
    assert_eq!(client.next_text(), "everybody's");
}

#[test]
fn too_many_channels_are_refused_and_the_first_hold() {
    let gateway = Gateway::start(Config::new().set("limits.channels_per_connection", 4));
    let mut client = Client::connect(&gateway, &token("u1"));
    client.subscribe(&["conv:1", "conv:2", "conv:3"]);
    assert_partly_refused(&gateway, &mut client, &["conv:4"], &["conv:5", "conv:6"]);
    // A place that was given back can be taken again.
    client.send(r#"{"type":"unsubscribe","payload":{"channels":["conv:1"]}}"#);
    client.expect_type("unsubscribed");
    client.subscribe(&["conv:5"]);
    // More than the limit in one request joins nothing beyond it, and the connection stays.
    client.send(r#"{"type":"subscribe","payload":{"channels":["a","b","c","d","e"]}}"#);
    client.expect_type("error");
    client.ping();
}

#[test]
fn names_too_long_or_empty_are_refused() {
    let gateway = Gateway::start(Config::new().set("limits.channel_name_bytes", 16));
    let mut client = Client::connect(&gateway, &token("u1"));
    assert_partly_refused(&gateway, &mut client, &["conv:67890123456"], &["conv:678901234567"]);
    client.send(r#"{"type":"subscribe","payload":{"channels":[""]}}"#);
    client.expect_type("error");
    client.ping();
}

/// Asks for all at once: those held are in the answer, those refused in an error, in either order.
#[track_caller]
fn assert_partly_refused(gateway: &Gateway, client: &mut Client, held: &[&str], refused: &[&str]) {
    let list = sonic_rs::to_string(&[held, refused].concat()).expect("strings are JSON");
    client.send(&format!(r#"{{"type":"subscribe","payload":{{"channels":{list}}}}}"#));
    let (first, second) = (client.next_json(), client.next_json());
    let (answer, error) = if wire::kind(&first) == "error" { (second, first) } else { (first, second) };
    assert_eq!(wire::kind(&answer), "subscribed", "{answer:?}");
    assert_eq!(wire::kind(&error), "error", "{error:?}");
    assert_eq!(wire::strings(&answer, &["payload", "channels"]), held, "{answer:?}");
    let told = sonic_rs::to_string(&error).expect("JSON");
    for channel in refused {
        assert!(told.contains(&format!("\"{channel}\"")), "{channel} is not named in {told}");
    }
    for channel in held {
        assert_eq!(gateway.admin().broadcast(&format!("/broadcast/channel/{channel}"), channel), 1, "{channel}");
        assert_eq!(client.next_text(), *channel);
    }
    client.ping();
}
