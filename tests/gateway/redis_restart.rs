//! Promise: a Redis that goes away is told by name, and when it is back, so are the deliveries.

use crate::support::client::Client;
use crate::support::config::Config;
use crate::support::gateway::Gateway;
use crate::support::redis::Redis;
use crate::support::tokens::token;
use crate::support::wait::eventually;

#[test]
fn deliveries_resume_after_redis_was_killed_and_restarted() {
    let mut redis = Redis::start();
    let gateway = Gateway::start(Config::new().set("redis.url", redis.url()));
    let mut client = Client::connect(&gateway, &token("u1"));
    client.subscribe(&["conv:c1"]);
    redis.publish("ws:conv:c1", "before");
    assert_eq!(client.next_text(), "before");

    redis.kill();
    eventually("readiness names redis as lost", || names_redis_as_lost(&gateway));
    // The clients stay, and the gateway stays its own bus.
    client.ping();
    gateway.admin().broadcast("/broadcast/channel/conv:c1", "meanwhile");
    assert_eq!(client.next_text(), "meanwhile");

    redis.restart();
    eventually("ready again", || gateway.admin().get("/readyz").status == 200);
    redis.publish("ws:conv:c1", "after");
    assert_eq!(client.next_text(), "after");
}

#[test]
fn a_gateway_that_starts_before_redis_finds_it_later() {
    let mut redis = Redis::start();
    redis.kill();
    let gateway = Gateway::start_alive(Config::new().set("redis.url", redis.url()));
    eventually("readiness names redis as lost", || names_redis_as_lost(&gateway));

    redis.restart();
    eventually("ready", || gateway.admin().get("/readyz").status == 200);
    let mut client = Client::connect(&gateway, &token("u1"));
    redis.publish("ws:user:u1", "found");
    assert_eq!(client.next_text(), "found");
}

fn names_redis_as_lost(gateway: &Gateway) -> bool {
    let answer = gateway.admin().get("/readyz");
    answer.status == 503 && answer.body.contains("redis")
}
