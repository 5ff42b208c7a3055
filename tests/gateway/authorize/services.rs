//! Promise: a service that decides lets in with `"allowed": true` and nothing else, over whatever it is asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;

use sonic_rs::Value;

use crate::support::client::Client;
use crate::support::config::Config;
use crate::support::gateway::Gateway;
use crate::support::http_backend::{HttpBackend, Reply};
use crate::support::nats::Nats;
use crate::support::tokens::token;
use crate::support::wait::eventually;
use crate::support::wire;

use super::{code, subscribe};

/// What is answered about a conversation of this name; the whole of it.
const ANSWERS: [(&str, &str); 9] = [
    ("yes", r#"{"allowed":true}"#),
    ("typed", r#"{"type":"authorized","allowed":true}"#),
    ("no", r#"{"allowed":false}"#),
    ("typed-no", r#"{"type":"authorized","allowed":false}"#),
    ("text", r#"{"allowed":"true"}"#),
    ("number", r#"{"allowed":1}"#),
    ("bare", "true"),
    ("empty", ""),
    ("object", "{}"),
];

/// The answer to a question.
fn answer_to(question: &Value) -> &'static str {
    assert_eq!((wire::kind(question), wire::string(question, &["user_id"])), ("authorize", "ana"));
    let name = wire::string(question, &["channel"]).strip_prefix("conv:").expect("a conversation");
    ANSWERS.iter().find(|(known, _)| *known == name).expect("a known one").1
}

/// A gateway whose service `desk` has these keys and is asked.
fn started(service: &str, broker: Option<(&str, String)>) -> Gateway {
    let text = format!("[authorize]\nservice = 'desk'\n[[services]]\nname = 'desk'\n{service}\n");
    let mut config = Config::new().with(&text);
    if let Some((key, url)) = broker {
        config = config.set(key, url);
    }
    let gateway = Gateway::start(config);
    eventually("the service is connected", || {
        gateway.admin().get("/metrics").body.contains("ringway_service_connected{service=\"desk\"} 1")
    });
    gateway
}

/// Asks for all of them at once.
fn assert_only_true_opens(gateway: &Gateway) {
    let mut ana = Client::connect(gateway, &token("ana"));
    let names: Vec<String> = ANSWERS.iter().map(|(name, _)| format!("\"{name}\"")).collect();
    subscribe(&mut ana, &names.join(","));
    let subscribed = ana.expect_type("subscribed");
    assert_eq!(wire::strings(&subscribed, &["payload", "conversation_ids"]), ["yes", "typed"]);
    let refused = ana.expect_type("error");
    assert_eq!(wire::string(&refused, &["payload", "code"]), "not_allowed");
    assert_eq!(wire::strings(&refused, &["payload", "conversation_ids"]).len(), ANSWERS.len() - 2);
}

#[test]
fn a_web_service_lets_in_with_allowed_alone() {
    let backend = HttpBackend::start();
    let gateway = started(&format!("kind = 'http'\nurl = '{}'", backend.url("/may")), None);
    backend.answers(|received| Reply::json(answer_to(&wire::json(&received.body))));
    assert_only_true_opens(&gateway);
    // What it says with an error is no answer.
    let mut bob = Client::connect(&gateway, &token("bob"));
    for (status, expected) in [(403, "not_allowed"), (500, "service_unavailable")] {
        backend.always(Reply::Answer(status, vec![], r#"{"allowed":true}"#.into()));
        subscribe(&mut bob, &format!("\"{status}\""));
        assert_eq!(code(&mut bob), expected);
    }
}

#[test]
fn whoever_replies_over_nats_lets_in_with_allowed_alone() {
    let nats = Nats::start();
    let mut peer = nats.peer();
    peer.subscribe("may");
    let is_over = Arc::<AtomicBool>::default();
    let over = is_over.clone();
    let replies = thread::spawn(move || {
        while !over.load(SeqCst) {
            if let Some(question) = peer.next_if_any() {
                let reply = question.reply.as_deref().expect("a reply is wanted");
                if wire::string(&question.json(), &["user_id"]) == "bob" {
                    peer.publish_with(reply, &["Ringway-Error: no"], r#"{"allowed":true}"#);
                } else {
                    peer.publish(reply, answer_to(&question.json()));
                }
            }
        }
    });
    let gateway = started("kind = 'nats'\nsubject = 'may'\nrequest = true", Some(("nats.url", nats.url())));
    assert_only_true_opens(&gateway);
    let mut bob = Client::connect(&gateway, &token("bob"));
    subscribe(&mut bob, "\"yes\"");
    assert_eq!(code(&mut bob), "not_allowed");
    is_over.store(true, SeqCst);
    replies.join().expect("it has not panicked");
}

#[cfg(feature = "grpc")]
#[test]
fn a_backend_of_grpc_lets_in_with_allowed_alone() {
    let backend = crate::support::grpc::Backend::start();
    backend.answers_questions(answer_to);
    for streaming in [false, true] {
        let gateway =
            started(&format!("kind = 'grpc'\naddress = '{}'\nstreaming = {streaming}", backend.address), None);
        assert_only_true_opens(&gateway);
    }
}

#[test]
fn a_service_that_only_takes_lets_nobody_in() {
    let nats = Nats::start();
    let gateway = started("kind = 'nats'\nsubject = 'may'", Some(("nats.url", nats.url())));
    let mut ana = Client::connect(&gateway, &token("ana"));
    subscribe(&mut ana, "\"yes\"");
    assert_eq!(code(&mut ana), "not_allowed");
}
