//! Promise: who writes is told to the others of the conversation, on whatever shards they are, and that he does not any
//! more: by himself, after a time, or because he has gone.

use std::time::{Duration, Instant};

use crate::support::client::Client;
use crate::support::config::Config;
use crate::support::gateway::Gateway;
use crate::support::raw::{Raw, TEXT, frame};
use crate::support::tokens::{SECRET, token};
use crate::support::wire;

const TIMEOUT: Duration = Duration::from_millis(700);

fn gateway() -> Gateway {
    Gateway::start(Config::new().set("typing.timeout", "700ms").set("typing.interval", "300ms").set("server.shards", 3))
}

fn member(gateway: &Gateway, user: &str, channel: &str) -> Client {
    let mut client = Client::connect(gateway, &token(user));
    client.subscribe(&[channel]);
    client
}

fn typing(conversation: &str) -> String {
    format!(r#"{{"type":"typing","payload":{{"conversation_id":"{conversation}"}}}}"#)
}

#[track_caller]
fn expect(clients: &mut [Client], kind: &str, user: &str) {
    for client in clients {
        let told = client.expect_type(kind);
        assert_eq!(wire::string(&told, &["payload", "user_id"]), user);
        assert_eq!(wire::string(&told, &["payload", "conversation_id"]), "c1");
    }
}

#[test]
fn the_others_on_all_shards_are_told_of_the_beginning_and_of_the_end() {
    let gateway = gateway();
    let mut ann = member(&gateway, "ann", "conv:c1");
    let mut device = member(&gateway, "ann", "conv:c1");
    let mut others: Vec<Client> = (0..8).map(|n| member(&gateway, &format!("u{n}"), "conv:c1")).collect();
    let began = Instant::now();
    ann.send(&typing("c1"));
    expect(&mut others, "typing.start", "ann");
    expect(&mut others, "typing.stop", "ann");
    assert!(began.elapsed() >= TIMEOUT - Duration::from_millis(100), "a tick early at most");
    // Neither of his own devices has heard anything.
    ann.ping();
    device.ping();
}

#[test]
fn who_writes_and_records_in_one_conversation_is_told_of_both() {
    let recording = r#"
        [[routes]]
        type = "recording"
        action = "typing"
        fields = { conversation_id = "id" }
        channel = "conv:{conversation_id}"
        start = '{"type":"recording.start"}'
        stop = '{"type":"recording.stop"}'
    "#;
    let gateway = Gateway::start(Config::parse(recording).set("auth.secret", SECRET).list("presence.channels", &[]));
    let [mut ann, mut bob] = ["ann", "bob"].map(|user| member(&gateway, user, "conv:c1"));
    ann.send(&typing("c1"));
    ann.send(r#"{"type":"recording","conversation_id":"c1"}"#);
    for kind in ["typing.start", "recording.start"] {
        bob.expect_type(kind);
    }
    ann.send(r#"{"type":"unsubscribe","channels":["conv:c1"]}"#);
    for kind in ["typing.stop", "recording.stop"] {
        bob.expect_type(kind);
    }
}

#[test]
fn renewals_are_told_once_in_an_interval_and_hold_the_end_off() {
    let gateway = gateway();
    let mut ann = member(&gateway, "ann", "conv:c1");
    let mut bob = member(&gateway, "bob", "conv:c1");
    let (began, mut sent) = (Instant::now(), 0);
    while began.elapsed() < 2 * TIMEOUT {
        ann.send(&typing("c1"));
        ann.ping();
        sent += 1;
    }
    let intervals = began.elapsed().as_millis() / 300;
    let mut starts = 0;
    while wire::kind(&bob.next_json()) == "typing.start" {
        starts += 1;
    }
    assert!((2..=intervals + 2).contains(&starts) && sent > starts, "{starts} told of {sent} in {intervals} intervals");
}

#[test]
fn leaving_closing_and_dying_end_it() {
    // So long that nothing ends by itself.
    let gateway = Gateway::start(Config::new().set("typing.timeout", "1h").set("server.shards", 3));
    let mut others = [member(&gateway, "bob", "conv:c1"), member(&gateway, "eve", "conv:c1")];
    let mut ann = member(&gateway, "ann", "conv:c1");
    ann.send(&typing("c1"));
    ann.send(r#"{"type":"unsubscribe","channels":["conv:c1"]}"#);
    expect(&mut others, "typing.start", "ann");
    expect(&mut others, "typing.stop", "ann");
    let mut bill = member(&gateway, "bill", "conv:c1");
    bill.send(&typing("c1"));
    bill.ping();
    bill.close();
    expect(&mut others, "typing.start", "bill");
    expect(&mut others, "typing.stop", "bill");
    for (user, reset) in [("carl", true), ("dora", false)] {
        let mut raw = Raw::connect(&gateway, "/ws", &token(user));
        raw.write(&frame(TEXT, br#"{"type":"subscribe","channels":["conv:c1"]}"#));
        raw.write(&frame(TEXT, typing("c1").as_bytes()));
        expect(&mut others, "typing.start", user);
        if reset {
            raw.reset()
        } else {
            raw.vanish()
        }
        expect(&mut others, "typing.stop", user);
    }
}

#[test]
fn nobody_types_where_he_is_not_or_in_a_thousand_places() {
    let gateway = gateway();
    let mut bob = member(&gateway, "bob", "conv:c1");
    let mut eve = Client::connect(&gateway, &token("eve"));
    let code = |client: &mut Client| wire::string(&client.expect_type("error"), &["payload", "code"]).to_owned();
    eve.send(&typing("c1"));
    assert_eq!(code(&mut eve), "not_subscribed");
    let ids: Vec<String> = (0..100).map(|n| format!("x{n}")).collect();
    eve.send(&format!(r#"{{"type":"subscribe","conversation_ids":{}}}"#, sonic_rs::to_string(&ids).expect("strings")));
    eve.expect_type("subscribed");
    ids.iter().for_each(|id| eve.send(&typing(id)));
    (8..ids.len()).for_each(|_| assert_eq!(code(&mut eve), "too_many_channels"));
    bob.ping();
}

#[test]
fn the_community_says_with_a_flag_whether_it_begins_or_ends() {
    let gateway = gateway();
    let (mut ann, mut bob) = (member(&gateway, "ann", "clan:k1"), member(&gateway, "bob", "clan:k1"));
    for is in ["true", "false"] {
        ann.send(&format!(r#"{{"type":"typing","isTyping":{is},"clanId":"k1"}}"#));
        let told = format!(r#"{{"type":"typing","userId":"ann","clanId":"k1","isTyping":{is}}}"#);
        assert_eq!(bob.next_text(), told);
    }
}
