//! Promise: a message only visits the shards that have subscribers.

use crate::support::client::Client;
use crate::support::config::Config;
use crate::support::gateway::Gateway;
use crate::support::prometheus::PUBLICATIONS;
use crate::support::redis::Redis;
use crate::support::tokens::token;

const SHARDS: u64 = 4;

#[test]
fn messages_visit_only_shards_with_subscribers() {
    const MESSAGES: usize = 50;
    let mut redis = Redis::start();
    let shards = i64::try_from(SHARDS).expect("few");
    let gateway = Gateway::start(Config::new().set("server.shards", shards).set("redis.url", redis.url()));
    let mut client = Client::connect(&gateway, &token("u1"));
    client.subscribe(&["conv:c1"]);
    let home = gateway.admin().connection_of("u1").shard;
    let before = visits(&gateway);
    redis.publish_all("ws:conv:c1", (0..MESSAGES).map(|index| index.to_string()));
    redis.publish_all("ws:conv:nobody", (0..MESSAGES).map(|index| index.to_string()));
    (0..MESSAGES).for_each(|index| assert_eq!(client.next_text(), index.to_string()));
    // What came after the unheard ones proves that those have been handled.
    redis.publish("ws:conv:c1", "the last");
    assert_eq!(client.next_text(), "the last");
    assert_grew_only_at(home, &before, &visits(&gateway), MESSAGES + 1);

    // Interest ends with the last subscriber.
    client.send(r#"{"type":"unsubscribe","payload":{"channels":["conv:c1"]}}"#);
    client.expect_type("unsubscribed");
    let before = visits(&gateway);
    redis.publish("ws:conv:c1", "for nobody");
    redis.publish("ws:user:u1", "for u1");
    assert_eq!(client.next_text(), "for u1");
    assert_grew_only_at(home, &before, &visits(&gateway), 1);
}

fn visits(gateway: &Gateway) -> Vec<f64> {
    let metrics = gateway.admin().metrics();
    (0..SHARDS).map(|shard| metrics.labelled(PUBLICATIONS, "shard", &shard.to_string())).collect()
}

#[track_caller]
fn assert_grew_only_at(home: u64, before: &[f64], after: &[f64], messages: usize) {
    for (shard, (before, after)) in (0..).zip(before.iter().zip(after)) {
        let expected = if shard == home { messages as f64 } else { 0.0 };
        assert_eq!(after - before, expected, "shard {shard}, subscriber on {home}");
    }
}
