//! Answers as a stream: whole and in order, as fast as their reader, and ended with whoever ends.

use super::*;

#[test]
fn a_stream_of_ten_thousand_comes_whole_and_in_order() {
    const PARTS: u64 = 10_000;
    let backend = Backend::start();
    let gateway = started(asked(&backend.url(), "streaming = true"));
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
    let gateway = started(asked(&backend.url(), "streaming = true"));
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
fn small_answers_that_nobody_reads_end_no_stream_of_others() {
    const LARGE: u64 = 10_000;
    const SMALL: u64 = 2000;
    const STREAMS: usize = 10;
    let backend = Backend::start();
    let gateway = started(asked(&backend.url(), "streaming = true\nconcurrency = 32\ntimeout = '2m'"));
    let (mut ana, mut bob) = (Client::connect(&gateway, &token("ana")), Client::connect(&gateway, &token("bob")));
    bob.send(r#"{"type":"ask","do":"hang:1"}"#);
    bob.expect_type("part");
    // The first is more than her kernel takes, and those behind it wait for it: what they say piles up.
    ana.send(&format!(r#"{{"type":"ask","do":"stream:{LARGE}","size":4000}}"#));
    (0..STREAMS).for_each(|_| ana.send(&format!(r#"{{"type":"ask","do":"crumbs:{SMALL}"}}"#)));
    eventually("all are asked", || backend.asked().len() == 2 + STREAMS);
    let mut cleo = Client::connect(&gateway, &token("cleo"));
    let (mut before, mut calm) = (0, 0);
    eventually("the backend is held up", || {
        cleo.send(r#"{"type":"ask.in_line","key":"k","do":"stream:1"}"#);
        cleo.expect_type("part");
        cleo.expect_type("done");
        let now = backend.book().streamed.load(SeqCst);
        calm = if now == before + 1 { calm + 1 } else { 0 };
        before = now;
        calm == 20
    });
    for count in std::iter::once(LARGE).chain([SMALL; STREAMS]) {
        (0..count).for_each(|n| assert_eq!(wire::number(&ana.expect_type("part"), &["n"]), Some(n)));
    }
    assert_eq!((backend.book().cancelled.load(SeqCst), backend.book().accepted.load(SeqCst)), (0, 1));
    assert!(matches!(bob.poll(), None | Some(Event::Ping)), "his stream goes on");
}

#[test]
fn a_stream_ends_with_its_client_its_backend_or_its_deadline() {
    let mut backend = Backend::start();
    let gateway = started(asked(&backend.url(), "streaming = true\ntimeout = '1s'"));
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
fn a_stream_whose_client_reads_nothing_ends_when_its_time_is_over() {
    let backend = Backend::start();
    let gateway = started(asked(&backend.url(), "streaming = true\nstream_timeout = '1s'"));
    let mut ana = Client::connect(&gateway, &token("ana"));
    ana.send(r#"{"type":"ask","do":"stream:10000","size":4000}"#);
    eventually("the backend hears of it", || backend.book().cancelled.load(SeqCst) == 1);
    let end = std::iter::repeat_with(|| ana.next_json()).find(|said| wire::kind(said) != "part").expect("an end");
    assert_eq!(code(&end), "service_unavailable");
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
        .with(&service("answers", "chat", "chat.history", "fields = { conversation_id = 'id' }"))
        .with(&service("watching", "location", "location.watch", "fields = { user_id = 'id' }"))
        .with(&service("list", "notification", "notification.list", ""));
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
fn clients_that_do_not_read_make_room_for_others() {
    let backend = Backend::start();
    let gateway = started(asked(&backend.url(), "streaming = true\nconcurrency = 2\ntimeout = '20s'"));
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
