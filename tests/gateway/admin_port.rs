//! Promise: whatever clients of the admin port do slowly, and however many they are, it ends, and probes are answered.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::support::config::Config;
use crate::support::gateway::Gateway;
use crate::support::http::{self, read_response};
use crate::support::wait::eventually;

/// Short enough to be waited for, and long enough for a test that waits for its core to send
/// what it wants to send in time.
const SHORT: &str = "1s";

#[test]
fn a_slow_head_is_ended() {
    let gateway = Gateway::start(Config::new().set("admin.head_deadline", SHORT));
    let mut silent = http::open(gateway.admin().address);
    let mut slow = http::open(gateway.admin().address);
    slow.write_all(b"GET /livez HTTP/1.1\r\nHost: 127").expect("the port reads");
    assert_ends(&mut silent);
    assert_ends(&mut slow);
    assert_eq!(gateway.admin().get("/livez").status, 200);
}

#[test]
fn a_connection_that_is_kept_alive_for_nothing_is_ended() {
    let gateway = Gateway::start(Config::new().set("admin.head_deadline", SHORT));
    let mut stream = http::open(gateway.admin().address);
    stream.write_all(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").expect("the port reads");
    assert_eq!(read_response(&mut stream).expect("an answer").status, 200);
    assert_ends(&mut stream);
}

#[test]
fn a_slow_body_is_refused() {
    let gateway = Gateway::start(Config::new().set("admin.transfer_deadline", SHORT));
    let mut stream = http::open(gateway.admin().address);
    stream
        .write_all(b"POST /broadcast/all HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\nhe")
        .expect("it reads");
    let response = read_response(&mut stream).expect("an answer");
    response.assert_refusal("a slow body", 408);
    assert_ends(&mut stream);
}

#[test]
fn a_client_that_does_not_take_its_answer_is_ended() {
    let gateway = Gateway::start(Config::new().set("admin.transfer_deadline", SHORT));
    let mut stream = http::open(gateway.admin().address);
    stream.set_write_timeout(Some(Duration::from_millis(50))).expect("a TCP socket");
    // More answers than both ends' buffers hold are asked for, until the port reads no more of it and then ends.
    let request = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
    eventually("the port has given up", || match stream.write(request) {
        Ok(_) => false,
        Err(error) => matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
    });
}

#[test]
fn a_thousand_silent_connections_keep_no_probe_out() {
    let config = Config::new().set("admin.connections", 64).set("admin.head_deadline", "1h");
    let mut gateway = Gateway::start(config);
    let address = gateway.admin().address;
    let crowd: Vec<_> = (0..1000).map(|_| http::open(address)).collect();
    for path in ["/livez", "/readyz", "/health"] {
        assert_eq!(gateway.admin().get(path).status, 200, "{path}");
    }
    eventually("those beyond the limit are ended", || gateway.process().descriptors() < 200);
    drop(crowd);
}

#[test]
fn slow_bodies_keep_no_probe_out() {
    let gateway = Gateway::start(Config::new().set("admin.connections", 64).set("admin.transfer_deadline", "1h"));
    let crowd: Vec<_> = (0..200)
        .map(|_| {
            let mut stream = http::open(gateway.admin().address);
            let head = b"POST /broadcast/all HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\nhe";
            stream.write_all(head).expect("the port reads");
            stream
        })
        .collect();
    for path in ["/livez", "/readyz", "/health"] {
        assert_eq!(gateway.admin().get(path).status, 200, "{path}");
    }
    drop(crowd);
}

#[test]
fn what_is_open_to_all_reads_no_body() {
    let config = Config::new().set("admin.token", "the operators' own").set("admin.transfer_deadline", "1h");
    let gateway = Gateway::start(config);
    for path in ["/livez", "/health", "/"] {
        let mut stream = http::open(gateway.admin().address);
        let head = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\nhe");
        stream.write_all(head.as_bytes()).expect("the port reads");
        assert_eq!(read_response(&mut stream).expect("an answer, though the body never comes").status, 200, "{path}");
    }
}

#[test]
fn a_flood_of_clients_leaves_descriptors_for_probes() {
    const OPEN_FILES: usize = 256;
    const ADMIN_CONNECTIONS: usize = 64;
    let config = Config::new()
        .set("server.shards", 1)
        .set("limits.handshake_deadline", "1h")
        .set("limits.first_byte_deadline", "1h")
        .set("admin.connections", ADMIN_CONNECTIONS as i64);
    let mut gateway = Gateway::start_with_open_files(config, OPEN_FILES);
    let _flood: Vec<_> = (0..2 * OPEN_FILES).map(|_| http::open(gateway.public)).collect();
    eventually("the flood is let in", || gateway.process().descriptors() > OPEN_FILES / 4);
    let _probes: Vec<_> = (0..ADMIN_CONNECTIONS / 2)
        .map(|_| {
            let mut stream = http::open(gateway.admin().address);
            stream.write_all(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").expect("the port reads");
            assert_eq!(read_response(&mut stream).expect("an answer").status, 200);
            stream
        })
        .collect();
    assert!(!gateway.log().contains("Too many open files"), "nobody was refused for want of descriptors");
}

#[track_caller]
fn assert_ends(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "the port keeps the connection open"),
    }
}
