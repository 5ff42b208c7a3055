//! Promise: the participants of a channel are told who comes and who goes, by user and not by connection; whoever asks
//! gets the list; nobody else learns anything.

use std::time::{Duration, Instant};

use sonic_rs::{JsonContainerTrait, JsonValueTrait, Value};

use crate::support::client::{Client, Event};
use crate::support::config::Config;
use crate::support::crowd::Crowd;
use crate::support::gateway::Gateway;
use crate::support::tokens::{Claims, token};
use crate::support::wait::{DEADLINE, eventually};
use crate::support::wire;

fn config() -> Config {
    Config::new().list("presence.channels", &["conv:*", "team:*"])
}

fn subscribed(gateway: &Gateway, user: &str, channel: &str) -> Client {
    let mut client = Client::connect(gateway, &token(user));
    client.subscribe(&[channel]);
    client
}

/// The next message, which must tell this of `user` in conv:1.
#[track_caller]
fn expect_update(client: &mut Client, user: &str, status: &str) {
    let update = client.expect_type("presence.update");
    let of = |name| wire::string(&update, &["payload", name]);
    assert_eq!((of("conversation_id"), of("user_id"), of("status")), ("1", user, status), "{update:?}");
}

/// What a participant knows of conv:1 when he asks: users in their order, and how many.
#[track_caller]
fn state(client: &mut Client) -> (Vec<String>, u64) {
    client.send(r#"{"type":"presence.get","payload":{"conversation_id":"1"}}"#);
    users_and_count(&client.expect_type("presence.state")["payload"])
}

fn users_and_count(list: &Value) -> (Vec<String>, u64) {
    let users = list["users"].as_array().expect("a list").iter();
    let mut names: Vec<String> = users
        .map(|user| {
            assert_eq!(wire::string(user, &["status"]), "online");
            wire::string(user, &["user_id"]).to_owned()
        })
        .collect();
    names.sort();
    (names, list["count"].as_u64().expect("a number"))
}

#[test]
fn two_devices_of_a_user_are_one_arrival_and_one_departure() {
    let gateway = Gateway::start(config().set("presence.grace", "200ms"));
    let mut ann = subscribed(&gateway, "ann", "conv:1");
    // Several connections, so that both shards have some.
    let devices: Vec<Client> = (0..6).map(|_| subscribed(&gateway, "bob", "conv:1")).collect();
    expect_update(&mut ann, "bob", "online");
    assert_eq!(state(&mut ann), (vec!["ann".into(), "bob".into()], 2));
    devices.into_iter().for_each(Client::close);
    expect_update(&mut ann, "bob", "offline");
    assert_eq!(state(&mut ann), (vec!["ann".into()], 1));
}

#[test]
fn a_reconnect_within_the_grace_tells_nobody_anything_and_an_unsubscription_is_told_at_once() {
    let gateway = Gateway::start(config().set("presence.grace", "1h"));
    let mut ann = subscribed(&gateway, "ann", "conv:1");
    subscribed(&gateway, "bob", "conv:1").close();
    expect_update(&mut ann, "bob", "online");
    let mut bob = subscribed(&gateway, "bob", "conv:1");
    assert_eq!(state(&mut ann).1, 2);
    bob.send(r#"{"type":"unsubscribe","payload":{"conversation_ids":["1"]}}"#);
    bob.expect_type("unsubscribed");
    expect_update(&mut ann, "bob", "offline");
    drop(subscribed(&gateway, "cat", "conv:1"));
    expect_update(&mut ann, "cat", "online");
    assert_eq!(state(&mut ann), (vec!["ann".into(), "cat".into()], 2), "she may come back");
}

#[test]
fn nobody_is_told_of_himself_and_nobody_outside_learns_anything() {
    let gateway = Gateway::start(config());
    let mut eve = Client::connect(&gateway, &token("eve"));
    eve.subscribe(&["conv:2", "news"]);
    let mut bob = subscribed(&gateway, "bob", "conv:1");
    let mut ann = subscribed(&gateway, "ann", "conv:1");
    expect_update(&mut bob, "ann", "online");
    // What there was to tell has been told. If both came in one round, she has heard of him.
    ann.send(r#"{"type":"ping"}"#);
    while let update = ann.next_json()
        && wire::kind(&update) != "pong"
    {
        assert_eq!(wire::string(&update, &["payload", "user_id"]), "bob", "{update:?}");
    }
    eve.ping();
    for channel in ["conv:1", "news"] {
        eve.send(&format!(r#"{{"type":"presence.get","channel":"{channel}"}}"#));
        let error = eve.expect_type("error");
        let expected = if channel == "news" { "no_presence" } else { "not_subscribed" };
        assert_eq!(wire::string(&error, &["payload", "code"]), expected);
    }
}

#[test]
fn a_channel_that_is_no_conversation_is_named_as_it_is() {
    let gateway = Gateway::start(config());
    let mut ann = subscribed(&gateway, "ann", "team:7");
    let _bob = subscribed(&gateway, "bob", "team:7");
    let update = ann.expect_type("presence.update");
    assert_eq!(wire::string(&update, &["payload", "channel"]), "team:7", "{update:?}");
    assert_eq!(wire::string(&update, &["payload", "user_id"]), "bob");
}

#[test]
fn user_ids_are_text_and_nothing_more() {
    let gateway = Gateway::start(config());
    let strange = "b\"},{\\\"x\\u0041{user_id}é";
    let mut ann = subscribed(&gateway, "ann", "conv:1");
    let mut client = Client::connect(&gateway, &Claims::of(strange).sign());
    client.subscribe(&["conv:1"]);
    expect_update(&mut ann, strange, "online");
    assert_eq!(state(&mut ann), (vec!["ann".into(), strange.into()], 2));
    let answer = gateway.admin().get("/presence?channel=conv:1");
    assert_eq!(users_and_count(&answer.json()), (vec!["ann".into(), strange.into()], 2));
}

#[test]
fn a_burst_of_a_thousand_is_told_as_a_number_and_above_the_size_nobody_is_named() {
    let gateway = Gateway::start(config().set("presence.announce_max", 10).set("presence.list_max", 7));
    let mut ann = subscribed(&gateway, "ann", "conv:1");
    let mut crowd = Crowd::subscribed(&gateway, "u", 40, "conv:1");
    // Of 25 sessions each, so that a thousand join.
    for client in &mut crowd.clients {
        let list: Vec<String> = (2..27).map(|number| number.to_string()).collect();
        let list = sonic_rs::to_string(&list).expect("JSON");
        client.send(&format!(r#"{{"type":"subscribe","conversation_ids":{list}}}"#));
    }
    let (mut updates, mut last) = (0, 0);
    let deadline = Instant::now() + DEADLINE;
    while last < 41 && Instant::now() < deadline {
        if let Some(Event::Text(text)) = ann.poll() {
            let update = wire::json(&text);
            assert_eq!(wire::kind(&update), "presence.update");
            updates += 1;
            match wire::number(&update, &["payload", "count"]) {
                Some(count) => last = count,
                None => assert!(last == 0, "nobody is named any more: {text}"),
            }
        }
    }
    assert_eq!(last, 41);
    assert!(updates < 40, "{updates} updates for 40 arrivals");
    let (users, count) = state(&mut ann);
    assert_eq!((users.len(), count), (7, 41));
    eventually("all are counted", || gateway.admin().metrics().sum("ringway_presence_users") == 41.0 + 25.0 * 40.0);
    let metrics = gateway.admin().metrics();
    let (changes, told) =
        (metrics.sum("ringway_presence_changes_total"), metrics.sum("ringway_presence_updates_total"));
    assert!(told < changes, "{told} of {changes}");
}

#[test]
fn a_drain_tells_nobody_who_leaves() {
    let gateway = Gateway::start(config());
    let mut ann = subscribed(&gateway, "ann", "conv:1");
    let _others: Vec<Client> = ["bob", "cat"].map(|user| subscribed(&gateway, user, "conv:1")).into();
    for _ in 0..2 {
        assert_eq!(wire::string(&ann.expect_type("presence.update"), &["payload", "status"]), "online");
    }
    let began = Instant::now();
    let reader = std::thread::spawn(move || {
        loop {
            match ann.next() {
                Event::Text(text) => panic!("nothing is told: {text}"),
                Event::Closed(code) => return code,
                Event::Gone => panic!("without a goodbye"),
                Event::Ping | Event::Pong => {}
            }
        }
    });
    assert!(gateway.stop().success());
    assert_eq!(reader.join().expect("it was told nothing"), Some(wire::CLOSE_GOING_AWAY));
    assert!(began.elapsed() < Duration::from_secs(60), "no grace is waited for");
}

#[test]
fn of_a_channel_that_nobody_joins_there_is_no_presence_whatever_the_patterns_say() {
    let gateway = Gateway::start(Config::new().list("presence.channels", &["*"]));
    let mut ann = Client::connect_at(&gateway, "/ws?userType=driver", &token("ann"));
    for channel in ["user:ann", "type:driver"] {
        ann.send(&format!(r#"{{"type":"presence.get","channel":"{channel}"}}"#));
        assert_eq!(wire::string(&ann.expect_type("error"), &["payload", "code"]), "no_presence", "{channel}");
        assert_eq!(gateway.admin().get(&format!("/presence?channel={channel}")).status, 404, "{channel}");
    }
    let mut bob = subscribed(&gateway, "bob", "news");
    bob.send(r#"{"type":"presence.get","channel":"news"}"#);
    assert_eq!(users_and_count(&bob.expect_type("presence.state")["payload"]), (vec!["bob".into()], 1));
}
