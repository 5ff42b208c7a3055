//! Promise: what takes time in the gateway can be read from its admin port, counted as often as it happened.

use std::thread;

use crate::support::client::Client;
use crate::support::config::Config;
use crate::support::gateway::Gateway;
use crate::support::tokens::token;
use crate::support::wait::eventually;
use crate::support::wire;

const CLIENTS: u64 = 3;
const PINGS: u64 = 100;
const MESSAGES: u64 = 20;

#[test]
fn everything_is_timed_as_often_as_it_happened() {
    let gateway = Gateway::start(Config::new());
    let mut clients: Vec<_> = (0..CLIENTS).map(|n| Client::connect(&gateway, &token(&format!("u{n}")))).collect();
    clients.iter_mut().for_each(|client| client.subscribe(&["conv:a"]));
    (0..PINGS).for_each(|_| clients[0].ping());
    for _ in 0..MESSAGES {
        assert_eq!(gateway.admin().broadcast("/broadcast/channel/conv:a", "hello"), CLIENTS);
    }
    assert_eq!(count(&gateway, "/latency", "handshake"), CLIENTS);
    assert_eq!(count(&gateway, "/latency", "authentication"), CLIENTS);
    assert_eq!(count(&gateway, "/latency", "message"), PINGS + CLIENTS);
    assert!(count(&gateway, "/latency", "loop_turn") >= PINGS);
    assert!(count(&gateway, "/latency", "lane_wait") >= MESSAGES);
    // Greetings, answers, pongs and what was published; the last of them may not have been taken yet.
    let deliveries = CLIENTS + CLIENTS + PINGS + MESSAGES * CLIENTS;
    eventually("every frame is delivered", || count(&gateway, "/latency", "delivery") == deliveries);
    assert_eq!(gateway.admin().metrics().sum("ringway_delivery_seconds_count"), deliveries as f64);
}

#[test]
fn the_percentiles_of_an_interval_are_of_that_interval() {
    let gateway = Gateway::start(Config::new());
    let mut client = Client::connect(&gateway, &token("u1"));
    client.ping();
    assert_eq!(count(&gateway, "/latency?interval=true", "message"), 1);
    assert_eq!(count(&gateway, "/latency?interval=true", "message"), 0);
    (0..PINGS).for_each(|_| client.ping());
    assert_eq!(count(&gateway, "/latency?interval=true", "message"), PINGS);
    assert_eq!(count(&gateway, "/latency", "message"), PINGS + 1);
}

#[test]
fn a_heartbeat_ping_tells_its_round_trip() {
    let gateway = Gateway::start(Config::new().set("heartbeat.interval", "200ms"));
    let mut client = Client::connect(&gateway, &token("u1"));
    eventually("a pong has come back", || {
        // Reading is what answers a ping.
        client.poll();
        count(&gateway, "/latency", "ping_round_trip") > 0
    });
}

#[test]
fn readers_of_intervals_share_what_there_is() {
    let gateway = Gateway::start(Config::new());
    let mut client = Client::connect(&gateway, &token("u1"));
    (0..PINGS).for_each(|_| client.ping());
    let counts = thread::scope(|scope| {
        let readers: Vec<_> =
            (0..4).map(|_| scope.spawn(|| count(&gateway, "/latency?interval=true", "message"))).collect();
        readers.into_iter().map(|reader| reader.join().expect("a reader that ends")).sum::<u64>()
    });
    assert_eq!(counts, PINGS);
}

#[track_caller]
fn count(gateway: &Gateway, path: &str, name: &str) -> u64 {
    let answer = gateway.admin().get(path);
    wire::number(&answer.json(), &["latency_us", name, "count"]).unwrap_or_else(|| panic!("no {name} in {answer:?}"))
}
