//! Promise: the limits per address count clients and not the proxy in front, and only a
//! proxy that is known is believed.

use std::io::Write;

use crate::support::config::Config;
use crate::support::gateway::Gateway;
use crate::support::http::{self, Response};
use crate::support::prometheus::ACCEPTED;
use crate::support::wait::eventually;

/// Two connects of one address, and the third is refused.
fn limited() -> Config {
    Config::new().set("limits.connects_per_address", 2).set("limits.connects_window", "1h")
}

fn behind_a_proxy() -> Config {
    limited().list("server.trusted_proxies", &["127.0.0.0/8"])
}

/// The status of an upgrade, `first` being sent before it.
#[track_caller]
fn status(gateway: &Gateway, first: &[u8], headers: &[(&str, &str)]) -> u16 {
    let mut stream = http::open(gateway.public);
    stream.write_all(first).expect("a fresh connection takes a few bytes");
    http::upgrade(&mut stream, "/ws", headers).unwrap_or_else(|refusal: Response| refusal).status
}

/// A version 2 header for a client with an IPv4 address.
fn proxy_v2(client: [u8; 4]) -> Vec<u8> {
    [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", &client[..], &[10, 0, 0, 1, 0x12, 0x34, 0x0f, 0xa0]].concat()
}

#[test]
fn a_connect_counts_before_it_says_anything() {
    let gateway = Gateway::start(limited());
    let _silent = [http::open(gateway.public), http::open(gateway.public)];
    eventually("both are accepted", || gateway.admin().metrics().sum(ACCEPTED) == 2.0);
    assert_eq!(status(&gateway, b"", &[]), 429);
}

#[test]
fn a_refused_address_still_sees_the_health_page() {
    let gateway = Gateway::start(limited());
    for _ in 0..4 {
        let response = http::exchange(gateway.public, &http::request("GET", "/health", &[("Host", "a")]));
        assert_eq!(response.status, 200);
    }
}

#[test]
fn clients_of_a_trusted_proxy_count_for_themselves() {
    let gateway = Gateway::start(behind_a_proxy());
    for client in ["192.0.2.1", "192.0.2.2"] {
        // What the client itself wrote stands farther away, and changes nothing.
        let statuses: Vec<u16> = (0..3)
            .map(|n| status(&gateway, b"", &[("X-Forwarded-For", &format!("198.51.100.{n}, {client}"))]))
            .collect();
        assert_eq!(statuses, [101, 101, 429], "{client}");
    }
}

#[test]
fn the_other_header_is_read_when_it_is_the_configured_one() {
    let gateway = Gateway::start(behind_a_proxy().set("server.forwarded_header", "forwarded"));
    let ask = |n: u8| {
        let forged = format!("198.51.100.{n}");
        status(&gateway, b"", &[("X-Forwarded-For", &forged), ("Forwarded", "for=\"[2001:db8::1]:4711\";proto=https")])
    };
    assert_eq!([ask(1), ask(2), ask(3)], [101, 101, 429]);
}

#[test]
fn who_is_no_trusted_proxy_is_not_believed() {
    let gateway = Gateway::start(limited().list("server.trusted_proxies", &["192.0.2.0/24"]));
    let ask = |n: u8| status(&gateway, b"", &[("X-Forwarded-For", &format!("198.51.100.{n}"))]);
    assert_eq!([ask(1), ask(2), ask(3)], [101, 101, 429]);
}

#[test]
fn a_proxy_header_of_either_version_names_the_client() {
    let gateway = Gateway::start(behind_a_proxy().set("server.proxy_protocol", true));
    for n in 1..4 {
        let v1 = format!("PROXY TCP4 192.0.2.{n} 10.0.0.1 4660 4000\r\n");
        let ask = |first: &[u8]| status(&gateway, first, &[]);
        assert_eq!([ask(v1.as_bytes()), ask(&proxy_v2([192, 0, 2, n])), ask(v1.as_bytes())], [101, 101, 429]);
    }
}

#[test]
fn a_proxy_that_does_not_say_for_whom_it_speaks_is_refused() {
    let gateway = Gateway::start(behind_a_proxy().set("server.proxy_protocol", true));
    assert_eq!(status(&gateway, b"", &[]), 400);
}

#[test]
fn a_proxy_header_from_anybody_else_is_no_request() {
    let config = limited().list("server.trusted_proxies", &["192.0.2.0/24"]).set("server.proxy_protocol", true);
    let gateway = Gateway::start(config);
    let mut stream = http::open(gateway.public);
    stream.write_all(b"PROXY TCP4 192.0.2.7 10.0.0.1 1 2\r\n\r\n").expect("a fresh connection takes a few bytes");
    http::read_response(&mut stream).expect("an answer").assert_refusal("not a proxy", 400);
    assert_eq!(status(&gateway, b"", &[]), 101);
}
