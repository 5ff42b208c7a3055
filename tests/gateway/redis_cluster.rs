//! Promise: the servers of a Redis Cluster do not wait for each other, in a stream stands what was said in the order in
//! which it was said, whatever becomes of servers and slots, and a server that was removed from the cluster is left.

use std::collections::HashMap;

use crate::support::clan::{CHAT, is_connected, member, next_answer, say, say_meanwhile};
use crate::support::client::Client;
use crate::support::config::Config;
use crate::support::gateway::Gateway;
use crate::support::redis::Redis;
use crate::support::wait::eventually;
use crate::support::wire;

/// One that knows all of them, the first by the URL.
fn started(servers: &[Redis], service: &[(&str, &str)], response_timeout: &str) -> Gateway {
    let others: Vec<String> = servers[1..].iter().map(Redis::host).collect();
    let others: Vec<&str> = others.iter().map(String::as_str).collect();
    let config = Config::new().set("redis.url", servers[0].url()).set("redis.mode", "cluster");
    let config = config.list("redis.nodes", &others).set("redis.response_timeout", response_timeout);
    let gateway = Gateway::start(config.service(service));
    eventually("the service is connected", || is_connected(&gateway));
    gateway
}

/// With a stream for each user.
fn with_streams(servers: &[Redis], response_timeout: &str) -> Gateway {
    let service = [("name", "chat"), ("kind", "redis"), ("stream", "chat.{user_id}"), ("timeout", "60s")];
    started(servers, &service, response_timeout)
}

fn stream(user: &str) -> String {
    format!("chat.{user}")
}

/// For each server a user whose stream is there, who has said something.
fn users(servers: &mut [Redis], gateway: &Gateway) -> (Vec<String>, Vec<Client>) {
    let owned = |server: &mut Redis| {
        let mut names = (0..).map(|n| format!("user{n}"));
        names.find(|user| server.owns(&stream(user))).expect("some stream is there")
    };
    let users: Vec<String> = servers.iter_mut().map(owned).collect();
    let mut clients: Vec<Client> = users.iter().map(|user| member(gateway, user)).collect();
    for client in &mut clients {
        eventually("its server is connected", || say(client, 0..1)[&0] == "message_sent");
    }
    (users, clients)
}

/// The numbers that a user has said, as they stand in his stream.
fn kept(server: &mut Redis, user: &str) -> Vec<u64> {
    let entries: Vec<(String, HashMap<String, String>)> = server.query(&["XRANGE", &stream(user), "-", "+"]);
    let number = |fields: &HashMap<String, String>| {
        wire::string(&wire::json(&fields["message"]), &["content"]).parse().expect("each says its number")
    };
    entries.iter().map(|(_, fields)| number(fields)).collect()
}

fn are_all_sent(answers: &HashMap<u64, String>) -> bool {
    answers.values().all(|answer| answer == "message_sent")
}

#[test]
fn a_server_that_stands_still_holds_up_nobody_of_the_others() {
    let mut servers = Redis::start_cluster();
    // Nobody gives it up for its silence.
    let gateway = with_streams(&servers, "1h");
    let (users, mut clients) = users(&mut servers, &gateway);
    servers[1].freeze(true);
    clients[1].send(CHAT);
    for n in [0, 2] {
        let answers = say(&mut clients[n], 1..201);
        assert!(answers.len() == 200 && are_all_sent(&answers), "{answers:?}");
        assert_eq!(kept(&mut servers[n], &users[n]).last(), Some(&200));
    }
    servers[1].freeze(false);
    assert_eq!(wire::kind(&next_answer(&mut clients[1])), "message_sent");
}

#[test]
fn a_server_that_is_killed_and_comes_back_costs_the_others_nothing_and_no_stream_its_order() {
    const EACH: usize = 1000;
    let mut servers = Redis::start_cluster();
    let gateway = with_streams(&servers, "5s");
    let (users, mut clients) = users(&mut servers, &gateway);
    let answers = say_meanwhile(&mut clients, EACH..4 * EACH, || {
        let stream = stream(&users[0]);
        eventually("some are kept", || servers[0].query::<usize>(&["XLEN", &stream]) > EACH / 10);
        servers[1].kill();
        eventually("more are kept", || servers[0].query::<usize>(&["XLEN", &stream]) > EACH / 2);
        servers[1].restart();
    });
    assert_eq!(answers.len(), 3 * EACH);
    let of_others = answers.iter().filter(|(n, _)| !(2 * EACH..3 * EACH).contains(&(**n as usize)));
    let refused: Vec<_> = of_others.filter(|(_, answer)| *answer != "message_sent").collect();
    assert!(refused.is_empty(), "{refused:?}");
    eventually("its users are served again", || {
        say(&mut clients[1], 9_000_000..9_000_001)[&9_000_000] == "message_sent"
    });
    for (server, user) in servers.iter_mut().zip(&users) {
        let kept = kept(server, user);
        assert!(kept.is_sorted(), "{user}: {kept:?}");
    }
}

#[test]
fn a_slot_that_moves_takes_what_is_said_for_it_along_in_its_order() {
    const MESSAGES: usize = 4000;
    let mut servers = Redis::start_cluster();
    let gateway = with_streams(&servers, "30s");
    let (users, mut clients) = users(&mut servers, &gateway);
    let (user, client) = (&users[0], &mut clients[..1]);
    let answers = say_meanwhile(client, 1..MESSAGES + 1, || {
        let stream = stream(user);
        eventually("some are kept", || servers[0].query::<usize>(&["XLEN", &stream]) > MESSAGES / 10);
        Redis::hand_over(&mut servers, 0, 1, &stream, |target| {
            eventually("some go ahead of the slot", || {
                target.query::<()>(&["ASKING"]);
                target.query::<usize>(&["XLEN", &stream]) > MESSAGES / 5
            });
        });
    });
    assert!(answers.len() == MESSAGES && are_all_sent(&answers), "{answers:?}");
    // The first one may have been said more than once.
    let mut kept = kept(&mut servers[1], user);
    kept.dedup();
    assert_eq!(kept, (0..=MESSAGES as u64).collect::<Vec<_>>());
}

#[test]
fn a_server_that_was_removed_from_the_cluster_and_lives_on_is_left() {
    let mut servers = Redis::start_cluster();
    let joined = Redis::join_cluster(&mut servers);
    servers.insert(0, joined);
    let gateway = started(&servers, &[("name", "chat"), ("kind", "redis"), ("publish", "ws:{channel}")], "5s");
    eventually("the source is connected", || gateway.admin().get("/readyz").status == 200);
    let mut ana = member(&gateway, "ana");
    assert_eq!(servers[0].query::<usize>(&["PUBSUB", "NUMPAT"]), 1, "it listens at the first one");
    assert_eq!(servers[1].publish("ws:user:ana", "before"), 0);
    assert_eq!(ana.next_text(), "before");

    let (removed, others) = servers.split_first_mut().expect("there are four");
    let id: String = removed.query(&["CLUSTER", "MYID"]);
    others.iter_mut().for_each(|server| server.query::<()>(&["CLUSTER", "FORGET", &id]));
    removed.query::<()>(&["CLUSTER", "RESET"]);
    eventually("the source listens at another one", || {
        others.iter_mut().any(|server| server.query::<usize>(&["PUBSUB", "NUMPAT"]) == 1)
    });
    others[0].publish("ws:user:ana", "after");
    assert_eq!(ana.next_text(), "after");
    eventually("the service publishes at another one", || {
        let page = gateway.admin().get("/metrics").body;
        is_connected(&gateway) && !page.contains("ringway_service_reconnects_total{service=\"chat\"} 0")
    });
    ana.send(CHAT);
    let heard = [ana.next_json(), ana.next_json()];
    let mut kinds = heard.each_ref().map(wire::kind);
    kinds.sort_unstable();
    assert_eq!(kinds, ["chat", "message_sent"]);
    assert!(removed.query::<String>(&["PING"]).contains("PONG"));
}
