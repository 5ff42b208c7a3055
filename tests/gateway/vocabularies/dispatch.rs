//! Dispatch: drivers who are offered rides and report where they are, riders and restaurants who follow them.
//!
//! What is not played here stands in docs/migration/dispatch.md, with the reason.

use std::collections::HashMap;

use sonic_rs::{Value, json};

use super::{assert_nothing_came, expect, send_unanswered, shown};
use crate::support::client::Client;
use crate::support::config::Config;
use crate::support::gateway::Gateway;
use crate::support::raw::Raw;
use crate::support::redis::Redis;
use crate::support::tokens::{SECRET, token};
use crate::support::wait::{eventually, eventually_some};
use crate::support::wire::{self, CLOSE_IDLE};

/// What services publish.
const EVENTS: [&str; 6] =
    ["ride_request", "ride_status", "driver_location", "eta_update", "notification", "order_status"];

/// A client as the apps connect it: everything in the URL.
#[track_caller]
fn connect(gateway: &Gateway, user: &str, user_type: &str, device: &str) -> Client {
    let target = format!("/ws?token={}&userType={user_type}&deviceId={device}&platform=ios", token(user));
    let (mut client, _) = Client::upgrade(gateway, &target, &[]).expect("an upgrade");
    let connected = client.expect_type("connected");
    assert_eq!(wire::string(&connected, &["payload", "user_id"]), user);
    client
}

fn location(latitude: f64, longitude: f64) -> Value {
    json!({"type": "location_update", "payload": {"latitude": latitude, "longitude": longitude, "heading": 271,
        "speed": 11.5, "accuracy": 4, "timestamp": 1_795_150_433_760_u64, "isAvailable": true}})
}

fn response() -> Value {
    json!({"type": "dispatch_response", "payload": {"rideId": "r7", "accepted": true}})
}

fn event(kind: &str) -> Value {
    json!({"type": kind, "payload": {"rideId": "r7", "n": [1, {"é": null}]}})
}

#[track_caller]
fn expect_error(client: &mut Client, code: &str, request: &str) {
    let error = client.expect_type("error");
    assert_eq!(wire::string(&error, &["payload", "code"]), code, "{error:?}");
    assert_eq!(wire::string(&error, &["payload", "request"]), request, "{error:?}");
}

#[test]
fn a_driver_is_offered_rides_and_answers() {
    let mut redis = Redis::start();
    let url = redis.url();
    let gateway = Gateway::start_by_variables("PORT", &[("REDIS_URL", &url), ("JWT_SECRET", SECRET)]);
    let mut driver = connect(&gateway, "d1", "driver", "phone");
    send_unanswered(&mut driver, &location(48.2082, 16.3738));
    send_unanswered(&mut driver, &response());
    send_unanswered(&mut driver, &json!({"type": "heartbeat_ack", "payload": {"timestamp": 1_795_150_433_760_u64}}));
    for kind in EVENTS {
        redis.publish("ws:user:d1", event(kind).to_string());
        expect(&mut driver, &event(kind));
        assert_eq!(gateway.admin().broadcast("/broadcast/user/d1", &event(kind).to_string()), 1);
        expect(&mut driver, &event(kind));
    }
    assert_eq!(gateway.admin().broadcast("/broadcast/user/nobody", &event("ride_request").to_string()), 0);
}

#[test]
fn services_get_what_drivers_say_and_who_is_connected() {
    let mut redis = Redis::start();
    let gateway = Gateway::start(shown("dispatch").set("redis.url", redis.url()));
    eventually("all services are connected", || gateway.admin().metrics().sum("ringway_service_connected") == 3.0);
    let mut driver = connect(&gateway, "d1", "driver", "phone");
    send_unanswered(&mut driver, &location(48.2082, 16.3738));
    send_unanswered(&mut driver, &response());
    let mut last_of = |stream: &str| {
        let entries: Vec<(String, HashMap<String, String>)> =
            redis.query(&["XREVRANGE", stream, "+", "-", "COUNT", "1"]);
        entries.into_iter().next().map(|(_, fields)| fields)
    };
    for (stream, said) in [("positions", location(48.2082, 16.3738)), ("responses", response())] {
        let entry = eventually_some("Redis has it", || last_of(stream));
        assert_eq!((&*entry["user_id"], &*entry["user_type"], &*entry["key"]), ("d1", "driver", "d1"));
        assert_eq!(wire::json(&entry["message"]), said);
    }
    eventually("the register knows who is there", || {
        let told = last_of("connections").map(|entry| entry["message"].clone()).unwrap_or_default();
        ["\"connected\"", "\"d1\"", "\"phone\"", "\"ios\""].iter().all(|word| told.contains(word))
    });
}

#[test]
fn a_user_type_gets_heartbeats_and_is_closed_when_it_answers_none() {
    let gateway =
        Gateway::start(Config::new().set("heartbeat.interval", "300ms").set("heartbeat.idle_timeout", "900ms"));
    let mut silent = Raw::connect(&gateway, "/ws?userType=rider", &token("silent"));
    let mut driver = connect(&gateway, "d1", "driver", "phone");
    let mut latest = 0;
    for _ in 0..6 {
        let heartbeat = driver.expect_type("heartbeat");
        let timestamp = wire::number(&heartbeat, &["payload", "timestamp"]).expect("milliseconds");
        assert!(timestamp > latest, "{heartbeat:?}");
        latest = timestamp;
        driver.send(&json!({"type": "heartbeat_ack", "payload": {"timestamp": timestamp}}).to_string());
    }
    assert_eq!(silent.expect_close(), CLOSE_IDLE);
}

#[test]
fn only_drivers_report_and_respond() {
    let gateway = Gateway::start(Config::new());
    for user_type in ["rider", "restaurant", "delivery_partner", "Driver"] {
        let mut client = connect(&gateway, "u1", user_type, "phone");
        for message in [location(48.2, 16.4), response()] {
            client.send(&message.to_string());
            expect_error(&mut client, "forbidden", wire::kind(&message));
        }
        client.ping();
    }
    let mut without_type = Client::connect(&gateway, &token("u2"));
    without_type.send(&response().to_string());
    expect_error(&mut without_type, "forbidden", "dispatch_response");
}

#[test]
fn a_position_that_is_none_is_refused() {
    let gateway = Gateway::start(Config::new());
    let mut driver = connect(&gateway, "d1", "driver", "phone");
    for (latitude, longitude) in [(90.01, 0.0), (-90.01, 0.0), (0.0, 180.01), (0.0, -180.01), (1e300, 0.0)] {
        driver.send(&location(latitude, longitude).to_string());
        expect_error(&mut driver, "bad_field", "location_update");
    }
    for (field, value) in [("heading", "361"), ("heading", "\"north\""), ("speed", "-2"), ("isAvailable", "1")] {
        driver.send(&format!(r#"{{"type":"location_update","latitude":1,"longitude":1,"{field}":{value}}}"#));
        expect_error(&mut driver, "bad_field", "location_update");
    }
    driver.send(r#"{"type":"location_update","payload":{"latitude":1}}"#);
    expect_error(&mut driver, "missing_field", "location_update");
    for (latitude, longitude) in [(90.0, 180.0), (-90.0, -180.0), (0.0, 0.0)] {
        send_unanswered(&mut driver, &location(latitude, longitude));
    }
}

#[test]
fn what_a_service_sends_reaches_every_device_of_the_user_and_nobody_else() {
    let gateway = Gateway::start(Config::new());
    let mut devices = ["phone", "tablet", "phone"].map(|device| connect(&gateway, "r1", "rider", device));
    let mut other = connect(&gateway, "r2", "rider", "phone");
    assert_eq!(gateway.admin().broadcast("/broadcast/user/r1", &event("eta_update").to_string()), 3);
    devices.iter_mut().for_each(|device| expect(device, &event("eta_update")));
    assert_nothing_came(&gateway, "r2", &mut other);
}

#[test]
fn the_statistics_count_connections_users_and_types() {
    let gateway = Gateway::start(Config::new());
    let crowd = [("d1", "driver"), ("d1", "driver"), ("r1", "rider"), ("r2", "rider"), ("k1", "restaurant")];
    let clients = crowd.map(|(user, user_type)| connect(&gateway, user, user_type, "phone"));
    let stats = gateway.admin().get("/stats").json();
    assert!(!wire::string(&stats, &["serverId"]).is_empty(), "{stats:?}");
    assert_eq!(wire::number(&stats, &["totalConnections"]), Some(5));
    assert_eq!(wire::number(&stats, &["uniqueUsers"]), Some(4));
    let by_type = wire::at(&stats, &["byUserType"]).expect("types");
    assert_eq!(*by_type, json!({"driver": 2, "rider": 2, "restaurant": 1}));
    assert!(wire::number(&stats, &["uptime"]).is_some(), "{stats:?}");
    drop(clients);
}

#[test]
fn a_user_is_reached_through_redis_on_whatever_node_he_is() {
    let mut redis = Redis::start();
    let nodes = [(); 2].map(|()| Gateway::start(Config::new().set("redis.url", redis.url())));
    // One token is good for every node, and one user may be on several.
    let mut devices = [0, 1, 1].map(|node: usize| connect(&nodes[node], "r1", "rider", "phone"));
    redis.publish("ws:user:r1", event("ride_status").to_string());
    devices.iter_mut().for_each(|device| expect(device, &event("ride_status")));
    for (node, count) in nodes.iter().zip([1, 2]) {
        assert_eq!(wire::number(&node.admin().get("/stats").json(), &["totalConnections"]), Some(count));
    }
}
