//! Conversations: a message API publishes through Redis to those who take part, who see each other write.
//!
//! What is not played here stands in docs/migration/conversations.md, with the reason.

use sonic_rs::json;

use crate::support::client::{Client, Event};
use crate::support::config::Config;
use crate::support::gateway::{Gateway, command};
use crate::support::http::{exchange, request};
use crate::support::raw::Raw;
use crate::support::redis::Redis;
use crate::support::tokens::{Claims, SECRET, token};
use crate::support::wire::{self, CLOSE_IDLE, CLOSE_TOKEN_INVALID, CLOSE_TOO_BIG};

const PASSWORD: &str = "the password of this Redis";

/// A client that authenticates by its first message.
#[track_caller]
fn join(gateway: &Gateway, user: &str) -> Client {
    let (mut client, _) = Client::upgrade(gateway, "/ws", &[]).expect("an upgrade without a token");
    client.send(&json!({"type": "auth", "payload": {"token": token(user)}}).to_string());
    let success = client.expect_type("auth.success");
    assert_eq!(wire::string(&success, &["payload", "user_id"]), user);
    assert!(!wire::string(&success, &["payload", "session_id"]).is_empty(), "{success:?}");
    client
}

#[track_caller]
fn subscribe(client: &mut Client, conversations: &[&str]) {
    client.send(&json!({"type": "subscribe", "payload": {"conversation_ids": conversations}}).to_string());
    let answer = client.await_type("subscribed");
    assert_eq!(answer, json!({"type": "subscribed", "payload": {"conversation_ids": conversations}}));
}

/// What a browser or a load balancer gets from the public port.
#[track_caller]
fn get(gateway: &Gateway, path: &str) -> sonic_rs::Value {
    let answer = exchange(gateway.public, &request("GET", path, &[("Host", "gateway.test"), ("Connection", "close")]));
    assert_eq!(answer.status, 200, "{answer:?}");
    wire::json(&answer.body)
}

#[test]
fn a_deployment_keeps_its_variables_its_channels_and_its_messages() {
    let mut redis = Redis::start();
    redis.require_password(PASSWORD);
    let host = redis.host();
    let gateway = Gateway::start_by_variables(
        "WSGATEWAY_PORT",
        &[
            ("REDIS_HOST", &host),
            ("REDIS_PASSWORD", PASSWORD),
            ("REDIS_DATABASE", "0"),
            ("POSTGRES_DSN", "postgres://api@127.0.0.1:1/chat?sslmode=disable"),
            ("JWT_SECRET", SECRET),
            ("LOGGER_LEVEL", "debug"),
            ("LOGGER_ENCODING", "console"),
            ("MODE", "development"),
        ],
    );
    assert_eq!(get(&gateway, "/"), json!({"service": "WebSocket Gateway", "status": "ok"}));
    assert_eq!(get(&gateway, "/health"), json!({"status": "ok", "connections": 0}));
    let mut ana = join(&gateway, "ana");
    let mut ben = join(&gateway, "ben");
    assert_eq!(get(&gateway, "/health"), json!({"status": "ok", "connections": 2}));
    subscribe(&mut ana, &["c1", "c2"]);
    subscribe(&mut ben, &["c2"]);

    let message = |conversation: &str| {
        let message =
            json!({"id": "m1", "sender_id": "ana", "content": "Hi there", "created_at": "2026-01-05T08:00:00Z"});
        json!({"type": "message.new", "payload": {"conversation_id": conversation, "message": message}})
    };
    for conversation in ["c1", "c2", "c3"] {
        redis.publish(&format!("ws:conv:{conversation}"), message(conversation).to_string());
    }
    assert_eq!(ana.await_type("message.new"), message("c1"));
    assert_eq!(ana.await_type("message.new"), message("c2"));
    assert_eq!(ben.await_type("message.new"), message("c2"));
    redis.publish("ws:user:ben", r#"{"type":"for.ben"}"#);
    ben.await_type("for.ben");

    ana.send(r#"{"type":"ping"}"#);
    ana.await_type("pong");
}

#[test]
fn who_writes_is_shown_to_the_others_until_he_has_been_silent_for_a_while() {
    let gateway = Gateway::start(Config::new().set("typing.timeout", "1s"));
    let [mut ana, mut ben, mut eve] = ["ana", "ben", "eve"].map(|user| join(&gateway, user));
    subscribe(&mut ana, &["c1"]);
    subscribe(&mut ben, &["c1"]);
    subscribe(&mut eve, &["c2"]);
    ana.send(r#"{"type":"typing","payload":{"conversation_id":"c1"}}"#);
    for kind in ["typing.start", "typing.stop"] {
        let told = ben.await_type(kind);
        assert_eq!(told, json!({"type": kind, "payload": {"conversation_id": "c1", "user_id": "ana"}}));
    }
    // Neither does who writes hear of it, nor anybody elsewhere.
    for (user, client) in [("ana", &mut ana), ("eve", &mut eve)] {
        gateway.admin().broadcast(&format!("/broadcast/user/{user}"), r#"{"type":"end"}"#);
        loop {
            match wire::kind(&client.next_json()) {
                "end" => break,
                kind => assert!(!kind.starts_with("typing"), "{user} gets {kind}"),
            }
        }
    }
    eve.send(r#"{"type":"typing","payload":{"conversation_id":"c1"}}"#);
    let refusal = eve.await_type("error");
    assert_eq!(wire::string(&refusal, &["payload", "code"]), "not_subscribed");
}

#[test]
fn participants_are_online_until_a_while_after_their_last_sign_of_life() {
    let gateway = Gateway::start(Config::new().list("presence.channels", &["conv:*"]).set("presence.grace", "500ms"));
    let mut ana = join(&gateway, "ana");
    subscribe(&mut ana, &["c1"]);
    let mut ben = join(&gateway, "ben");
    subscribe(&mut ben, &["c1"]);
    let update = |status: &str| {
        let payload = json!({"conversation_id": "c1", "user_id": "ben", "status": status});
        json!({"type": "presence.update", "payload": payload})
    };
    let about_ben = |client: &mut Client| loop {
        let told = client.await_type("presence.update");
        if wire::string(&told, &["payload", "user_id"]) == "ben" {
            return told;
        }
    };
    assert_eq!(about_ben(&mut ana), update("online"));
    ana.send(r#"{"type":"presence.get","payload":{"conversation_id":"c1"}}"#);
    let state = ana.await_type("presence.state");
    assert_eq!(wire::number(&state, &["payload", "count"]), Some(2), "{state:?}");
    drop(ben);
    assert_eq!(about_ben(&mut ana), update("offline"));
}

#[test]
fn a_token_of_another_secret_or_of_yesterday_is_refused() {
    let gateway = Gateway::start(Config::new());
    let another = Claims::of("ana").sign_with(jsonwebtoken::Algorithm::HS256, "a secret that only the API server has");
    for (token, code) in [(another, "bad_signature"), (Claims::of("ana").expires_in(-60).sign(), "expired")] {
        let (mut client, _) = Client::upgrade(&gateway, "/ws", &[]).expect("an upgrade without a token");
        client.send(&wire::auth(&token));
        let error = client.expect_type("error");
        assert_eq!(wire::string(&error, &["payload", "code"]), code);
        assert_eq!(client.expect_close(), CLOSE_TOKEN_INVALID);
    }
}

#[test]
fn a_message_has_up_to_8_kib() {
    let gateway = Gateway::start(Config::new());
    let mut ana = join(&gateway, "ana");
    let ping = |bytes: usize| {
        let ping = r#"{"type":"ping","fill":""}"#;
        ping.replace(r#""""#, &format!(r#""{}""#, "x".repeat(bytes - ping.len())))
    };
    ana.send(&ping(8192));
    ana.expect_type("pong");
    ana.send(&ping(8193));
    assert_eq!(ana.expect_close(), CLOSE_TOO_BIG);
}

#[test]
fn who_is_silent_is_pinged_and_closed_and_who_answers_stays() {
    let gateway =
        Gateway::start(Config::new().set("heartbeat.interval", "300ms").set("heartbeat.idle_timeout", "900ms"));
    let mut silent = Raw::connect(&gateway, "/ws", &token("silent"));
    let mut alive = join(&gateway, "ana");
    for _ in 0..6 {
        assert!(matches!(alive.next(), Event::Ping));
    }
    assert_eq!(silent.expect_close(), CLOSE_IDLE);
    alive.ping();
}

#[test]
fn the_times_and_sizes_are_those_that_clients_count_on() {
    let output = command().arg("print-config").env_clear().output().expect("it prints");
    let text = String::from_utf8(output.stdout).expect("text");
    let config: toml::Table = toml::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    for (section, key, value) in [
        ("heartbeat", "interval", "30s".into()),
        ("heartbeat", "idle_timeout", "60s".into()),
        ("typing", "timeout", "10s".into()),
        ("presence", "grace", "90s".into()),
        ("limits", "message_bytes", toml::Value::from(8192)),
    ] {
        assert_eq!(config[section][key], value, "{section}.{key}");
    }
}
