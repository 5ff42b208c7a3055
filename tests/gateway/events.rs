//! Promise: a service is told who connects, disconnects, subscribes and unsubscribes: everything, in the order of each
//! session, numbered without holes, at least once; what it could not be told it is told to be missing.

use std::collections::{HashMap, HashSet};
use std::thread;

use sonic_rs::{JsonContainerTrait, Value};

use crate::support::client::Client;
use crate::support::config::Config;
use crate::support::crowd::Crowd;
use crate::support::gateway::Gateway;
use crate::support::http_backend::{HttpBackend, Reply};
use crate::support::redis::Redis;
use crate::support::tokens::{Claims, token};
use crate::support::wait::eventually;
use crate::support::wire;

fn config(backend: &HttpBackend, keys: &str) -> Config {
    let url = backend.url("/events");
    let service = format!("[[services]]\nname = 'watch'\nkind = 'http'\nurl = '{url}'\n");
    Config::new().with(&service).with(&format!("[events]\nservice = 'watch'\nbatch_delay = '10ms'\n{keys}\n"))
}

/// What the service has been told: each event once, and how many it was told to be missing. Whatever came twice came as
/// the same batch, right behind the first.
#[derive(Default)]
struct Told {
    events: Vec<Value>,
    lost: u64,
    repeats: usize,
}

impl Told {
    #[track_caller]
    fn read(batches: impl IntoIterator<Item = String>) -> Told {
        let (mut told, mut next, mut before) = (Told::default(), 1, String::new());
        for body in batches {
            if body == before {
                told.repeats += 1;
                continue;
            }
            let batch = wire::json(&body);
            let number = |name| wire::number(&batch, &[name]).unwrap_or_else(|| panic!("no {name} in {body}"));
            assert_eq!(wire::kind(&batch), "connection_events");
            assert_eq!(number("first"), next + number("lost"), "a hole of which nobody told: {body}");
            next = number("first");
            told.lost += number("lost");
            for event in wire::at(&batch, &["events"]).and_then(|list| list.as_array()).expect("a list").iter() {
                assert_eq!(wire::number(event, &["seq"]), Some(next), "{body}");
                next += 1;
                told.events.push(event.clone());
            }
            before = body;
        }
        told
    }

    #[track_caller]
    fn to(backend: &HttpBackend) -> Told {
        Told::read(backend.received().into_iter().map(|received| received.body))
    }

    /// Of one user, as short texts.
    fn of(&self, user: &str) -> Vec<String> {
        let own = self.events.iter().filter(|event| wire::string(event, &["user_id"]) == user);
        own.map(|event| {
            let more = ["channel", "reason"].map(|name| wire::string(event, &[name]).to_owned()).concat();
            let code = wire::number(event, &["code"]).map(|code| format!(" {code}")).unwrap_or_default();
            format!("{} {more}{code}", wire::string(event, &["event"])).trim_end().to_owned()
        })
        .collect()
    }
}

#[track_caller]
fn eventually_told(backend: &HttpBackend, user: &str, expected: &[&str]) -> Told {
    eventually(&format!("{user}: {expected:?}"), || Told::to(backend).of(user).len() >= expected.len());
    let told = Told::to(backend);
    assert_eq!(told.of(user), expected);
    told
}

#[test]
fn who_comes_and_goes_is_told_in_order_and_how() {
    let backend = HttpBackend::start();
    let gateway = Gateway::start(config(&backend, "").set("server.sessions", "per_device"));
    let mut ana = Client::connect_at(&gateway, "/ws?userType=driver&deviceId=d1&platform=ios", &token("ana"));
    let session = gateway.admin().connection_of("ana").session_id;
    ana.subscribe(&["conv:c1", "conv:c2"]);
    ana.send(r#"{"type":"subscribe","payload":{"channels":["conv:c1","user:bob"]}}"#);
    ana.expect_type("subscribed");
    ana.expect_type("error");
    ana.send(r#"{"type":"unsubscribe","payload":{"channels":["conv:c2"]}}"#);
    ana.expect_type("unsubscribed");
    ana.close();
    let expected =
        ["connected", "subscribed conv:c1", "subscribed conv:c2", "unsubscribed conv:c2", "disconnected by_peer 1005"];
    let told = eventually_told(&backend, "ana", &expected);
    let first = &told.events[0];
    for (name, value) in
        [("user_type", "driver"), ("device_id", "d1"), ("platform", "ios"), ("session_id", &session), ("address", "")]
    {
        assert_eq!(wire::string(first, &[name]), value, "{first:?}");
    }
    assert!(told.events.iter().all(|event| wire::string(event, &["session_id"]) == session));

    let operated = Client::connect(&gateway, &token("operated"));
    assert_eq!(gateway.admin().post("/disconnect/user/operated", "").status, 200);
    eventually_told(&backend, "operated", &["connected", "disconnected operator 4004"]);
    drop(operated);
    drop(Client::connect(&gateway, &token("vanished")));
    eventually_told(&backend, "vanished", &["connected", "disconnected abnormal 1006"]);
    let _both = [1, 2].map(|_| Client::connect_at(&gateway, "/ws?deviceId=d", &token("twice")));
    eventually("the older one ends", || Told::to(&backend).of("twice").len() == 3);
    let mut of_both = Told::to(&backend).of("twice");
    of_both.sort();
    assert_eq!(of_both, ["connected", "connected", "disconnected replaced 4000"]);
    let _expired = Client::connect(&gateway, &Claims::of("expired").expires_in(2).sign());
    eventually_told(&backend, "expired", &["connected", "disconnected token_expired 4502"]);
    // A session begins with its token, whenever that comes.
    let (mut late, _) = Client::upgrade(&gateway, "/ws", &[]).expect("without a token");
    late.ping();
    late.send(&wire::auth(&token("late")));
    late.expect_type("auth.success");
    late.send(&wire::auth(&token("late")));
    late.expect_type("auth.success");
    late.send("\u{0}");
    late.close();
    let (stranger, _) = Client::upgrade(&gateway, "/ws", &[]).expect("without a token");
    stranger.close();
    eventually_told(&backend, "late", &["connected", "disconnected by_peer 1005"]);
    let told = Told::to(&backend);
    assert_eq!((told.lost, told.of("")), (0, Vec::<String>::new()), "who never was a session is not told of");
    let page = gateway.admin().metrics();
    assert_eq!(page.sum("ringway_events_sent_total") as usize, told.events.len());
    assert_eq!(page.sum("ringway_events_waiting") as usize, 0);
    let ready = gateway.admin().get("/readyz").json();
    assert_eq!(wire::string(&ready, &["events", "state"]), "connected");
}

#[test]
fn only_what_is_asked_for_is_told() {
    let backend = HttpBackend::start();
    let gateway = Gateway::start(config(&backend, "which = ['connected', 'unsubscribed']\naddress = true"));
    let mut ana = Client::connect(&gateway, &token("ana"));
    ana.subscribe(&["conv:c1"]);
    ana.send(r#"{"type":"unsubscribe","payload":{"channels":["conv:c1"]}}"#);
    ana.expect_type("unsubscribed");
    ana.close();
    let (mut late, _) = Client::upgrade(&gateway, "/ws", &[]).expect("without a token");
    late.send(&wire::auth(&token("late")));
    late.expect_type("auth.success");
    let told = eventually_told(&backend, "late", &["connected"]);
    assert_eq!(told.of("ana"), ["connected", "unsubscribed conv:c1"]);
    let addresses: HashSet<&str> = told.events.iter().map(|event| wire::string(event, &["address"])).collect();
    assert_eq!(addresses, HashSet::from(["127.0.0.1", ""]));
}

#[test]
fn without_a_setting_nobody_is_told() {
    let backend = HttpBackend::start();
    let url = backend.url("/");
    let service = format!("[[services]]\nname = 'watch'\nkind = 'http'\nurl = '{url}'\n");
    let gateway = Gateway::start(Config::new().with(&service));
    let mut ana = Client::connect(&gateway, &token("ana"));
    ana.subscribe(&["conv:c1"]);
    ana.close();
    gateway.admin().eventually_active(0);
    let page = gateway.admin().get("/metrics").body;
    assert!(!page.contains("ringway_events_") && !gateway.admin().get("/readyz").body.contains("events"), "{page}");
    assert!(gateway.stop().success());
    assert_eq!(backend.count(), 0);
}

#[test]
fn a_service_that_is_killed_and_restarted_under_load_is_told_everything() {
    const USERS: usize = 12;
    const ROUNDS: usize = 25;
    let mut backend = HttpBackend::start();
    let gateway = Gateway::start(config(&backend, "batch_max = 7"));
    thread::scope(|scope| {
        let users: Vec<_> = (0..USERS)
            .map(|user| {
                let gateway = &gateway;
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        let mut client = Client::connect(gateway, &token(&format!("user{user}")));
                        client.subscribe(&[&format!("conv:{round}")]);
                        client.close();
                    }
                })
            })
            .collect();
        let are_done = || users.iter().all(|user| user.is_finished());
        while !are_done() {
            let soon = backend.count() + 5;
            eventually("batches come", || backend.count() >= soon || are_done());
            backend.kill();
            let waits = || gateway.admin().metrics().sum("ringway_events_waiting") > 0.0;
            eventually("events wait", || waits() || are_done());
            backend.restart();
        }
    });
    eventually("all is told", || Told::to(&backend).events.len() >= USERS * ROUNDS * 3);
    let told = Told::to(&backend);
    assert_eq!((told.events.len(), told.lost), (USERS * ROUNDS * 3, 0));
    let mut by_session: HashMap<&str, Vec<&str>> = HashMap::new();
    for event in &told.events {
        let own = by_session.entry(wire::string(event, &["session_id"])).or_default();
        own.push(wire::string(event, &["event"]));
    }
    assert_eq!(by_session.len(), USERS * ROUNDS);
    assert!(by_session.values().all(|events| *events == ["connected", "subscribed", "disconnected"]), "{by_session:?}");
    for user in 0..USERS {
        let channels: HashSet<String> = told.of(&format!("user{user}")).into_iter().collect();
        assert!((0..ROUNDS).all(|round| channels.contains(&format!("subscribed conv:{round}"))), "{channels:?}");
    }
}

#[test]
fn a_service_that_is_away_costs_the_oldest_and_is_told_how_many() {
    const BUFFER: usize = 20;
    const CLIENTS: usize = 40;
    let mut backend = HttpBackend::start();
    let gateway = Gateway::start(config(&backend, &format!("buffer = {BUFFER}\nbatch_max = 8")));
    drop(Client::connect(&gateway, &token("before")));
    eventually_told(&backend, "before", &["connected", "disconnected abnormal 1006"]);
    backend.kill();
    for client in 0..CLIENTS {
        Client::connect(&gateway, &token(&format!("user{client}"))).close();
    }
    gateway.admin().eventually_active(0);
    let lost = || gateway.admin().metrics().sum("ringway_events_lost_total") as u64;
    // The batch on its way is kept beside the buffer.
    let (least, most) = (2 * CLIENTS as u64 - BUFFER as u64 - 8, 2 * CLIENTS as u64 - BUFFER as u64);
    eventually("the oldest have gone", || (least..=most).contains(&lost()));
    eventually("that is shown, and no reason to send clients elsewhere", || {
        let (ready, shown) = (gateway.admin().get("/readyz"), r#""error":"it is away""#);
        ready.status == 200
            && ready.body.contains(r#""events":{"service":"watch","state":"disconnected""#)
            && ready.body.contains(shown)
    });
    backend.restart();
    Client::connect(&gateway, &token("after")).close();
    let told = eventually_told(&backend, "after", &["connected", "disconnected by_peer 1005"]);
    assert_eq!(told.lost, lost());
    assert_eq!(told.events.len() as u64 + told.lost, 2 * (CLIENTS as u64 + 2));
    // Of each shard the newest stay; in which order the shards are heard is not said.
    let newest = (CLIENTS / 2..CLIENTS).filter(|user| !told.of(&format!("user{user}")).is_empty()).count();
    assert!(newest > 0, "the newest stay");
}

#[test]
fn a_batch_that_is_not_taken_comes_again_as_it_was() {
    let backend = HttpBackend::start();
    let gateway = Gateway::start(config(&backend, ""));
    for reply in [Reply::status(400), Reply::status(500), Reply::Drop] {
        eventually("the greeting is taken", || backend.count() > 0);
        let before = (backend.count(), Told::to(&backend).repeats);
        backend.always(reply.clone());
        Client::connect(&gateway, &token("ana")).close();
        eventually("it comes again", || Told::to(&backend).repeats >= before.1 + 2);
        assert!(backend.count() > before.0, "{reply:?}");
        assert!(!gateway.admin().get("/readyz").body.contains(r#""events":{"service":"watch","state":"connected""#));
        backend.always(Reply::status(204));
        eventually("it is taken", || gateway.admin().metrics().sum("ringway_events_waiting") == 0.0);
    }
    let told = Told::to(&backend);
    assert_eq!((told.of("ana").len(), told.lost), (6, 0));
    assert!(gateway.admin().metrics().sum("ringway_events_repeated_total") as usize >= told.repeats);
}

#[test]
fn when_the_gateway_ends_its_service_is_told_of_every_end() {
    const CLIENTS: usize = 60;
    let backend = HttpBackend::start();
    let gateway = Gateway::start(config(&backend, "batch_max = 7").set("events.batch_delay", "30s"));
    let mut crowd = Crowd::subscribed(&gateway, "user", CLIENTS, "conv:c1");
    let ending = thread::spawn(|| gateway.stop());
    let codes = crowd.close_codes(|| ());
    assert!(codes.iter().all(|code| *code == Some(wire::CLOSE_GOING_AWAY)), "{codes:?}");
    assert!(ending.join().expect("no panic").success());
    let told = Told::to(&backend);
    for client in 0..CLIENTS {
        let expected = ["connected", "subscribed conv:c1", "disconnected going_away 1001"];
        assert_eq!(told.of(&format!("user{client}")), expected);
    }
}

#[test]
fn a_service_that_is_away_does_not_hold_up_the_end() {
    let mut backend = HttpBackend::start();
    let gateway = Gateway::start(config(&backend, ""));
    eventually("the greeting is taken", || gateway.admin().get("/readyz").body.contains(r#""events":{"service""#));
    backend.kill();
    let client = Client::connect(&gateway, &token("ana"));
    drop(client);
    gateway.admin().eventually_active(0);
    assert!(gateway.stop().success());
}

#[test]
fn a_new_start_says_so_and_counts_from_one() {
    let backend = HttpBackend::start();
    let epochs: Vec<String> = (0..2)
        .map(|_| {
            let before = backend.count();
            let gateway = Gateway::start(config(&backend, "").set("server.id", "node-7"));
            eventually("it says so", || backend.count() > before);
            let batch = wire::json(&backend.received()[before].body);
            assert_eq!((wire::number(&batch, &["first"]), wire::string(&batch, &["node"])), (Some(1), "node-7"));
            assert_eq!(wire::at(&batch, &["events"]).and_then(|list| list.as_array()).map(|list| list.len()), Some(0));
            drop(gateway);
            wire::string(&batch, &["epoch"]).to_owned()
        })
        .collect();
    assert!(!epochs[0].is_empty() && epochs[0] < epochs[1], "{epochs:?}");
}

#[test]
fn what_clients_call_themselves_stays_within_its_field() {
    let backend = HttpBackend::start();
    let gateway = Gateway::start(config(&backend, ""));
    let users = ["a\"},{\"event\":\"x", "b\\", "c.* >", "{user_id}", "\u{1f980}\u{2028}"];
    for user in users {
        let device = "d%0D%0A%22%7D%00%5C";
        let mut client = Client::connect_at(&gateway, &format!("/ws?deviceId={device}"), &token(user));
        client.subscribe(&["conv:\"],\"x\":[\""]);
        client.close();
    }
    for user in users {
        let told = eventually_told(
            &backend,
            user,
            &["connected", "subscribed conv:\"],\"x\":[\"", "disconnected by_peer 1005"],
        );
        let connected = told.events.iter().find(|event| wire::string(event, &["user_id"]) == user).expect("told");
        assert_eq!(wire::string(connected, &["device_id"]), "d\r\n\"}\0\\");
    }
    assert_eq!(Told::to(&backend).events.len(), 3 * users.len());
}

#[test]
fn a_service_that_stands_still_slows_no_shard() {
    const PINGS: usize = 500;
    let backend = HttpBackend::start();
    backend.always(Reply::Hang);
    let gateway = Gateway::start(config(&backend, "buffer = 10"));
    eventually("it has a batch", || backend.count() > 0);
    let mut bystander = Client::connect(&gateway, &token("bystander"));
    for n in 0..PINGS {
        bystander.ping();
        if n % 5 == 0 {
            Client::connect(&gateway, &token("ana")).close();
        }
    }
    eventually("the oldest go", || gateway.admin().metrics().sum("ringway_events_lost_total") > 0.0);
    assert!(gateway.admin().metrics().sum("ringway_events_waiting") <= 10.0);
}

#[test]
fn any_service_can_be_told() {
    let mut redis = Redis::start();
    let service = [("name", "watch"), ("kind", "redis"), ("stream", "{type}.{key}")];
    let config = Config::new().set("redis.url", redis.url()).service(&service).set("server.id", "n1");
    let gateway = Gateway::start(config.set("events.service", "watch"));
    Client::connect(&gateway, &token("ana")).close();
    let mut told = Told::default();
    eventually("Redis has it", || {
        let entries: Vec<(String, HashMap<String, String>)> =
            redis.query(&["XRANGE", "connection_events.n1", "-", "+"]);
        told = Told::read(entries.into_iter().map(|(_, fields)| fields["message"].clone()));
        told.of("ana").len() == 2
    });
    assert_eq!(told.of("ana"), ["connected", "disconnected by_peer 1005"]);
}
