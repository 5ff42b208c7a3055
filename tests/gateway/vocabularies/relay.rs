//! Relay: one connection to several services, with an answer from each.
//!
//! Beyond the gateway, and not tested here:
//! - gRPC and its Protobuf contracts: the three services are the gateway itself, which takes a position, brings a chat to
//!   its conversation and notes that a notification was read. What a client says and hears is the same.

use sonic_rs::{Value, json};

use crate::support::client::Client;
use crate::support::config::Config;
use crate::support::gateway::Gateway;
use crate::support::tokens::token;
use crate::support::wire;

fn location() -> Value {
    json!({"type": "location.report", "payload": {"latitude": 48.2082, "longitude": 16.3738, "accuracy": 5}})
}

fn chat(content: &str) -> String {
    json!({"type": "chat.send", "payload": {"conversation_id": "c1", "content": content}}).to_string()
}

#[test]
fn what_no_service_can_take_is_an_error_and_the_connection_stays() {
    let gateway = Gateway::start(Config::new());
    let mut ana = Client::connect(&gateway, &token("ana"));
    for (message, code) in [
        (chat("Not in there"), "not_subscribed"),
        (r#"{"type":"location.report","payload":{"latitude":91,"longitude":0}}"#.into(), "bad_field"),
        (r#"{"type":"notification.read"}"#.into(), "missing_field"),
        (r#"{"type":"payment.send"}"#.into(), "unknown_type"),
    ] {
        ana.send(&message);
        assert_eq!(wire::string(&ana.expect_type("error"), &["payload", "code"]), code, "{message}");
    }
    ana.ping();
}

#[test]
fn who_disconnects_leaves_nothing_behind() {
    let gateway = Gateway::start(Config::new());
    let mut ana = Client::connect(&gateway, &token("ana"));
    ana.subscribe(&["conv:c1"]);
    ana.send(&location().to_string());
    ana.await_type("location.accepted");
    ana.close();
    gateway.admin().eventually_active(0);
    assert_eq!(gateway.admin().broadcast("/broadcast/channel/conv:c1", "nobody"), 0);
    assert_eq!(gateway.admin().broadcast("/broadcast/user/ana", "nobody"), 0);
}
