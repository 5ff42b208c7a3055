//! Relay: one connection to several services, with an answer from each.
//!
//! The three services are the gateway itself, which takes a position, brings a chat to its conversation and notes that
//! a notification was read; or backends that speak gRPC by the Protobuf contracts, and what a client says and hears is
//! the same.

use sonic_rs::{Value, json};

use super::{assert_nothing_came, expect};
use crate::support::client::Client;
use crate::support::config::Config;
use crate::support::gateway::Gateway;
use crate::support::prometheus::CLOSED;
use crate::support::raw::{Raw, TEXT, frame};
use crate::support::tokens::token;
use crate::support::wire;

/// How many messages a client sends without waiting for an answer.
const BURST: usize = 200;

fn location() -> Value {
    json!({"type": "location.report", "payload": {"latitude": 48.2082, "longitude": 16.3738, "accuracy": 5}})
}

fn chat(content: &str) -> String {
    json!({"type": "chat.send", "payload": {"conversation_id": "c1", "content": content}}).to_string()
}

#[test]
fn each_service_answers_over_the_connection_that_asked() {
    let gateway = Gateway::start(Config::new().list("presence.channels", &[]));
    let [mut ana, mut ben] = ["ana", "ben"].map(|user| Client::connect(&gateway, &token(user)));
    for client in [&mut ana, &mut ben] {
        client.subscribe(&["conv:c1"]);
    }

    ana.send(&location().to_string());
    expect(&mut ana, &json!({"type": "location.accepted"}));
    ana.send(r#"{"type":"notification.read","id":5,"payload":{"notification_id":"n1"}}"#);
    expect(&mut ana, &json!({"type": "notification.accepted", "id": 5}));
    ana.send(&chat("Good morning"));
    let accepted = ana.await_type("chat.accepted");
    let id = wire::string(&accepted, &["payload", "message_id"]);
    assert!(!id.is_empty(), "{accepted:?}");
    for client in [&mut ana, &mut ben] {
        let message = client.expect_type("message.new");
        let created_at = wire::string(&message, &["payload", "message", "created_at"]);
        let said = json!({"id": id, "sender_id": "ana", "content": "Good morning", "created_at": created_at});
        assert_eq!(message, json!({"type": "message.new", "payload": {"conversation_id": "c1", "message": said}}));
    }
    assert_nothing_came(&gateway, "ben", &mut ben);
}

/// A backend that speaks gRPC, and what it says by itself over the admin port.
#[cfg(feature = "grpc")]
#[test]
fn with_backends_over_grpc_a_client_hears_the_same() {
    use crate::support::grpc::Backend;
    use crate::support::ports;
    use crate::support::wait::eventually_some;
    use ringway::proto::admin::v1::PublishRequest;
    use ringway::proto::admin::v1::admin_service_client::AdminServiceClient;

    let backend = Backend::start();
    let (address, admin) = (backend.address.to_string(), ports::free());
    let config = Config::new().set("admin.grpc_listen", admin.to_string());
    let config = ["location", "chat", "notification"]
        .iter()
        .fold(config, |config, key| config.set(&format!("grpc.{key}"), address.clone()));
    let gateway = Gateway::start(config);
    let [mut ana, mut ben] = ["ana", "ben"].map(|user| Client::connect(&gateway, &token(user)));
    for client in [&mut ana, &mut ben] {
        client.subscribe(&["conv:c1"]);
    }
    eventually_some("the backend is connected", || {
        ana.send(&location().to_string());
        (wire::kind(&ana.next_json()) == "location.accepted").then_some(())
    });
    let asked = |method| eventually_some(method, || backend.asked().into_iter().find(|asked| asked.method == method));
    ana.send(r#"{"type":"notification.read","id":5,"payload":{"notification_id":"n1"}}"#);
    expect(&mut ana, &json!({"type": "notification.accepted", "id": 5}));
    assert_eq!(asked("Read").text, "n1");
    ana.send(&chat("Good morning"));
    let id = wire::string(&ana.expect_type("chat.accepted"), &["payload", "message_id"]).to_owned();
    assert!(asked("Send").text.contains("Good morning"));

    let said = json!({"id": id, "sender_id": "ana", "content": "Good morning", "created_at": "2026-11-20T04:53:53Z"});
    let message = json!({"type": "message.new", "payload": {"conversation_id": "c1", "message": said}});
    let publish =
        PublishRequest { channels: vec!["conv:c1".into()], message: message.to_string(), ..Default::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let published = runtime.block_on(async {
        let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{admin}")).expect("an address");
        AdminServiceClient::new(endpoint.connect().await.expect("it listens")).publish(publish).await
    });
    assert_eq!(published.expect("published").get_ref().delivered, 2);
    for client in [&mut ana, &mut ben] {
        assert_eq!(client.next_json(), message);
    }
}

#[test]
fn answers_and_messages_come_in_the_order_of_what_was_sent() {
    let gateway = Gateway::start(Config::new().list("presence.channels", &[]));
    let [mut ana, mut ben] = ["ana", "ben"].map(|user| Client::connect(&gateway, &token(user)));
    ben.subscribe(&["conv:c1"]);
    ana.subscribe(&["conv:c1"]);
    for n in 0..BURST {
        ana.send(&chat(&n.to_string()).replacen('{', &format!(r#"{{"id":{n},"#), 1));
    }
    let mut accepted = 0;
    let mut heard = 0;
    while accepted < BURST || heard < BURST {
        let message = ana.next_json();
        let next = if wire::kind(&message) == "chat.accepted" {
            assert_eq!(wire::number(&message, &["id"]), Some(accepted as u64));
            &mut accepted
        } else {
            assert_eq!(wire::string(&message, &["payload", "message", "content"]), heard.to_string());
            &mut heard
        };
        *next += 1;
    }
    for n in 0..BURST {
        let message = ben.expect_type("message.new");
        assert_eq!(wire::string(&message, &["payload", "message", "content"]), n.to_string());
    }
}

#[test]
fn a_client_that_does_not_read_holds_up_nobody() {
    // More than the buffers of both ends hold.
    const MESSAGES_MAX: usize = 10_000;
    let gateway = Gateway::start(Config::new().list("presence.channels", &[]).set("limits.close_deadline", "500ms"));
    let [mut ana, mut ben] = ["ana", "ben"].map(|user| Client::connect(&gateway, &token(user)));
    let mut slow = Raw::connect(&gateway, "/ws", &token("slow"));
    slow.write(&frame(TEXT, br#"{"type":"subscribe","channels":["conv:c1"]}"#));
    slow.next_text();
    for client in [&mut ana, &mut ben] {
        client.subscribe(&["conv:c1"]);
    }
    let long = "x".repeat(7000);
    for sent in 0.. {
        assert!(sent < MESSAGES_MAX, "{sent} messages wait for a client that does not read");
        ana.send(&chat(&long));
        ana.await_type("message.new");
        ben.expect_type("message.new");
        if sent % 32 == 0 && gateway.admin().metrics().labelled(CLOSED, "code", "too_slow") == 1.0 {
            break;
        }
    }
    gateway.admin().eventually_active(2);
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
