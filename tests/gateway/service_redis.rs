//! Promise: with Redis behind a service, what clients say reaches Redis before they are told so; a Redis that is away
//! is an error and no silence.

use std::collections::{HashMap, HashSet};

use crate::support::clan::{CHAT, assert_heard_on_every_node, is_connected, member};
use crate::support::client::Client;
use crate::support::config::Config;
use crate::support::gateway::Gateway;
use crate::support::redis::Redis;
use crate::support::wait::eventually;
use crate::support::wire;

fn started(redis: &Redis, service: &[(&str, &str)]) -> Gateway {
    let config = Config::new().set("redis.url", redis.url()).service(service);
    let gateway = Gateway::start(config);
    eventually("the service is connected", || is_connected(&gateway));
    gateway
}

fn error_code(client: &mut Client) -> String {
    client.send(CHAT);
    wire::string(&client.next_json(), &["payload", "code"]).to_owned()
}

#[test]
fn what_is_published_comes_back_to_members_on_every_node() {
    let redis = Redis::start();
    let service = [("name", "chat"), ("kind", "redis"), ("publish", "ws:{channel}")];
    let nodes = [started(&redis, &service), started(&redis, &service)];
    assert_heard_on_every_node(&nodes);
}

#[test]
fn what_is_appended_to_a_stream_says_who_said_it_and_keeps_the_order() {
    const MESSAGES: usize = 200;
    let mut redis = Redis::start();
    let gateway = started(&redis, &[("name", "chat"), ("kind", "redis"), ("stream", "chat.{key}")]);
    let mut ana = member(&gateway, "ana");
    // No more than may wait for answers at once.
    for some in (0..MESSAGES).collect::<Vec<_>>().chunks(25) {
        for n in some {
            ana.send(&format!(r#"{{"type":"chat","clanId":"k1","content":"{n}","id":{n}}}"#));
        }
        for n in some {
            let answer = ana.expect_type("message_sent");
            assert_eq!(wire::number(&answer, &["id"]), Some(*n as u64));
        }
    }
    let entries: Vec<(String, HashMap<String, String>)> = redis.query(&["XRANGE", "chat.k1", "-", "+"]);
    assert_eq!(entries.len(), MESSAGES);
    for (n, (_, fields)) in entries.iter().enumerate() {
        assert_eq!((&*fields["user_id"], &*fields["type"], &*fields["channel"]), ("ana", "chat", "clan:k1"));
        assert!(fields["message"].contains(&format!(r#""content":"{n}""#)), "{fields:?}");
    }
}

#[test]
fn a_message_that_redis_refuses_fails_alone() {
    let mut redis = Redis::start();
    let gateway = started(&redis, &[("name", "chat"), ("kind", "redis"), ("stream", "chat.{user_id}")]);
    let () = redis.query(&["SET", "chat.ana", "no stream"]);
    let (mut ana, mut bob) = (member(&gateway, "ana"), member(&gateway, "bob"));
    assert_eq!(error_code(&mut ana), "service_refused");
    bob.send(CHAT);
    assert_eq!(wire::string(&bob.next_json(), &["type"]), "message_sent");
}

#[test]
fn a_message_that_is_too_large_for_redis_fails_alone() {
    let mut redis = Redis::start();
    let () = redis.query(&["CONFIG", "SET", "proto-max-bulk-len", "1048576"]);
    let config = Config::new().set("redis.url", redis.url()).set("limits.message_bytes", 4 << 20);
    let config = config.set("limits.outbox_bytes", 8 << 20);
    let gateway = Gateway::start(config.service(&[("name", "chat"), ("kind", "redis"), ("stream", "chat")]));
    eventually("the service is connected", || is_connected(&gateway));
    let mut ana = member(&gateway, "ana");
    ana.send(&CHAT.replace("hello", &"x".repeat(2 << 20)));
    assert_eq!(wire::string(&ana.next_json(), &["payload", "code"]), "service_refused");
    assert_eq!(error_code(&mut ana), "");
    let page = gateway.admin().get("/metrics").body;
    assert!(page.contains("ringway_service_reconnects_total{service=\"chat\"} 0"), "{page}");
}

#[test]
fn a_redis_that_is_away_is_an_error_until_it_is_back() {
    let mut redis = Redis::start();
    let gateway = started(&redis, &[("name", "chat"), ("kind", "redis"), ("stream", "chat")]);
    let mut ana = member(&gateway, "ana");
    redis.kill();
    eventually("the service is known to be away", || !is_connected(&gateway));
    assert_eq!(error_code(&mut ana), "service_unavailable");
    redis.restart();
    eventually("the service is connected again", || is_connected(&gateway));
    ana.send(CHAT);
    assert_eq!(wire::string(&ana.next_json(), &["type"]), "message_sent");
    let page = gateway.admin().get("/metrics").body;
    assert!(page.contains("ringway_service_reconnects_total{service=\"chat\"} 1"), "{page}");
}

#[test]
fn every_series_of_several_services_stands_in_the_metrics_once() {
    let redis = Redis::start();
    let config = Config::new().set("redis.url", redis.url());
    let config = config.service(&[("name", "chat"), ("kind", "redis"), ("stream", "chat")]);
    let gateway = Gateway::start(config.service(&[("name", "other"), ("kind", "redis"), ("stream", "other")]));
    let page = gateway.admin().get("/metrics").body;
    let mut seen = HashSet::new();
    for series in page.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' ')) {
        assert!(seen.insert(series.0), "{} stands there twice", series.0);
    }
    for name in ["chat", "other"] {
        assert!(seen.contains(&*format!("ringway_control_failures_total{{task=\"service.{name}\"}}")), "{page}");
    }
}

#[test]
fn a_redis_that_became_a_replica_is_left_and_found_again_when_it_is_a_master() {
    let (master, mut redis) = (Redis::start(), Redis::start());
    let gateway = started(&redis, &[("name", "chat"), ("kind", "redis"), ("stream", "chat")]);
    let mut ana = member(&gateway, "ana");
    redis.follow(Some(&master));
    assert_eq!(error_code(&mut ana), "service_unavailable");
    eventually("it is told", || {
        assert_eq!(error_code(&mut ana), "service_unavailable");
        gateway.admin().get("/readyz").body.contains("read only replica")
    });
    let log = gateway.log();
    assert!(log.contains("not connected to Redis"), "{log}");
    redis.follow(None);
    eventually("it takes messages again", || error_code(&mut ana).is_empty());
}

#[test]
fn a_redis_that_is_full_stays_connected_and_is_told_once() {
    let mut redis = Redis::start();
    let gateway = started(&redis, &[("name", "chat"), ("kind", "redis"), ("stream", "chat")]);
    let mut ana = member(&gateway, "ana");
    let () = redis.query(&["CONFIG", "SET", "maxmemory", "1"]);
    for _ in 0..3 {
        assert_eq!(error_code(&mut ana), "service_unavailable");
    }
    assert!(gateway.admin().get("/readyz").body.contains("OOM"));
    assert_eq!(gateway.log().matches("takes nothing for now").count(), 1, "{}", gateway.log());
    let () = redis.query(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(error_code(&mut ana), "");
    let page = gateway.admin().get("/metrics").body;
    assert!(page.contains("ringway_service_reconnects_total{service=\"chat\"} 0"), "{page}");
}
