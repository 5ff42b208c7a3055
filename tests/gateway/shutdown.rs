//! Promise: SIGTERM drains: no new connections, not ready, everybody closed with 1001,
//! exit 0. A second one ends at once.

use crate::support::config::Config;
use crate::support::crowd::Crowd;
use crate::support::gateway::Gateway;
use crate::support::http::{try_exchange, upgrade_request};
use crate::support::raw::Raw;
use crate::support::redis::Redis;
use crate::support::tokens::token;
use crate::support::wait::eventually;
use crate::support::wire::CLOSE_GOING_AWAY;

#[test]
fn shutdown_under_load_closes_everybody_with_1001() {
    const CLIENTS: usize = 200;
    const MESSAGE: &str = r#"{"type":"message.new","payload":{}}"#;
    let mut redis = Redis::start();
    let config = Config::new().set("redis.url", redis.url()).set("limits.outbox_bytes", 4 * 1024 * 1024);
    let mut gateway = Gateway::start(config);
    let mut crowd = Crowd::subscribed(&gateway, "listener", CLIENTS, "conv:c1");
    redis.publish_all("ws:conv:c1", (0..100).map(|_| MESSAGE.to_owned()));
    gateway.process().signal("TERM");
    let codes = crowd.close_codes(|| _ = redis.publish("ws:conv:c1", MESSAGE));
    assert_eq!(codes, vec![Some(CLOSE_GOING_AWAY); CLIENTS]);
    assert_eq!(gateway.process().wait().code(), Some(0), "{}", gateway.log());
}

#[test]
fn a_draining_gateway_is_not_ready_and_takes_nobody() {
    // A client that leaves the close frame unanswered holds the drain up.
    let mut gateway = Gateway::start(Config::new().set("server.drain", "1s").set("limits.close_deadline", "1h"));
    let mut silent = Raw::connect(&gateway, "/ws", &token("silent"));
    gateway.process().signal("TERM");
    eventually("readyz says no", || gateway.admin().get("/readyz").status == 503);
    assert_eq!(gateway.admin().get("/livez").status, 200);
    assert_takes_nobody(&gateway);
    assert_eq!(silent.next_frame().close_code(), CLOSE_GOING_AWAY);

    gateway.process().signal("TERM");
    gateway.process().wait();
    silent.expect_end();
}

#[test]
fn a_gateway_without_connections_ends_at_once() {
    let gateway = Gateway::start(Config::new().set("server.drain", "1h"));
    assert_eq!(gateway.stop().code(), Some(0));
}

/// Refused with 503, or not even accepted.
#[track_caller]
fn assert_takes_nobody(gateway: &Gateway) {
    let request = upgrade_request(&format!("/ws?token={}", token("late")), &[]);
    match try_exchange(gateway.public, &request) {
        Ok(response) => response.assert_refusal("while draining", 503),
        Err(error) => assert!(error.kind() != std::io::ErrorKind::WouldBlock, "accepted and left waiting: {error}"),
    }
}
