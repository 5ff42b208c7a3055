//! Promise: what a client was told to be sent is in Redis, and what it was told not to be sent does not come about
//! behind that, whether Redis is killed or stands still; and nobody waits for it who does not ask it.

use std::collections::{HashMap, HashSet};

use crate::support::clan::{AT_ONCE, is_connected, member, say, say_meanwhile, sent_of};
use crate::support::client::Client;
use crate::support::config::Config;
use crate::support::gateway::Gateway;
use crate::support::redis::Redis;
use crate::support::tokens::token;
use crate::support::wait::eventually;
use crate::support::wire;

const CLIENTS: usize = 8;

fn started(redis: &Redis, timeout: &str) -> Gateway {
    let service = [("name", "chat"), ("kind", "redis"), ("stream", "chat"), ("timeout", timeout)];
    let gateway = Gateway::start(Config::new().set("redis.url", redis.url()).service(&service));
    eventually("the service is connected", || is_connected(&gateway));
    gateway
}

/// What stands in the stream.
fn kept(redis: &mut Redis) -> HashSet<u64> {
    let entries: Vec<(String, HashMap<String, String>)> = redis.query(&["XRANGE", "chat", "-", "+"]);
    let number = |fields: &HashMap<String, String>| {
        let message = wire::json(&fields["message"]);
        wire::string(&message, &["content"]).parse().expect("each says its number")
    };
    entries.iter().map(|(_, fields)| number(fields)).collect()
}

#[test]
fn what_was_confirmed_outlives_a_redis_that_is_killed_under_load() {
    const MESSAGES: usize = 2000;
    let mut redis = Redis::start_that_keeps();
    let gateway = started(&redis, "60s");
    let mut clients: Vec<Client> = (0..CLIENTS).map(|n| member(&gateway, &format!("user{n}"))).collect();
    let answers = say_meanwhile(&mut clients, 0..CLIENTS * MESSAGES, || {
        eventually("some are kept", || redis.query::<usize>(&["XLEN", "chat"]) > MESSAGES);
        redis.kill();
    });
    assert_eq!(answers.len(), CLIENTS * MESSAGES, "each has its answer");
    let sent = sent_of(&answers);

    redis.restart();
    eventually("the service is connected again", || is_connected(&gateway));
    assert_eq!(say(&mut clients[0], 9_000_000..9_000_001)[&9_000_000], "message_sent");
    let kept = kept(&mut redis);
    let lost: Vec<_> = sent.iter().filter(|n| !kept.contains(n)).collect();
    assert!(lost.is_empty(), "{lost:?} of {} are lost", sent.len());
    assert!(kept.contains(&9_000_000));
}

#[test]
fn what_was_refused_while_redis_stood_still_does_not_come_about_behind_that() {
    const PINGS: usize = 200;
    let mut redis = Redis::start();
    let gateway = started(&redis, "1s");
    let mut clients: Vec<Client> = (0..CLIENTS).map(|n| member(&gateway, &format!("user{n}"))).collect();
    let mut bystander = Client::connect(&gateway, &token("bystander"));
    redis.freeze(true);
    // The first is with Redis when it is given up; those behind it wait for that, and are given up before they are
    // sent.
    assert_eq!(say(&mut clients[0], 0..1)[&0], "service_unavailable");
    let answers = say_meanwhile(&mut clients[1..], AT_ONCE..CLIENTS * AT_ONCE, || {
        (0..PINGS).for_each(|_| bystander.ping());
    });
    assert_eq!(answers.len(), (CLIENTS - 1) * AT_ONCE, "each has its answer");
    assert!(answers.values().all(|answer| answer == "service_unavailable"), "{answers:?}");
    redis.freeze(false);
    eventually("Redis is used again", || {
        is_connected(&gateway) && say(&mut clients[0], 9_000_000..9_000_001)[&9_000_000] == "message_sent"
    });
    let mut kept = kept(&mut redis);
    kept.remove(&0);
    assert_eq!(kept, HashSet::from([9_000_000]));
}
