//! Promise: however connections end, no slot, buffer, outbox, subscription or descriptor stays behind.

use std::io::Write;

use crate::support::client::Client;
use crate::support::config::Config;
use crate::support::gateway::Gateway;
use crate::support::http::{open, upgrade_request};
use crate::support::prometheus::{BUFFERS_IN_USE, CONNECTIONS, OUTBOX_BYTES};
use crate::support::raw::{Raw, TEXT, frame};
use crate::support::tokens::token;
use crate::support::wait::eventually;

/// At once; a few hundred descriptors suffice for the test.
const WAVE: usize = 100;

#[test]
fn two_thousand_connects_and_disconnects_leave_nothing_behind() {
    let mut gateway = Gateway::start(Config::new());
    // The first wave warms up what is kept on purpose: pools, threads, log files.
    wave(&gateway, 0);
    let descriptors = gateway.process().descriptors();
    for index in 1..=2_000 / WAVE {
        wave(&gateway, index);
    }
    for gauge in [CONNECTIONS, BUFFERS_IN_USE, OUTBOX_BYTES] {
        eventually(gauge, || gateway.admin().metrics().sum(gauge) == 0.0);
    }
    assert!(gateway.admin().connections().is_empty());
    let channels = gateway.admin().get("/channels").body;
    assert!(!channels.contains("conv:"), "{channels}");
    eventually("as many descriptors as before", || gateway.process().descriptors() <= descriptors);
    Client::connect(&gateway, &token("u1")).ping();
}

/// Opens a wave of connections, ends them in turn in every way there is, and waits until all slots are free.
fn wave(gateway: &Gateway, index: usize) {
    let user = |number: usize| token(&format!("u{index}-{number}"));
    let clients: Vec<_> = (0..WAVE).map(|number| open_one(gateway, number, &user(number))).collect();
    gateway.admin().eventually_active(WAVE as u64);
    clients.into_iter().for_each(End::end);
    unfinished_handshake(gateway);
    gateway.admin().eventually_active(0);
}

/// A connection and the way it will end.
enum End {
    Cleanly(Box<Client>),
    ByReset(Raw),
    Vanishing(Raw),
    InsideAMessage(Raw),
}

fn open_one(gateway: &Gateway, number: usize, token: &str) -> End {
    match number % 4 {
        0 => {
            let mut client = Client::connect(gateway, token);
            client.subscribe(&["conv:shared", &format!("conv:{number}")]);
            End::Cleanly(Box::new(client))
        }
        1 => End::ByReset(Raw::connect(gateway, "/ws", token)),
        2 => End::Vanishing(Raw::connect(gateway, "/ws?userType=driver", token)),
        _ => End::InsideAMessage(Raw::connect(gateway, "/ws", token)),
    }
}

impl End {
    fn end(self) {
        match self {
            End::Cleanly(client) => client.close(),
            End::ByReset(raw) => raw.reset(),
            End::Vanishing(raw) => raw.vanish(),
            End::InsideAMessage(mut raw) => {
                let whole = frame(TEXT, &[b' '; 4096]);
                raw.write(&whole[..1000]);
                raw.vanish();
            }
        }
    }
}

fn unfinished_handshake(gateway: &Gateway) {
    let mut stream = open(gateway.public);
    let request = upgrade_request("/ws", &[]);
    stream.write_all(&request.as_bytes()[..40]).expect("the gateway reads");
}
