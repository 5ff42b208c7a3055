//! Promise: where PostgreSQL decides who may join a conversation, nobody else is in it; a database that is away opens
//! nothing and holds up nobody.

mod failures;
mod load;
mod services;

use crate::support::blocks::blocks;
use crate::support::client::Client;
use crate::support::config::Config;
use crate::support::gateway::Gateway;
use crate::support::postgres::Postgres;
use crate::support::tokens::token;
use crate::support::wait::eventually;
use crate::support::wire;

const DOCUMENT: &str = "docs/integrations/postgres.md";

fn block(info: &str) -> String {
    blocks(DOCUMENT).iter().filter(|block| block.info == info).map(|block| block.text.as_str()).collect()
}

/// The schema, and the configuration, as the document has them.
fn started() -> (Postgres, Gateway) {
    let postgres = Postgres::start();
    postgres.execute(&block("sql"));
    let gateway = Gateway::start(configured(&postgres));
    eventually("the database is connected", || is_connected(&gateway));
    (postgres, gateway)
}

fn configured(postgres: &Postgres) -> Config {
    let pasted = Config::parse(&block("toml"));
    let pasted = pasted.set("auth.secret", crate::support::tokens::SECRET).set("server.shards", 2);
    let pasted = pasted.set("limits.connects_per_address", 1_000_000);
    pasted.set("postgres.dsn", postgres.dsn()).set("limits.messages", 1_000_000)
}

fn is_connected(gateway: &Gateway) -> bool {
    gateway.admin().get("/metrics").body.contains("ringway_service_connected{service=\"authorize\"} 1")
}

fn subscribe(client: &mut Client, conversations: &str) {
    client.send(&format!(r#"{{"type":"subscribe","payload":{{"conversation_ids":[{conversations}]}}}}"#));
}

fn code(client: &mut Client) -> String {
    wire::string(&client.expect_type("error"), &["payload", "code"]).to_owned()
}

#[test]
fn only_participants_are_in_a_conversation() {
    let (postgres, gateway) = started();
    let mut ana = Client::connect(&gateway, &token("ana"));
    subscribe(&mut ana, r#""c1","c2","c1'OR'1'='1","c3""#);
    let subscribed = ana.expect_type("subscribed");
    assert_eq!(wire::strings(&subscribed, &["payload", "conversation_ids"]), ["c1", "c3"]);
    let refused = ana.expect_type("error");
    assert_eq!(wire::string(&refused, &["payload", "code"]), "not_allowed");
    assert_eq!(wire::strings(&refused, &["payload", "conversation_ids"]), ["c2", "c1'OR'1'='1"]);

    for conversation in ["c1", "c2"] {
        gateway.admin().broadcast(&format!("/broadcast/channel/conv:{conversation}"), conversation);
    }
    assert_eq!(ana.next_text(), "c1");
    ana.ping();

    // Whoever is let in is in after his refusal has been forgotten.
    postgres.execute("INSERT INTO participants VALUES ('c2', 'ana')");
    eventually("she is let in", || {
        subscribe(&mut ana, r#""c2""#);
        wire::kind(&ana.next_json()) == "subscribed"
    });
    // Channels that it is not asked about are as they were.
    ana.subscribe(&["news"]);
}

#[test]
fn a_database_that_is_away_opens_nothing_and_is_found_again() {
    let (mut postgres, gateway) = started();
    let (mut ana, mut bob) = (Client::connect(&gateway, &token("ana")), Client::connect(&gateway, &token("bob")));
    subscribe(&mut ana, r#""c1""#);
    ana.expect_type("subscribed");
    postgres.crash();
    eventually("it is known to be away", || !is_connected(&gateway));
    subscribe(&mut ana, r#""c3""#);
    assert_eq!(code(&mut ana), "service_unavailable");
    // What was decided a while ago still holds, and who is in stays.
    ana.send(r#"{"type":"unsubscribe","conversation_ids":["c1"]}"#);
    ana.expect_type("unsubscribed");
    subscribe(&mut ana, r#""c1""#);
    ana.expect_type("subscribed");
    subscribe(&mut bob, r#""c1""#);
    assert_eq!(code(&mut bob), "service_unavailable");
    bob.ping();
    postgres.restart();
    eventually("it is connected again", || is_connected(&gateway));
    subscribe(&mut ana, r#""c3""#);
    ana.expect_type("subscribed");
}

#[test]
fn a_database_that_stands_still_holds_up_nothing_but_what_asks_it() {
    let (postgres, gateway) = started();
    let (mut ana, mut bob) = (Client::connect(&gateway, &token("ana")), Client::connect(&gateway, &token("bob")));
    // Connections are there, and stand still with it.
    subscribe(&mut ana, r#""c1""#);
    ana.expect_type("subscribed");
    let backends = postgres.freeze(true);
    subscribe(&mut ana, r#""c3""#);
    ana.send(r#"{"type":"subscribe","channels":["news"]}"#);
    bob.subscribe(&["news"]);
    (0..100).for_each(|_| bob.ping());
    // In its time the message that asked is answered, and what waited behind it.
    assert_eq!(code(&mut ana), "service_unavailable");
    ana.expect_type("subscribed");
    postgres.freeze(false);
    assert!(backends > 1, "{backends}");
    eventually("it decides again", || {
        subscribe(&mut ana, r#""c3""#);
        wire::kind(&ana.next_json()) == "subscribed"
    });
}

#[test]
fn a_query_that_the_database_does_not_understand_opens_nothing_and_is_told() {
    let postgres = Postgres::start();
    let gateway = Gateway::start(configured(&postgres));
    eventually("readiness tells", || gateway.admin().get("/readyz").body.contains("42P01"));
    let mut ana = Client::connect(&gateway, &token("ana"));
    subscribe(&mut ana, r#""c1""#);
    assert_eq!(code(&mut ana), "service_unavailable");
    postgres.execute(&block("sql"));
    eventually("the database is connected", || is_connected(&gateway));
    subscribe(&mut ana, r#""c1""#);
    ana.expect_type("subscribed");
}

#[test]
fn ids_may_be_numbers_or_uuids_and_what_is_none_is_no_member() {
    let postgres = Postgres::start();
    postgres.execute("CREATE TABLE t (conversation uuid, member bigint); INSERT INTO t VALUES ('8a6e0804-2bd0-4672-b79d-d97027f9071a', 7)");
    let sql = "SELECT true FROM t WHERE conversation = $2 AND member = $1";
    let gateway = Gateway::start(configured(&postgres).set("authorize.sql", sql));
    eventually("the database is connected", || is_connected(&gateway));
    let mut seven = Client::connect(&gateway, &token("7"));
    subscribe(&mut seven, r#""8A6E0804-2bd0-4672-b79d-d97027f9071a""#);
    seven.expect_type("subscribed");
    subscribe(&mut seven, r#""c1""#);
    assert_eq!(code(&mut seven), "not_allowed");
    let mut ana = Client::connect(&gateway, &token("ana"));
    subscribe(&mut ana, r#""8a6e0804-2bd0-4672-b79d-d97027f9071a""#);
    assert_eq!(code(&mut ana), "not_allowed");
}
