//! Promise: what is published to a channel reaches every subscriber on every shard, complete and in order.

use crate::support::client::Client;
use crate::support::config::Config;
use crate::support::crowd::Crowd;
use crate::support::gateway::Gateway;
use crate::support::redis::Redis;

/// So many messages are under way at most, so that the test does not measure how deep outboxes are.
const WINDOW: usize = 250;

#[test]
fn two_clients_on_different_shards_get_the_same_messages_in_order() {
    let gateway = Gateway::start(Config::new());
    let (mut one, mut other) = Client::two_on_different_shards(&gateway);
    one.subscribe(&["conv:c1"]);
    other.subscribe(&["conv:c1"]);
    let messages: Vec<_> = (0..100).map(message).collect();
    for message in &messages {
        assert_eq!(gateway.admin().broadcast("/broadcast/channel/conv:c1", message), 2);
    }
    for message in &messages {
        assert_eq!(&one.next_text(), message);
        assert_eq!(&other.next_text(), message);
    }
}

#[test]
fn five_thousand_messages_through_redis_reach_two_hundred_clients_complete_and_in_order() {
    const MESSAGES: usize = 5_000;
    let mut redis = Redis::start();
    let gateway = Gateway::start(Config::new().set("redis.url", redis.url()).set("limits.outbox_bytes", 1024 * 1024));
    let mut crowd = Crowd::subscribed(&gateway, "listener", 200, "conv:c1");
    for first in (0..MESSAGES).step_by(WINDOW) {
        redis.publish_all("ws:conv:c1", (first..first + WINDOW).map(message));
        crowd.receive(WINDOW, |client, index, text| {
            assert_eq!(text, message(first + index), "client {client}");
        });
    }
    // Nothing came twice: the next message that everyone has is a new one.
    redis.publish("ws:conv:c1", "the last");
    crowd.receive(1, |client, _, text| assert_eq!(text, "the last", "client {client}"));
}

fn message(index: usize) -> String {
    format!(r#"{{"type":"message.new","payload":{{"conversation_id":"c1","seq":{index}}}}}"#)
}
