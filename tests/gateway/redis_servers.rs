//! Promise: Redis may be one server, one that sentinels know, or a cluster; with TLS, user and password.

use std::collections::HashMap;

use crate::support::client::Client;
use crate::support::config::Config;
use crate::support::gateway::Gateway;
use crate::support::redis::{Redis, Sentinel};
use crate::support::tokens::token;
use crate::support::wait::eventually;

const STREAM: [(&str, &str); 3] = [("name", "chat"), ("kind", "redis"), ("stream", "chat.{key}")];

fn is_ready(gateway: &Gateway) -> bool {
    let services = gateway.admin().get("/metrics").body;
    gateway.admin().get("/readyz").status == 200 && !services.contains("ringway_service_connected{service=\"chat\"} 0")
}

/// Waits until it is ready, says something, and hears something.
#[track_caller]
fn works(gateway: &Gateway, redis: &mut Redis) {
    eventually("Redis is connected", || is_ready(gateway));
    let mut ana = Client::connect(gateway, &token("ana"));
    ana.send(r#"{"type":"subscribe_clan_chat","clanId":"k1"}"#);
    ana.expect_type("subscription_confirmed");
    ana.send(r#"{"type":"chat","clanId":"k1","content":"hello"}"#);
    ana.expect_type("message_sent");
    redis.publish("ws:user:ana", "heard");
    assert_eq!(ana.next_text(), "heard");
}

fn entries(redis: &mut Redis) -> usize {
    let entries: Vec<(String, HashMap<String, String>)> = redis.query(&["XRANGE", "chat.k1", "-", "+"]);
    entries.len()
}

#[test]
fn tls_with_a_user_and_a_password() {
    let mut redis = Redis::start_with_tls();
    redis.query::<()>(&["ACL", "SETUSER", "ringway", "on", ">s3cret/:@", "~*", "&*", "+@all"]);
    let config = Config::new()
        .set("redis.url", redis.tls_url("ringway:s3cret%2F%3A%40@"))
        .set("redis.tls_ca_file", redis.certificate().to_str().expect("a path of ours"));
    let gateway = Gateway::start(config.clone().service(&STREAM));
    works(&gateway, &mut redis);
    assert_eq!(entries(&mut redis), 1);
    let log = gateway.log();
    assert!(!log.contains("s3cret"), "{log}");

    // A certificate that nobody vouches for is not believed.
    let distrustful = Config::new().set("redis.url", redis.tls_url("ringway:s3cret%2F%3A%40@"));
    let gateway = Gateway::start_alive(distrustful);
    eventually("it says why", || gateway.admin().get("/readyz").body.contains("ertificate"));
}

#[test]
fn a_failover_of_sentinels_is_followed() {
    let (mut first, mut second) = (Redis::start(), Redis::start());
    second.follow(Some(&first));
    let sentinel = Sentinel::watch(&first, "mymaster");
    eventually("the sentinel knows both", || sentinel.replicas("mymaster") == 1);
    let config = Config::new().set("redis.url", sentinel.url()).set("redis.mode", "sentinel").service(&STREAM);
    let gateway = Gateway::start(config);
    works(&gateway, &mut first);
    eventually("the second one has what the first one has", || entries(&mut second) == 1);
    first.kill();
    eventually("the second one is promoted", || second.is_master());
    works(&gateway, &mut second);
    assert_eq!(entries(&mut second), 2);
}

#[test]
fn a_cluster_is_spoken_with_through_any_of_its_servers() {
    let mut servers = Redis::start_cluster();
    let config = Config::new().set("redis.url", servers[0].url()).set("redis.mode", "cluster");
    let others: Vec<String> = servers[1..].iter().map(Redis::host).collect();
    let others: Vec<&str> = others.iter().map(String::as_str).collect();
    let gateway = Gateway::start(config.list("redis.nodes", &others).service(&STREAM));
    // What is published to one of them is passed on by all.
    for server in &mut servers {
        works(&gateway, server);
    }
    let owner = servers.iter_mut().position(|server| server.owns("chat.k1")).expect("one has the slot");
    assert_eq!(entries(&mut servers[owner]), 3);
}

#[test]
fn redis_may_be_there_for_services_alone() {
    let mut redis = Redis::start();
    let config = Config::new().set("redis.url", redis.url()).set("redis.source", false).service(&STREAM);
    let gateway = Gateway::start(config);
    eventually("the service is connected", || is_ready(&gateway));
    let mut ana = Client::connect(&gateway, &token("ana"));
    assert_eq!(redis.publish("ws:user:ana", "nobody listens"), 0);
    ana.ping();
}
