//! Promise: the messages that everybody may send are answered as promised, and a bad one costs nothing but an error.

use crate::support::client::Client;
use crate::support::config::Config;
use crate::support::gateway::Gateway;
use crate::support::tokens::token;
use crate::support::wire;

#[test]
fn bad_messages_are_errors_in_both_shapes_and_the_connection_stays() {
    let gateway = Gateway::start(Config::new());
    let mut client = Client::connect(&gateway, &token("u1"));
    let bad = [
        ("not JSON", "hello"),
        ("empty", ""),
        ("cut off", r#"{"type":"ping""#),
        ("two documents", r#"{"type":"ping"}{"type":"ping"}"#),
        ("an array", r#"["ping"]"#),
        ("a string", r#""ping""#),
        ("no type", r#"{"payload":{}}"#),
        ("a type that is a number", r#"{"type":7}"#),
        ("a type that is null", r#"{"type":null}"#),
        ("an unknown type", r#"{"type":"make.coffee"}"#),
        ("subscribe without channels", r#"{"type":"subscribe","payload":{}}"#),
        ("channels that are no list", r#"{"type":"subscribe","payload":{"channels":"conv:c1"}}"#),
        ("channels that are no strings", r#"{"type":"subscribe","payload":{"channels":[1,2]}}"#),
        ("a payload that is no object", r#"{"type":"subscribe","payload":[]}"#),
        ("unsubscribe without channels", r#"{"type":"unsubscribe"}"#),
    ];
    for (what, message) in bad {
        client.send(message);
        let error = client.expect_type("error");
        let (outer, inner) = (wire::string(&error, &["message"]), wire::string(&error, &["payload", "message"]));
        assert!(!outer.is_empty(), "{what}: {error:?}");
        assert_eq!(outer, inner, "{what}");
        assert!(!wire::string(&error, &["payload", "code"]).is_empty(), "{what}: {error:?}");
        client.ping();
    }
}

#[test]
fn an_error_names_the_request_and_returns_its_id() {
    let gateway = Gateway::start(Config::new());
    let mut client = Client::connect(&gateway, &token("u1"));
    client.send(r#"{"type":"subscribe","id":"r-17"}"#);
    let error = client.expect_type("error");
    assert_eq!(wire::string(&error, &["payload", "request"]), "subscribe");
    assert_eq!(wire::string(&error, &["id"]), "r-17");
}

#[test]
fn deep_nesting_is_an_error_and_not_the_end() {
    let gateway = Gateway::start(Config::new());
    let mut client = Client::connect(&gateway, &token("u1"));
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let depth = 8_000 / (open.len() + close.len());
        client.send(&format!(r#"{{"type":"subscribe","payload":{}1{}}}"#, open.repeat(depth), close.repeat(depth)));
        client.expect_type("error");
        client.ping();
    }
}

#[test]
fn a_ping_is_answered_with_the_time_and_the_id() {
    let gateway = Gateway::start(Config::new());
    let mut client = Client::connect(&gateway, &token("u1"));
    client.send(r#"{"type":"ping","id":"abc"}"#);
    let pong = client.expect_type("pong");
    assert_eq!(wire::string(&pong, &["id"]), "abc");
    assert_is_timestamp(wire::string(&pong, &["timestamp"]));
    client.send(r#"{"type":"ping","id":42}"#);
    assert_eq!(wire::number(&client.expect_type("pong"), &["id"]), Some(42));
    client.send(r#"{"type":"ping"}"#);
    assert!(wire::at(&client.expect_type("pong"), &["id"]).is_none(), "nobody gave an id");
}

#[test]
fn subscriptions_are_answered_with_the_same_list_in_both_vocabularies() {
    let gateway = Gateway::start(Config::new());
    let mut client = Client::connect(&gateway, &token("u1"));
    let shapes = [
        (r#""payload":{"channels":["conv:a","news"]}"#, "channels", ["conv:a", "news"]),
        (r#""channels":["conv:a","news"]"#, "channels", ["conv:a", "news"]),
        (r#""payload":{"conversation_ids":["b","c"]}"#, "conversation_ids", ["b", "c"]),
        (r#""conversation_ids":["b","c"]"#, "conversation_ids", ["b", "c"]),
    ];
    for (fields, name, list) in shapes {
        for (request, answer) in [("subscribe", "subscribed"), ("unsubscribe", "unsubscribed")] {
            client.send(&format!(r#"{{"type":"{request}","id":1,{fields}}}"#));
            let message = client.expect_type(answer);
            assert_eq!(wire::strings(&message, &["payload", name]), list, "{request} {fields}: {message:?}");
            assert_eq!(wire::number(&message, &["id"]), Some(1));
        }
    }
}

#[test]
fn a_conversation_is_the_channel_of_its_name() {
    let gateway = Gateway::start(Config::new());
    let mut client = Client::connect(&gateway, &token("u1"));
    client.send(r#"{"type":"subscribe","payload":{"conversation_ids":["c1"]}}"#);
    client.expect_type("subscribed");
    assert_eq!(gateway.admin().broadcast("/broadcast/channel/conv:c1", "to c1"), 1);
    assert_eq!(client.next_text(), "to c1");
}

#[test]
fn whoever_unsubscribes_gets_no_more() {
    let gateway = Gateway::start(Config::new());
    let mut client = Client::connect(&gateway, &token("u1"));
    client.subscribe(&["conv:a", "conv:b"]);
    client.send(r#"{"type":"unsubscribe","payload":{"channels":["conv:a"]}}"#);
    client.expect_type("unsubscribed");
    assert_eq!(gateway.admin().broadcast("/broadcast/channel/conv:a", "to a"), 0);
    assert_eq!(gateway.admin().broadcast("/broadcast/channel/conv:b", "to b"), 1);
    assert_eq!(client.next_text(), "to b");
}

#[test]
fn subscribing_twice_delivers_once() {
    let gateway = Gateway::start(Config::new());
    let mut client = Client::connect(&gateway, &token("u1"));
    client.subscribe(&["conv:a"]);
    client.subscribe(&["conv:a"]);
    gateway.admin().broadcast("/broadcast/channel/conv:a", "first");
    gateway.admin().broadcast("/broadcast/channel/conv:a", "second");
    assert_eq!(client.next_text(), "first");
    assert_eq!(client.next_text(), "second");
}

/// `2025-01-31T12:34:56…Z`
#[track_caller]
fn assert_is_timestamp(text: &str) {
    let shape: String = text.chars().take(19).map(|next| if next.is_ascii_digit() { '0' } else { next }).collect();
    assert_eq!(shape, "0000-00-00T00:00:00", "not a timestamp: {text}");
    assert!(text.ends_with('Z'), "not in UTC: {text}");
}
