//! Promise: who sends more than allowed is closed with 4003, and nobody else notices.

use crate::support::client::Client;
use crate::support::config::Config;
use crate::support::gateway::Gateway;
use crate::support::prometheus::CLOSED;
use crate::support::tokens::token;
use crate::support::wait::eventually;
use crate::support::wire::CLOSE_TOO_MANY_MESSAGES;

#[test]
fn too_many_messages_close() {
    const ALLOWED: usize = 10;
    let gateway =
        Gateway::start(Config::new().set("limits.messages", ALLOWED as i64).set("limits.messages_window", "1h"));
    let mut modest = Client::connect(&gateway, &token("modest"));
    let mut chatty = Client::connect(&gateway, &token("chatty"));
    (0..ALLOWED).for_each(|_| chatty.ping());
    chatty.send(r#"{"type":"ping"}"#);
    assert_eq!(chatty.expect_close(), CLOSE_TOO_MANY_MESSAGES);
    (0..ALLOWED).for_each(|_| modest.ping());
    eventually("the close is counted", || {
        gateway.admin().metrics().labelled(CLOSED, "code", "too_many_messages") == 1.0
    });
}
