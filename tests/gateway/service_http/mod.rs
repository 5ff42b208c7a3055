//! Promise: with a web service behind a service, each message is one signed POST whose answer is the client's; what
//! cannot be taken is an error and no silence, whatever the web service does; and a client leads it nowhere but to its
//! path.

mod outages;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use percent_encoding::percent_decode_str;

use crate::support::client::{Client, Event};
use crate::support::config::Config;
use crate::support::gateway::Gateway;
use crate::support::http_backend::{HttpBackend, Received, Reply};
use crate::support::process::run;
use crate::support::programs::program_in;
use crate::support::tokens::token;
use crate::support::wait::{PAUSE, eventually};
use crate::support::wire;

/// `say` has a key of the client's choice, `note` none, `show` an answer in the channel's place.
const ROUTES: &str = r#"
[[routes]]
type = "say"
action = "forward"
service = "desk"
fields = { room = "text" }
key = "{room}"
reply = '{"type":"said"}'

[[routes]]
type = "note"
action = "forward"
service = "desk"
reply = '{"type":"noted"}'
"#;

const SECRET: &str = "what only the gateway and its backend know of";

/// How soon a backend that is back is used again.
const BACK_WITHIN: Duration = Duration::from_secs(2);

fn config(backend: &HttpBackend, path: &str, keys: &str) -> Config {
    let url = backend.url(path);
    let service = format!("[[services]]\nname = 'desk'\nkind = 'http'\nurl = '{url}'\nsecret = '{SECRET}'\n{keys}\n");
    Config::new().with(ROUTES).with(&service)
}

/// A gateway that has reached its backend.
#[track_caller]
fn started(backend: &HttpBackend, path: &str, keys: &str) -> Gateway {
    let gateway = Gateway::start(config(backend, path, keys));
    eventually("the backend is reached", || is_connected(&gateway));
    gateway
}

fn is_connected(gateway: &Gateway) -> bool {
    gateway.admin().get("/metrics").body.contains("ringway_service_connected{service=\"desk\"} 1")
}

fn say(room: &str, id: usize) -> String {
    let room = sonic_rs::to_string(room).expect("a string is JSON");
    format!(r#"{{"type":"say","room":{room},"id":{id}}}"#)
}

/// The code of the error that answers a message.
#[track_caller]
fn refused(client: &mut Client, message: &str) -> String {
    client.send(message);
    wire::string(&client.expect_type("error"), &["payload", "code"]).to_owned()
}

#[test]
fn a_message_is_posted_with_who_says_it() {
    let backend = HttpBackend::start();
    let gateway = started(&backend, "/in/{type}/{key}?via=ws", "");
    let mut ana = Client::connect_at(&gateway, "/ws?userType=driver", &token("ana"));
    ana.send(&say("b1", 7));
    assert_eq!(wire::number(&ana.expect_type("said"), &["id"]), Some(7));
    let received = &backend.received()[0];
    assert_eq!((&*received.method, &*received.target), ("POST", "/in/say/b1?via=ws"));
    assert_eq!(received.body, say("b1", 7));
    let session = gateway.admin().connection_of("ana").session_id;
    for (name, value) in [
        ("Content-Type", "application/json"),
        ("Ringway-Type", "say"),
        ("Ringway-User-Id", "ana"),
        ("Ringway-Session-Id", &session),
        ("Ringway-User-Type", "driver"),
        ("Ringway-Key", "b1"),
        ("Host", &backend.address.to_string()),
    ] {
        assert_eq!(received.header(name), Some(value), "{name}");
    }
    assert_eq!(received.header("Ringway-Channel"), None);
    let signature = received.header("Ringway-Signature").expect("it is signed");
    assert_eq!(signature, signed(signature, &received.body));
}

/// The signature that a body has at the time of another one, by another program than the gateway.
fn signed(like: &str, body: &str) -> String {
    let time = like.strip_prefix("t=").and_then(|rest| rest.split_once(',')).expect("it begins with the time").0;
    let folder = tempfile::tempdir().expect("a temp dir");
    std::fs::write(folder.path().join("signed"), format!("{time}.{body}")).expect("the temp dir is writable");
    let arguments = ["dgst", "-sha256", "-hmac", SECRET, "-r", "signed"];
    let digest = run(&mut program_in(folder.path(), &[], "openssl", &arguments)).stdout;
    format!("t={time},v1={}", digest.split(' ').next().expect("a digest"))
}

#[test]
fn the_body_may_say_who_says_it_as_well() {
    let backend = HttpBackend::start();
    let gateway = started(&backend, "/", "body = 'envelope'");
    let mut ana = Client::connect(&gateway, &token("ana"));
    ana.send(&say("b1", 1));
    ana.expect_type("said");
    let envelope = wire::json(&backend.received()[0].body);
    assert_eq!((wire::string(&envelope, &["user_id"]), wire::string(&envelope, &["message", "room"])), ("ana", "b1"));
}

#[test]
fn every_answer_of_the_backend_has_one_for_the_client() {
    let backend = HttpBackend::start();
    let gateway = started(&backend, "/", "retries = 0\nbreaker_failures = 1000\nattempt_timeout = '300ms'");
    let mut ana = Client::connect(&gateway, &token("ana"));
    for (reply, kind, code) in [
        (Reply::status(204), "said", ""),
        (Reply::status(200), "said", ""),
        (Reply::json("OK"), "said", ""),
        (Reply::json(r#"{"type":"told","to":"ana"}"#), "told", ""),
        (Reply::Answer(201, vec![], r#"{"type":"told"}"#.into()), "told", ""),
        (Reply::json(format!(r#"{{"type":"told","x":"{}"}}"#, "x".repeat(300_000))), "error", "service_refused"),
        (Reply::Answer(302, vec![("location", backend.url("/elsewhere"))], String::new()), "error", "service_refused"),
        (Reply::status(400), "error", "service_refused"),
        (Reply::status(401), "error", "service_refused"),
        (Reply::status(429), "error", "busy"),
        (Reply::status(500), "error", "service_unavailable"),
        (Reply::status(503), "error", "service_unavailable"),
        (Reply::Drop, "error", "service_unavailable"),
        (Reply::Hang, "error", "service_unavailable"),
    ] {
        let before = backend.count();
        backend.always(reply.clone());
        ana.send(&say("b1", 9));
        let answer = ana.next_json();
        assert_eq!((wire::kind(&answer), wire::string(&answer, &["payload", "code"])), (kind, code), "{reply:?}");
        assert_eq!(backend.count(), before + 1, "{reply:?}");
    }
    assert!(backend.received().iter().all(|received| received.target == "/"), "no redirect is followed");
}

#[test]
fn what_may_be_asked_again_is_and_is_the_same_message() {
    let backend = HttpBackend::start();
    let gateway = started(&backend, "/", "retries = 3\nbreaker_failures = 1000");
    let mut ana = Client::connect(&gateway, &token("ana"));
    // The first answers, and how many requests that makes.
    for (first, requests) in [
        (vec![Reply::status(503), Reply::status(502), Reply::status(504)], 4),
        (vec![Reply::Answer(429, vec![("retry-after", "1".into())], String::new())], 2),
        (vec![Reply::Answer(503, vec![("retry-after", "1".into())], String::new())], 2),
        (vec![Reply::status(503); 4], 4),
        (vec![Reply::status(500)], 1),
        (vec![Reply::status(429)], 1),
        (vec![Reply::Answer(429, vec![("retry-after", "60".into())], String::new())], 1),
    ] {
        let (begin, answered, length) = (backend.count(), Arc::new(AtomicUsize::new(0)), first.len());
        let replies = first.clone();
        backend.answers(move |_| match replies.get(answered.fetch_add(1, SeqCst)) {
            Some(reply) => reply.clone(),
            None => Reply::status(204),
        });
        ana.send(&say("b1", 1));
        let kind = if requests > length { "said" } else { "error" };
        assert_eq!(wire::kind(&ana.next_json()), kind, "{first:?}");
        let received = &backend.received()[begin..];
        assert_eq!(received.len(), requests, "{first:?}");
        let keys: HashSet<_> = received.iter().map(|one| one.header("Idempotency-Key")).collect();
        assert!(keys.len() == 1 && !keys.contains(&None), "{keys:?}");
        for one in received {
            let signature = one.header("Ringway-Signature").expect("each is signed");
            assert_eq!(signature, signed(signature, &one.body));
        }
    }
    let keys: HashSet<_> =
        backend.received().iter().map(|one| one.header("Idempotency-Key").map(str::to_owned)).collect();
    assert_eq!(keys.len(), 7, "each message has its own");
}

#[test]
fn messages_of_one_key_go_one_after_another_and_others_beside_them() {
    const MESSAGES: usize = 60;
    let backend = HttpBackend::start();
    let (open, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let gateway = started(&backend, "/", "concurrency = 8");
    let (counted, highest) = (open.clone(), most.clone());
    backend.answers(move |_| {
        highest.fetch_max(counted.fetch_add(1, SeqCst) + 1, SeqCst);
        counted.fetch_sub(1, SeqCst);
        Reply::status(204)
    });
    let mut clients = [Client::connect(&gateway, &token("ana")), Client::connect(&gateway, &token("bob"))];
    for some in (0..MESSAGES).collect::<Vec<_>>().chunks(15) {
        for n in some {
            clients.iter_mut().for_each(|client| client.send(&say("b1", *n)));
            clients.iter_mut().for_each(|client| client.send(&format!(r#"{{"type":"note","id":{n}}}"#)));
        }
        clients.iter_mut().for_each(|client| some.iter().for_each(|_| drop((client.next_json(), client.next_json()))));
    }
    let mut last: HashMap<(String, String), u64> = HashMap::new();
    for received in backend.received() {
        let who = (received.header("Ringway-User-Id").unwrap_or("").to_owned(), wire_kind(&received));
        let id = wire::number(&wire::json(&received.body), &["id"]).expect("each has its number");
        assert!(last.insert(who.clone(), id).is_none_or(|before| before + 1 == id), "{who:?} {id}");
    }
    assert_eq!(last.values().copied().collect::<Vec<_>>(), [MESSAGES as u64 - 1; 4]);
    assert!(most.load(SeqCst) <= 8, "{most:?} at once");
}

fn wire_kind(received: &Received) -> String {
    received.header("Ringway-Type").unwrap_or("").to_owned()
}

#[test]
fn connections_are_kept_for_the_next_messages() {
    let backend = HttpBackend::start();
    let gateway = started(&backend, "/", "concurrency = 2");
    let mut ana = Client::connect(&gateway, &token("ana"));
    for n in 0..50 {
        ana.send(&say(&n.to_string(), n));
        ana.expect_type("said");
    }
    let used: HashSet<usize> = backend.received().iter().map(|received| received.connection).collect();
    assert!(used.len() <= 2, "{used:?}");
}

fn id_of(received: &Received) -> usize {
    wire::number(&wire::json(&received.body), &["id"]).expect("each has its number") as usize
}

#[test]
fn a_client_leads_nowhere_but_to_its_path() {
    let backend = HttpBackend::start();
    let gateway = started(&backend, "/in/{key}/{user_id}/end?fixed=1", "");
    let (long, huge) = ("\u{e4}".repeat(250), "x".repeat(7_900));
    let mut expected_names = None;
    for (room, arrives) in [
        ("b.1 x", true),
        ("a/b?c=d&fixed=2#e", true),
        ("*.>", true),
        ("x\r\nHost: evil.example\r\n\r\nGET /admin HTTP/1.1", true),
        ("\u{0}\u{7f}\u{85}", true),
        ("'\"`${x};--<b>", true),
        ("//evil.example/", true),
        ("@evil.example:80", true),
        ("%2e%2e%2f", true),
        ("{user_id}", true),
        (&long, true),
        (&huge, false),
        ("", false),
        ("..", false),
        ("../../admin", false),
        ("a/../../../b", false),
        ("..\\..", false),
    ] {
        let user = "z \"%/..x@1?&\u{fc}";
        let mut client = Client::connect(&gateway, &token(user));
        let before = backend.count();
        client.send(&say(room, 5));
        let kind = client.next_json();
        assert_eq!(wire::kind(&kind), if arrives { "said" } else { "error" }, "{room:?}");
        assert_eq!(backend.count(), before + usize::from(arrives), "{room:?}");
        if !arrives {
            let code = wire::string(&kind, &["payload", "code"]);
            assert_eq!(code, if room == huge { "bad_channel" } else { "service_refused" }, "{room:?}");
            continue;
        }
        let received = backend.received().pop().expect("it has arrived");
        let (path, query) = received.target.split_once('?').expect("the query of the configuration");
        let segments: Vec<&str> = path.split('/').collect();
        assert_eq!((segments.len(), segments[1], segments[4], query), (5, "in", "end", "fixed=1"), "{received:?}");
        let decoded = |text: &str| percent_decode_str(text).decode_utf8().expect("as it was").into_owned();
        assert_eq!((decoded(segments[2]), decoded(segments[3])), (room.to_owned(), user.to_owned()));
        let header = |name| decoded(received.header(name).expect("it is there"));
        assert_eq!((header("Ringway-Key"), header("Ringway-User-Id")), (room.to_owned(), user.to_owned()));
        assert_eq!(received.header("Host"), Some(&*backend.address.to_string()));
        let names: Vec<String> = received.header_names().iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(&names, expected_names.get_or_insert(names.clone()), "the same headers for everybody");
    }
}

#[test]
fn over_tls_the_backend_is_who_the_configuration_says() {
    let folder = tempfile::tempdir().expect("a temp dir");
    let make = "make() { openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 \"$@\"; } && \
                make -keyout ca.key -out ca.pem -subj /CN=ca && \
                make -keyout other.key -out other.pem -subj /CN=other && \
                make -keyout key.pem -out cert.pem -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 \
                -addext basicConstraints=critical,CA:FALSE -CA ca.pem -CAkey ca.key";
    let made = run(&mut program_in(folder.path(), &[], "sh", &["-c", make]));
    assert_eq!(made.code, Some(0), "{made:?}");
    let backend = HttpBackend::start_tls(folder.path());
    let ca = |name: &str| format!("ca_file = '{}'", folder.path().join(name).display());
    let gateway = started(&backend, "/", &ca("ca.pem"));
    let mut ana = Client::connect(&gateway, &token("ana"));
    ana.send(&say("b1", 1));
    ana.expect_type("said");
    for keys in [ca("other.pem"), String::new()] {
        let gateway = Gateway::start(config(&backend, "/", &keys));
        eventually("it is not believed", || gateway.admin().get("/readyz").body.contains("invalid peer certificate"));
        let mut ana = Client::connect(&gateway, &token("ana"));
        assert_eq!(refused(&mut ana, &say("b1", 1)), "service_unavailable");
    }
    assert_eq!(backend.count(), 1);
}
