//! Tracking: vendors who move, users who follow them or look around, notifications that are confirmed.
//!
//! What is not played here stands in docs/migration/tracking.md, with the reason.

use sonic_rs::{Value, json};

use super::{assert_nothing_came, expect, send_unanswered};
use crate::support::client::Client;
use crate::support::config::Config;
use crate::support::gateway::Gateway;
use crate::support::issuer::{Issuer, Manner};
use crate::support::nats::Nats;
use crate::support::raw::Raw;
use crate::support::redis::Redis;
use crate::support::tokens::{Claims, SECRET, jwks_of, token};
use crate::support::wait::eventually;
use crate::support::wire::{self, CLOSE_IDLE, CLOSE_TOO_MANY_MESSAGES};

const ORIGIN: &str = "http://localhost:3000";

fn connect_vendor(gateway: &Gateway, user: &str) -> Client {
    Client::connect(gateway, &Claims::of(user).role("vendor").sign())
}

fn position(latitude: f64, longitude: f64) -> Value {
    json!({"type": "location_update", "latitude": latitude, "longitude": longitude, "speed": 1.5, "isAvailable": true})
}

fn told(vendor: &str, latitude: f64, longitude: f64) -> Value {
    json!({"type": "vendor_location", "payload": {"vendorId": vendor, "latitude": latitude, "longitude": longitude,
        "speed": 1.5, "isAvailable": true}})
}

#[track_caller]
fn follow(client: &mut Client, vendor: &str) {
    client.send(&json!({"type": "subscribe_vendor", "vendorId": vendor}).to_string());
    expect(
        client,
        &json!({"type": "subscription_confirmed", "service": "vendor", "status": "subscribed", "vendorId": vendor}),
    );
}

#[track_caller]
fn look_around(client: &mut Client, latitude: f64, longitude: f64, metres: u32) {
    let request = json!({"type": "subscribe_nearby", "latitude": latitude, "longitude": longitude, "radius": metres});
    client.send(&request.to_string());
    let confirmed = client.expect_type("subscription_confirmed");
    assert_eq!(wire::string(&confirmed, &["service"]), "nearby", "{confirmed:?}");
}

#[test]
fn a_deployment_keeps_its_variables() {
    let (redis, nats) = (Redis::start(), Nats::start());
    let url = redis.url();
    let variables = [
        ("WEBSOCKET_GATEWAY_CORS_ORIGIN", ORIGIN),
        ("WEBSOCKET_MAX_CONNECTIONS", "3"),
        ("WEBSOCKET_HEARTBEAT_INTERVAL", "500"),
        ("WEBSOCKET_CONNECTION_TIMEOUT", "1500"),
        ("WEBSOCKET_RATE_LIMIT_MESSAGES", "100"),
        ("WEBSOCKET_RATE_LIMIT_WINDOW", "60000"),
        ("REDIS_URL", &url),
        ("NATS_URL", &nats.url()),
        ("LOCATION_SERVICE_ADDRESS", "127.0.0.1:1"),
        ("JWT_SECRET", SECRET),
    ];
    let gateway = Gateway::start_by_variables("WEBSOCKET_GATEWAY_SERVICE_PORT", &variables);

    let bearer = format!("Bearer {}", token("u1"));
    let open = |origin: &str| {
        let target = format!("/ws?token={}", token("u1"));
        Client::upgrade(&gateway, &target, &[("Authorization", &bearer), ("Origin", origin)]).map(|(client, _)| client)
    };
    let Err(refusal) = open("https://elsewhere.example") else { panic!("a page of another site is let in") };
    refusal.assert_refusal("a page of another site", 403);
    let mut page = open(ORIGIN).unwrap_or_else(|refusal| panic!("{refusal:?}"));
    let connected = page.expect_type("connected");
    assert_eq!(wire::number(&connected, &["payload", "heartbeat_interval"]), Some(500));

    let mut silent = Raw::connect(&gateway, "/ws", &token("silent"));
    let third = Client::connect(&gateway, &token("u3"));
    let Err(refusal) = open(ORIGIN) else { panic!("there is room for three") };
    refusal.assert_refusal("a fourth connection", 503);
    drop(third);
    assert_eq!(silent.expect_close(), CLOSE_IDLE);
    eventually("there is room again", || open(ORIGIN).is_ok());
}

#[test]
fn session_tokens_of_an_issuer_like_clerk_are_taken() {
    let issuer = Issuer::start_as(Manner::says(jwks_of(&["rsa"])));
    let (url, key) = (issuer.url(), "sk_test_of_the_tests");
    let variables = [("RINGWAY_AUTH_JWKS_URL", url.as_str()), ("CLERK_SECRET_KEY", key)];
    let gateway = Gateway::start_by_variables("WEBSOCKET_GATEWAY_SERVICE_PORT", &variables);
    let iss = Some("https://app.clerk.accounts.dev".to_owned());
    let session = Claims { iss, ..Claims::of("user_2a").expires_in(60).issued_in(0) };
    let mut client = Client::connect(&gateway, &session.sign_by("RS256", "rsa", Some("rsa")));
    look_around(&mut client, 48.2082, 16.3738, 500);
    assert!(issuer.heads()[0].to_ascii_lowercase().contains(&format!("authorization: bearer {key}\r\n")));
    assert!(!gateway.log().contains(key), "secrets are not logged");
}

#[test]
fn a_client_may_send_a_hundred_messages_a_minute() {
    let gateway = Gateway::start_by_variables("WEBSOCKET_GATEWAY_SERVICE_PORT", &[("JWT_SECRET", SECRET)]);
    let mut client = Client::connect(&gateway, &token("u1"));
    (0..100).for_each(|_| client.ping());
    client.send(r#"{"type":"ping"}"#);
    assert_eq!(client.expect_close(), CLOSE_TOO_MANY_MESSAGES);
}

#[test]
fn an_address_connects_so_often_and_no_more() {
    let config = Config::new().set("limits.connects_per_address", 2).set("limits.connects_window", "1h");
    let gateway = Gateway::start(config);
    let open = || Client::upgrade(&gateway, &format!("/ws?token={}", token("u1")), &[]);
    let _clients = [open(), open()].map(|opened| opened.unwrap_or_else(|refusal| panic!("{refusal:?}")));
    let Err(refusal) = open() else { panic!("a third connection within the window") };
    refusal.assert_refusal("a third connection", 429);
    assert!(refusal.header("Retry-After").is_some(), "{refusal:?}");
}

#[test]
fn a_redis_that_wants_a_password_gets_it() {
    const PASSWORD: &str = "your-redis-password";
    let mut redis = Redis::start();
    redis.require_password(PASSWORD);
    let url = redis.url();
    let variables = [("JWT_SECRET", SECRET), ("REDIS_URL", &url), ("REDIS_PASSWORD", PASSWORD)];
    let gateway = Gateway::start_by_variables("WEBSOCKET_GATEWAY_SERVICE_PORT", &variables);
    let mut user = Client::connect(&gateway, &token("u1"));
    assert_eq!(redis.publish("ws:user:u1", r#"{"type":"offer"}"#), 1);
    user.expect_type("offer");
    assert!(!gateway.log().contains(PASSWORD), "secrets are not logged");
}

#[test]
fn who_follows_a_vendor_sees_where_he_is() {
    let gateway = Gateway::start(Config::new());
    let mut vendor = connect_vendor(&gateway, "v1");
    let [mut follower, mut other] = ["u1", "u2"].map(|user| Client::connect(&gateway, &token(user)));
    follow(&mut follower, "v1");
    follow(&mut other, "v2");
    send_unanswered(&mut vendor, &position(48.2082, 16.3738));
    expect(&mut follower, &told("v1", 48.2082, 16.3738));
    follower.send(r#"{"type":"unsubscribe_vendor","vendorId":"v1"}"#);
    let ended = follower.expect_type("subscription_confirmed");
    assert_eq!(wire::string(&ended, &["status"]), "unsubscribed");
    send_unanswered(&mut vendor, &position(48.21, 16.38));
    assert_nothing_came(&gateway, "u1", &mut follower);
    assert_nothing_came(&gateway, "u2", &mut other);
}

#[test]
fn who_looks_around_sees_the_vendors_within_the_radius() {
    let gateway = Gateway::start(Config::new());
    let mut vendor = connect_vendor(&gateway, "v1");
    let mut user = Client::connect(&gateway, &token("u1"));
    look_around(&mut user, 48.2082, 16.3738, 500);
    // A thousandth of a degree of latitude is 111 m.
    send_unanswered(&mut vendor, &position(48.2112, 16.3738));
    expect(&mut user, &told("v1", 48.2112, 16.3738));
    send_unanswered(&mut vendor, &position(48.2142, 16.3738));
    assert_nothing_came(&gateway, "u1", &mut user);
    // Who follows him too is told once.
    follow(&mut user, "v1");
    look_around(&mut user, 48.2142, 16.3738, 500);
    send_unanswered(&mut vendor, &position(48.2142, 16.3738));
    expect(&mut user, &told("v1", 48.2142, 16.3738));
    assert_nothing_came(&gateway, "u1", &mut user);
    user.send(r#"{"type":"unsubscribe_nearby"}"#);
    user.expect_type("subscription_confirmed");
    user.send(r#"{"type":"unsubscribe_vendor","vendorId":"v1"}"#);
    user.expect_type("subscription_confirmed");
    send_unanswered(&mut vendor, &position(48.2142, 16.3738));
    assert_nothing_came(&gateway, "u1", &mut user);
}

#[test]
fn users_report_their_position_too_and_it_goes_to_no_other_client() {
    let gateway = Gateway::start(Config::new());
    let mut user = Client::connect(&gateway, &token("u1"));
    let mut other = Client::connect(&gateway, &token("u2"));
    follow(&mut other, "u1");
    look_around(&mut other, 48.2082, 16.3738, 500);
    send_unanswered(&mut user, &position(48.2082, 16.3738));
    assert_nothing_came(&gateway, "u2", &mut other);
    user.send(&position(91.0, 0.0).to_string());
    assert_eq!(wire::string(&user.expect_type("error"), &["payload", "code"]), "bad_field");
}

#[test]
fn a_notification_is_repeated_until_it_is_confirmed() {
    let gateway = Gateway::start(
        Config::new().set("notifications.first_repeat", "200ms").set("notifications.longest_repeat", "400ms"),
    );
    let mut user = Client::connect(&gateway, &token("u1"));
    let notification = json!({"type": "notification", "id": "n1", "payload": {"title": "Your order is ready"}});
    assert_eq!(gateway.admin().broadcast("/broadcast/user/u1", &notification.to_string()), 1);
    (0..3).for_each(|_| expect(&mut user, &notification));
    user.send(r#"{"type":"notification_ack","notificationId":"n1"}"#);
    eventually("it is confirmed", || gateway.admin().get("/notifications/n1?user=u1").body.contains("confirmed"));
}

#[test]
fn events_are_broadcast_with_filters() {
    let mut redis = Redis::start();
    let gateway = Gateway::start(Config::new().set("redis.url", redis.url()));
    let mut vendor = connect_vendor(&gateway, "v1");
    let mut user = Client::connect_at(&gateway, "/ws?userType=user&platform=web", &token("u1"));
    assert_eq!(gateway.admin().broadcast("/broadcast/all?userType=vendor", r#"{"type":"vendor_status"}"#), 1);
    vendor.expect_type("vendor_status");
    redis.publish("ws:type:user", r#"{"type":"offer"}"#);
    user.expect_type("offer");
    redis.publish("ws:all", r#"{"type":"maintenance"}"#);
    for client in [&mut vendor, &mut user] {
        client.expect_type("maintenance");
    }
}

#[test]
fn connections_latency_and_throughput_are_measured() {
    let gateway = Gateway::start(Config::new());
    let mut user = Client::connect(&gateway, &token("u1"));
    user.ping();
    let metrics = gateway.admin().metrics();
    assert!(metrics.sum("ringway_connections") >= 1.0);
    assert!(metrics.sum("ringway_messages_received_total") >= 1.0);
    let latency = gateway.admin().get("/latency").json();
    assert!(wire::number(&latency, &["latency_us", "message", "count"]).is_some_and(|count| count >= 1), "{latency:?}");
}
