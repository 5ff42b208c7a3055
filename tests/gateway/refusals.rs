//! Promise: whoever is refused before the upgrade is told by status, headers and a JSON body.

use crate::support::client::Client;
use crate::support::config::Config;
use crate::support::gateway::Gateway;
use crate::support::http::{self, Response, UPGRADE_HEADERS, exchange, request};
use crate::support::tokens::{Claims, token};
use crate::support::wait::eventually_some;

#[test]
fn what_is_not_an_upgrade_is_400() {
    let gateway = Gateway::start(Config::new());
    let without = |name: &str| UPGRADE_HEADERS.into_iter().filter(|(own, _)| *own != name).collect::<Vec<_>>();
    let instead = |name, value| [without(name), vec![(name, value)]].concat();
    let ways = [
        ("no Upgrade", without("Upgrade")),
        ("no Connection", without("Connection")),
        ("no key", without("Sec-WebSocket-Key")),
        ("short key", instead("Sec-WebSocket-Key", "c2hvcnQ=")),
        ("key that is not base64", instead("Sec-WebSocket-Key", "!!!!!!!!!!!!!!!!!!!!!!==")),
        ("Upgrade to something else", instead("Upgrade", "h2c")),
        ("no Host", without("Host")),
    ];
    for (way, headers) in ways {
        let response = exchange(gateway.public, &request("GET", "/ws", &headers));
        response.assert_refusal(way, 400);
    }
}

#[test]
fn another_method_is_405_and_names_ours() {
    let gateway = Gateway::start(Config::new());
    let response = exchange(gateway.public, &request("POST", "/ws", &UPGRADE_HEADERS));
    response.assert_refusal("POST", 405);
    assert_eq!(response.header("Allow"), Some("GET"));
}

#[test]
fn bytes_that_are_not_http_are_answered_or_dropped_and_harm_nobody() {
    let gateway = Gateway::start(Config::new());
    let mut witness = Client::connect(&gateway, &token("u1"));
    for garbage in
        [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"[..], b"GET\r\n\r\n", b"\r\n\0\xff\xfe\r\n\r\n"]
    {
        let mut stream = http::open(gateway.public);
        std::io::Write::write_all(&mut stream, garbage).expect("a fresh connection takes a few bytes");
        if let Ok(response) = http::read_response(&mut stream) {
            assert_eq!(response.status, 400, "{response:?}");
        }
        witness.ping();
    }
}

#[test]
fn another_version_is_426_and_names_ours() {
    let gateway = Gateway::start(Config::new());
    for version in ["8", "14", "thirteen"] {
        let mut headers = UPGRADE_HEADERS.to_vec();
        headers[3].1 = version;
        let response = exchange(gateway.public, &request("GET", "/ws", &headers));
        response.assert_refusal(version, 426);
        assert_eq!(response.header("Sec-WebSocket-Version"), Some("13"));
    }
}

#[test]
fn another_path_is_404() {
    let gateway = Gateway::start(Config::new());
    for path in ["/", "/health"] {
        assert_eq!(exchange(gateway.public, &request("GET", path, &UPGRADE_HEADERS[..1])).status, 200, "{path}");
    }
    for path in ["/wss", "/ws/", "/nothing", "/metrics"] {
        let response = refused(&gateway, path, &[]);
        response.assert_refusal(path, 404);
    }
}

#[test]
fn the_path_is_configurable() {
    let gateway = Gateway::start(Config::new().set("server.path", "/socket"));
    Client::connect_at(&gateway, "/socket", &token("u1")).ping();
    assert_eq!(refused(&gateway, "/ws", &[]).status, 404);
}

#[test]
fn another_origin_is_403() {
    let gateway = Gateway::start(Config::new().list("auth.origins", &["https://app.example"]));
    let bearer = format!("Bearer {}", token("u1"));
    let mut headers = [("Authorization", bearer.as_str()), ("Origin", "https://app.example")];
    Client::upgrade(&gateway, "/ws", &headers).expect("the origin is listed").0.expect_type("connected");
    for origin in ["https://evil.example", "http://app.example", "https://app.example.evil.example", "null"] {
        headers[1].1 = origin;
        let response = refused(&gateway, "/ws", &headers);
        response.assert_refusal(origin, 403);
    }
}

#[test]
fn another_role_is_403() {
    let gateway = Gateway::start(Config::new().list("auth.roles", &["driver", "rider"]));
    Client::connect(&gateway, &Claims::of("u1").role("driver").sign()).ping();
    for claims in [Claims::of("u1").role("thief"), Claims::of("u1")] {
        let bearer = format!("Bearer {}", claims.sign());
        for target in ["/ws", "/ws?userType=driver"] {
            let response = refused(&gateway, target, &[("Authorization", &bearer)]);
            response.assert_refusal("role", 403);
        }
    }
}

#[test]
fn too_many_from_one_address_is_429() {
    let config =
        Config::new().set("server.shards", 1).set("limits.connects_per_address", 3).set("limits.connects_window", "1h");
    let gateway = Gateway::start(config);
    let mut clients: Vec<_> = (0..3).map(|_| Client::connect(&gateway, &token("u1"))).collect();
    let response = refused(&gateway, "/ws", &[]);
    assert_asks_to_retry(&response, 429);
    clients.iter_mut().for_each(Client::ping);
}

#[test]
fn a_full_gateway_is_503_until_somebody_leaves() {
    let gateway = Gateway::start(Config::new().set("server.shards", 1).set("server.max_connections", 2));
    let first = Client::connect(&gateway, &token("u1"));
    let mut second = Client::connect(&gateway, &token("u2"));
    let bearer = format!("Bearer {}", token("u3"));
    let response = refused(&gateway, "/ws", &[("Authorization", &bearer)]);
    assert_asks_to_retry(&response, 503);

    first.close();
    let mut third = eventually_some("the free place can be taken", || {
        Client::upgrade(&gateway, "/ws", &[("Authorization", &bearer)]).ok().map(|(client, _)| client)
    });
    third.expect_type("connected");
    second.ping();
}

#[track_caller]
fn assert_asks_to_retry(response: &Response, status: u16) {
    response.assert_refusal("asks to retry", status);
    let seconds = response.header("Retry-After").and_then(|value| value.parse::<u64>().ok());
    assert!(seconds.is_some_and(|seconds| seconds > 0), "no Retry-After in {response:?}");
}

#[track_caller]
fn refused(gateway: &Gateway, target: &str, headers: &[(&str, &str)]) -> Response {
    match Client::upgrade(gateway, target, headers) {
        Ok(_) => panic!("{target} with {headers:?} was accepted"),
        Err(refusal) => refusal,
    }
}
