//! Promise: a client that does not read is closed at its outbox's bound and counted; everybody else gets everything.

use crate::support::client::Client;
use crate::support::config::Config;
use crate::support::gateway::Gateway;
use crate::support::prometheus::{CLOSED, OUTBOX_BYTES};
use crate::support::raw::{CLOSE, Raw, TEXT, frame};
use crate::support::tokens::token;
use crate::support::wait::eventually;
use crate::support::wire::CLOSE_TOO_SLOW;

/// More than the kernel buffers of both ends can ever hold, at 32 KiB a message.
const MESSAGES_MAX: usize = 4_096;

#[test]
fn a_client_that_never_reads_is_closed_and_the_others_get_everything() {
    let config = Config::new().set("limits.outbox_bytes", 256 * 1024).set("limits.close_deadline", "500ms");
    let gateway = Gateway::start(config);
    let mut reader = Client::connect(&gateway, &token("reader"));
    reader.subscribe(&["conv:c1"]);
    let mut stalled = Raw::connect(&gateway, "/ws", &token("stalled"));
    stalled.write(&frame(TEXT, br#"{"type":"subscribe","payload":{"channels":["conv:c1"]}}"#));
    stalled.next_text();

    let filler = "x".repeat(32 * 1024);
    for sent in 0.. {
        assert!(sent < MESSAGES_MAX, "{sent} messages wait for a client that does not read");
        let message = format!("{sent} {filler}");
        let reached = gateway.admin().broadcast("/broadcast/channel/conv:c1", &message);
        // The reader is never behind: only the other one can be too slow.
        assert!(reader.next_text() == message, "message {sent} is not the one that came");
        if reached == 1 {
            break;
        }
    }

    gateway.admin().eventually_active(1);
    eventually("it is counted", || gateway.admin().metrics().labelled(CLOSED, "code", "too_slow") == 1.0);
    eventually("its outbox is free", || gateway.admin().metrics().sum(OUTBOX_BYTES) == 0.0);
    assert_ended_as_too_slow(&mut stalled);
    reader.ping();
}

/// A close frame may not have found room; when one came it has the code, and the connection ends either way.
#[track_caller]
fn assert_ended_as_too_slow(stalled: &mut Raw) {
    while let Ok(frame) = stalled.read_frame() {
        if frame.opcode == CLOSE {
            assert_eq!(frame.close_code(), CLOSE_TOO_SLOW);
        }
    }
}
