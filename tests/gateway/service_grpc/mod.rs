//! Promise: with a backend that speaks gRPC behind a service, what clients say reaches it in order and with who says
//! it, and what it answers, once or as a stream, reaches them in order; whatever the backend does, nobody else is
//! harmed.

mod outages;
mod streams;

use std::path::Path;
use std::process::Command;
use std::sync::atomic::Ordering::SeqCst;

use crate::support::blocks::blocks;
use crate::support::client::{Client, Event};
use crate::support::config::Config;
use crate::support::garbage::{Liar, Noise, Said};
use crate::support::gateway::Gateway;
use crate::support::grpc::{Backend, Certified};
use crate::support::process::run;
use crate::support::tokens::{SECRET, now, token};
use crate::support::wait::eventually;
use crate::support::wire;

/// Messages that are relayed as they come: their field `do` says what the backend does.
const ASK: &str = r#"
[[routes]]
type = "ask"
action = "forward"
service = "answers"
optional = { key = "id" }

[[routes]]
type = "ask.in_line"
action = "forward"
service = "answers"
fields = { key = "id" }
key = "{key}"
reply = '{"type":"done"}'
"#;

fn asked(backend: &str, more: &str) -> Config {
    let service = format!("[[services]]\nname = 'answers'\nkind = 'grpc'\naddress = '{backend}'\n{more}");
    Config::new().with(ASK).with(&service)
}

fn started(config: Config) -> Gateway {
    let gateway = Gateway::start(config);
    eventually("the service is connected", || is_connected(&gateway));
    gateway
}

fn is_connected(gateway: &Gateway) -> bool {
    gateway.admin().get("/metrics").body.contains("ringway_service_connected{service=\"answers\"} 1")
}

fn code(message: &sonic_rs::Value) -> &str {
    wire::string(message, &["payload", "code"])
}

#[test]
fn the_variables_of_other_systems_are_enough_for_typed_services() {
    let backend = Backend::start();
    let address = backend.address.to_string();
    let gateway = Gateway::start_by_variables(
        "PORT",
        &[
            ("JWT_SECRET", SECRET),
            ("LOCATION_SERVICE_ADDRESS", &address),
            ("CHAT_SERVICE_ADDRESS", &backend.url()),
            ("NOTIFICATION_SERVICE_ADDRESS", &address),
        ],
    );
    eventually("three services are connected", || {
        gateway.admin().get("/metrics").body.matches("ringway_service_connected{").count() == 3
            && backend.book().accepted.load(SeqCst) >= 3
            && !gateway.admin().get("/metrics").body.contains("\"} 0\nringway_service_connected")
    });
    let mut ana = Client::connect_at(&gateway, "/ws?userType=rider&platform=ios&deviceId=d1", &token("ana"));
    ana.send(
        r#"{"type":"location.report","id":1,"payload":{"latitude":48.2,"longitude":16.4,"accuracy":-1,"timestamp":5}}"#,
    );
    let taken = ana.expect_type("location.accepted");
    assert_eq!(wire::number(&taken, &["id"]), Some(1));
    ana.subscribe(&["conv:c1"]);
    ana.send(r#"{"type":"chat.send","id":2,"payload":{"conversation_id":"c1","content":"Good \"morning\"\n"}}"#);
    let taken = ana.expect_type("chat.accepted");
    assert_eq!(wire::string(&taken, &["payload", "message_id"]).len(), 36, "the gateway's id");
    ana.send(r#"{"type":"chat.send","payload":{"conversation_id":"c1","content":"rename"}}"#);
    assert_eq!(wire::string(&ana.expect_type("chat.accepted"), &["payload", "message_id"]), "own-id");
    ana.send(r#"{"type":"subscribe_clan_chat","clanId":"k1"}"#);
    ana.expect_type("subscription_confirmed");
    ana.send(r#"{"type":"chat","clanId":"k1","content":"rename"}"#);
    assert_eq!(wire::string(&ana.expect_type("message_sent"), &["messageId"]), "own-id");
    ana.send(r#"{"type":"notification.read","payload":{"notification_id":"n1"}}"#);
    ana.expect_type("notification.accepted");
    ana.send(r#"{"type":"notification_ack","notificationId":7}"#);

    let mut asked = Vec::new();
    eventually("all have come", || {
        asked = backend.asked();
        asked.len() == 6
    });
    let heard: Vec<_> = asked.iter().map(|asked| (asked.method, asked.kind.as_str(), asked.text.as_str())).collect();
    assert_eq!(
        heard,
        [
            ("ReportLocation", "location.report", "(48.2, 16.4, None, None, Some(-1.0), Some(5.0), None)"),
            ("Send", "chat.send", r#"("c1", "Good \"morning\"\n", "", "conv:c1", true)"#),
            ("Send", "chat.send", r#"("c1", "rename", "", "conv:c1", true)"#),
            ("Send", "chat", r#"("k1", "rename", "TEXT", "clan:k1", true)"#),
            ("Read", "notification.read", "n1"),
            ("Acknowledge", "notification_ack", "7"),
        ]
    );
    for asked in &asked {
        let identity = &asked.identity;
        assert_eq!((identity.user_id.as_str(), identity.user_type.as_str()), ("ana", "rider"));
        assert_eq!(
            (identity.attributes["platform"].as_str(), identity.attributes["device_id"].as_str()),
            ("ios", "d1")
        );
        assert_eq!(identity.session_id, gateway.admin().connection_of("ana").session_id);
    }
}

#[test]
fn a_relayed_message_comes_whole_with_deadline_and_metadata_and_its_answer_goes_back_as_it_is() {
    let backend = Backend::start();
    let gateway = started(asked(&backend.url(), "timeout = '3s'\nmetadata = { x-api-key = 'k3y' }"));
    let mut ana = Client::connect(&gateway, &token("ana"));
    let message = r#"{"type":"ask","do":"say", "n":1,"x":{"y":["\u00e9",1e3]}}"#;
    ana.send(message);
    assert_eq!(ana.next_text(), r#"{"type":"said","n":1}"#);
    let asked = backend.asked().remove(0);
    assert_eq!((asked.text.as_str(), asked.kind.as_str(), asked.api_key.as_str()), (message, "ask", "k3y"));
    let micros: u64 = asked.timeout.trim_end_matches('u').parse().expect("a number of microseconds");
    assert!((1..=3_100_000).contains(&micros), "{}", asked.timeout);
}

#[test]
fn every_status_and_every_kind_of_garbage_has_its_answer_and_the_next_call_works() {
    let backend = Backend::start();
    let gateway = started(asked(&backend.url(), ""));
    let mut ana = Client::connect(&gateway, &token("ana"));
    for (what, told) in [
        ("refuse:14", "service_unavailable"),
        ("refuse:4", "service_unavailable"),
        ("refuse:8", "busy"),
        ("refuse:3", "service_refused"),
        ("refuse:16", "service_refused"),
        ("babble", "service_refused"),
        ("shout", "service_refused"),
    ] {
        ana.send(&format!(r#"{{"type":"ask","do":"{what}","id":9}}"#));
        let error = ana.expect_type("error");
        assert_eq!((code(&error), wire::number(&error, &["id"])), (told, Some(9)), "{what}");
        ana.send(r#"{"type":"ask","do":"say","n":2}"#);
        assert_eq!(ana.next_text(), r#"{"type":"said","n":2}"#, "after {what}");
    }
    assert!(is_connected(&gateway));
}

#[test]
fn a_call_that_hangs_holds_up_its_own_key_alone_until_its_deadline() {
    let backend = Backend::start();
    let gateway = started(asked(&backend.url(), "timeout = '2s'"));
    let (mut ana, mut bob) = (Client::connect(&gateway, &token("ana")), Client::connect(&gateway, &token("bob")));
    let asked = || backend.asked().iter().filter(|asked| asked.text.contains(r#""key":"a""#)).count();
    ana.send(r#"{"type":"ask.in_line","key":"a","do":"hang"}"#);
    eventually("it is asked", || asked() == 1);
    ana.send(r#"{"type":"ask.in_line","key":"b","do":"say","n":1}"#);
    bob.send(r#"{"type":"ask.in_line","key":"b","do":"say","n":2}"#);
    assert_eq!(bob.next_text(), r#"{"type":"said","n":2}"#, "another key does not wait");
    bob.send(r#"{"type":"ask.in_line","key":"a","do":"say","n":3}"#);
    ana.ping();
    assert_eq!(asked(), 1, "what has the same key waits");
    assert_eq!(code(&ana.expect_type("error")), "service_unavailable");
    assert_eq!(ana.next_text(), r#"{"type":"said","n":1}"#, "told in its place");
    eventually("the call is given up", || backend.book().cancelled.load(SeqCst) == 1);
}

#[test]
fn messages_of_a_key_or_of_a_client_reach_the_backend_in_their_order() {
    const EACH: usize = 300;
    let backend = Backend::start();
    let gateway = started(asked(&backend.url(), ""));
    let mut clients: Vec<_> = ["ana", "bob"].map(|user| Client::connect(&gateway, &token(user))).into();
    // No more than may wait for answers at once.
    for some in (0..EACH).collect::<Vec<_>>().chunks(15) {
        for client in &mut clients {
            for n in some {
                client.send(&format!(r#"{{"type":"ask","do":"say","n":{n}}}"#));
                client.send(&format!(r#"{{"type":"ask.in_line","key":"k{}","n":{n}}}"#, n % 3));
            }
        }
        for client in &mut clients {
            let mut said = Vec::new();
            for _ in 0..2 * some.len() {
                let answer = client.next_json();
                if wire::kind(&answer) == "said" {
                    said.push(wire::number(&answer, &["n"]).expect("a number") as usize);
                }
            }
            assert_eq!(said, some, "answers of a type come in the order of the messages");
        }
    }
    let asked = backend.asked();
    assert_eq!(asked.len(), 4 * EACH);
    for user in ["ana", "bob"] {
        for kind in [r#""type":"ask","#, "k0", "k1", "k2"] {
            let numbers = asked.iter().filter(|asked| asked.identity.user_id == user && asked.text.contains(kind));
            let numbers: Vec<_> = numbers.map(|asked| wire::number(&wire::json(&asked.text), &["n"])).collect();
            assert!(numbers.len() >= EACH / 3 && numbers.is_sorted(), "{user} {kind}: {numbers:?}");
        }
    }
}

#[test]
fn hostile_content_arrives_as_the_text_that_it_is_and_nowhere_else() {
    let backend = Backend::start();
    let gateway = started(asked(&backend.url(), "metadata = { x-api-key = 'k3y' }"));
    let mut eve =
        Client::connect_at(&gateway, "/ws?userType=a%0d%0ax-api-key:evil&platform=%00*%3E", &token("eve.*>\"'{}"));
    let contents = ["\\r\\nx-api-key: evil\\r\\n", "\\u0000\\u0001", "*.> {user_id} ${x}", "'; --"].map(str::to_owned);
    let large = format!(r#"\"{}"#, "\\\"".repeat(3500));
    for content in contents.iter().chain([&large]) {
        let key = "k.*>\\\"{type}";
        let message = format!(r#"{{"type":"ask.in_line","key":"{key}","text":"{content}"}}"#);
        eve.send(&message);
        eve.expect_type("done");
        let asked = backend.asked().pop().expect("a call");
        assert_eq!((asked.text.as_str(), asked.api_key.as_str()), (message.as_str(), "k3y"));
        assert_eq!((asked.method, asked.identity.user_id.as_str()), ("Forward", "eve.*>\"'{}"));
    }
}

/// An authority, and a server that it vouches for; both for an hour, in a folder.
fn certified(folder: &Path) -> Certified {
    let script = "set -e
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=authority \
            -keyout ca.key -out ca.pem
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=backend -keyout key.pem -out csr
        printf 'subjectAltName=IP:127.0.0.1\\nbasicConstraints=CA:FALSE' > ext
        openssl x509 -req -in csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 1 -extfile ext -out cert.pem";
    let made = run(Command::new("sh").args(["-c", script]).current_dir(folder));
    assert_eq!(made.code, Some(0), "{made:?}");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).expect(name);
    Certified { certificate: read("cert.pem"), key: read("key.pem") }
}

#[test]
fn tls_is_spoken_with_whom_the_authority_vouches_for_and_with_nobody_else() {
    let folder = tempfile::tempdir().expect("a temp dir");
    let backend = Backend::start_with(Some(&certified(folder.path())));
    let other = tempfile::tempdir().expect("a temp dir");
    certified(other.path());
    let address = format!("https://{}", backend.address);
    let ca_file = |folder: &Path| format!("tls_ca_file = '{}'", folder.join("ca.pem").display());
    let distrusted =
        format!("[[services]]\nname = 'distrusted'\nkind = 'grpc'\naddress = '{address}'\n{}", ca_file(other.path()));
    let gateway = started(asked(&address, &ca_file(folder.path())).with(&distrusted));
    let mut ana = Client::connect(&gateway, &token("ana"));
    ana.send(r#"{"type":"ask","do":"say","n":1}"#);
    assert_eq!(wire::kind(&ana.next_json()), "said");
    eventually("the other one says why", || {
        let ready = gateway.admin().get("/readyz").body;
        ready.contains("invalid peer certificate")
    });
}

#[test]
fn the_configurations_of_the_document_work_as_they_stand_there() {
    let backend = Backend::start();
    let texts: Vec<_> = blocks("docs/integrations/grpc.md").into_iter().filter(|block| block.info == "toml").collect();
    assert!(texts.len() >= 3, "{} configurations", texts.len());
    for block in texts {
        let text = block.text.replace("http://127.0.0.1:50051", &backend.url());
        let gateway = Gateway::start(Config::new().with(&text));
        let services = text.matches("50051").count() + text.matches(&backend.url()).count();
        eventually("all services are connected", || {
            let page = gateway.admin().get("/metrics").body;
            let connected = page.lines().filter(|line| line.starts_with("ringway_service_connected{"));
            connected.filter(|line| line.ends_with(" 1")).count() == services
        });
        let mut ana = Client::connect(&gateway, &token("ana"));
        if text.contains("chat.history") {
            ana.send(r#"{"type":"chat.history","payload":{"conversation_id":"c1","limit":1}}"#);
            ana.expect_type("chat.message");
        } else if text.contains("contract") || text.contains("[grpc]") {
            ana.send(r#"{"type":"location.report","payload":{"latitude":48.2,"longitude":16.4}}"#);
            ana.expect_type("location.accepted");
        } else {
            ana.send(r#"{"type":"order.place","payload":{"order_id":"o1"}}"#);
            ana.expect_type("order.taken");
        }
    }
}
