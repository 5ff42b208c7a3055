//! Promise: vendors who move are heard by who follows them, by name or nearby, on whatever shard: at every step, and
//! once; and a client that does not read gets the latest place of each.

use crate::support::client::Client;
use crate::support::config::Config;
use crate::support::gateway::Gateway;
use crate::support::prometheus::{CLOSED, OUTBOX_BYTES, OVERFLOW_DROPPED};
use crate::support::raw::{Raw, TEXT, frame};
use crate::support::tokens::token;
use crate::support::wait::eventually;
use crate::support::wire;

/// More than the kernel buffers of both ends can ever hold, at 32 KiB a message.
const MESSAGES_MAX: usize = 4_096;

/// Degrees of latitude in 100 metres.
const HUNDRED_METRES: f64 = 0.000_899_3;

fn start() -> Gateway {
    Gateway::start(Config::new().set("server.shards", 3).set("limits.outbox_bytes", 1024 * 1024))
}

fn vendor(gateway: &Gateway, user: &str) -> Client {
    Client::connect_at(gateway, "/ws?userType=vendor", &token(user))
}

fn watch(latitude: f64, longitude: f64, radius_m: u32) -> String {
    format!(r#"{{"type":"subscribe_nearby","latitude":{latitude},"longitude":{longitude},"radius":{radius_m}}}"#)
}

fn neighbour(gateway: &Gateway, user: &str, radius_m: u32) -> Client {
    let mut client = Client::connect(gateway, &token(user));
    client.send(&watch(48.2, 16.3, radius_m));
    client.expect_type("subscription_confirmed");
    client
}

fn location(latitude: f64) -> String {
    format!(r#"{{"type":"location_update","payload":{{"latitude":{latitude},"longitude":16.3,"heading":90}}}}"#)
}

fn told(vendor: &str, latitude: f64) -> String {
    let payload = format!(r#"{{"vendorId":"{vendor}","latitude":{latitude},"longitude":16.3,"heading":90}}"#);
    format!(r#"{{"type":"vendor_location","payload":{payload}}}"#)
}

#[test]
fn a_vendor_is_heard_at_every_step_and_once_on_every_shard() {
    let gateway = start();
    // In grids of two sizes; every third follows by name as well, and the last ones by name alone.
    let mut followers: Vec<Client> = Vec::new();
    for n in 0..12 {
        let user = format!("u{n}");
        let mut client = match n {
            0..10 => neighbour(&gateway, &user, if n < 5 { 1_500 } else { 9_000 }),
            _ => Client::connect(&gateway, &token(&user)),
        };
        if n % 3 == 0 || n >= 10 {
            client.send(r#"{"type":"subscribe_vendor","vendorId":"v1"}"#);
            client.expect_type("subscription_confirmed");
        }
        followers.push(client);
    }
    let mut vendor = vendor(&gateway, "v1");
    for step in -30..=30 {
        let here = 48.2 + f64::from(step) * HUNDRED_METRES;
        vendor.send(&location(here));
        for (n, follower) in followers.iter_mut().enumerate() {
            let is_near = step * 100 >= -1_500 && step * 100 <= 1_500 || n >= 5;
            if is_near || n % 3 == 0 {
                assert_eq!(follower.next_text(), told("v1", here), "client {n}, step {step}");
            }
        }
    }
    vendor.ping();
    followers.iter_mut().for_each(Client::ping);
}

#[test]
fn a_circle_that_moves_leaves_nothing_behind() {
    let gateway = start();
    let (mut follower, mut vendor) = (neighbour(&gateway, "u1", 500), vendor(&gateway, "v1"));
    for n in 0..20 {
        let there = 48.2 + f64::from(n) * 10.0 * HUNDRED_METRES;
        follower.send(&watch(there, 16.3, 300 + 100 * n as u32));
        follower.expect_type("subscription_confirmed");
        // Where it is now, and then where it was.
        vendor.send(&location(there));
        assert_eq!(follower.next_text(), told("v1", there));
        vendor.send(&location(there - 100.0 * HUNDRED_METRES));
        vendor.ping();
        follower.ping();
    }
    follower.send(r#"{"type":"unsubscribe_nearby"}"#);
    follower.expect_type("subscription_confirmed");
    vendor.send(&location(48.2));
    vendor.ping();
    follower.ping();
}

#[test]
fn a_client_that_does_not_read_gets_the_latest_place_of_each_vendor() {
    const VENDORS: usize = 4;
    const STEPS: usize = 50;
    let gateway = start();
    let mut client = Raw::connect(&gateway, "/ws", &token("stalled"));
    for message in [r#"{"type":"subscribe","channels":["conv:c1"]}"#, &watch(48.2, 16.3, 20_000)] {
        client.write(&frame(TEXT, message.as_bytes()));
        client.next_text();
    }
    let filler = "x".repeat(32 * 1024);
    let mut published = 0;
    while gateway.admin().metrics().sum(OUTBOX_BYTES) == 0.0 {
        assert!(published < MESSAGES_MAX, "{published} messages wait for a client that does not read");
        assert_eq!(gateway.admin().broadcast("/broadcast/channel/conv:c1", &filler), 1);
        published += 1;
    }
    let place = |vendor: usize, step: usize| 48.2 + (vendor * STEPS + step) as f64 / 100_000.0;
    for n in 0..VENDORS {
        let mut vendor = vendor(&gateway, &format!("v{n}"));
        (0..STEPS).for_each(|step| vendor.send(&location(place(n, step))));
        vendor.ping();
    }
    let replaced = (VENDORS * (STEPS - 1)) as f64;
    let dropped = || gateway.admin().metrics().labelled(OVERFLOW_DROPPED, "policy", "latest");
    eventually("all but the latest have been replaced", || dropped() == replaced);
    let mut heard: Vec<String> = (0..published + VENDORS).map(|_| client.next_text()).collect();
    heard.retain(|text| !text.starts_with('x'));
    let latest: Vec<String> = (0..VENDORS).map(|n| told(&format!("v{n}"), place(n, STEPS - 1))).collect();
    assert_eq!(heard, latest);
    assert_eq!(gateway.admin().metrics().labelled(CLOSED, "code", "too_slow"), 0.0);
}

#[test]
fn what_others_say_of_where_they_are_reaches_nobody() {
    let gateway = start();
    let mut follower = neighbour(&gateway, "u1", 5_000);
    for (target, is_taken) in [("/ws", true), ("/ws?userType=user", true), ("/ws?userType=rider", false)] {
        let mut other = Client::connect_at(&gateway, target, &token("other"));
        other.send(&location(48.2));
        if !is_taken {
            let error = other.expect_type("error");
            assert_eq!(wire::string(&error, &["payload", "code"]), "forbidden");
        }
        other.ping();
    }
    let mut vendor = vendor(&gateway, "v1");
    for latitude in ["1e999", "\"NaN\"", "90.5", "null"] {
        vendor.send(&format!(r#"{{"type":"location_update","latitude":{latitude},"longitude":16.3}}"#));
        vendor.expect_type("error");
    }
    follower.ping();
}
