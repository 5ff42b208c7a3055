//! A backend that is none, stands still, is killed or replaced: everybody gets an answer, and nobody else is harmed.

use super::*;

#[test]
fn what_is_no_backend_is_not_connected_and_harms_nobody() {
    let backend = Backend::start();
    let noises: [&[u8]; 4] =
        [b"", b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", b"\0\xff\x01garbage", &[0; 100_000]];
    let noises = noises.map(Noise::start);
    let mut config = asked(&backend.url(), "");
    for (n, noise) in noises.iter().enumerate() {
        let (route, address) = (format!("type = 'ask.{n}'\naction = 'forward'\nservice = 's{n}'"), noise.address);
        config = config
            .with(&format!("[[routes]]\n{route}\n[[services]]\nname = 's{n}'\nkind = 'grpc'\naddress = '{address}'"));
    }
    let gateway = started(config);
    let mut ana = Client::connect(&gateway, &token("ana"));
    for n in 0..noises.len() {
        eventually("it is known to be none, and why", || {
            let ready = gateway.admin().get("/readyz").body;
            let line = ready.split(&format!(r#"{{"name":"s{n}""#)).nth(1).expect("its line").to_owned();
            assert!(!line.contains("source: "), "not as its programmer sees it: {line}");
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
    let mut gateway = started(asked(&liar.address.to_string(), "timeout = '5s'"));
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
    let gateway = started(asked(&backend.url(), "timeout = '1s'"));
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
    assert!(page.contains("ringway_service_waiting{service=\"answers\"} 0"), "{page}");
}

#[test]
fn what_finds_no_room_in_the_queue_is_told_so() {
    let backend = Backend::start();
    let gateway = started(asked(&backend.url(), "timeout = '2s'\nqueue = 5\nconcurrency = 4"));
    let mut ana = Client::connect(&gateway, &token("ana"));
    (0..8).for_each(|n| ana.send(&format!(r#"{{"type":"ask.in_line","key":"k{n}","do":"hang"}}"#)));
    let codes: Vec<_> = (0..8).map(|_| code(&ana.expect_type("error")).to_owned()).collect();
    let count = |which: &str| codes.iter().filter(|code| *code == which).count();
    assert_eq!((count("service_unavailable"), count("busy")), (5, 3), "{codes:?}");
    // One user has half of the places.
    assert_eq!(backend.asked().len(), 2, "of those that wait the backend does not hear when their time is over");
}

#[test]
fn what_was_confirmed_is_there_when_the_backend_is_killed_under_load_and_all_is_answered() {
    let mut backend = Backend::start();
    let gateway = started(asked(&backend.url(), ""));
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
    let gateway = started(asked(&backend.url(), ""));
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
