//! Promise: the echo endpoint is off unless it is asked for, on loopback only, holds no session, and cannot be flooded.

use std::io::{ErrorKind, Write};
use std::time::Duration;

use crate::support::client::Client;
use crate::support::config::Config;
use crate::support::gateway::{Gateway, command};
use crate::support::http;
use crate::support::process::run;
use crate::support::raw::{BINARY, CLOSE, PING, PONG, Raw, close_payload, frame};
use crate::support::tokens::token;
use crate::support::wait::eventually;
use crate::support::wire::{CLOSE_NORMAL, CLOSE_TOO_BIG};

const MIB: usize = 1024 * 1024;

/// `EX_CONFIG` of sysexits.h.
const EXIT_CONFIG: i32 = 78;

fn with_echo() -> Config {
    Config::new().set("server.shards", 1).set("debug.echo_path", "/echo")
}

#[test]
fn without_a_setting_there_is_no_echo() {
    let gateway = Gateway::start(Config::new());
    let refusal = http::exchange(gateway.public, &http::upgrade_request("/echo", &[]));
    refusal.assert_refusal("no echo", 404);
}

#[test]
fn the_echo_is_refused_unless_the_public_port_is_on_loopback() {
    let folder = tempfile::tempdir().expect("a temp dir");
    let path = with_echo().set("server.listen", "0.0.0.0:0").write(folder.path());
    for subcommand in ["serve", "check-config"] {
        let finished = run(command().arg(subcommand).arg("--config").arg(&path));
        assert_eq!(finished.code, Some(EXIT_CONFIG), "{finished:?}");
        assert!(finished.stderr.contains("debug.echo_path"), "{finished:?}");
    }
}

#[test]
fn an_echo_is_not_counted_as_a_session() {
    let gateway = Gateway::start(with_echo().set("limits.messages", 3));
    let mut raw = Raw::echo(&gateway, "/echo");
    // More than a session may say.
    for n in 0..50u8 {
        raw.write(&frame(BINARY, &[n]));
        let back = raw.next_frame();
        assert_eq!((back.opcode, back.payload), (BINARY, vec![n]));
    }
    let mut client = Client::connect(&gateway, &token("u1"));
    client.ping();
    eventually("the session is counted, and nothing else", || gateway.admin().metrics().sum("ringway_sessions") == 1.0);
    assert_eq!(gateway.admin().metrics().sum("ringway_connections"), 2.0);
}

#[test]
fn every_ping_is_answered_in_order() {
    let gateway = Gateway::start(with_echo());
    let mut raw = Raw::echo(&gateway, "/echo");
    raw.write(&(0..100u8).flat_map(|n| frame(PING, &[n])).collect::<Vec<_>>());
    for n in 0..100u8 {
        let pong = raw.read_frame().expect("a pong comes");
        assert_eq!((pong.opcode, pong.payload), (PONG, vec![n]));
    }
}

#[test]
fn messages_of_16_mib_come_back_and_not_one_byte_more() {
    let gateway = Gateway::start(with_echo());
    let mut raw = Raw::echo(&gateway, "/echo");
    let message: Vec<u8> = (0..16 * MIB).map(|n| (n / 7) as u8).collect();
    raw.write(&frame(BINARY, &message));
    assert!(raw.next_frame().payload == message, "something else came back");
    // Another one is answered whole before the close.
    raw.write(&[frame(BINARY, &message), frame(CLOSE, &close_payload(CLOSE_NORMAL, b""))].concat());
    assert!(raw.next_frame().payload == message, "something else came back");
    assert_eq!(raw.next_frame().close_code(), CLOSE_NORMAL);
    raw.expect_end_of_stream();

    let mut raw = Raw::echo(&gateway, "/echo");
    raw.write(&frame(BINARY, &[message, vec![0]].concat()));
    assert_eq!(raw.next_frame().close_code(), CLOSE_TOO_BIG);
    raw.expect_end_of_stream();
}

#[test]
fn a_flood_that_is_not_read_grows_nothing() {
    for (what, piece) in [("large", frame(BINARY, &vec![0; MIB])), ("empty pings", frame(PING, b"").repeat(10_000))] {
        let gateway = Gateway::start(with_echo().set("debug.echo_message_bytes", 1024 * 1024));
        let mut raw = Raw::echo(&gateway, "/echo");
        raw.stream.set_write_timeout(Some(Duration::from_secs(2))).expect("not zero");
        // Until the gateway reads no more: what it holds and what the kernel holds is bounded, far below this.
        let mut written = 0;
        let stopped = loop {
            match raw.stream.write(&piece) {
                Ok(bytes) => written += bytes,
                Err(error) => break error.kind(),
            }
            assert!(written < 200 * MIB, "{what}: all of it was read");
        };
        assert!(matches!(stopped, ErrorKind::WouldBlock | ErrorKind::TimedOut), "{what}: {stopped:?}");
        let waiting = gateway.admin().metrics().sum("ringway_outbox_bytes");
        assert!(waiting < 4.0 * MIB as f64, "{what}: {waiting} bytes wait");
        // Others are served, and who vanishes leaves nothing behind.
        Client::connect(&gateway, &token("u1")).ping();
        raw.vanish();
        eventually("the outbox is gone", || gateway.admin().metrics().sum("ringway_outbox_bytes") == 0.0);
    }
}

#[test]
fn a_shard_takes_so_many_echoes() {
    let gateway = Gateway::start(with_echo());
    let mut held: Vec<Raw> = (0..64).map(|_| Raw::echo(&gateway, "/echo")).collect();
    let refusal = http::exchange(gateway.public, &http::upgrade_request("/echo", &[]));
    refusal.assert_refusal("one more", 503);
    Client::connect(&gateway, &token("u1")).ping();
    held.pop().expect("one of them").vanish();
    eventually("there is room again", || {
        http::exchange(gateway.public, &http::upgrade_request("/echo", &[])).status == 101
    });
}
