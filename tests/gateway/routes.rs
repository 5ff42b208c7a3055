//! Promise: what docs/ROUTES.md shows works as it stands there; what is wrong with a route keeps the gateway from
//! starting, with file and line.

use std::collections::BTreeMap;

use crate::support::blocks::blocks;
use crate::support::client::Client;
use crate::support::config::Config;
use crate::support::gateway::{Gateway, command};
use crate::support::process::run;
use crate::support::tokens::{SECRET, token};
use crate::support::wire;

const DOCUMENT: &str = "docs/ROUTES.md";

/// All blocks of the document with this info string, one behind the other.
fn text(info: &str) -> String {
    blocks(DOCUMENT).iter().filter(|block| block.info == info).map(|block| block.text.as_str()).collect()
}

/// The clients of the sessions of the document, by the names they have there.
struct Cast<'a> {
    gateway: &'a Gateway,
    clients: BTreeMap<String, Client>,
}

impl Cast<'_> {
    fn play(&mut self, line: &str) {
        let mut words = line.splitn(3, ' ');
        let mut word = || words.next().unwrap_or_else(|| panic!("{line}: three words"));
        let (name, direction, message) = (word(), word(), word());
        let user = name.split(['/', '?']).next().expect("a name");
        let client = self.client(name);
        match direction {
            ">" => client.send(&message.replace("TOKEN", &token(user))),
            _ => {
                let heard = client.next_text();
                assert!(is_like(&heard, message), "{line}\nheard: {heard}");
            }
        }
    }

    fn client(&mut self, name: &str) -> &mut Client {
        let gateway = self.gateway;
        self.clients.entry(name.to_owned()).or_insert_with(|| {
            if name.ends_with('?') {
                return Client::upgrade(gateway, "/ws", &[]).expect("nobody is asked yet").0;
            }
            let (user, user_type) = name.split_once('/').unwrap_or((name, ""));
            let target = if user_type.is_empty() { "/ws".to_owned() } else { format!("/ws?userType={user_type}") };
            Client::connect_at(gateway, &target, &token(user))
        })
    }
}

/// Whether the pieces between the `…` stand in the text in their order, the first at its beginning.
fn is_like(text: &str, pattern: &str) -> bool {
    let mut pieces = pattern.split('…');
    let Some(mut rest) = pieces.next().and_then(|first| text.strip_prefix(first)) else { return false };
    for piece in pieces {
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    pattern.ends_with('…') || rest.is_empty()
}

#[test]
fn the_sessions_of_the_document_are_as_they_are_written() {
    let gateway =
        Gateway::start(Config::parse(&text("toml routes")).set("auth.secret", SECRET).set("server.shards", 2));
    let mut cast = Cast { gateway: &gateway, clients: BTreeMap::new() };
    let sessions = text("text session");
    assert!(sessions.lines().count() > 20, "{sessions}");
    sessions.lines().for_each(|line| cast.play(line));
    // Nobody has heard anything more.
    cast.clients.values_mut().for_each(Client::ping);
}

#[test]
fn a_message_reaches_members_on_all_shards_and_nobody_else() {
    let gateway = Gateway::start(Config::new());
    let (mut ana, mut bob) = Client::two_on_different_shards(&gateway);
    let mut outsider = Client::connect(&gateway, &token("outsider"));
    for client in [&mut ana, &mut bob] {
        client.send(r#"{"type":"subscribe_clan_chat","clanId":"k1"}"#);
        client.expect_type("subscription_confirmed");
    }
    ana.send(r#"{"type":"chat","content":"hi","clanId":"k1"}"#);
    let sent = ana.expect_type("message_sent");
    let id = wire::string(&sent, &["messageId"]);
    for client in [&mut ana, &mut bob] {
        let chat = client.expect_type("chat");
        assert_eq!(wire::string(&chat, &["messageId"]), id);
        assert_eq!(wire::string(&chat, &["messageType"]), "TEXT");
    }
    outsider.send(r#"{"type":"chat","content":"hi","clanId":"k1"}"#);
    assert_eq!(wire::string(&outsider.expect_type("error"), &["payload", "code"]), "not_subscribed");
    ana.ping();
    outsider.ping();
}

#[test]
fn a_claim_of_the_token_opens_a_route_until_a_fresh_token_has_it_no_more() {
    let folder = tempfile::tempdir().expect("a temp dir");
    let config = Config::parse(&text("toml routes")).set("auth.secret", SECRET).set("server.shards", 1);
    let path = config.write(folder.path());
    let gateway = Gateway::start(config);
    let token_with = |claim: &str| {
        let token = run(command().args(["token", "--user", "ana", "--claim", claim, "--config"]).arg(&path));
        token.stdout.trim().to_owned()
    };
    let mut client = Client::connect(&gateway, &token_with("level=gold"));
    let hello = r#"{"type":"hello"}"#;
    client.send(hello);
    assert_eq!(client.next_text(), r#"{"type":"hello","you":"ana","gold":true}"#);
    client.send(&format!(r#"{{"type":"auth","token":"{}"}}"#, token_with("level=silver")));
    client.expect_type("auth.success");
    client.send(hello);
    assert_eq!(client.next_text(), r#"{"type":"hello","you":"ana","as":null}"#);
}

#[test]
fn the_channels_of_a_list_are_named_by_who_asks_and_by_what_else_he_says() {
    let gateway = Gateway::start(
        Config::parse(
            r#"
            [[routes]]
            type = "open"
            action = "subscribe"
            field = "boxes"
            fields = { folder = "id" }
            channel = "inbox:{user_id}:{folder}:{boxes}:{session_id}"
            reply = '{"type":"opened","folder":"{folder}","boxes":"{list}","session":"{session_id}"}'

            [[routes]]
            type = "close"
            action = "unsubscribe"
            field = "boxes"
            fields = { folder = "id" }
            channel = "inbox:{user_id}:{folder}:{boxes}:{session_id}"
            reply = '{"type":"closed","folder":"{folder}","boxes":"{list}"}'
            "#,
        )
        .set("auth.secret", SECRET)
        .set("server.shards", 1),
    );
    let (mut ana, mut bob) = (Client::connect(&gateway, &token("ana")), Client::connect(&gateway, &token("bob")));
    let channel = |client: &mut Client, user: &str| {
        client.send(r#"{"type":"open","folder":7,"boxes":["x","{user_id}","a b"],"id":1}"#);
        let opened = client.expect_type("opened");
        assert_eq!(wire::strings(&opened, &["boxes"]), ["x", "{user_id}"], "what a client writes is not filled");
        assert_eq!(wire::string(&client.expect_type("error"), &["payload", "code"]), "bad_channel");
        format!("inbox:{user}:7:x:{}", wire::string(&opened, &["session"]))
    };
    let (of_ana, of_bob) = (channel(&mut ana, "ana"), channel(&mut bob, "bob"));
    for (channel, message) in [("inbox:{user_id}:7:x", "no channel"), (&of_ana, "to ana"), (&of_bob, "to bob")] {
        gateway
            .admin()
            .broadcast(&format!("/broadcast/channel/{}", channel.replace('{', "%7B").replace('}', "%7D")), message);
    }
    assert_eq!((ana.next_text(), bob.next_text()), ("to ana".to_owned(), "to bob".to_owned()));
    ana.send(r#"{"type":"close","folder":7,"boxes":["x"]}"#);
    assert_eq!(ana.next_text(), r#"{"type":"closed","folder":7,"boxes":["x"]}"#);
    gateway.admin().broadcast(&format!("/broadcast/channel/{of_ana}"), "to nobody");
    ana.ping();
    bob.ping();
}

#[test]
fn no_field_completes_the_name_of_a_channel_that_nobody_joins() {
    let route = r#"
        [[routes]]
        type = "tail"
        fields = { to = "text" }
        action = "forward"
        channel = "all{to}"
        members_only = false
        message = '{"type":"tailed"}'
        reply = '{"type":"tail.sent"}'
        "#;
    let gateway = Gateway::start(Config::parse(route).set("auth.secret", SECRET).set("server.shards", 1));
    let (mut ana, mut bob) = (Client::connect(&gateway, &token("ana")), Client::connect(&gateway, &token("bob")));
    ana.send(r#"{"type":"tail","to":""}"#);
    assert_eq!(wire::string(&ana.expect_type("error"), &["payload", "code"]), "not_allowed");
    ana.send(r#"{"type":"tail","to":"ies"}"#);
    ana.expect_type("tail.sent");
    bob.ping();
}

#[test]
fn the_answer_to_a_token_names_what_came_with_it() {
    let login = r#"
        [[routes]]
        type = "login"
        action = "authenticate"
        before_auth = true
        field = "jwt"
        fields = { device = "id" }
        reply = '{"type":"welcome","user":"{user_id}","device":"{device}"}'
        "#;
    let gateway = Gateway::start(Config::parse(login).set("auth.secret", SECRET).set("server.shards", 1));
    let (mut client, _) = Client::upgrade(&gateway, "/ws", &[]).expect("an upgrade");
    client.send(&format!(r#"{{"type":"login","jwt":"{}","device":"d1"}}"#, token("ana")));
    assert_eq!(client.next_text(), r#"{"type":"welcome","user":"ana","device":"d1"}"#);
}

#[test]
fn a_vocabulary_that_is_off_is_not_understood() {
    let gateway = Gateway::start(Config::new().set("vocabularies.community", false));
    let mut client = Client::connect(&gateway, &token("u1"));
    client.send(r#"{"type":"subscribe_notifications"}"#);
    assert_eq!(wire::string(&client.expect_type("error"), &["payload", "code"]), "unknown_type");
    client.send(r#"{"type":"subscribe","conversation_ids":["c1"]}"#);
    client.expect_type("subscribed");
    let log = gateway.log();
    assert!(log.contains("dispatch") && !log.contains("community"), "{log}");
    assert!(log.contains("vocabularies (file "), "{log}");
    let gateway = Gateway::start(Config::new());
    assert!(gateway.log().contains("vocabularies (default): "), "{}", gateway.log());
}

#[test]
fn what_is_wrong_with_a_route_is_named_with_its_line() {
    let folder = tempfile::tempdir().expect("a temp dir");
    let path = folder.path().join("ringway.toml");
    let text = "[server]\nshards = 1\n\n[[routes]]\ntype = 'a'\naction = 'forward'\nservice = 'postman'\n";
    std::fs::write(&path, text).expect("it is written");
    let finished = run(command().args(["check-config", "--config"]).arg(&path));
    assert_eq!(finished.code, Some(78), "{finished:?}");
    assert!(finished.stderr.contains("line 4: route a: there is no service postman"), "{finished:?}");
    std::fs::write(&path, "[[routes]]\ntype = 'a'\naction = 'fly'\n").expect("it is written");
    let finished = run(command().args(["check-config", "--config"]).arg(&path));
    assert!(finished.code == Some(78) && finished.stderr.contains("line 3: routes: "), "{finished:?}");
}

#[test]
fn the_table_can_be_printed_and_read_back() {
    let folder = tempfile::tempdir().expect("a temp dir");
    let path = folder.path().join("ringway.toml");
    std::fs::write(&path, text("toml routes")).expect("it is written");
    let table = run(command().args(["routes", "--config"]).arg(&path)).stdout;
    assert!(table.lines().any(|line| line.starts_with("cheer ") && line.contains("forward (to others)")), "{table}");
    assert!(table.lines().any(|line| line.starts_with("chat ") && line.contains("community.toml:")), "{table}");
    let of_relay: Vec<&str> = table.lines().filter(|line| line.starts_with("chat.send ")).collect();
    assert!(matches!(of_relay[..], [own, replaced] if own.contains("refuse") && replaced.contains("of relay.toml")));
    let checked = run(command().args(["check-config", "--config"]).arg(&path));
    assert!(checked.stderr.contains("): chat.send of relay.toml:"), "{checked:?}");
    let json = run(command().args(["routes", "--json", "--config"]).arg(&path)).stdout;
    let value: sonic_rs::Value = sonic_rs::from_str(&json).expect("JSON");
    assert!(sonic_rs::JsonContainerTrait::as_object(&value).is_some_and(|object| object.contains_key(&"routes")));
    // What is printed as configuration has the same routes.
    let printed = run(command().args(["print-config", "--config"]).arg(&path)).stdout;
    std::fs::write(&path, &printed).expect("it is written");
    let again = run(command().args(["routes", "--config"]).arg(&path)).stdout;
    let without_lines = |table: &str| {
        let cut = |line: &str| line.rsplit_once(':').map_or(line, |(before, _)| before).to_owned();
        table.lines().map(cut).collect::<Vec<_>>()
    };
    assert_eq!(without_lines(&again), without_lines(&table));
}
