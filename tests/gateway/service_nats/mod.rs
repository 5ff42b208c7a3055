//! Promise: with NATS behind a service, what clients say reaches it before they are told so; what somebody there
//! answers reaches them; and a NATS that is away, or somebody there who does not answer, is an error and no silence.

mod outages;

use std::collections::HashSet;
use std::thread;

use sonic_rs::{JsonValueTrait, Value, json};

use crate::support::clan::{CHAT, assert_heard_on_every_node, is_connected, member};
use crate::support::client::Client;
use crate::support::config::Config;
use crate::support::gateway::Gateway;
use crate::support::nats::{Message, Nats, Peer};
use crate::support::tokens::{SECRET, token};
use crate::support::wait::eventually;
use crate::support::wire;

/// A gateway whose service `chat` has these keys, and such sections or lists beside.
fn started_with(nats: &Nats, keys: &str, more: &str) -> Gateway {
    let text = format!("[[services]]\nname = 'chat'\nkind = 'nats'\n{keys}\n{more}");
    let config = Config::parse(&text).set("nats.url", nats.url()).set("auth.secret", SECRET);
    let config = config.set("server.shards", 2).set("limits.messages", 1_000_000).list("presence.channels", &[]);
    let gateway = Gateway::start(config);
    eventually("the service is connected", || is_connected(&gateway));
    gateway
}

fn started(nats: &Nats, keys: &str) -> Gateway {
    started_with(nats, keys, "")
}

fn chat(n: usize) -> String {
    format!(r#"{{"type":"chat","clanId":"k1","content":"{n}","id":{n}}}"#)
}

/// The `n` of a message that somebody at NATS gets.
fn number(message: &Message) -> usize {
    wire::string(&message.json(), &["content"]).parse().expect("a number")
}

fn error_code(answer: &Value) -> &str {
    wire::string(answer, &["payload", "code"])
}

fn answer_to(client: &mut Client, message: &str) -> String {
    client.send(message);
    let answer = client.next_json();
    if wire::kind(&answer) == "error" { error_code(&answer).to_owned() } else { wire::kind(&answer).to_owned() }
}

#[test]
fn what_is_published_comes_back_to_members_on_every_node() {
    let nats = Nats::start();
    let service = "subject = 'ws.{channel}'";
    let nodes = [started(&nats, service), started(&nats, service)];
    assert_heard_on_every_node(&nodes);
}

#[test]
fn who_says_it_stands_in_headers_and_the_order_is_kept() {
    const MESSAGES: usize = 200;
    let nats = Nats::start();
    let mut backend = nats.peer();
    backend.subscribe("chat.*");
    let gateway = started(&nats, "subject = 'chat.{key}'");
    let mut ana = member(&gateway, "ana");
    // No more than may wait for answers at once.
    for some in (0..MESSAGES).collect::<Vec<_>>().chunks(25) {
        some.iter().for_each(|n| ana.send(&chat(*n)));
        for n in some {
            assert_eq!(wire::number(&ana.expect_type("message_sent"), &["id"]), Some(*n as u64));
        }
    }
    let session = gateway.admin().connection_of("ana").session_id;
    for n in 0..MESSAGES {
        let message = backend.next();
        assert_eq!((message.subject.as_str(), message.reply.as_deref(), number(&message)), ("chat.k1", None, n));
        let names = ["Type", "User-Id", "Session-Id", "Channel", "Key", "User-Type"];
        let values = names.map(|name| message.header(&format!("Ringway-{name}")).unwrap_or("none"));
        assert_eq!(values, ["chat", "ana", &session, "clan:k1", "k1", "none"]);
    }
}

/// Answers what comes to `chat.>`, as `answer` says, until it says that this is enough.
fn backend(nats: &Nats, mut answer: impl FnMut(&mut Peer, Message) -> bool + Send + 'static) -> thread::JoinHandle<()> {
    let mut peer = nats.peer();
    peer.subscribe("chat.>");
    thread::spawn(move || {
        loop {
            let message = peer.next();
            if !answer(&mut peer, message) {
                break;
            }
        }
        peer.done();
    })
}

#[test]
fn a_reply_is_the_answer_a_receipt_or_a_refusal() {
    let nats = Nats::start();
    let answering = backend(&nats, |peer, message| {
        let reply = message.reply.clone().expect("it is a request");
        match number(&message) {
            0 => peer.publish(&reply, r#"{"type":"moderated","n":0}"#),
            1 => peer.publish(&reply, ""),
            2 => peer.publish_with(&reply, &["Ringway-Error: too_loud"], r#"{"type":"ignored"}"#),
            3 => peer.publish(&reply, "no message"),
            4 => peer.publish_bytes(&reply, b"\xff\xfe"),
            // Twice: the second one is nobody's.
            _ => (0..2).for_each(|_| peer.publish(&reply, r#"{"type":"moderated","n":5}"#)),
        }
        number(&message) < 5
    });
    let gateway = started(&nats, "subject = 'chat.{key}'\nrequest = true");
    let mut ana = member(&gateway, "ana");
    let answers: Vec<String> = (0..6).map(|n| answer_to(&mut ana, &chat(n))).collect();
    let refused = "service_refused";
    assert_eq!(answers, ["moderated", "message_sent", refused, refused, refused, "moderated"]);
    ana.ping();
    answering.join().expect("the backend ends well");
    assert_eq!(answer_to(&mut ana, &chat(6)), "service_unavailable", "nobody listens any more");
}

#[test]
fn many_requests_are_under_way_at_once_and_answers_come_in_order() {
    const REQUESTS: usize = 30;
    let nats = Nats::start();
    let mut waiting = Vec::new();
    // The first answer comes when all requests are there, and the last one first.
    let answering = backend(&nats, move |peer, message| {
        waiting.push((message.reply.clone().expect("it is a request"), number(&message)));
        if waiting.len() == REQUESTS {
            for (reply, n) in waiting.drain(..).rev() {
                peer.publish(&reply, &format!(r#"{{"type":"answer","n":{n}}}"#));
            }
            return false;
        }
        true
    });
    let gateway = started(&nats, "subject = 'chat.{key}'\nrequest = true");
    let mut ana = member(&gateway, "ana");
    (0..REQUESTS).for_each(|n| ana.send(&chat(n)));
    for n in 0..REQUESTS {
        assert_eq!(wire::number(&ana.expect_type("answer"), &["n"]), Some(n as u64));
    }
    answering.join().expect("the backend ends well");
}

#[test]
fn a_stream_confirms_each_message() {
    let nats = Nats::start();
    let mut peer = nats.peer();
    let gateway = started(&nats, "subject = 'chat.{key}'\njetstream = true");
    let mut ana = member(&gateway, "ana");
    assert_eq!(answer_to(&mut ana, CHAT), "service_unavailable", "there is no stream");
    let stream =
        r#"{"name":"CHAT","subjects":["chat.>"],"max_msgs":2,"max_msg_size":2000,"discard":"new","storage":"memory"}"#;
    peer.request("$JS.API.STREAM.CREATE.CHAT", stream);
    let too_large = CHAT.replace("hello", &"x".repeat(2000));
    assert_eq!(answer_to(&mut ana, &too_large), "service_refused");
    let answers: Vec<String> = (0..3).map(|_| answer_to(&mut ana, CHAT)).collect();
    assert_eq!(answers, ["message_sent", "message_sent", "service_unavailable"], "the stream is full");
    let info = peer.request("$JS.API.STREAM.INFO.CHAT", "").json();
    assert_eq!(wire::number(&info, &["state", "messages"]), Some(2));
}

#[test]
fn a_subject_that_may_not_be_written_is_refused_alone() {
    // The server writes it with backslashes when it says that it may not be written.
    const DENIED: &str = r#"k"\2"#;
    let nats = Nats::start_with(
        "authorization { users: [\n\
         { user: any, password: x }\n\
         { user: gateway, password: x, permissions: {\n\
         publish: { allow: [\"chat.>\", \"_INBOX.>\"], deny: \"chat.k\\\"\\\\2\" }\n\
         subscribe: { allow: [\"ws.>\", \"_INBOX.>\"] } } }\n\
         { user: silent, password: x, permissions: {\n\
         publish: { allow: \"chat.k1\" }\n\
         subscribe: { allow: [\"ws.>\", \"_INBOX.>\"] } } }\n] }",
    );
    let mut backend = nats.peer_as(r#"{"user":"any","pass":"x"}"#);
    backend.subscribe("chat.>");
    for (user, answers) in [("gateway", true), ("gateway", false), ("silent", false)] {
        let keys = format!("subject = 'chat.{{key}}'\nrequest = {answers}");
        let more = format!("[nats]\nuser = '{user}'\npassword = 'x'");
        let gateway = started_with(&nats, &keys, &more);
        let mut ana = Client::connect(&gateway, &token("ana"));
        for clan in ["k1", DENIED] {
            ana.send(&json!({"type": "subscribe_clan_chat", "clanId": clan}).to_string());
            ana.expect_type("subscription_confirmed");
        }
        // In one batch, most likely.
        for clan in ["k1", DENIED, "k1", DENIED] {
            ana.send(&json!({"type": "chat", "clanId": clan, "content": "0", "id": clan}).to_string());
        }
        for _ in 0..2 {
            let message = backend.next();
            assert_eq!(message.subject, "chat.k1");
            if let Some(reply) = message.reply {
                backend.publish(&reply, "");
            }
        }
        for clan in ["k1", DENIED, "k1", DENIED] {
            let answer = ana.next_json();
            let told = if wire::kind(&answer) == "error" { error_code(&answer) } else { wire::kind(&answer) };
            let expected = if clan == "k1" { "message_sent" } else { "service_refused" };
            assert_eq!((told, wire::string(&answer, &["id"])), (expected, clan), "{user}");
        }
        assert_eq!(backend.next_if_any(), None);
    }
}

#[test]
fn whatever_a_client_writes_reaches_one_subject_and_its_own_headers() {
    let nats = Nats::start();
    let mut everything = nats.peer();
    everything.subscribe(">");
    let route = "[[routes]]\ntype = 'post'\naction = 'forward'\nservice = 'chat'\nkey = '{topic}'\n\
                 fields = { topic = 'text' }\nmessage = '{\"type\":\"post\",\"topic\":\"{topic}\"}'\n\
                 reply = '{\"type\":\"posted\"}'\n[nats]\nsource = false";
    let gateway = started_with(&nats, "subject = 'posts.{key}.{user_id}'", route);
    // What a user id may be is wide as well.
    let mut mallory = Client::connect(&gateway, &token("m. *>\u{2003}%2e"));
    let long = "x".repeat(4096);
    for topic in [
        "plain",
        "a.b",
        "*",
        ">",
        "a b",
        "$SYS",
        "\t",
        "x\r\nPUB evil 0\r\n\r\n",
        "\"'",
        "%2E",
        "größe",
        "\u{0}",
        "\u{85}",
        "y\r\nRingway-User-Id: bob",
        " ",
        "",
        ".",
        "\r",
        "\n",
        &long,
    ] {
        let message = sonic_rs::to_string(&sonic_rs::json!({"type": "post", "topic": topic})).expect("plain data");
        let answer = answer_to(&mut mallory, &message);
        if answer != "posted" {
            // It makes no subject, or none that a line of the protocol has room for.
            assert!(["", long.as_str()].contains(&topic), "{topic:?}: {answer}");
            continue;
        }
        let got = next_post(&mut everything);
        assert_eq!(got.subject.split('.').count(), 3, "{got:?}");
        assert!(got.subject.starts_with("posts.") && got.subject.bytes().all(|b| b > b' '), "{got:?}");
        assert!(!got.subject.contains(['*', '>']), "{got:?}");
        let names: HashSet<&str> = got.headers.iter().filter_map(|line| line.split(':').next()).collect();
        let ours = ["Ringway-Type", "Ringway-User-Id", "Ringway-Session-Id", "Ringway-Key"];
        assert_eq!((names, got.headers.len()), (HashSet::from(ours), ours.len()), "{got:?}");
        assert_eq!(got.header("Ringway-User-Id"), Some("m.%20*>%E2%80%83%252e"));
        assert_eq!(decoded(got.header("Ringway-Key").expect("a key")), topic);
        assert_eq!(got.json().get("topic").and_then(|topic| topic.as_str().map(str::to_owned)).as_deref(), Some(topic));
    }
    assert!(is_connected(&gateway), "nothing of it has cost the connection");
    assert_eq!(gateway.admin().metrics().labelled("ringway_service_reconnects_total", "service", "chat"), 0.0);
}

/// The next message that is not the gateway's own to itself.
fn next_post(peer: &mut Peer) -> Message {
    loop {
        let message = peer.next();
        if !message.subject.starts_with("_INBOX.") {
            return message;
        }
    }
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8().expect("UTF-8").into_owned()
}
