//! Promise: a handshake may be slow, not endless, and no handshake holds up anybody else.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::support::client::Client;
use crate::support::config::Config;
use crate::support::gateway::Gateway;
use crate::support::http::{open, read_response, upgrade_request};
use crate::support::prometheus::REFUSED;
use crate::support::tokens::token;
use crate::support::wait::eventually;

#[test]
fn a_handshake_trickled_byte_by_byte_succeeds() {
    let gateway = Gateway::start(Config::new().set("server.shards", 1).set("limits.handshake_deadline", "60s"));
    let mut witness = Client::connect(&gateway, &token("witness"));
    let bearer = format!("Bearer {}", token("u1"));
    let mut stream = open(gateway.public);
    for byte in upgrade_request("/ws", &[("Authorization", &bearer)]).bytes() {
        stream.write_all(&[byte]).expect("the gateway waits for the rest");
        // One shard: when this answer is there, the byte before it has been read on its own.
        witness.ping();
    }
    let response = read_response(&mut stream).expect("the request is complete");
    assert_eq!(response.status, 101, "{response:?}");
}

#[test]
fn a_message_sent_with_the_handshake_is_not_lost() {
    let gateway = Gateway::start(Config::new());
    let bearer = format!("Bearer {}", token("u1"));
    let mut stream = open(gateway.public);
    let mut bytes = upgrade_request("/ws", &[("Authorization", &bearer)]).into_bytes();
    bytes.extend(crate::support::raw::frame(crate::support::raw::TEXT, br#"{"type":"ping","id":"early"}"#));
    stream.write_all(&bytes).expect("the gateway reads");
    let mut received = read_response(&mut stream).expect("the gateway answers").rest;
    eventually("the early ping is answered", || {
        let seen = String::from_utf8_lossy(&received).contains(r#""early""#);
        if !seen {
            let mut chunk = [0; 1024];
            let count = stream.read(&mut chunk).expect("the gateway still speaks");
            received.extend_from_slice(&chunk[..count]);
        }
        seen
    });
}

#[test]
fn handshakes_that_never_finish_are_ended_and_counted() {
    const STUCK: usize = 20;
    let gateway = Gateway::start(Config::new().set("limits.handshake_deadline", "500ms"));
    let mut witness = Client::connect(&gateway, &token("witness"));
    let request = upgrade_request("/ws", &[]);
    // Each is stuck elsewhere, the first before its first byte.
    let mut stuck: Vec<_> = (0..STUCK)
        .map(|index| {
            let mut stream = open(gateway.public);
            let sent = &request[..request.len() * index / STUCK];
            stream.write_all(sent.as_bytes()).expect("the gateway reads");
            stream
        })
        .collect();
    witness.ping();
    stuck.iter_mut().for_each(expect_end);
    eventually("every one is counted", || {
        gateway.admin().metrics().labelled(REFUSED, "reason", "handshake_timeout") == STUCK as f64
    });
    witness.ping();
    Client::connect(&gateway, &token("u1")).ping();
}

#[test]
fn an_endless_head_is_refused() {
    let gateway = Gateway::start(Config::new().set("limits.handshake_deadline", "60s"));
    let mut witness = Client::connect(&gateway, &token("witness"));
    let mut stream = open(gateway.public);
    stream.write_all(b"GET /ws HTTP/1.1\r\n").expect("the gateway reads");
    // The gateway stops reading and answers; from then on a write may fail.
    let line = format!("X-Filler: {}\r\n", "x".repeat(1000));
    for _ in 0..1000 {
        if stream.write_all(line.as_bytes()).is_err() {
            break;
        }
    }
    expect_end(&mut stream);
    witness.ping();
}

/// Whatever is still said, the connection ends.
#[track_caller]
fn expect_end(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    if let Err(error) = stream.read_to_end(&mut rest) {
        let waited = matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut);
        assert!(!waited, "the gateway keeps an unfinished handshake open");
    }
}
