//! Promise: a client that speaks one of the five vocabularies, as its own system's gateway took it, is served as it
//! expects. One file per vocabulary, against the real binary: every message in both directions, the endpoints, the
//! limits and the variables that the clients, the backends and the operators of that system know.
//!
//! docs/migration/ has a page for each system, whose tables name what its clients count on and the test that keeps it.

mod community;
mod conversations;
mod dispatch;
mod relay;
mod tracking;

use sonic_rs::Value;

use crate::support::blocks::blocks;
use crate::support::client::Client;
use crate::support::config::Config;
use crate::support::gateway::Gateway;

/// The configuration that the page of a system shows.
#[track_caller]
fn shown(page: &str) -> Config {
    let shown = blocks(&format!("docs/migration/{page}.md")).into_iter().find(|block| block.info == "toml");
    Config::new().with(&shown.expect("a configuration").text)
}

/// The next message is this one, whatever the order of its fields.
#[track_caller]
fn expect(client: &mut Client, message: &Value) {
    assert_eq!(client.next_json(), *message);
}

/// Sends a message, and another one behind it whose answer must be the next that comes.
#[track_caller]
fn send_unanswered(client: &mut Client, message: &Value) {
    client.send(&message.to_string());
    client.ping();
}

/// Publishes what a client must have as its next message, when nothing else was for it.
#[track_caller]
fn assert_nothing_came(gateway: &Gateway, user: &str, client: &mut Client) {
    assert!(gateway.admin().broadcast(&format!("/broadcast/user/{user}"), "nothing came before this") >= 1);
    assert_eq!(client.next_text(), "nothing came before this");
}
