//! Promise: however much clients say to a backend that stands still, each message has its answer, and what waits for
//! the backend takes as much memory as is said, and no more.

use toml::Value;

use crate::support::client::Client;
use crate::support::config::Config;
use crate::support::gateway::Gateway;
use crate::support::http_backend::{HttpBackend, Reply};
use crate::support::nats::Nats;
use crate::support::rabbitmq::RabbitMq;
use crate::support::redis::Redis;
use crate::support::tokens::token;
use crate::support::wait::eventually;
use crate::support::wire;

/// Of each some dozens of messages may wait: together more than may wait for the service.
const CLIENTS: usize = 400;
const ROUNDS: usize = 5;

/// Of one client in one round, of 8,000 bytes each: 128 MB in all, twice what may wait.
const AT_ONCE: usize = 8;

/// What waits for one service, with what its client library, the allocator and the answers add: 64 MiB twice and a
/// half.
const GROWTH_MAX_BYTES: f64 = (160 << 20) as f64;

const ROUTE: &str = "[[routes]]\ntype = 'say'\naction = 'forward'\nservice = 'desk'\nreply = '{\"type\":\"said\"}'\n";

#[test]
fn http_that_hangs() {
    let backend = HttpBackend::start();
    withstand(Config::new(), &[("kind", "http".into()), ("url", backend.url("/").into())], || {
        backend.always(Reply::Hang);
    });
}

#[test]
fn a_redis_that_stands_still() {
    let redis = Redis::start();
    let config = Config::new().set("redis.url", redis.url()).set("redis.source", false);
    withstand(config, &[("kind", "redis".into()), ("publish", "desk".into())], || redis.freeze(true));
    redis.freeze(false);
}

#[test]
fn a_nats_that_stands_still() {
    let nats = Nats::start();
    let config = Config::new().set("nats.url", nats.url()).set("nats.source", false);
    withstand(config, &[("kind", "nats".into()), ("subject", "desk".into())], || nats.stop());
    nats.go_on();
}

#[test]
fn a_rabbitmq_that_stands_still() {
    let rabbitmq = RabbitMq::start();
    let config = Config::new().set("rabbitmq.url", rabbitmq.url()).set("rabbitmq.source", false);
    let service = [("kind", Value::from("rabbitmq")), ("exchange", "desk".into()), ("routing_key", "of.all".into())];
    withstand(config, &service, || rabbitmq.process().signal("STOP"));
    rabbitmq.process().signal("CONT");
}

/// Has clients say far more than may wait, from when `stop` has made the backend stand still.
#[track_caller]
fn withstand(config: Config, service: &[(&str, Value)], stop: impl FnOnce()) {
    let service = [&[("name", "desk".into()), ("timeout", "3s".into()), ("queue", 100_000.into())], service].concat();
    let config = config.set("limits.messages", 0).with(ROUTE).service(&service);
    let gateway = Gateway::start(config);
    let metric = |name: &str| gateway.admin().metrics().sum(name);
    eventually("the service is connected", || metric("ringway_service_connected") == 1.0);
    let mut clients: Vec<Client> = (0..CLIENTS).map(|n| Client::connect(&gateway, &token(&format!("u{n}")))).collect();
    stop();

    let say = format!(r#"{{"type":"say","text":"{}"}}"#, "x".repeat(8_000));
    let (before, mut answered) = (metric("process_resident_memory_bytes"), [0; CLIENTS]);
    for _ in 0..ROUNDS {
        for (client, answered) in clients.iter_mut().zip(&mut answered) {
            (0..AT_ONCE).for_each(|_| client.send(&say));
            client.send(r#"{"type":"ping"}"#);
            while wire::kind(&client.next_json()) != "pong" {
                *answered += 1;
            }
        }
    }
    let grown = metric("process_resident_memory_bytes") - before;
    assert!(grown < GROWTH_MAX_BYTES, "{grown} bytes more");
    for (client, answered) in clients.iter_mut().zip(&mut answered) {
        while *answered < ROUNDS * AT_ONCE {
            client.next_json();
            *answered += 1;
        }
    }
    eventually("nothing waits any more", || metric("ringway_service_waiting_bytes") == 0.0);
}
