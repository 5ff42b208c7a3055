//! Promise: what a client was told to be sent is in Redis, and what it was told not to be sent does not come about
//! behind that, whether Redis is killed or stands still; and nobody waits for it who does not ask it.

use std::collections::{HashMap, HashSet};

use crate::support::client::Client;
use crate::support::config::Config;
use crate::support::gateway::Gateway;
use crate::support::redis::Redis;
use crate::support::tokens::token;
use crate::support::wait::eventually;
use crate::support::wire;

const CLIENTS: usize = 8;

/// Messages that one connection may have waiting for answers, and a little less.
const AT_ONCE: usize = 25;

fn started(redis: &Redis, timeout: &str) -> Gateway {
    let service = [("name", "chat"), ("kind", "redis"), ("stream", "chat"), ("timeout", timeout)];
    let gateway = Gateway::start(Config::new().set("redis.url", redis.url()).service(&service));
    eventually("the service is connected", || is_connected(&gateway));
    gateway
}

fn is_connected(gateway: &Gateway) -> bool {
    gateway.admin().get("/metrics").body.contains("ringway_service_connected{service=\"chat\"} 1")
}

fn member(gateway: &Gateway, user: &str) -> Client {
    let mut client = Client::connect(gateway, &token(user));
    client.send(r#"{"type":"subscribe_clan_chat","clanId":"k1"}"#);
    client.expect_type("subscription_confirmed");
    client
}

/// Says so many things, no more than may wait at once, and returns what was answered to each.
fn say(client: &mut Client, numbers: std::ops::Range<usize>) -> HashMap<u64, String> {
    let mut answers = HashMap::new();
    for some in numbers.collect::<Vec<_>>().chunks(AT_ONCE) {
        for n in some {
            client.send(&format!(r#"{{"type":"chat","clanId":"k1","content":"{n}","id":{n}}}"#));
        }
        for _ in some {
            let answer = client.next_json();
            let code = wire::string(&answer, &["payload", "code"]);
            let said = if code.is_empty() { wire::kind(&answer) } else { code };
            answers.insert(wire::number(&answer, &["id"]).expect("the answer has the id"), said.to_owned());
        }
    }
    answers
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
    let answers: Vec<HashMap<u64, String>> = std::thread::scope(|scope| {
        let saying: Vec<_> = clients
            .iter_mut()
            .enumerate()
            .map(|(n, client)| scope.spawn(move || say(client, n * MESSAGES..(n + 1) * MESSAGES)))
            .collect();
        eventually("some are kept", || redis.query::<usize>(&["XLEN", "chat"]) > MESSAGES);
        redis.kill();
        saying.into_iter().map(|client| client.join().expect("it is answered")).collect()
    });
    let (sent, refused): (Vec<_>, Vec<_>) = answers.iter().flatten().partition(|(_, answer)| *answer == "message_sent");
    assert_eq!(sent.len() + refused.len(), CLIENTS * MESSAGES, "each has its answer");
    assert!(!sent.is_empty() && !refused.is_empty(), "{} were sent, {} refused", sent.len(), refused.len());
    assert!(refused.iter().all(|(_, code)| *code == "service_unavailable" || *code == "busy"), "{refused:?}");

    redis.restart();
    eventually("the service is connected again", || is_connected(&gateway));
    assert_eq!(say(&mut clients[0], 9_000_000..9_000_001)[&9_000_000], "message_sent");
    let kept = kept(&mut redis);
    let lost: Vec<_> = sent.iter().filter(|(n, _)| !kept.contains(n)).collect();
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
    let answers: Vec<HashMap<u64, String>> = std::thread::scope(|scope| {
        let saying: Vec<_> = clients[1..]
            .iter_mut()
            .enumerate()
            .map(|(n, client)| scope.spawn(move || say(client, (n + 1) * AT_ONCE..(n + 2) * AT_ONCE)))
            .collect();
        (0..PINGS).for_each(|_| bystander.ping());
        saying.into_iter().map(|client| client.join().expect("it is answered")).collect()
    });
    assert!(answers.iter().flatten().all(|(_, answer)| answer == "service_unavailable"), "{answers:?}");
    redis.freeze(false);
    eventually("Redis is used again", || {
        is_connected(&gateway) && say(&mut clients[0], 9_000_000..9_000_001)[&9_000_000] == "message_sent"
    });
    let mut kept = kept(&mut redis);
    kept.remove(&0);
    assert_eq!(kept, HashSet::from([9_000_000]));
}
