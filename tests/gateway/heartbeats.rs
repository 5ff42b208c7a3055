//! Promise: silence is noticed and closed with 4001; whoever answers heartbeats stays.

use crate::support::client::{Client, Event};
use crate::support::config::Config;
use crate::support::gateway::Gateway;
use crate::support::raw::{PING, PONG, Raw, TEXT, frame};
use crate::support::tokens::{Claims, token};
use crate::support::wire::{self, CLOSE_IDLE};

/// More heartbeats than fit into one idle timeout.
const HEARTBEATS: usize = 6;

#[test]
fn a_client_that_answers_nothing_is_closed() {
    let gateway = gateway();
    let mut silent = Raw::connect(&gateway, "/ws", &token("silent"));
    assert_eq!(silent.expect_close(), CLOSE_IDLE);
    gateway.admin().eventually_active(0);
}

#[test]
fn a_client_that_answers_pings_stays() {
    let gateway = gateway();
    let mut client = Client::connect(&gateway, &token("u1"));
    let mut pings = 0;
    while pings < HEARTBEATS {
        match client.next() {
            Event::Ping => pings += 1,
            other => panic!("only pings were expected, and came {other:?}"),
        }
    }
    client.ping();
}

#[test]
fn a_client_that_sends_by_itself_stays() {
    let gateway = gateway();
    let mut silent = Raw::connect(&gateway, "/ws", &token("silent"));
    let mut busy = Raw::connect(&gateway, "/ws", &token("busy"));
    // Speaks after each ping that it is sent, without answering one.
    for _ in 0..HEARTBEATS {
        while busy.read_frame().expect("the connection stays").opcode != PING {}
        busy.write(&frame(PONG, b"another payload"));
    }
    assert_eq!(silent.expect_close(), CLOSE_IDLE);
}

#[test]
fn sessions_with_a_user_type_get_heartbeat_messages() {
    let gateway = gateway();
    let by_query = ("/ws?userType=driver", token("u1"));
    let by_role = ("/ws", Claims::of("u2").role("driver").sign());
    for (target, token) in [by_query, by_role] {
        let mut raw = Raw::connect(&gateway, target, &token);
        for _ in 0..HEARTBEATS {
            let beat = raw.read_frame().expect("the connection stays");
            assert_eq!(beat.opcode, TEXT, "{target}: {beat:?}");
            let message = wire::json(&String::from_utf8(beat.payload).expect("text is UTF-8"));
            assert_eq!(wire::kind(&message), "heartbeat", "{message:?}");
            assert!(wire::number(&message, &["payload", "timestamp"]).is_some(), "{message:?}");
            raw.write(&frame(TEXT, br#"{"type":"heartbeat_ack"}"#));
        }
        // Now silent: its heartbeats are not answered any more.
        assert_eq!(raw.expect_close(), CLOSE_IDLE);
    }
}

fn gateway() -> Gateway {
    Gateway::start(Config::new().set("heartbeat.interval", "500ms").set("heartbeat.idle_timeout", "1500ms"))
}
