//! Promise: a connection to the database that leads nowhere opens nothing, and is replaced.

use crate::support::client::Client;
use crate::support::gateway::Gateway;
use crate::support::postgres::Postgres;
use crate::support::relay::Relay;
use crate::support::tokens::token;
use crate::support::wait::eventually;
use crate::support::wire;

use super::{block, code, configured, is_connected, subscribe};

/// Ends with whoever waits for it, and not before.
const ENDLESS: &str = "SELECT true FROM pg_sleep(600) WHERE $1::text <> $2::text";

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
