//! A backend that hangs, fails, is killed or stands still: everybody gets an answer, and nobody else waits.

use std::sync::{Mutex, mpsc};

use super::*;

#[test]
fn a_request_that_hangs_holds_up_its_own_key_alone() {
    let backend = HttpBackend::start();
    let gateway = started(&backend, "/", "concurrency = 2\ntimeout = '10s'\nattempt_timeout = '10s'");
    backend.answers(hangs_on_stuck);
    let mut ana = Client::connect(&gateway, &token("ana"));
    let mut others = ["b", "c", "d", "e", "f", "g", "h", "i"].map(|user| Client::connect(&gateway, &token(user)));
    ana.send(&say("stuck", 1));
    ana.send(&say("stuck", 2));
    eventually("the first one is there", || backend.count() == 1);
    for (n, other) in others.iter_mut().enumerate() {
        other.send(&say(&format!("room {n}"), n));
    }
    others.iter_mut().for_each(|other| drop(other.expect_type("said")));
    let stuck = backend.received().iter().filter(|one| one.header("Ringway-Key") == Some("stuck")).count();
    assert_eq!(stuck, 1, "the second one waits for the first");
}

fn hangs_on_stuck(received: &Received) -> Reply {
    match received.header("Ringway-Key") {
        Some("stuck") => Reply::Hang,
        _ => Reply::status(204),
    }
}

#[test]
fn a_key_that_hangs_leaves_room_for_others() {
    const QUEUE: usize = 40;
    const MESSAGES: usize = 20;
    let backend = HttpBackend::start();
    let keys = format!("concurrency = 4\nqueue = {QUEUE}\ntimeout = '10s'\nattempt_timeout = '10s'");
    let gateway = started(&backend, "/", &keys);
    backend.answers(hangs_on_stuck);
    let mut speakers = ["ana", "bob", "cem"].map(|user| Client::connect(&gateway, &token(user)));
    speakers.iter_mut().for_each(|speaker| (0..MESSAGES).for_each(|n| speaker.send(&say("stuck", n))));
    // One is under way, and half of the places that were left are taken.
    let waiting = || gateway.admin().metrics().labelled("ringway_service_waiting", "service", "desk") as usize;
    let calls = || gateway.admin().metrics().labelled("ringway_service_calls_total", "service", "desk") as usize;
    eventually("all are said and half of the queue is theirs", || {
        calls() == speakers.len() * MESSAGES && (QUEUE / 2..=QUEUE / 2 + 1).contains(&waiting())
    });
    for n in 0..8 {
        let mut other = Client::connect(&gateway, &token(&format!("user{n}")));
        (0..MESSAGES / 2).for_each(|m| other.send(&say(&format!("room {n}"), m)));
        (0..MESSAGES / 2).for_each(|_| drop(other.expect_type("said")));
    }
}

#[test]
fn a_backend_that_fails_again_and_again_is_left_alone_and_then_asked_once() {
    let backend = HttpBackend::start();
    let gateway = started(&backend, "/", "retries = 0\nbreaker_failures = 3\nbreaker_pause = '500ms'");
    let mut ana = Client::connect(&gateway, &token("ana"));
    let mut bob = Client::connect(&gateway, &token("bob"));
    backend.always(Reply::status(503));
    (0..2).for_each(|n| assert_eq!(refused(&mut ana, &say("b1", n)), "service_unavailable"));
    assert_eq!(refused(&mut bob, &say("b1", 2)), "service_unavailable");
    eventually("it is left alone", || !is_connected(&gateway));
    let ready = gateway.admin().get("/readyz");
    assert!(ready.status == 200 && ready.body.contains("503 Service Unavailable"), "{ready:?}");
    // Once in a while a message of hers goes out; all others are refused at once.
    let (before, mut asked) = (backend.count(), 0);
    eventually("it was asked again", || {
        asked += 1;
        assert_eq!(refused(&mut ana, &say("b1", 9)), "service_unavailable");
        backend.count() > before
    });
    let begun = Instant::now();
    for _ in 0..200 {
        assert_eq!(refused(&mut ana, &say("b1", 9)), "service_unavailable");
    }
    let tried = backend.count() - before;
    let pauses = begun.elapsed().as_millis() as usize / 250 + 2;
    assert!(tried <= pauses && asked + 200 > tried, "{tried} of {} in {:?}", asked + 200, begun.elapsed());
    backend.always(Reply::status(204));
    eventually("it works again", || {
        ana.send(&say("b1", 9));
        wire::kind(&ana.next_json()) == "said"
    });
    assert!(is_connected(&gateway));
}

#[test]
fn messages_that_the_backend_fails_with_shut_out_nobody_else() {
    const BAD: usize = 20;
    const SLOW: usize = 6;
    let backend = HttpBackend::start();
    let keys = "concurrency = 8\nretries = 0\nbreaker_failures = 2\ntimeout = '2s'\nattempt_timeout = '1s'";
    let gateway = started(&backend, "/", keys);
    backend.answers(|received| match received.header("Ringway-Key") {
        Some("bad") => [Reply::status(500), Reply::status(502), Reply::Drop][id_of(received) % 3].clone(),
        Some(key) if key.starts_with("slow") => Reply::Hang,
        _ => Reply::status(204),
    });
    let mut eve = Client::connect(&gateway, &token("eve"));
    (0..BAD).for_each(|id| assert_eq!(refused(&mut eve, &say("bad", id)), "service_unavailable"));
    assert_eq!(backend.count(), BAD, "each is asked about");
    // Several are late at the same moment, while others are answered.
    let mut others = ["ana", "bob", "cem"].map(|user| Client::connect(&gateway, &token(user)));
    (0..SLOW).for_each(|n| eve.send(&say(&format!("slow {n}"), n)));
    others.iter_mut().zip(0..).for_each(|(other, n)| other.send(&say(&format!("room {n}"), 1)));
    let mut late = 0;
    eventually("all of hers are answered", || {
        for (n, other) in others.iter_mut().enumerate() {
            if let Some(Event::Text(_)) = other.poll() {
                other.send(&say(&format!("room {n}"), 1));
            }
        }
        late += usize::from(matches!(eve.poll(), Some(Event::Text(_))));
        late == SLOW
    });
    assert!(!gateway.log().contains("is away"), "{}", gateway.log());
    assert!(is_connected(&gateway));
}

#[test]
fn a_user_whose_messages_hang_leaves_places_for_others() {
    let backend = HttpBackend::start();
    let keys = "concurrency = 4\nretries = 0\ntimeout = '20s'\nattempt_timeout = '20s'";
    let gateway = started(&backend, "/", keys);
    backend.answers(|received| match received.header("Ringway-Key") {
        Some(key) if key.starts_with("stuck") => Reply::Hang,
        _ => Reply::status(204),
    });
    let mut eve = Client::connect(&gateway, &token("eve"));
    (0..20).for_each(|n| eve.send(&say(&format!("stuck {n}"), n)));
    eventually("she has her places", || backend.count() == 2);
    let mut bob = Client::connect(&gateway, &token("bob"));
    for n in 0..20 {
        bob.send(&say("room", n));
        bob.expect_type("said");
    }
    assert_eq!(backend.count(), 22, "and no more of them");
}

#[test]
fn what_was_taken_before_the_end_of_the_node_reaches_its_backend() {
    const MESSAGES: usize = 10;
    let backend = HttpBackend::start();
    let mut gateway = started(&backend, "/", "concurrency = 1");
    let (go_on, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    backend.answers(move |_| {
        // Until the test says so, or is over.
        _ = held.lock().expect("no panic").recv();
        Reply::status(204)
    });
    let mut ana = Client::connect(&gateway, &token("ana"));
    (0..MESSAGES).for_each(|id| ana.send(&say("b1", id)));
    let waiting = || gateway.admin().metrics().labelled("ringway_service_waiting", "service", "desk") as usize;
    eventually("they wait", || waiting() == MESSAGES && backend.count() == 1);
    gateway.process().signal("TERM");
    assert!(matches!(ana.next(), Event::Closed(..)), "she is closed before the backend has answered");
    drop(ana);
    drop(go_on);
    assert!(gateway.process().wait().success());
    assert_eq!(backend.count(), MESSAGES);
}

#[test]
fn killed_and_restarted_under_load_it_loses_nothing_that_was_confirmed() {
    const CLIENTS: usize = 8;
    /// Confirmed to each of them.
    const MESSAGES: usize = 400;
    /// More than anyone says in all.
    const IDS: usize = 1_000_000;
    let mut backend = HttpBackend::start();
    let gateway = Arc::new(started(&backend, "/", "concurrency = 4\nqueue = 100"));
    let speakers: Vec<_> = (0..CLIENTS)
        .map(|speaker| {
            let gateway = gateway.clone();
            thread::spawn(move || {
                let mut client = Client::connect(&gateway, &token(&format!("user{speaker}")));
                let mut confirmed = Vec::new();
                let mut id = speaker * IDS;
                while confirmed.len() < MESSAGES {
                    id += 1;
                    client.send(&say(&format!("room {speaker}"), id));
                    // There is an answer to each, whatever happens.
                    let answer = client.next_json();
                    assert_eq!(wire::number(&answer, &["id"]), Some(id as u64));
                    match wire::kind(&answer) {
                        "said" => confirmed.push(id),
                        "error" => thread::sleep(PAUSE),
                        other => panic!("{other}"),
                    }
                }
                confirmed
            })
        })
        .collect();
    for round in 1..=3 {
        let soon = backend.count() + 200;
        eventually("messages come", || backend.count() >= soon);
        backend.kill();
        eventually("that is known", || !is_connected(&gateway));
        backend.restart();
        let back = Instant::now();
        eventually("it is back", || is_connected(&gateway));
        assert!(back.elapsed() < BACK_WITHIN, "round {round}: {:?}", back.elapsed());
    }
    let confirmed: Vec<usize> = speakers.into_iter().flat_map(|speaker| speaker.join().expect("no panic")).collect();
    let received: HashSet<usize> = backend.received().iter().map(id_of).collect();
    let lost: Vec<_> = confirmed.iter().filter(|id| !received.contains(id)).collect();
    assert!(lost.is_empty(), "{lost:?}");
    assert_eq!(confirmed.len(), CLIENTS * MESSAGES);
    let page = gateway.admin().metrics();
    assert_eq!(page.labelled("ringway_service_waiting", "service", "desk") as usize, 0);
    assert!(page.labelled("ringway_service_reconnects_total", "service", "desk") >= 3.0);
}

#[test]
fn a_backend_that_stands_still_slows_no_shard_and_what_waits_is_bounded() {
    const PINGS: usize = 500;
    let backend = HttpBackend::start();
    let gateway = started(&backend, "/", "concurrency = 2\nqueue = 20\ntimeout = '3s'\nbreaker_failures = 1000");
    backend.always(Reply::Hang);
    let mut speakers: Vec<Client> = (0..8).map(|n| Client::connect(&gateway, &token(&format!("user{n}")))).collect();
    for (n, speaker) in speakers.iter_mut().enumerate() {
        (0..16).for_each(|m| speaker.send(&say(&format!("room {n}"), m)));
    }
    let mut bystander = Client::connect(&gateway, &token("bystander"));
    (0..PINGS).for_each(|_| bystander.ping());
    let waiting = gateway.admin().metrics().labelled("ringway_service_waiting", "service", "desk") as usize;
    assert!((1..=22).contains(&waiting), "{waiting}");
    let mut codes: HashMap<String, usize> = HashMap::new();
    for speaker in &mut speakers {
        for _ in 0..16 {
            let code = wire::string(&speaker.expect_type("error"), &["payload", "code"]).to_owned();
            *codes.entry(code).or_default() += 1;
        }
    }
    assert_eq!(codes.values().sum::<usize>(), 128);
    assert!(codes["busy"] > 0 && codes["service_unavailable"] > 0 && codes.len() == 2, "{codes:?}");
}

#[test]
fn every_message_that_is_not_taken_is_counted_once() {
    // More than one client may have waiting.
    const MESSAGES: usize = 40;
    let backend = HttpBackend::start();
    let gateway = started(&backend, "/", "timeout = '1s'\nbreaker_failures = 1000");
    backend.always(Reply::Hang);
    let mut client = Client::connect(&gateway, &token("ana"));
    (0..MESSAGES).for_each(|n| client.send(&say("a room", n)));
    (0..MESSAGES).for_each(|_| drop(client.expect_type("error")));
    let metrics = gateway.admin().metrics();
    let counted = |what| metrics.labelled(&format!("ringway_service_{what}_total"), "service", "desk") as usize;
    assert_eq!((counted("calls"), counted("failed") + counted("late")), (MESSAGES, 32));
    assert_eq!(counted("refused"), MESSAGES - 32);
}

#[test]
fn a_message_that_had_little_time_left_says_nothing_about_a_backend_that_answers_others() {
    let backend = HttpBackend::start();
    let keys = "concurrency = 1\nretries = 0\nbreaker_failures = 1\ntimeout = '5s'\nattempt_timeout = '5s'";
    let gateway = started(&backend, "/", keys);
    let (go_on, held) = mpsc::channel();
    let held = Mutex::new(held);
    backend.answers(move |received| match id_of(received) {
        1 => {
            // Until the test says so, or is over.
            _ = held.lock().expect("no panic").recv();
            Reply::status(204)
        }
        2 | 4 | 5 => Reply::Hang,
        _ => Reply::status(204),
    });
    let mut ana = Client::connect(&gateway, &token("ana"));
    let begun = Instant::now();
    (1..=2).for_each(|id| ana.send(&say("b1", id)));
    eventually("most of their time is over", || begun.elapsed() > Duration::from_secs(3));
    go_on.send(()).expect("the first one is held");
    ana.expect_type("said");
    assert_eq!(wire::string(&ana.expect_type("error"), &["payload", "code"]), "service_unavailable");
    assert!(backend.count() == 2 && is_connected(&gateway), "the second one was asked, and its time was over");
    ana.send(&say("b1", 3));
    ana.expect_type("said");
    // Those of two users that had all the time there is say that nobody answers.
    assert_eq!(refused(&mut ana, &say("b1", 4)), "service_unavailable");
    assert!(is_connected(&gateway), "it may be her message");
    let mut bob = Client::connect(&gateway, &token("bob"));
    assert_eq!(refused(&mut bob, &say("b1", 5)), "service_unavailable");
    eventually("it is left alone", || !is_connected(&gateway));
}
