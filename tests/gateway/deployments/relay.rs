//! Relay: three services that speak gRPC, each at an address of its own, which the gateway is told by variables.

use sonic_rs::json;

use super::{all_connected, expect, one_is_away, refused};
use crate::support::client::Client;
use crate::support::gateway::Gateway;
use crate::support::grpc::Backend;
use crate::support::tokens::{SECRET, token};
use crate::support::wait::eventually_some;
use crate::support::wire;

#[test]
fn three_services_answer_over_one_connection_and_none_holds_up_another() {
    let [location, mut chat, notification] = [(); 3].map(|()| Backend::start());
    let addresses = [&location, &chat, &notification].map(|backend| backend.address.to_string());
    let gateway = Gateway::start_by_variables(
        "PORT",
        &[
            ("LOCATION_SERVICE_ADDRESS", &addresses[0]),
            ("CHAT_SERVICE_ADDRESS", &addresses[1]),
            ("NOTIFICATION_SERVICE_ADDRESS", &addresses[2]),
            ("JWT_SECRET", SECRET),
        ],
    );
    all_connected(&gateway, 3);
    let mut ana = Client::connect(&gateway, &token("ana"));
    ana.subscribe(&["conv:c1"]);
    let say = json!({"type": "chat.send", "payload": {"conversation_id": "c1", "content": "Good morning"}}).to_string();
    let report = r#"{"type":"location.report","payload":{"latitude":48.2082,"longitude":16.3738,"accuracy":5}}"#;
    let read = r#"{"type":"notification.read","payload":{"notification_id":"n1"}}"#;
    ana.send(&say);
    assert!(!wire::string(&ana.await_type("chat.accepted"), &["payload", "message_id"]).is_empty());
    ana.send(report);
    ana.await_type("location.accepted");
    ana.send(read);
    ana.await_type("notification.accepted");
    for (backend, method) in [(&location, "ReportLocation"), (&chat, "Send"), (&notification, "Read")] {
        let asked = eventually_some("it is asked", || backend.asked().into_iter().next());
        assert_eq!((asked.method, &*asked.identity.user_id), (method, "ana"));
        assert_eq!(backend.asked().len(), 1, "each gets its own");
    }

    // One that stands still has its own messages waiting, and no others; one that dies says so.
    let frozen = chat.freeze();
    ana.send(&say);
    for _ in 0..20 {
        ana.send(report);
        ana.await_type("location.accepted");
    }
    drop(frozen);
    ana.await_type("chat.accepted");
    chat.kill();
    one_is_away(&gateway);
    ana.send(&say);
    assert_eq!(refused(&mut ana), "service_unavailable");
    ana.send(read);
    expect(&mut ana, &json!({"type": "notification.accepted"}));
    chat.restart();
    all_connected(&gateway, 3);
    ana.send(&say);
    ana.await_type("chat.accepted");
}
