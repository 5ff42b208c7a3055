//! Promise: Redis may be one server, one that sentinels know, or a cluster; with TLS, user and password.

use std::collections::HashMap;
use std::net::TcpListener;

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

/// Two servers, of which the second follows the first, and a sentinel that knows both.
fn watched(first: Redis) -> (Redis, Redis, Sentinel) {
    let mut second = Redis::start();
    second.follow(Some(&first));
    let sentinel = Sentinel::watch(&first, "mymaster");
    eventually("the sentinel knows both", || sentinel.replicas("mymaster") == 1);
    (first, second, sentinel)
}

/// Waits until the second one is the master, and source and service have gone over to it.
#[track_caller]
fn goes_over(gateway: &Gateway, second: &mut Redis) {
    eventually("the second one is promoted", || second.is_master());
    eventually("the source listens there", || second.publish("ws:user:nobody", "") == 1);
    let reconnects = || gateway.admin().metrics().labelled("ringway_service_reconnects_total", "service", "chat");
    eventually("the service is connected there", || reconnects() == 1.0);
}

#[test]
fn an_old_master_that_lives_on_is_left() {
    let (mut first, mut second, sentinel) = watched(Redis::start_that_stays_master());
    let config = Config::new().set("redis.url", sentinel.url()).set("redis.mode", "sentinel").service(&STREAM);
    let gateway = Gateway::start(config);
    works(&gateway, &mut first);
    eventually("the second one has what the first one has", || entries(&mut second) == 1);
    sentinel.fail_over("mymaster");
    goes_over(&gateway, &mut second);
    works(&gateway, &mut second);
    assert_eq!((entries(&mut first), entries(&mut second)), (1, 2));
    assert!(first.is_master());
}

#[test]
fn a_sentinel_that_is_cut_off_is_not_believed() {
    let (mut first, mut second, sentinel) = watched(Redis::start_that_stays_master());
    let cut_off = Sentinel::watch(&first, "mymaster");
    let config = Config::new().set("redis.url", cut_off.url()).list("redis.nodes", &[&sentinel.host()]);
    let gateway = Gateway::start(config.set("redis.mode", "sentinel").service(&STREAM));
    works(&gateway, &mut first);
    sentinel.fail_over("mymaster");
    eventually("the second one is promoted", || second.is_master());
    // Who is cut off would make it a replica again.
    second.query::<()>(&["ACL", "SETUSER", "default", "-slaveof", "-replicaof"]);
    goes_over(&gateway, &mut second);
    for _ in 0..10 {
        works(&gateway, &mut second);
    }
    assert_eq!(entries(&mut first), 1);
    assert!(cut_off.names(&first, "mymaster") && sentinel.names(&second, "mymaster"));
}

#[test]
fn a_sentinel_that_is_silent_does_not_keep_the_others_from_being_asked() {
    let first = Redis::start();
    let sentinel = Sentinel::watch(&first, "mymaster");
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    silent.set_nonblocking(true).expect("a listener can be");
    let url = format!("redis://{}", silent.local_addr().expect("it listens"));
    let config = Config::new().set("redis.url", url).list("redis.nodes", &[&sentinel.host()]);
    let _gateway = Gateway::start(config.set("redis.mode", "sentinel"));
    // Together they are asked a second each time: as often as the silent one.
    let (mut tried, mut looks, before) = (vec![], 0, sentinel.executed());
    eventually("it is asked much more often", || {
        tried.extend(std::iter::from_fn(|| silent.accept().ok()));
        looks += 1;
        // Two commands each time.
        let asked = (sentinel.executed() - before - looks) / 2;
        asked > 3 * tried.len() + 10
    });
}

#[test]
fn a_master_that_stands_still_is_left_for_the_one_that_is_named() {
    let (mut first, mut second, sentinel) = watched(Redis::start());
    let config = Config::new().set("redis.url", sentinel.url()).set("redis.mode", "sentinel");
    // Nobody gives it up for its silence.
    let config = config.set("redis.response_timeout", "1h").set("redis.connect_timeout", "1h");
    let gateway = Gateway::start(config.service(&STREAM));
    works(&gateway, &mut first);
    eventually("the second one has what the first one has", || entries(&mut second) == 1);
    first.freeze(true);
    goes_over(&gateway, &mut second);
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
