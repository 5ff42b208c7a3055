//! Somebody is away, stands still or does not answer: everybody gets an answer, and nothing that was confirmed is lost.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::*;

#[test]
fn a_backend_that_never_answers_is_an_error_and_takes_no_room_for_good() {
    const REQUESTS: usize = 5_000;
    let nats = Nats::start();
    let mut deaf = nats.peer();
    deaf.subscribe("chat.>");
    let gateway = started(&nats, "subject = 'chat.{key}'\nrequest = true\ntimeout = '300ms'");
    // More than may be under way at once.
    let mut members: Vec<Client> = (0..20).map(|n| member(&gateway, &format!("u{n}"))).collect();
    let mut unavailable = 0;
    while unavailable < REQUESTS {
        for client in &mut members {
            (0..25).for_each(|n| client.send(&chat(n)));
        }
        for client in &mut members {
            for _ in 0..25 {
                assert_eq!(error_code(&client.next_json()), "service_unavailable");
                unavailable += 1;
            }
        }
    }
    eventually("nothing waits", || {
        gateway.admin().get("/metrics").body.contains("ringway_service_waiting{service=\"chat\"} 0")
    });
    drop(deaf);
    let answering = backend(&nats, |peer, message| {
        peer.publish(&message.reply.expect("it is a request"), "");
        false
    });
    assert_eq!(answer_to(&mut members[0], CHAT), "message_sent");
    answering.join().expect("the backend ends well");
}

#[test]
fn what_was_confirmed_is_in_the_stream_although_nats_is_killed_meanwhile() {
    const MESSAGES: usize = 3_000;
    let mut nats = Nats::start();
    nats.peer().request("$JS.API.STREAM.CREATE.CHAT", r#"{"name":"CHAT","subjects":["chat.>"],"storage":"file"}"#);
    let gateway = started(&nats, "subject = 'chat.{key}'\njetstream = true\nqueue = 250");
    let mut members: Vec<Client> = (0..10).map(|n| member(&gateway, &format!("u{n}"))).collect();
    let (mut sent, mut confirmed, mut refused) = (0, HashSet::new(), 0);
    while sent < MESSAGES {
        for client in &mut members {
            for _ in 0..20 {
                client.send(&chat(sent));
                sent += 1;
            }
        }
        // The answers to these come, or do not.
        if sent == MESSAGES / 3 {
            nats.kill();
        }
        for client in &mut members {
            for _ in 0..20 {
                let answer = client.next_json();
                match wire::kind(&answer) {
                    "message_sent" => _ = confirmed.insert(wire::number(&answer, &["id"]).expect("its id") as usize),
                    "error" => refused += 1,
                    other => panic!("{other}"),
                }
            }
        }
        let waiting = gateway.admin().metrics().labelled("ringway_service_waiting", "service", "chat");
        assert_eq!(waiting, 0.0, "all have been answered");
        if sent == MESSAGES / 2 + 100 {
            nats.restart();
            eventually("the service is connected again", || is_connected(&gateway));
        }
    }
    assert!(confirmed.len() > MESSAGES / 3 && refused > 0, "{} confirmed, {refused} refused", confirmed.len());
    let mut peer = nats.peer();
    let info = peer.request("$JS.API.STREAM.INFO.CHAT", "").json();
    let last = wire::number(&info, &["state", "last_seq"]).expect("a number");
    for seq in 1..=last {
        let kept = peer.request("$JS.API.STREAM.MSG.GET.CHAT", &format!(r#"{{"seq":{seq}}}"#)).json();
        let body = STANDARD.decode(wire::string(&kept, &["message", "data"])).expect("base64");
        let body = String::from_utf8(body).expect("text");
        confirmed.remove(&wire::string(&wire::json(&body), &["content"]).parse().expect("a number"));
    }
    assert_eq!(confirmed, HashSet::new(), "confirmed, and not in the stream");
}

#[test]
fn a_nats_that_is_away_is_an_error_until_it_is_back() {
    let mut nats = Nats::start();
    let gateway = started(&nats, "subject = 'chat.{key}'");
    let mut ana = member(&gateway, "ana");
    nats.kill();
    eventually("the service is known to be away", || !is_connected(&gateway));
    assert_eq!(answer_to(&mut ana, CHAT), "service_unavailable");
    nats.restart();
    eventually("the service is connected again", || is_connected(&gateway));
    let mut backend = nats.peer();
    backend.subscribe("chat.>");
    assert_eq!(answer_to(&mut ana, CHAT), "message_sent");
    assert_eq!(backend.next().subject, "chat.k1");
    let page = gateway.admin().get("/metrics").body;
    assert!(page.contains("ringway_service_reconnects_total{service=\"chat\"} 1"), "{page}");
}

#[test]
fn a_nats_that_stands_still_slows_no_shard_and_nothing_waits_without_end() {
    const PINGS: usize = 200;
    let nats = Nats::start();
    let gateway = started(&nats, "subject = 'chat.{key}'\ntimeout = '500ms'\nqueue = 50");
    let (mut ana, mut bob) = (member(&gateway, "ana"), member(&gateway, "bob"));
    nats.stop();
    let mut codes = HashSet::new();
    let mut answered = 0;
    eventually("the service is known to be away", || {
        (0..30).for_each(|n| ana.send(&chat(n)));
        bob.ping();
        answered += 1;
        for _ in 0..30 {
            codes.insert(error_code(&ana.next_json()).to_owned());
        }
        !is_connected(&gateway)
    });
    let waiting = || gateway.admin().metrics().labelled("ringway_service_waiting", "service", "chat");
    eventually("nothing waits", || waiting() == 0.0);
    assert!(codes.contains("service_unavailable") && codes.len() <= 2, "{codes:?}");
    (answered..PINGS).for_each(|_| bob.ping());
    nats.go_on();
    eventually("the service is connected again", || is_connected(&gateway));
    assert_eq!(answer_to(&mut ana, CHAT), "message_sent");
}

/// A user of the gateway's own who may hear this, and somebody who may do everything.
fn hearing(subject: &str) -> String {
    format!(
        "authorization {{ users: [\n{{ user: any, password: x }}\n\
         {{ user: gateway, password: x, permissions: {{ subscribe: \"{subject}\" }} }}\n] }}"
    )
}

#[test]
fn who_may_not_hear_answers_any_more_is_away_until_he_may() {
    let nats = Nats::start_with(&hearing("_INBOX.>"));
    let mut peer = nats.peer_as(r#"{"user":"any","pass":"x"}"#);
    peer.subscribe("chat.>");
    let answering = thread::spawn(move || {
        loop {
            let message = peer.next();
            peer.publish(&message.reply.clone().expect("it is a request"), "");
            if number(&message) == 1 {
                break;
            }
        }
    });
    let more = "[nats]\nuser = 'gateway'\npassword = 'x'\nsource = false";
    let gateway = started_with(&nats, "subject = 'chat.{key}'\nrequest = true", more);
    let mut ana = member(&gateway, "ana");
    assert_eq!(answer_to(&mut ana, &chat(0)), "message_sent");
    nats.reload_with(&hearing("nothing"));
    eventually("the service is known to be away", || !is_connected(&gateway));
    eventually("it says why", || {
        gateway.admin().get("/readyz").body.contains("Permissions Violation for Subscription")
    });
    assert_eq!(answer_to(&mut ana, &chat(0)), "service_unavailable");
    nats.reload_with(&hearing("_INBOX.>"));
    eventually("the service is connected again", || is_connected(&gateway));
    assert_eq!(answer_to(&mut ana, &chat(1)), "message_sent");
    answering.join().expect("the backend ends well");
}

#[test]
fn what_is_refused_all_at_once_is_refused_to_each() {
    const CLIENTS: usize = 16;
    const EACH: usize = 30;
    let nats = Nats::start_with(
        "authorization { users: [\n\
         { user: gateway, password: x, permissions: { publish: { allow: \"_INBOX.>\" } } }\n] }",
    );
    let more = "[nats]\nuser = 'gateway'\npassword = 'x'\nsource = false";
    let gateway = started_with(&nats, "subject = 'chat.{key}'\nqueue = 1000", more);
    let mut members: Vec<_> = (0..CLIENTS).map(|n| member(&gateway, &format!("user{n}"))).collect();
    for _ in 0..3 {
        // It gets everything at once when it goes on, and says no to each in one breath.
        nats.stop();
        members.iter_mut().for_each(|member| (0..EACH).for_each(|n| member.send(&chat(n))));
        let calls = || gateway.admin().metrics().labelled("ringway_service_waiting", "service", "chat") as usize;
        eventually("all wait", || calls() == CLIENTS * EACH);
        nats.go_on();
        for member in &mut members {
            (0..EACH).for_each(|_| assert_eq!(error_code(&member.next_json()), "service_refused"));
        }
    }
}
