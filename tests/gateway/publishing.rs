//! Promise: what backends publish over HTTP or Redis is delivered byte for byte to those it is meant for, and counted.

use crate::support::admin::DISCONNECTED;
use crate::support::client::Client;
use crate::support::config::Config;
use crate::support::gateway::Gateway;
use crate::support::http::{self, Response};
use crate::support::redis::Redis;
use crate::support::tokens::{Claims, token};
use crate::support::wire::{self, CLOSE_DISCONNECTED};

#[test]
fn a_user_is_reached_on_every_device() {
    let gateway = Gateway::start(Config::new());
    let mut devices: Vec<_> = (0..3).map(|_| Client::connect(&gateway, &token("u1"))).collect();
    let mut other = Client::connect(&gateway, &token("u2"));
    assert_eq!(gateway.admin().broadcast("/broadcast/user/u1", "for u1"), 3);
    assert_eq!(gateway.admin().broadcast("/broadcast/user/u2", "for u2"), 1);
    assert_eq!(gateway.admin().broadcast("/broadcast/user/nobody", "for nobody"), 0);
    devices.iter_mut().for_each(|device| assert_eq!(device.next_text(), "for u1"));
    assert_eq!(other.next_text(), "for u2");
}

#[test]
fn one_session_is_reached_and_nobody_by_the_id_of_one_that_has_ended() {
    let gateway = Gateway::start(Config::new());
    let mut one = Client::connect(&gateway, &token("u1"));
    let id = gateway.admin().connection_of("u1").session_id;
    let mut other = Client::connect(&gateway, &token("u1"));
    let path = format!("/send/session/{id}");
    assert_eq!(gateway.admin().broadcast(&path, "for one device"), 1);
    assert_eq!(one.next_text(), "for one device");
    assert_eq!(gateway.admin().metrics().sum("ringway_addressed_stale_total"), 0.0);

    one.close();
    gateway.admin().eventually_active(1);
    let mut successor = Client::connect(&gateway, &token("u2"));
    assert_eq!(gateway.admin().broadcast(&path, "too late"), 0);
    assert_eq!(gateway.admin().metrics().sum("ringway_addressed_stale_total"), 1.0);
    assert_eq!(gateway.admin().broadcast("/send/session/6a9c41d2-07be-8001-8000-00a100000007", "made up"), 0);
    other.ping();
    successor.ping();
}

#[test]
fn user_ids_with_reserved_characters_are_reached() {
    let gateway = Gateway::start(Config::new());
    let mut client = Client::connect(&gateway, &token("auth0|a b/c"));
    assert_eq!(gateway.admin().broadcast("/broadcast/user/auth0%7Ca%20b%2Fc", "found"), 1);
    assert_eq!(client.next_text(), "found");
}

#[test]
fn all_is_everybody_or_those_of_a_filter() {
    let gateway = Gateway::start(Config::new());
    let connect = |user: &str, query: &str| Client::connect_at(&gateway, &format!("/ws?{query}"), &token(user));
    let mut clients = [
        connect("d1", "userType=driver&platform=ios"),
        connect("d2", "userType=driver&platform=android"),
        connect("r1", "userType=rider&platform=ios"),
        connect("n1", "deviceId=7"),
    ];
    let cases = [
        ("/broadcast/all", [true, true, true, true]),
        ("/broadcast/all?userType=driver", [true, true, false, false]),
        ("/broadcast/all?platform=ios", [true, false, true, false]),
        ("/broadcast/all?userType=driver&platform=ios", [true, false, false, false]),
        ("/broadcast/all?userType=vendor", [false; 4]),
    ];
    for (path, reached) in cases {
        let count = reached.iter().filter(|reached| **reached).count() as u64;
        assert_eq!(gateway.admin().broadcast(path, path), count, "{path}");
    }
    for (index, client) in clients.iter_mut().enumerate() {
        for (path, _) in cases.iter().filter(|(_, reached)| reached[index]) {
            assert_eq!(client.next_text(), *path, "client {index}");
        }
        client.ping();
    }
}

#[test]
fn a_role_in_the_token_wins_over_the_query() {
    let gateway = Gateway::start(Config::new());
    let mut client = Client::connect_at(&gateway, "/ws?userType=rider", &Claims::of("u1").role("driver").sign());
    assert_eq!(gateway.admin().connection_of("u1").user_type.as_deref(), Some("driver"));
    assert_eq!(gateway.admin().broadcast("/broadcast/channel/type:rider", "for riders"), 0);
    assert_eq!(gateway.admin().broadcast("/broadcast/channel/type:driver", "for drivers"), 1);
    assert_eq!(client.next_text(), "for drivers");
}

#[test]
fn redis_reaches_the_implicit_channels_too() {
    let mut redis = Redis::start();
    let gateway = Gateway::start(Config::new().set("redis.url", redis.url()).set("redis.prefix", "gw"));
    let mut client = Client::connect_at(&gateway, "/ws?userType=driver", &token("u1"));
    client.subscribe(&["clan:7"]);
    redis.publish("ws:all", "another prefix");
    for channel in ["user:u1", "type:driver", "all", "clan:7"] {
        redis.publish(&format!("gw:{channel}"), channel);
        assert_eq!(client.next_text(), channel);
    }
}

#[test]
fn payloads_arrive_byte_for_byte() {
    let mut redis = Redis::start();
    let gateway = Gateway::start(
        Config::new()
            .set("redis.url", redis.url())
            .set("limits.message_bytes", 2 * 1024 * 1024)
            .set("limits.outbox_bytes", 4 * 1024 * 1024),
    );
    let mut client = Client::connect(&gateway, &token("u1"));
    client.subscribe(&["conv:c1"]);
    let megabyte = format!(r#"{{"type":"big","payload":"{}"}}"#, "é".repeat(512 * 1024));
    let payloads = [
        "{\n\t\"type\" :\"a\" , \"payload\":{ } }\r\n",
        " leading and trailing ",
        r#"{"b":1,"a":2,"b":3,"n":1.0,"m":1e400,"s":"\u00fc\/"}"#,
        "not JSON at all: Grüße, 世界, 🚕, \u{0}, \u{7f}",
        &"y".repeat(125),
        &"y".repeat(126),
        &"y".repeat(65_535),
        &"y".repeat(65_536),
        &megabyte,
    ];
    for payload in payloads {
        assert_eq!(gateway.admin().broadcast("/broadcast/channel/conv:c1", payload), 1);
        assert!(client.next_text() == payload, "changed on its way from HTTP: {:.40}", payload);
        redis.publish("ws:conv:c1", payload);
        assert!(client.next_text() == payload, "changed on its way from Redis: {:.40}", payload);
    }
}

#[test]
fn what_redis_sends_that_is_not_text_is_dropped_and_the_rest_goes_on() {
    let mut redis = Redis::start();
    let gateway = Gateway::start(Config::new().set("redis.url", redis.url()));
    let mut client = Client::connect(&gateway, &token("u1"));
    client.subscribe(&["conv:c1"]);
    redis.publish("ws:conv:c1", &b"\xff\xfe"[..]);
    redis.publish("ws:", "no channel");
    redis.publish("ws:conv:c1", "text");
    assert_eq!(client.next_text(), "text");
}

#[test]
fn an_operator_can_disconnect_a_user() {
    let gateway = Gateway::start(Config::new());
    let mut devices: Vec<_> = (0..2).map(|_| Client::connect(&gateway, &token("u1"))).collect();
    let mut other = Client::connect(&gateway, &token("u2"));
    let answer = gateway.admin().post("/disconnect/user/u1", "");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(wire::number(&answer.json(), &[DISCONNECTED]), Some(2), "{answer:?}");
    devices.iter_mut().for_each(|device| assert_eq!(device.expect_close(), CLOSE_DISCONNECTED));
    other.ping();
    gateway.admin().eventually_active(1);
}

#[test]
fn a_payload_that_is_not_text_is_refused() {
    let gateway = Gateway::start(Config::new());
    let mut client = Client::connect(&gateway, &token("u1"));
    let url = format!("http://{}/broadcast/user/u1", gateway.admin().address);
    let refusal = ureq::post(url).send(&b"\xff\xfe"[..]).expect_err("not UTF-8");
    assert!(matches!(refusal, ureq::Error::StatusCode(400)), "{refusal:?}");
    client.ping();
}

fn publish(gateway: &Gateway, body: &str, headers: &[(&str, &str)]) -> Response {
    let length = body.len().to_string();
    let all = [&[("Host", "localhost"), ("Content-Length", length.as_str())], headers].concat();
    http::exchange(gateway.admin().address, &format!("{}{body}", http::request("POST", "/publish", &all)))
}

#[test]
fn a_list_is_published_in_order_with_an_answer_for_each_message() {
    let gateway = Gateway::start(Config::new());
    let (mut ana, mut bob) = Client::two_on_different_shards(&gateway);
    ana.subscribe(&["conv:1", "conv:2"]);
    bob.subscribe(&["conv:1"]);
    let messages: Vec<String> =
        (0..100).map(|n| format!(r#"{{"channel":"conv:1","message":{{"type":"n", "n":{n}}}}}"#)).collect();
    let more = r#"{"channels":["conv:2","conv:1","nobody"],"message":"as it stands"},{"channel":"user:first","message":1e999}"#;
    let body = format!(r#"{{"messages":[{},{more}]}}"#, messages.join(","));
    let answer = publish(&gateway, &body, &[]);
    let counts =
        format!("{{\"results\":[{}{}]}}", r#"{"delivered":2},"#.repeat(100), r#"{"delivered":3},{"delivered":1}"#);
    assert_eq!((answer.status, answer.body), (200, counts));
    for n in 0..100 {
        assert_eq!(ana.next_text(), format!(r#"{{"type":"n", "n":{n}}}"#));
        assert_eq!(bob.next_text(), format!(r#"{{"type":"n", "n":{n}}}"#));
    }
    assert_eq!(bob.next_text(), r#""as it stands""#);
    bob.ping();
}

#[test]
fn a_notification_in_a_list_is_kept_for_each_of_its_users() {
    let gateway = Gateway::start(Config::new());
    let mut here = Client::connect(&gateway, &token("here"));
    let message = r#"{"type":"notification","id":"n1"}"#;
    let list = format!(
        r#"{{"messages":[{{"channels":["user:here","user:away"],"message":{message}}},{{"channel":"conv:1","message":{message}}}]}}"#
    );
    assert_eq!(publish(&gateway, &list, &[]).body, r#"{"results":[{"delivered":1,"kept":true},{"delivered":0}]}"#);
    assert_eq!(here.next_text(), message);
    let mut away = Client::connect(&gateway, &token("away"));
    assert_eq!(away.next_text(), message);
}

#[test]
fn a_list_with_a_key_is_published_once_however_often_it_is_sent() {
    let gateway = Gateway::start(Config::new());
    let mut client = Client::connect(&gateway, &token("u1"));
    let body = r#"{"messages":[{"channel":"user:u1","message":{"type":"once"}}]}"#;
    let key = [("Idempotency-Key", "k1")];
    let first = publish(&gateway, body, &key);
    for _ in 0..3 {
        let again = publish(&gateway, body, &key);
        assert_eq!((again.status, &again.body), (200, &first.body));
    }
    assert_eq!(client.next_text(), r#"{"type":"once"}"#);
    client.ping();
    assert_eq!(publish(&gateway, r#"{"messages":[]}"#, &key).status, 422);
    let large = format!(
        r#"{{"messages":[{{"channels":[{}"c"],"message":"{}"}}]}}"#,
        r#""c","#.repeat(9_000),
        "x".repeat(2_000)
    );
    assert_eq!(publish(&gateway, &large, &[]).status, 413);
    assert_eq!(publish(&gateway, body, &[("Idempotency-Key", "")]).status, 400);
    // What was not carried out may be tried again under its key.
    assert_eq!(publish(&gateway, "{", &[("Idempotency-Key", "k2")]).status, 400);
    assert_eq!(publish(&gateway, body, &[("Idempotency-Key", "k2")]).status, 200);
    assert_eq!(client.next_text(), r#"{"type":"once"}"#);
    for bad in [
        "",
        "[]",
        r#"{"messages":[{"message":1}]}"#,
        r#"{"messages":[{"channel":"a"}]}"#,
        r#"{"messages":[{"channel":"a","message":1,"usertype":"x"}]}"#,
    ] {
        assert_eq!(publish(&gateway, bad, &[]).status, 400, "{bad}");
    }
}
