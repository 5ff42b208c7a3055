//! Promise: a connection to the database that leads nowhere, and a query that fails, open nothing, are told, and heal
//! by themselves.

use crate::support::client::Client;
use crate::support::gateway::Gateway;
use crate::support::postgres::Postgres;
use crate::support::relay::Relay;
use crate::support::tokens::token;
use crate::support::wait::eventually;
use crate::support::wire;

use super::{block, code, configured, is_connected, started, subscribe};

/// Ends with whoever waits for it, and not before.
const ENDLESS: &str = "SELECT true FROM pg_sleep(600) WHERE $1::text <> $2::text";

fn metric(gateway: &Gateway, sample: &str) -> Option<f64> {
    let page = gateway.admin().get("/metrics").body;
    let line = page.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '))?;
    Some(line.parse().expect("a number"))
}

fn count_of_decisions(gateway: &Gateway, decision: &str) -> Option<f64> {
    metric(gateway, &format!("ringway_authorize_decisions_total{{decision=\"{decision}\"}}"))
}

fn calls_timed(gateway: &Gateway) -> Option<f64> {
    metric(gateway, "ringway_service_seconds_count{service=\"authorize\"}")
}

#[test]
fn connections_that_lead_nowhere_are_given_up() {
    let postgres = Postgres::start();
    postgres.execute(&block("sql"));
    let relay = Relay::start(postgres.address());
    let config = configured(&postgres).set("postgres.dsn", postgres.dsn_at(relay.address));
    let config = config.set("authorize.cache", "0s").set("authorize.timeout", "2s").set("postgres.pool", 1);
    let gateway = Gateway::start(config);
    eventually("the database is connected", || is_connected(&gateway));
    let mut ana = Client::connect(&gateway, &token("ana"));
    subscribe(&mut ana, r#""c1""#);
    ana.expect_type("subscribed");
    let accepted = relay.accepted();
    relay.lose_connections();
    subscribe(&mut ana, r#""c3""#);
    assert_eq!(code(&mut ana), "service_unavailable");
    eventually("it decides again, over others", || {
        subscribe(&mut ana, r#""c3""#);
        wire::kind(&ana.next_json()) == "subscribed"
    });
    assert!(relay.accepted() > accepted);
}

#[test]
fn a_query_that_nobody_waits_for_any_more_does_not_run_on() {
    let postgres = Postgres::start();
    let config = configured(&postgres).set("authorize.sql", ENDLESS).set("authorize.timeout", "1s");
    let gateway = Gateway::start(config);
    eventually("the database is connected", || is_connected(&gateway));
    let running = || {
        let query = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep(600)%' \
                     AND pid <> pg_backend_pid()";
        postgres.rows(query)[0].parse::<usize>().expect("a number")
    };
    let mut ana = Client::connect(&gateway, &token("ana"));
    subscribe(&mut ana, r#""c1""#);
    eventually("it runs", || running() == 1);
    assert_eq!(code(&mut ana), "service_unavailable");
    eventually("it has been ended", || running() == 0);
}

#[test]
fn a_query_that_may_not_read_is_told_and_counted_until_it_may() {
    let postgres = Postgres::start();
    postgres.execute(&block("sql"));
    postgres.execute("CREATE ROLE gate LOGIN");
    let config = configured(&postgres).set("postgres.dsn", postgres.dsn_as("gate"));
    let gateway = Gateway::start(config);
    eventually("the database is connected", || is_connected(&gateway));
    let mut ana = Client::connect(&gateway, &token("ana"));
    for n in 0..10 {
        subscribe(&mut ana, &format!(r#""c{n}""#));
        assert_eq!(code(&mut ana), "service_unavailable");
    }
    eventually("it shows", || !is_connected(&gateway) && gateway.admin().get("/readyz").body.contains("42501"));
    assert_eq!((count_of_decisions(&gateway, "unavailable"), calls_timed(&gateway)), (Some(10.0), Some(10.0)));
    // Nobody has to ask for that to show.
    postgres.execute("GRANT SELECT ON participants TO gate");
    eventually("it works", || is_connected(&gateway));
    assert_eq!(gateway.log().matches("42501").count(), 1, "{}", gateway.log());
    subscribe(&mut ana, r#""c1""#);
    ana.expect_type("subscribed");
}

#[test]
fn a_query_that_fails_for_every_user_and_for_nobody_alone_does_not_is_told() {
    let postgres = Postgres::start();
    postgres.execute(
        "CREATE FUNCTION may(member text, conversation text) RETURNS boolean LANGUAGE plpgsql STRICT AS \
         $$ BEGIN RAISE 'never'; END $$",
    );
    let gateway = Gateway::start(configured(&postgres).set("authorize.sql", "SELECT may($1, $2)"));
    eventually("the database is connected", || is_connected(&gateway));
    let mut ana = Client::connect(&gateway, &token("ana"));
    let mut ask = || {
        subscribe(&mut ana, r#""c1""#);
        assert_eq!(code(&mut ana), "service_unavailable");
    };
    eventually("it is told", || {
        ask();
        gateway.log().contains("P0001")
    });
    // It stays so as long as somebody asks.
    for _ in 0..100 {
        ask();
        assert!(!is_connected(&gateway) && gateway.admin().get("/readyz").body.contains("P0001"));
    }
    eventually("how many joins that concerns is told", || gateway.log().contains("nobody could decide about joins"));
    postgres.execute(
        "CREATE OR REPLACE FUNCTION may(member text, conversation text) RETURNS boolean LANGUAGE sql STRICT AS \
         'SELECT true'",
    );
    subscribe(&mut ana, r#""c1""#);
    ana.expect_type("subscribed");
    eventually("it is shown that it works", || is_connected(&gateway));
}

#[test]
fn one_who_asks_what_fails_does_not_take_it_away_from_others() {
    let postgres = Postgres::start();
    postgres.execute(
        "CREATE FUNCTION may(member text, conversation text) RETURNS boolean LANGUAGE plpgsql AS \
         $$ BEGIN IF conversation = 'bad' OR member IS NULL THEN RAISE 'never'; END IF; RETURN true; END $$",
    );
    let config = configured(&postgres).set("authorize.sql", "SELECT may($1, $2)").set("authorize.cache", "0s");
    let gateway = Gateway::start(config);
    eventually("the database is connected", || is_connected(&gateway));
    let (mut ana, mut bob) = (Client::connect(&gateway, &token("ana")), Client::connect(&gateway, &token("bob")));
    let mut asked = 0;
    eventually("it is told that questions fail", || {
        subscribe(&mut bob, r#""bad""#);
        assert_eq!(code(&mut bob), "service_unavailable");
        asked += 1;
        gateway.log().contains("P0001")
    });
    // Whatever is shown of it, others are served.
    subscribe(&mut ana, r#""c1""#);
    ana.expect_type("subscribed");
    eventually("it is shown that others are", || is_connected(&gateway));
    assert_eq!(count_of_decisions(&gateway, "unavailable"), Some(f64::from(asked)));
}

#[test]
fn a_table_that_changes_under_the_query_costs_nobody_anything() {
    let postgres = Postgres::start();
    postgres.execute(&block("sql"));
    let sql = "SELECT * FROM participants WHERE user_id = $1 AND conversation_id = $2";
    let gateway = Gateway::start(configured(&postgres).set("authorize.sql", sql).set("postgres.pool", 1));
    eventually("the database is connected", || is_connected(&gateway));
    let mut ana = Client::connect(&gateway, &token("ana"));
    subscribe(&mut ana, r#""c1""#);
    ana.expect_type("subscribed");
    postgres.execute("ALTER TABLE participants ADD COLUMN since int");
    subscribe(&mut ana, r#""c3""#);
    ana.expect_type("subscribed");
}

#[test]
fn what_the_database_is_asked_is_counted_and_timed() {
    let (_postgres, gateway) = started();
    let mut ana = Client::connect(&gateway, &token("ana"));
    for n in 0..10 {
        subscribe(&mut ana, &format!(r#""c{n}""#));
        ana.next_json();
    }
    let decided = ["granted", "denied", "unavailable"].map(|decision| count_of_decisions(&gateway, decision));
    assert_eq!(decided, [Some(2.0), Some(8.0), Some(0.0)]);
    assert_eq!(calls_timed(&gateway), Some(10.0));
    assert_eq!(metric(&gateway, "ringway_service_waiting{service=\"authorize\"}"), Some(0.0));
}
