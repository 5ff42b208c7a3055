//! Promise: whatever a client puts into a message, of whatever route, it gets one clear answer; others get the messages
//! of the routes' templates with exactly their fields, or nothing; and nobody is reached through a field.

mod messages;
mod observer;

use ringway::route::action::Action;
use ringway::route::{Route, Routes};
use sonic_rs::{JsonValueTrait, Value, json};

use self::observer::{Templates, read_what_is_there};
use crate::support::client::{Client, Event};
use crate::support::config::Config;
use crate::support::gateway::Gateway;
use crate::support::tokens::token;
use crate::support::wire::{self, CLOSE_TOKEN_INVALID};

/// A user whose name is a piece of JSON and a place of templates. There is nothing in it that a user id may not have.
const MALLORY: &str = r#"m"},{"type":"forged","a":"{user_id}\"#;

/// A list of channels is answered with what holds, and with an error for each of these reasons at most.
const ANSWERS_TO_LIST_MAX: usize = 5;

#[test]
fn a_bad_message_harms_nobody_and_has_one_answer() {
    // Nothing comes of itself meanwhile.
    let quiet = Config::new().set("heartbeat.interval", "1h").set("heartbeat.idle_timeout", "2h");
    let gateway = Gateway::start(quiet.set("limits.channels_per_connection", 8));
    let templates = Templates::shipped();
    let mut observer = Client::connect(&gateway, &token("observer"));
    take_part(&mut observer);
    observer.set_nonblocking();
    // In no channel but those that everybody is in.
    let mut bystander = Client::connect_at(&gateway, "/ws?userType=rider", &token("bystander"));
    bystander.set_nonblocking();
    let mut heard = 0;
    for route in Routes::shipped().all().iter().filter(|route| route.definition.example.is_some()) {
        let mut mallory = connect_for(&gateway, route);
        for (number, message) in messages::of(route).iter().enumerate() {
            assert_answered(&mut mallory, route, number, message);
            for text in read_what_is_there(&mut observer) {
                templates.assert_made(&text, MALLORY);
                heard += 1;
            }
            assert_eq!(read_what_is_there(&mut bystander), [""; 0], "reached by {message}");
        }
    }
    assert!(heard > 100, "the observer heard only {heard} messages");
    for (user, client) in [("observer", &mut observer), ("bystander", &mut bystander)] {
        gateway.admin().broadcast(&format!("/broadcast/user/{user}"), "the end");
        while wire_text(client) != "the end" {}
        client.ping();
    }
}

#[test]
fn eight_kib_of_escapes_arrive_as_the_text_that_they_are() {
    let gateway = Gateway::start(Config::new());
    let [mut mallory, mut other] = [MALLORY, "other"].map(|user| Client::connect(&gateway, &token(user)));
    for client in [&mut mallory, &mut other] {
        client.subscribe(&["clan:k1"]);
    }
    for (escape, text) in
        [(r#"\""#, "\""), (r"\\", "\\"), (r"\u0022", "\""), (r"\u0000", "\0"), (r"\ud83d\ude00", "😀")]
    {
        let empty = r#"{"type":"chat","clanId":"k1","content":""}"#;
        let count = (8192 - empty.len()) / escape.len();
        mallory.send(&empty.replace(r#"content":""#, &format!(r#"content":"{}"#, escape.repeat(count))));
        mallory.await_type("message_sent");
        let chat = other.expect_type("chat");
        assert_eq!(wire::string(&chat, &["content"]), text.repeat(count), "{escape}");
        assert_eq!(wire::string(&chat, &["userId"]), MALLORY);
    }
    // Half a character is no text.
    mallory.send(r#"{"type":"chat","clanId":"k1","content":"\ud83d"}"#);
    let error = mallory.await_type("error");
    assert_eq!(wire::string(&error, &["payload", "code"]), "bad_field");
    other.ping();
}

#[test]
fn a_field_leads_to_no_channel_but_its_own() {
    let gateway = Gateway::start(Config::new());
    let mut bystander = Client::connect_at(&gateway, "/ws?userType=rider", &token("bystander"));
    let mut mallory = Client::connect(&gateway, &token(MALLORY));
    for id in ["all", "user:bystander", "type:rider", "notifications", "cell:8a1e15b71907fff", "x"] {
        mallory.send(&json!({"type": "subscribe_clan_chat", "clanId": id}).to_string());
        mallory.expect_type("subscription_confirmed");
        let own = gateway.admin().connection_of(MALLORY).channels;
        assert!(own.contains(&format!("clan:{id}")), "{own:?}");
        for foreign in ["user:bystander", "type:rider", "notifications", "x"] {
            assert!(!own.iter().any(|channel| channel == foreign), "{own:?}");
        }
        mallory.send(&json!({"type": "chat", "clanId": id, "content": "hello"}).to_string());
        mallory.await_type("chat");
        mallory.send(&json!({"type": "chat.send", "conversation_id": id, "content": "hello"}).to_string());
        assert_eq!(wire::string(&mallory.expect_type("error"), &["payload", "code"]), "not_subscribed");
    }
    for (request, code) in [
        (json!({"type": "subscribe", "channels": ["user:bystander"]}), "not_allowed"),
        (json!({"type": "subscribe", "channels": ["cell:8a1e15b71907fff"]}), "not_allowed"),
        (json!({"type": "presence.get", "channel": "user:bystander"}), "not_subscribed"),
        (json!({"type": "unsubscribe", "channels": ["all"]}), "not_subscribed"),
    ] {
        mallory.send(&request.to_string());
        assert_eq!(wire::string(&mallory.await_type("error"), &["payload", "code"]), code, "{request:?}");
    }
    gateway.admin().broadcast("/broadcast/user/bystander", "the first message");
    assert_eq!(bystander.next_text(), "the first message");
}

#[test]
fn a_bad_token_in_a_message_is_told_and_nothing_else() {
    let gateway = Gateway::start(Config::new());
    let mut other = Client::connect(&gateway, &token("other"));
    for (token, code) in
        [("7", "bad_field"), ("{}", "bad_field"), ("null", "missing_field"), (r#""\ud800""#, "bad_field")]
    {
        let (mut client, _) = Client::upgrade(&gateway, "/ws", &[]).expect("an upgrade");
        client.send(&format!(r#"{{"type":"auth","token":{token}}}"#));
        let error = client.expect_type("error");
        let told = wire::string(&error, &["payload", "code"]);
        assert!(told == code || told == "bad_field", "{token}: {told}");
        client.ping();
    }
    for token in ["{user_id}", "a.b.c", &"x".repeat(7000), r#"\"}"#] {
        let (mut client, _) = Client::upgrade(&gateway, "/ws", &[]).expect("an upgrade");
        client.send(&wire::auth(token));
        assert_eq!(wire::string(&client.expect_type("error"), &["payload", "code"]), "malformed");
        assert_eq!(client.expect_close(), CLOSE_TOKEN_INVALID);
    }
    other.ping();
}

/// Every channel that the examples are about, and the vendors around them.
fn take_part(client: &mut Client) {
    let mut channels: Vec<String> = Routes::shipped().all().iter().filter_map(channel).collect();
    channels.sort();
    channels.dedup();
    client.subscribe(&channels.iter().map(|channel| &**channel).collect::<Vec<_>>());
    client.send(r#"{"type":"subscribe_nearby","latitude":48.2082,"longitude":16.3738,"radius":1500}"#);
    client.await_type("subscription_confirmed");
}

/// The hostile user, as somebody who may send on this route.
fn connect_for(gateway: &Gateway, route: &Route) -> Client {
    let user_type = route.roles.iter().find(|role| !role.is_empty()).map_or("", |role| role);
    let mut client = Client::connect_at(gateway, &format!("/ws?userType={user_type}"), &token(MALLORY));
    if let Some(channel) = channel(route) {
        client.subscribe(&[&channel]);
    }
    client
}

/// The one channel that a route's example is about.
fn channel(route: &Route) -> Option<String> {
    if matches!(route.action, Action::Subscribe(_) | Action::Unsubscribe(_)) {
        return None;
    }
    let example = wire::json(route.definition.example.as_deref()?);
    let mut channel = route.definition.channel.clone()?.replace("{user_id}", MALLORY);
    for name in route.definition.fields.keys() {
        let value = messages::field_of(&example, name);
        let text = value.as_ref().and_then(|value| value.as_str()).unwrap_or_default();
        channel = channel.replace(&format!("{{{name}}}"), text);
    }
    Some(channel)
}

/// The direct answers to a message come before that to a ping behind it.
#[track_caller]
fn assert_answered(client: &mut Client, route: &Route, number: usize, message: &str) {
    let id = format!("h-{number}");
    client.send(&message.replacen("\"id\":ID", &format!("\"id\":\"{id}\""), 1));
    client.send(&format!(r#"{{"type":"ping","id":"p-{number}"}}"#));
    let mut answers = Vec::new();
    loop {
        let answer = client.next_json();
        if wire::string(&answer, &["id"]) == format!("p-{number}") {
            break;
        }
        let has_id = wire::at(&answer, &["id"]).is_some();
        if wire::kind(&answer) == "error" {
            assert_clear(&answer, message);
            answers.push(answer);
        } else if has_id || !message.contains("ID") && is_reply(route, &answer) {
            answers.push(answer);
        }
    }
    let is_list = matches!(route.action, Action::Subscribe(_) | Action::Unsubscribe(_));
    let expected = match &route.definition.reply {
        Some(_) if is_list => 1..=ANSWERS_TO_LIST_MAX,
        Some(_) => 1..=1,
        None => 0..=1,
    };
    assert!(expected.contains(&answers.len()), "{message} is answered with {answers:?}");
}

fn is_reply(route: &Route, answer: &Value) -> bool {
    let reply = route.definition.reply.as_deref().map(wire::json);
    reply.is_some_and(|reply| wire::kind(&reply) == wire::kind(answer))
}

/// An error says what and why, in both shapes.
#[track_caller]
fn assert_clear(error: &Value, message: &str) {
    assert!(!wire::string(error, &["payload", "code"]).is_empty(), "{message}: {error:?}");
    let sentence = wire::string(error, &["message"]);
    assert!(!sentence.is_empty() && sentence == wire::string(error, &["payload", "message"]), "{message}: {error:?}");
}

#[track_caller]
fn wire_text(client: &mut Client) -> String {
    loop {
        match client.next() {
            Event::Text(text) => return text,
            Event::Ping | Event::Pong => {}
            ended => panic!("the connection ended: {ended:?}"),
        }
    }
}
