//! Promise: each of the five systems can be run as its description draws it, with the real servers that it names beside
//! the gateway. One file per system; what its clients may say, message by message, is played in `vocabularies`, without
//! the servers.
//!
//! Each goes once through what its people would see on a bad day, too: a server of theirs dies, clients stay and are
//! told, and it goes on when the server is back.

mod community;
mod conversations;
mod dispatch;
mod relay;
mod tracking;

use sonic_rs::Value;

use crate::support::client::Client;
use crate::support::gateway::Gateway;
use crate::support::wait::eventually;
use crate::support::wire;

/// Waits until so many sources and services are there, and none is away.
#[track_caller]
fn all_connected(gateway: &Gateway, count: usize) {
    eventually("everything is connected", || {
        let lines = connected(gateway);
        lines.len() == count && lines.iter().all(|line| line.ends_with(" 1"))
    });
}

/// Waits until one of them is known to be away.
#[track_caller]
fn one_is_away(gateway: &Gateway) {
    eventually("it is known to be away", || connected(gateway).iter().any(|line| line.ends_with(" 0")));
}

fn connected(gateway: &Gateway) -> Vec<String> {
    let metrics = gateway.admin().get("/metrics").body;
    let is_one = |line: &&str| {
        ["ringway_source_connected{", "ringway_service_connected{"].iter().any(|name| line.starts_with(name))
    };
    metrics.lines().filter(is_one).map(str::to_owned).collect()
}

/// The `code` of the error that comes next.
#[track_caller]
fn refused(client: &mut Client) -> String {
    wire::string(&client.await_type("error"), &["payload", "code"]).to_owned()
}

/// The next message is this one, whatever the order of its fields.
#[track_caller]
fn expect(client: &mut Client, message: &Value) {
    assert_eq!(client.next_json(), *message);
}
