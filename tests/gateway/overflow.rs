//! Promise: where a channel has an overflow policy, a client that does not read stays, and misses what the policy says.

use std::thread;

use crate::support::config::Config;
use crate::support::gateway::Gateway;
use crate::support::prometheus::{CLOSED, OUTBOX_BYTES, OVERFLOW_DROPPED};
use crate::support::raw::{Raw, TEXT, frame};
use crate::support::tokens::token;
use crate::support::wait::eventually;

/// More than the kernel buffers of both ends can ever hold, at 32 KiB a message.
const MESSAGES_MAX: usize = 4_096;

/// So many are dropped.
const DROPPED: f64 = 20.0;

/// Publishes to a client that does not read until messages are dropped, and lets it read then. How many were published,
/// and which of them came.
fn published_and_heard(policy: &str) -> (usize, Vec<usize>) {
    let config = Config::new().set("limits.outbox_bytes", 256 * 1024).overflow("conv:*", policy);
    let gateway = Gateway::start(config);
    let mut client = Raw::connect(&gateway, "/ws", &token("stalled"));
    client.write(&frame(TEXT, br#"{"type":"subscribe","payload":{"channels":["conv:c1"]}}"#));
    client.next_text();

    let filler = "x".repeat(32 * 1024);
    let dropped = || gateway.admin().metrics().labelled(OVERFLOW_DROPPED, "policy", policy);
    let mut published = 0;
    while dropped() < DROPPED {
        assert!(published < MESSAGES_MAX, "{published} messages wait for a client that does not read");
        let message = format!("{published} {filler}");
        assert_eq!(gateway.admin().broadcast("/broadcast/channel/conv:c1", &message), 1, "it stays");
        published += 1;
    }

    let reader = thread::spawn(move || {
        let texts = std::iter::from_fn(|| Some(client.next_text()).filter(|text| text != "end"));
        texts.map(|text| text.split(' ').next().expect("a number").parse().expect("a number")).collect::<Vec<usize>>()
    });
    eventually("it has caught up", || gateway.admin().metrics().sum(OUTBOX_BYTES) == 0.0);
    assert_eq!(gateway.admin().broadcast("/broadcast/channel/conv:c1", "end"), 1);
    let heard = reader.join().expect("the reader hears the end");
    assert_eq!(gateway.admin().metrics().labelled(CLOSED, "code", "too_slow"), 0.0);
    assert!(heard[0] == 0 && heard.is_sorted_by(|a, b| a < b), "in order: {heard:?}");
    assert!(heard.len() <= published - DROPPED as usize, "{published} published, {} came", heard.len());
    (published, heard)
}

#[test]
fn drop_oldest_ends_with_the_newest() {
    let (published, heard) = published_and_heard("drop_oldest");
    let newest: Vec<usize> = (published - 7..published).collect();
    assert!(heard.ends_with(&newest), "{published}: {heard:?}");
}

#[test]
fn drop_newest_begins_with_the_oldest() {
    let (published, heard) = published_and_heard("drop_newest");
    assert!(heard[..7] == [0, 1, 2, 3, 4, 5, 6] && heard.last() < Some(&(published - 1)), "{published}: {heard:?}");
}

#[test]
fn latest_ends_with_the_newest_and_nothing_else_waited() {
    let (published, heard) = published_and_heard("latest");
    let [.., before, last] = heard[..] else { panic!("{heard:?}") };
    assert!(last == published - 1 && before + (DROPPED as usize) <= last, "{published}: {heard:?}");
}
