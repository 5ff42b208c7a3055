//! Promise: a notification with an id that is sent to a user reaches him, whether he is there or not, and is repeated
//! until one of his devices acknowledges it; whoever sent it can learn what became of it.

use std::thread;

use sonic_rs::{JsonContainerTrait, JsonValueTrait, json};

use crate::support::admin::{Admin, Answer};
use crate::support::client::Client;
use crate::support::config::Config;
use crate::support::gateway::Gateway;
use crate::support::redis::Redis;
use crate::support::tokens::token;
use crate::support::wait::eventually;
use crate::support::wire;

/// With pauses that a test can wait for.
fn hasty() -> Config {
    Config::new().set("notifications.first_repeat", "200ms").set("notifications.longest_repeat", "400ms")
}

/// With pauses that no test waits for.
fn patient() -> Config {
    Config::new().set("notifications.first_repeat", "1h").set("notifications.longest_repeat", "1h")
}

fn notification(id: &str) -> String {
    let id = sonic_rs::to_string(id).expect("a string is JSON");
    format!(r#"{{"type":"notification","id":{id},"title":"Hi"}}"#)
}

fn acknowledge(client: &mut Client, id: &str) {
    client.send(&json!({"type": "notification_ack", "notificationId": id}).to_string());
}

/// What became of a notification, for one user.
#[track_caller]
fn state_of(admin: &Admin, id: &str, user: &str) -> String {
    state_in(&admin.get(&format!("/notifications/{id}?user={user}")))
}

#[track_caller]
fn state_in(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    let json = answer.json();
    let list = wire::at(&json, &["notifications"]).and_then(|list| list.as_array()).expect("a list");
    list[0]["state"].as_str().expect("a state").to_owned()
}

fn pending(admin: &Admin) -> u64 {
    admin.metrics().sum("ringway_notifications_pending") as u64
}

#[test]
fn it_comes_again_until_one_device_acknowledges_it() {
    let mut redis = Redis::start();
    let gateway = Gateway::start(hasty().set("redis.url", redis.url()));
    let mut devices = [(); 2].map(|()| Client::connect(&gateway, &token("u1")));
    let mut other = Client::connect(&gateway, &token("u2"));
    let text = notification("n1");
    redis.publish("ws:user:u1", &text);
    for device in &mut devices {
        (0..3).for_each(|_| assert_eq!(device.next_text(), text));
    }
    // Somebody else cannot say so, nor can another id.
    acknowledge(&mut other, "n1");
    acknowledge(&mut devices[1], "n2");
    other.ping();
    assert_eq!(devices[1].next_text(), text);
    assert_eq!(state_of(gateway.admin(), "n1", "u1"), "pending");

    acknowledge(&mut devices[0], "n1");
    eventually("it is confirmed", || state_of(gateway.admin(), "n1", "u1") == "confirmed");
    let metrics = gateway.admin().metrics();
    assert_eq!(metrics.sum("ringway_notifications_confirmed_total"), 1.0);
    assert!(metrics.sum("ringway_notifications_repeated_total") >= 2.0);
    assert_eq!(pending(gateway.admin()), 0);
    other.ping();
}

#[test]
fn who_was_away_gets_it_with_the_next_connection() {
    let gateway = Gateway::start(patient());
    for id in ["a", "b", "c"] {
        let answer = gateway.admin().post("/broadcast/user/u1", &notification(id));
        assert_eq!(answer.body, r#"{"delivered":0,"kept":true}"#);
    }
    let mut first = Client::connect(&gateway, &token("u1"));
    ["a", "b", "c"].iter().for_each(|id| assert_eq!(first.next_text(), notification(id)));
    acknowledge(&mut first, "b");
    first.ping();
    first.close();

    let (mut second, _) = Client::upgrade(&gateway, "/ws", &[]).expect("an upgrade");
    second.send(&wire::auth(&token("u1")));
    second.expect_type("auth.success");
    ["a", "c"].iter().for_each(|id| assert_eq!(second.next_text(), notification(id)));
    // A fresh token is no new connection.
    second.send(&wire::auth(&token("u1")));
    second.expect_type("auth.success");
    second.ping();
    Client::connect(&gateway, &token("u2")).ping();
}

#[test]
fn a_backend_waits_until_it_is_confirmed() {
    let gateway = Gateway::start(hasty());
    let mut client = Client::connect(&gateway, &token("u1"));
    let address = gateway.admin().address;
    let waits = ["/notifications/n1?user=u1&wait=30s", "/notifications/n1?wait=30s"];
    // They ask before there is anything to know.
    let waiting = waits.map(|path| thread::spawn(move || Admin::new(address).get(path)));
    assert_eq!(gateway.admin().post("/broadcast/user/u1", &notification("n1")).status, 200);
    client.expect_type("notification");
    acknowledge(&mut client, "n1");
    for waited in waiting {
        assert_eq!(state_in(&waited.join().expect("an answer")), "confirmed");
    }
    assert_eq!(gateway.admin().get("/notifications/n2?wait=50ms").status, 404);
}

#[test]
fn many_are_kept_in_one_request() {
    let gateway = Gateway::start(patient());
    let mut client = Client::connect(&gateway, &token("u1"));
    let messages = [
        format!(r#"{{"channels":["user:u1","user:u2"],"message":{}}}"#, notification("a")),
        format!(r#"{{"channel":"user:u1","platform":"ios","message":{}}}"#, notification("b")),
        r#"{"channel":"user:u1","message":{"type":"order_status","id":"c"}}"#.to_owned(),
    ];
    let answer = gateway.admin().post("/publish", &format!(r#"{{"messages":[{}]}}"#, messages.join(",")));
    let results = r#"{"results":[{"delivered":1,"kept":true},{"delivered":0,"kept":false},{"delivered":1}]}"#;
    assert_eq!(answer.body, results);
    assert_eq!(client.next_text(), notification("a"));
    client.expect_type("order_status");
    acknowledge(&mut client, "a");
    client.ping();
    let told = gateway.admin().get("/notifications/a").json();
    assert_eq!(["confirmed", "pending"].map(|state| wire::number(&told, &[state])), [Some(1), Some(1)]);
    let away = gateway.admin().get("/notifications/a?user=u2").json();
    assert_eq!(wire::at(&away, &["notifications"]).and_then(|list| list[0]["attempts"].as_u64()), Some(0));
    let here = gateway.admin().get("/notifications/a?user=u1").json();
    assert_eq!(wire::at(&here, &["notifications"]).and_then(|list| list[0]["attempts"].as_u64()), Some(1));
}

#[test]
fn ids_of_all_kinds_are_told_apart() {
    let gateway = Gateway::start(patient());
    let mut client = Client::connect(&gateway, &token("u1"));
    let ids = [
        ("\"", "%22"),
        ("\\\"},{\"id\":\"x", "%5C%22%7D,%7B%22id%22:%22x"),
        ("{user_id}", "%7Buser_id%7D"),
        ("ä/ö?ü#", "%C3%A4%2F%C3%B6%3F%C3%BC%23"),
        ("..", "%2E%2E"),
    ];
    for (id, in_url) in ids {
        gateway.admin().broadcast("/broadcast/user/u1", &notification(id));
        assert_eq!(client.next_text(), notification(id));
        let path = format!("/notifications/{in_url}");
        // The path `..` never leaves a client that tidies up.
        let is_reached = id != "..";
        if is_reached {
            assert_eq!(state_in(&gateway.admin().get(&path)), "pending", "{id}");
        }
        acknowledge(&mut client, id);
        client.ping();
        if is_reached {
            assert_eq!(state_in(&gateway.admin().get(&path)), "confirmed", "{id}");
        }
    }
    assert_eq!(pending(gateway.admin()), 0);
    for id in ["x".repeat(129), "a b".to_owned(), "y".repeat(100_000)] {
        let answer = gateway.admin().post("/broadcast/user/u1", &notification(&id));
        assert_eq!(answer.body, r#"{"delivered":1,"kept":false}"#);
        assert_eq!(client.next_text(), notification(&id));
    }
    assert_eq!(gateway.admin().metrics().sum("ringway_notifications_unkept_total"), 3.0);
}

#[test]
fn a_flood_of_ids_costs_the_oldest_and_no_more() {
    let mut redis = Redis::start();
    let config = patient().set("notifications.total", 500).set("redis.url", redis.url());
    let gateway = Gateway::start(config);
    let mut bystander = Client::connect(&gateway, &token("bystander"));
    redis.publish_all("ws:user:u1", (0..10_000).map(|n| notification(&n.to_string())));
    let metric = |name: &str| gateway.admin().metrics().sum(name) as u64;
    eventually("all have come in", || metric("ringway_source_messages_total") == 10_000);
    assert_eq!((pending(gateway.admin()), metric("ringway_notifications_dropped_total")), (100, 9_900));
    assert!(metric("ringway_notifications_ended") <= 500);
    assert_eq!(state_of(gateway.admin(), "9899", "u1"), "dropped");

    (0..50).for_each(|user| {
        redis.publish_all(&format!("ws:user:v{user}"), (0..100).map(|n| notification(&n.to_string())));
    });
    eventually("all have come in", || metric("ringway_source_messages_total") == 15_000);
    assert_eq!(pending(gateway.admin()), 500);
    assert!(metric("ringway_notifications_bytes") < 500 * 1024);
    assert_eq!(state_of(gateway.admin(), "99", "v49"), "pending");
    bystander.ping();
    let mut newest = Client::connect(&gateway, &token("v49"));
    newest.expect_type("notification");
}

#[test]
fn a_whole_backlog_reaches_who_comes_back() {
    let gateway = Gateway::start(patient());
    (0..100).for_each(|n| _ = gateway.admin().post("/broadcast/user/u1", &notification(&n.to_string())));
    let mut client = Client::connect(&gateway, &token("u1"));
    let mut missing: Vec<String> = (0..100).map(|n| n.to_string()).collect();
    while !missing.is_empty() {
        let id = wire::string(&client.expect_type("notification"), &["id"]).to_owned();
        acknowledge(&mut client, &id);
        missing.retain(|other| *other != id);
    }
    eventually("all are confirmed", || pending(gateway.admin()) == 0);
}

#[test]
fn it_expires_in_time() {
    let gateway = Gateway::start(hasty().set("notifications.expiry", "300ms"));
    gateway.admin().post("/broadcast/user/u1", &notification("n1"));
    let answer = gateway.admin().get("/notifications/n1?user=u1&wait=30s");
    assert_eq!(state_in(&answer), "expired");
    Client::connect(&gateway, &token("u1")).ping();
}

#[test]
fn a_restart_forgets_what_was_kept() {
    let gateway = Gateway::start(patient());
    gateway.admin().post("/broadcast/user/u1", &notification("n1"));
    assert!(gateway.stop().success());
    let gateway = Gateway::start(patient());
    assert_eq!(gateway.admin().get("/notifications/n1").status, 404);
    Client::connect(&gateway, &token("u1")).ping();
}

#[test]
fn nothing_is_kept_where_that_is_switched_off() {
    let gateway = Gateway::start(Config::new().set("notifications.keep", false));
    let mut client = Client::connect(&gateway, &token("u1"));
    let answer = gateway.admin().post("/broadcast/user/u1", &notification("n1"));
    assert_eq!(answer.body, r#"{"delivered":1,"kept":false}"#);
    assert_eq!(client.next_text(), notification("n1"));
    acknowledge(&mut client, "n1");
    client.ping();
    assert_eq!(gateway.admin().get("/notifications/n1").status, 404);
}
