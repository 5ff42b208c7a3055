//! Promise: with a backend that speaks gRPC behind a service, what clients say reaches it in order and with who says it,
//! and what it answers, once or as a stream, reaches them in order; whatever the backend does, nobody else is harmed.

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
service = "desk"
optional = { key = "id" }

[[routes]]
type = "ask.in_line"
action = "forward"
service = "desk"
fields = { key = "id" }
key = "{key}"
reply = '{"type":"done"}'
"#;

fn desk(backend: &str, more: &str) -> Config {
    let service = format!("[[services]]\nname = 'desk'\nkind = 'grpc'\naddress = '{backend}'\n{more}");
    Config::new().and(ASK).and(&service)
}

fn started(config: Config) -> Gateway {
    let gateway = Gateway::start(config);
    eventually("the service is connected", || is_connected(&gateway));
    gateway
}

fn is_connected(gateway: &Gateway) -> bool {
    gateway.admin().get("/metrics").body.contains("ringway_service_connected{service=\"desk\"} 1")
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
    let gateway = started(desk(&backend.url(), "timeout = '3s'\nmetadata = { x-api-key = 'k3y' }"));
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
    let gateway = started(desk(&backend.url(), ""));
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
    let gateway = started(desk(&backend.url(), "timeout = '2s'"));
    let (mut ana, mut bob) = (Client::connect(&gateway, &token("ana")), Client::connect(&gateway, &token("bob")));
    ana.send(r#"{"type":"ask.in_line","key":"a","do":"hang"}"#);
    ana.send(r#"{"type":"ask.in_line","key":"b","do":"say","n":1}"#);
    bob.send(r#"{"type":"ask.in_line","key":"b","do":"say","n":2}"#);
    assert_eq!(bob.next_text(), r#"{"type":"said","n":2}"#, "another key does not wait");
    let asked = || backend.asked().iter().filter(|asked| asked.text.contains(r#""key":"a""#)).count();
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
    let gateway = started(desk(&backend.url(), ""));
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
fn a_stream_of_ten_thousand_comes_whole_and_in_order() {
    const PARTS: u64 = 10_000;
    let backend = Backend::start();
    let gateway = started(desk(&backend.url(), "streaming = true"));
    let mut ana = Client::connect(&gateway, &token("ana"));
    ana.send(&format!(r#"{{"type":"ask.in_line","key":"k","do":"stream:{PARTS}","id":3}}"#));
    for n in 0..PARTS {
        let part = ana.expect_type("part");
        assert_eq!(wire::number(&part, &["n"]), Some(n));
    }
    assert_eq!(ana.next_text(), r#"{"type":"done","id":3}"#, "the route's reply says that this was all");
    assert_eq!(backend.book().cancelled.load(SeqCst), 0);
}

#[test]
fn a_client_that_does_not_read_holds_up_its_backend_and_nobody_else() {
    const PARTS: usize = 10_000;
    const SIZE: usize = 4000;
    let backend = Backend::start();
    let gateway = started(desk(&backend.url(), "streaming = true"));
    let (mut ana, mut bob) = (Client::connect(&gateway, &token("ana")), Client::connect(&gateway, &token("bob")));
    ana.send(&format!(r#"{{"type":"ask","do":"stream:{PARTS}","size":{SIZE}}}"#));
    let streamed = || backend.book().streamed.load(SeqCst);
    let mut before = 0;
    eventually("the backend is held up", || {
        // Whoever else asks is answered, and that takes some time.
        for n in 0..50 {
            bob.send(&format!(r#"{{"type":"ask","do":"stream:1","n":{n}}}"#));
            bob.expect_type("part");
        }
        let now = streamed() - before;
        before = streamed();
        now == 50
    });
    assert!(streamed() < PARTS, "{} of {PARTS} parts were taken from the backend", streamed());
    assert!(gateway.admin().metrics().sum("ringway_outbox_bytes") < 100_000.0);
    for n in 0..PARTS as u64 {
        assert_eq!(wire::number(&ana.expect_type("part"), &["n"]), Some(n));
    }
    assert_eq!(backend.book().cancelled.load(SeqCst), 0);
}

#[test]
fn a_stream_ends_with_its_client_its_backend_or_its_deadline() {
    let mut backend = Backend::start();
    let gateway = started(desk(&backend.url(), "streaming = true\ntimeout = '1s'"));
    let cancelled = |backend: &Backend, count| {
        eventually("the backend hears of it", || backend.book().cancelled.load(SeqCst) == count);
    };
    let ask = |what: &str| {
        let mut client = Client::connect(&gateway, &token("ana"));
        client.send(&format!(r#"{{"type":"ask","do":"{what}"}}"#));
        client
    };
    // The client goes, while the backend says nothing.
    let mut ana = ask("hang:1");
    ana.expect_type("part");
    ana.close();
    cancelled(&backend, 1);
    // The backend says nothing for too long.
    let mut ana = ask("hang:2");
    ana.expect_type("part");
    ana.expect_type("part");
    assert_eq!(code(&ana.expect_type("error")), "service_unavailable");
    cancelled(&backend, 2);
    // It fails, or says what is no message; what came before that counts.
    for (what, parts) in [("fail:2", 2), ("babble:3", 3)] {
        let mut ana = ask(what);
        (0..parts).for_each(|_| drop(ana.expect_type("part")));
        assert_eq!(code(&ana.expect_type("error")), "service_refused", "{what}");
    }
    // It dies.
    let mut ana = ask("hang:3");
    (0..3).for_each(|_| drop(ana.expect_type("part")));
    backend.kill();
    assert_eq!(code(&ana.expect_type("error")), "service_unavailable");
    eventually("the service is known to be away", || !is_connected(&gateway));
    ana.send(r#"{"type":"ask","do":"stream:1"}"#);
    assert_eq!(code(&ana.expect_type("error")), "service_unavailable", "refused at once");
    backend.restart();
    eventually("the service is connected again", || is_connected(&gateway));
    ana.send(r#"{"type":"ask","do":"empty:1"}"#);
    ana.expect_type("part");
    ana.ping();
}

#[test]
fn typed_streams_become_messages() {
    let backend = Backend::start();
    let service = |name: &str, contract: &str, kind: &str, fields: &str| {
        format!(
            "[[routes]]\ntype = '{kind}'\naction = 'forward'\nservice = '{name}'\n{fields}\n[[services]]\nname = '{name}'\n\
             kind = 'grpc'\naddress = '{}'\ncontract = '{contract}'\nstreaming = true\n",
            backend.address
        )
    };
    let config = Config::new()
        .and(&service("desk", "chat", "chat.history", "fields = { conversation_id = 'id' }"))
        .and(&service("watching", "location", "location.watch", "fields = { user_id = 'id' }"))
        .and(&service("list", "notification", "notification.list", ""));
    let gateway = started(config);
    let mut ana = Client::connect(&gateway, &token("ana"));
    eventually("all services answer", || {
        ana.send(r#"{"type":"notification.list"}"#);
        let heard = ana.next_text();
        heard
            == r#"{"type":"notification","id":"n1","payload":{"title":"Ready","body":"","created_at":"","is_read":true}}"#
    });
    ana.send(r#"{"type":"chat.history","payload":{"conversation_id":"c1","limit":2,"before":"m9"}}"#);
    for n in 0..2 {
        let message = format!(
            r#"{{"id":"m{n}","sender_id":"bob","content":"so it \"was\"","created_at":"2026-11-20T04:53:53Z"}}"#
        );
        let entry = format!(r#"{{"type":"chat.message","payload":{{"conversation_id":"c1","message":{message}}}}}"#);
        assert_eq!(ana.next_text(), entry);
    }
    eventually("location.watch answers", || {
        ana.send(r#"{"type":"location.watch","user_id":"bob"}"#);
        wire::kind(&ana.next_json()) == "location.position"
    });
    assert_eq!(
        ana.next_text(),
        r#"{"type":"location.position","payload":{"user_id":"bob","latitude":49.0,"longitude":16.0,"speed":1.5}}"#
    );
    ana.send(r#"{"type":"chat.history","conversation_id":"c1","limit":"many"}"#);
    assert_eq!(code(&ana.expect_type("error")), "service_refused");
    let asked = backend.asked();
    assert!(asked.iter().any(|asked| asked.method == "History" && asked.text == r#"("m9", 2)"#), "{asked:?}");
    assert!(matches!(ana.poll(), None | Some(Event::Ping)));
}

#[test]
fn what_is_no_backend_is_not_connected_and_harms_nobody() {
    let backend = Backend::start();
    let noises: [&[u8]; 4] =
        [b"", b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", b"\0\xff\x01garbage", &[0; 100_000]];
    let noises = noises.map(Noise::start);
    let mut config = desk(&backend.url(), "");
    for (n, noise) in noises.iter().enumerate() {
        let (route, address) = (format!("type = 'ask.{n}'\naction = 'forward'\nservice = 's{n}'"), noise.address);
        config = config
            .and(&format!("[[routes]]\n{route}\n[[services]]\nname = 's{n}'\nkind = 'grpc'\naddress = '{address}'"));
    }
    let gateway = started(config);
    let mut ana = Client::connect(&gateway, &token("ana"));
    for n in 0..noises.len() {
        eventually("it is known to be none, and why", || {
            let ready = gateway.admin().get("/readyz").body;
            let line = ready.split(&format!(r#"{{"name":"s{n}""#)).nth(1).expect("its line").to_owned();
            line.starts_with(r#","kind":"grpc","state":"disconnected""#) && !line.contains(r#""error":null,"recon"#)
        });
        ana.send(&format!(r#"{{"type":"ask.{n}"}}"#));
        assert_eq!(code(&ana.expect_type("error")), "service_unavailable", "{n}");
        ana.send(r#"{"type":"ask","do":"say","n":1}"#);
        assert_eq!(wire::kind(&ana.next_json()), "said", "{n}");
    }
}

#[test]
fn what_no_backend_says_is_an_error_and_the_gateway_lives() {
    let well = Said::grpc(&[0; 5]);
    let with_trailers = |trailers| Said { trailers: Some(trailers), ..well.clone() };
    let lies = vec![
        // No protobuf, another one's, cut short, compressed although nobody asked for it, longer than allowed.
        Said::grpc(b"\0\0\0\0\x05\xff\xff\xff\xff\xff"),
        Said::grpc(b"\0\0\0\0\x04\x0a\x02\xff\xfe"),
        Said::grpc(b"\0\0\0\0\x20\x0a\x01"),
        Said::grpc(b"\x01\0\0\0\0"),
        Said::grpc(b"\x7f\0\0\0\0"),
        Said::grpc(b"\0\xff\xff\xff\xff"),
        // Nothing at all, no status, one that is none, details that are no base64, an HTML page.
        Said { body: vec![], ..well.clone() },
        Said { body: vec![], trailers: None, ..well.clone() },
        with_trailers(vec![("grpc-status", "banana"), ("grpc-message", "%zz%ff")]),
        with_trailers(vec![("grpc-status", "13"), ("grpc-status-details-bin", "*** no base64 ***")]),
        Said {
            headers: vec![
                ("content-type", "application/grpc"),
                ("grpc-status", "13"),
                ("grpc-status-details-bin", "*** no base64 ***"),
            ],
            body: vec![],
            trailers: None,
            ..well.clone()
        },
        Said { status: 404, headers: vec![("content-type", "text/html")], body: b"<html>".to_vec(), trailers: None },
        Said { status: 200, headers: vec![], body: vec![], trailers: None },
    ];
    let count = lies.len();
    let liar = Liar::start(lies);
    let mut gateway = started(desk(&liar.address.to_string(), "timeout = '5s'"));
    let mut ana = Client::connect(&gateway, &token("ana"));
    for n in 1..=count {
        ana.send(&format!(r#"{{"type":"ask.in_line","key":"k","id":{n}}}"#));
        let error = ana.next_json();
        assert_eq!((wire::kind(&error), wire::number(&error, &["id"])), ("error", Some(n as u64)), "{error:?}");
        let told = code(&error);
        assert!(told == "service_refused" || told == "service_unavailable", "{n}: {told}");
        eventually("the service is connected", || is_connected(&gateway));
    }
    ana.send(r#"{"type":"ask.in_line","key":"k"}"#);
    ana.expect_type("done");
    assert_eq!(liar.said.load(SeqCst), count + 1, "each was asked once");
    assert!(gateway.process().ended().is_none());
}

#[test]
fn a_backend_that_stands_still_slows_nobody_who_does_not_ask_it() {
    let backend = Backend::start();
    let gateway = started(desk(&backend.url(), "timeout = '1s'"));
    let (mut ana, mut bob) = (Client::connect(&gateway, &token("ana")), Client::connect(&gateway, &token("bob")));
    let thaw = backend.freeze();
    for round in 0..3 {
        // Fewer than may wait for one connection, so that all are for the service.
        for n in 0..30 {
            ana.send(&format!(r#"{{"type":"ask","do":"say","n":{n}}}"#));
            bob.ping();
        }
        for n in 0..30 {
            assert_eq!(code(&ana.expect_type("error")), "service_unavailable", "{round}: {n}");
        }
    }
    drop(thaw);
    eventually("it answers again", || {
        ana.send(r#"{"type":"ask","do":"say","n":1}"#);
        wire::kind(&ana.next_json()) == "said"
    });
    let page = gateway.admin().get("/metrics").body;
    assert!(page.contains("ringway_service_waiting{service=\"desk\"} 0"), "{page}");
}

#[test]
fn what_finds_no_room_in_the_queue_is_told_so() {
    let backend = Backend::start();
    let gateway = started(desk(&backend.url(), "timeout = '2s'\nqueue = 5\nconcurrency = 2"));
    let mut ana = Client::connect(&gateway, &token("ana"));
    (0..8).for_each(|n| ana.send(&format!(r#"{{"type":"ask.in_line","key":"k{n}","do":"hang"}}"#)));
    let codes: Vec<_> = (0..8).map(|_| code(&ana.expect_type("error")).to_owned()).collect();
    let count = |which: &str| codes.iter().filter(|code| *code == which).count();
    assert_eq!((count("service_unavailable"), count("busy")), (5, 3), "{codes:?}");
    assert_eq!(backend.asked().len(), 2, "of those that wait the backend does not hear when their time is over");
}

#[test]
fn clients_that_do_not_read_make_room_for_others() {
    let backend = Backend::start();
    let gateway = started(desk(&backend.url(), "streaming = true\nconcurrency = 2\ntimeout = '20s'"));
    let mut slow: Vec<_> = ["ana", "bob"].map(|user| Client::connect(&gateway, &token(user))).into();
    for client in &mut slow {
        client.send(r#"{"type":"ask","do":"stream:10000","size":4000}"#);
    }
    eventually("both places are taken", || backend.asked().len() == 2);
    let mut cleo = Client::connect(&gateway, &token("cleo"));
    cleo.send(r#"{"type":"ask","do":"stream:1"}"#);
    cleo.expect_type("part");
    eventually("one has made room", || backend.book().cancelled.load(SeqCst) == 1);
    let mut ends = Vec::new();
    for client in &mut slow {
        let end = (0..=10_000)
            .map(|_| client.next_json())
            .find(|said| wire::kind(said) != "part" || { wire::number(said, &["n"]) == Some(9999) });
        ends.push(end.map(|end| code(&end).to_owned()).expect("an end"));
    }
    ends.sort_unstable();
    assert_eq!(ends, ["", "busy"], "who made room is told so, the other one gets all");
}

#[test]
fn what_was_confirmed_is_there_when_the_backend_is_killed_under_load_and_all_is_answered() {
    let mut backend = Backend::start();
    let gateway = started(desk(&backend.url(), ""));
    let mut clients: Vec<_> = (0..4).map(|n| Client::connect(&gateway, &token(&format!("u{n}")))).collect();
    let (mut confirmed, mut refused) = (Vec::new(), 0);
    let mut round = |clients: &mut [Client], first: usize| {
        for (at, client) in clients.iter_mut().enumerate() {
            (0..10).for_each(|n| {
                let n = first + 10 * at + n;
                client.send(&format!(r#"{{"type":"ask.in_line","key":"k{at}","n":{n},"id":{n}}}"#));
            });
        }
        for client in clients {
            for _ in 0..10 {
                let answer = client.next_json();
                match wire::kind(&answer) {
                    "done" => confirmed.push(wire::number(&answer, &["id"]).expect("an id")),
                    _ => refused += 1,
                }
            }
        }
        (confirmed.len(), refused)
    };
    let mut first = 0;
    for _ in 0..3 {
        first += 40;
        let (before, _) = round(&mut clients, first);
        backend.kill();
        first += 40;
        round(&mut clients, first);
        backend.restart();
        eventually("messages are confirmed again", || {
            first += 40;
            round(&mut clients, first).0 > before + 39
        });
    }
    let (count, refused) = round(&mut clients, first + 40);
    assert!(count >= 120 && refused > 0, "{count} {refused}");
    let asked: Vec<_> = backend.asked().iter().map(|asked| wire::number(&wire::json(&asked.text), &["n"])).collect();
    for id in confirmed {
        assert_eq!(asked.iter().filter(|n| **n == Some(id)).count(), 1, "{id} was confirmed");
    }
}

#[test]
fn a_backend_that_is_replaced_in_good_order_costs_nobody_a_message() {
    let mut backend = Backend::start();
    let gateway = started(desk(&backend.url(), ""));
    let mut ana = Client::connect(&gateway, &token("ana"));
    let has_settled = |gateway: &Gateway| {
        let ready = gateway.admin().get("/readyz").json();
        let since = wire::at(&ready, &["services"]).and_then(|list| wire::number(&list[0], &["since"]));
        since.is_some_and(|since| since as i64 + 2 < now())
    };
    eventually("the connection is no new one", || has_settled(&gateway));
    for n in 0..300 {
        if n == 100 {
            backend.replace();
        }
        ana.send(&format!(r#"{{"type":"ask","do":"say","n":{n}}}"#));
        assert_eq!(ana.next_text(), format!(r#"{{"type":"said","n":{n}}}"#));
    }
    assert_eq!(backend.book().accepted.load(SeqCst), 2, "another connection was made");
}

#[test]
fn hostile_content_arrives_as_the_text_that_it_is_and_nowhere_else() {
    let backend = Backend::start();
    let gateway = started(desk(&backend.url(), "metadata = { x-api-key = 'k3y' }"));
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
    let gateway = started(desk(&address, &ca_file(folder.path())).and(&distrusted));
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
        let gateway = Gateway::start(Config::new().and(&text));
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
