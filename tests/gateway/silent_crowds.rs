//! Promise: however many connect and say nothing, or say too little, whoever speaks is let in at once.

use std::io::Write;
use std::net::TcpStream;

use crate::support::client::Client;
use crate::support::config::Config;
use crate::support::gateway::Gateway;
use crate::support::http;
use crate::support::prometheus::REFUSED;
use crate::support::tokens::token;
use crate::support::wait::eventually;

const PLACES: usize = 32;

/// Deadlines so long that only making room can help: without it every test here runs into its own deadline.
fn patient() -> Config {
    Config::new()
        .set("server.shards", 1)
        .set("limits.handshakes", PLACES as i64)
        .set("limits.handshake_deadline", "1h")
        .set("limits.first_byte_deadline", "1h")
}

/// `count` sockets that have sent `said` and nothing more.
fn crowd(gateway: &Gateway, count: usize, said: &[u8]) -> Vec<TcpStream> {
    let open = |_| {
        let mut stream = http::open(gateway.public);
        stream.write_all(said).expect("a fresh connection takes a few bytes");
        stream
    };
    (0..count).map(open).collect()
}

fn displaced(gateway: &Gateway) -> f64 {
    gateway.admin().metrics().labelled(REFUSED, "reason", "handshake_displaced")
}

#[test]
fn the_longest_silent_makes_room_for_whoever_comes() {
    let gateway = Gateway::start(patient().set("limits.handshakes_per_address", 0));
    let mut crowd = crowd(&gateway, 20 * PLACES, b"");
    Client::connect(&gateway, &token("u1")).ping();
    eventually("all but the places are ended", || displaced(&gateway) >= (19 * PLACES) as f64);
    http::read_response(&mut crowd[0]).expect("it is told why").assert_refusal("silent", 408);
}

#[test]
fn a_part_of_a_head_holds_no_place_either() {
    let gateway = Gateway::start(patient().set("limits.handshakes_per_address", 0));
    let _crowd = crowd(&gateway, 4 * PLACES, b"GET /ws HTTP/1.1\r\nHost:");
    Client::connect(&gateway, &token("u1")).ping();
    eventually("the oldest are ended", || displaced(&gateway) >= (3 * PLACES) as f64);
}

#[test]
fn one_address_has_only_its_share_of_the_places() {
    let gateway = Gateway::start(patient().set("limits.handshakes_per_address", 4));
    let mut crowd = crowd(&gateway, 10, b"");
    eventually("all but its share are ended", || displaced(&gateway) == 6.0);
    http::read_response(&mut crowd[5]).expect("it is told why").assert_refusal("too many", 408);
    crowd[6].write_all(http::upgrade_request("/ws", &[]).as_bytes()).expect("it still has its place");
    assert_eq!(http::read_response(&mut crowd[6]).expect("an answer").status, 101);
}

#[test]
fn silence_ends_sooner_than_slowness() {
    let gateway = Gateway::start(patient().set("limits.first_byte_deadline", "1s"));
    let (mut silent, mut slow) = (crowd(&gateway, 1, b""), crowd(&gateway, 1, b"GET"));
    http::read_response(&mut silent[0]).expect("it is told why").assert_refusal("silent", 408);
    let rest = http::upgrade_request("/ws", &[]);
    slow[0].write_all(&rest.as_bytes()["GET".len()..]).expect("there is still time");
    assert_eq!(http::read_response(&mut slow[0]).expect("an answer").status, 101);
}
