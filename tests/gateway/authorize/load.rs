//! Promise: however many ask at once, a database that works counts as there, and all are answered in their time.

use crate::support::client::{Client, Event};
use crate::support::gateway::Gateway;
use crate::support::postgres::Postgres;
use crate::support::tokens::token;
use crate::support::wait::eventually;
use crate::support::wire;

use super::{configured, is_connected, subscribe};

/// So many clients want to join at once; what each is answered.
fn storm(gateway: &Gateway, clients: usize) -> Vec<String> {
    let connect = |index| {
        let mut client = Client::connect(gateway, &token(&format!("user{index}")));
        client.set_nonblocking();
        client
    };
    let mut clients: Vec<Client> = (0..clients).map(connect).collect();
    clients.iter_mut().for_each(|client| subscribe(client, "\"c1\""));
    let mut answers: Vec<Option<String>> = vec![None; clients.len()];
    eventually("all are answered", || {
        for (client, answer) in clients.iter_mut().zip(&mut answers).filter(|(_, answer)| answer.is_none()) {
            match client.poll() {
                Some(Event::Text(text)) => *answer = Some(text),
                Some(Event::Ping | Event::Pong) | None => {}
                Some(ended) => panic!("{ended:?}"),
            }
        }
        answers.iter().all(Option::is_some)
    });
    answers.into_iter().flatten().collect()
}

#[test]
fn a_database_that_many_wait_for_is_not_away() {
    let postgres = Postgres::start();
    let sql = "SELECT true FROM pg_sleep(0.05) WHERE $1::text <> $2::text";
    let config = configured(&postgres).set("authorize.sql", sql).set("authorize.timeout", "20s");
    let gateway = Gateway::start(config);
    eventually("the database is connected", || is_connected(&gateway));
    for answer in storm(&gateway, 400) {
        assert_eq!(wire::kind(&wire::json(&answer)), "subscribed", "{answer}");
    }
    assert!(is_connected(&gateway) && !gateway.log().contains("joins are refused"), "{}", gateway.log());
}

#[test]
fn many_who_ask_a_database_that_hangs_are_all_answered() {
    let postgres = Postgres::start();
    let sql = "SELECT true FROM pg_sleep(600) WHERE $1::text <> $2::text";
    let gateway = Gateway::start(configured(&postgres).set("authorize.sql", sql));
    eventually("the database is connected", || is_connected(&gateway));
    for answer in storm(&gateway, 600) {
        let answer = wire::json(&answer);
        assert_eq!(wire::string(&answer, &["payload", "code"]), "service_unavailable", "{answer:?}");
    }
    let page = gateway.admin().get("/metrics").body;
    assert!(page.contains("ringway_authorize_decisions_total{decision=\"unavailable\"} 600\n"), "{page}");
}

#[test]
fn questions_of_one_user_that_hang_leave_room_for_others() {
    let postgres = Postgres::start();
    let sql = "SELECT true FROM pg_sleep(CASE WHEN $2::text LIKE 'slow%' THEN 600 ELSE 0 END) WHERE $1::text <> ''";
    let config = configured(&postgres).set("authorize.sql", sql).set("authorize.timeout", "20s");
    let gateway = Gateway::start(config.set("postgres.pool", 4));
    eventually("the database is connected", || is_connected(&gateway));
    let mut eves: Vec<Client> = (0..8).map(|_| Client::connect(&gateway, &token("eve"))).collect();
    for (n, eve) in eves.iter_mut().enumerate() {
        subscribe(eve, &format!("\"slow{n}\""));
    }
    let waiting = || gateway.admin().metrics().labelled("ringway_service_waiting", "service", "authorize");
    eventually("one of hers is asked", || waiting() >= 1.0);
    let mut ana = Client::connect(&gateway, &token("ana"));
    for _ in 0..20 {
        subscribe(&mut ana, "\"c1\"");
        ana.expect_type("subscribed");
    }
}
