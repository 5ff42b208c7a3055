//! Promise: one address and one user have only so many connections open, over all shards, and those without a token do
//! not keep out those who have one.

use crate::support::client::Client;
use crate::support::config::Config;
use crate::support::gateway::Gateway;
use crate::support::http::Response;
use crate::support::tokens::token;
use crate::support::wait::eventually_some;
use crate::support::wire::CLOSE_TRY_AGAIN_LATER;

fn upgrade(gateway: &Gateway, user: Option<&str>) -> Result<Client, Response> {
    let bearer = user.map(|user| format!("Bearer {}", token(user)));
    let headers: Vec<_> = bearer.iter().map(|bearer| ("Authorization", bearer.as_str())).collect();
    Client::upgrade(gateway, "/ws", &headers).map(|(client, _)| client)
}

#[track_caller]
fn assert_refused(result: Result<Client, Response>, status: u16) {
    let Err(response) = result else { panic!("accepted, and {status} was expected") };
    response.assert_refusal("a full quota", status);
    assert!(response.header("Retry-After").is_some(), "{response:?}");
}

/// Once somebody has left.
#[track_caller]
fn eventually_upgrades(gateway: &Gateway, user: Option<&str>) -> Client {
    eventually_some("the free place can be taken", || upgrade(gateway, user).ok())
}

#[test]
fn an_address_has_so_many_connections_and_no_more() {
    let gateway = Gateway::start(Config::new().set("limits.connections_per_address", 3));
    let mut clients: Vec<Client> = (0..3).map(|n| Client::connect(&gateway, &token(&format!("u{n}")))).collect();
    assert_refused(upgrade(&gateway, Some("u3")), 429);
    assert_refused(upgrade(&gateway, None), 429);
    clients.remove(1).close();
    eventually_upgrades(&gateway, Some("u4"));
    clients.iter_mut().for_each(Client::ping);
}

#[test]
fn a_refused_upgrade_gives_its_share_back() {
    let gateway =
        Gateway::start(Config::new().set("limits.connections_per_address", 1).list("auth.roles", &["driver"]));
    for _ in 0..3 {
        let Err(response) = upgrade(&gateway, Some("u1")) else { panic!("accepted without a role") };
        response.assert_refusal("role", 403);
    }
}

#[test]
fn a_user_has_so_many_connections_and_no_more() {
    let gateway = Gateway::start(Config::new().set("limits.connections_per_user", 2));
    let first = Client::connect(&gateway, &token("u1"));
    let _second = Client::connect(&gateway, &token("u1"));
    assert_refused(upgrade(&gateway, Some("u1")), 429);
    Client::connect(&gateway, &token("u2")).ping();
    first.close();
    eventually_upgrades(&gateway, Some("u1"));
}

#[test]
fn an_auth_message_beyond_the_users_share_is_told_and_closed_with_1013() {
    let gateway = Gateway::start(Config::new().set("limits.connections_per_user", 1));
    let auth = format!(r#"{{"type":"auth","token":"{}"}}"#, token("u1"));
    let mut first = upgrade(&gateway, None).expect("there is room");
    first.send(&auth);
    first.expect_type("auth.success");
    // To renew is not to come again.
    first.send(&auth);
    first.expect_type("auth.success");
    let mut second = upgrade(&gateway, None).expect("there is room");
    second.send(&auth);
    second.expect_type("error");
    assert_eq!(second.expect_close(), CLOSE_TRY_AGAIN_LATER);
    first.ping();
}

#[test]
fn strangers_cannot_take_every_place() {
    let gateway = Gateway::start(Config::new().set("limits.unauthenticated", 2));
    let mut first = upgrade(&gateway, None).expect("there is room");
    let _second = upgrade(&gateway, None).expect("there is room");
    assert_refused(upgrade(&gateway, None), 503);
    Client::connect(&gateway, &token("u1")).ping();
    // Whoever authenticates is no stranger any more.
    first.send(&format!(r#"{{"type":"auth","token":"{}"}}"#, token("u2")));
    first.expect_type("auth.success");
    eventually_upgrades(&gateway, None);
}
