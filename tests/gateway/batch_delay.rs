//! Promise: what is published to a channel with a delay gathers, and arrives together and in order; others do not wait.

use std::io::Read;

use crate::support::client::Client;
use crate::support::config::Config;
use crate::support::gateway::Gateway;
use crate::support::raw::{Raw, TEXT, frame};
use crate::support::redis::Redis;
use crate::support::tokens::token;

/// Long beside everything else that happens here, so that on a busy machine too all is published within it.
const DELAY: &str = "1s";

#[test]
fn messages_of_a_delayed_channel_arrive_joined_and_in_order() {
    let mut redis = Redis::start();
    let gateway = Gateway::start(Config::new().set("redis.url", redis.url()).channel("vendor:*", DELAY));
    let mut client = Raw::connect(&gateway, "/ws", &token("u1"));
    client.write(&frame(TEXT, br#"{"type":"subscribe","payload":{"channels":["vendor:1","conv:1"]}}"#));
    assert!(client.next_text().contains(r#""type":"subscribed""#));
    let messages: Vec<String> = (0..20).map(|n| format!(r#"{{"type":"position","seq":{n}}}"#)).collect();
    redis.publish_all("ws:vendor:1", messages.iter().cloned());
    redis.publish("ws:conv:1", "at once");
    assert_eq!(client.next_text(), "at once", "another channel waits for nobody");
    let joined: Vec<u8> =
        messages.iter().flat_map(|text| [&[0x81, text.len() as u8], text.as_bytes()].concat()).collect();
    let mut received = vec![0; 16 * 1024];
    let count = client.stream.read(&mut received).expect("they come");
    assert_eq!(received[..count], joined, "one send, one read");
}

#[test]
fn whoever_publishes_over_http_is_answered_when_it_is_delivered() {
    let gateway = Gateway::start(Config::new().channel("vendor:*", "50ms"));
    let (mut one, mut other) = Client::two_on_different_shards(&gateway);
    [&mut one, &mut other].into_iter().for_each(|client| client.subscribe(&["vendor:1"]));
    assert_eq!(gateway.admin().broadcast("/broadcast/channel/vendor:1", "late"), 2);
    assert_eq!((one.next_text(), other.next_text()), ("late".to_owned(), "late".to_owned()));
}

#[test]
fn what_waits_is_delivered_before_a_drain_closes_its_recipients() {
    let mut redis = Redis::start();
    let config = Config::new().set("redis.url", redis.url()).set("server.drain", "0s").channel("vendor:*", DELAY);
    let mut gateway = Gateway::start(config);
    let mut client = Client::connect(&gateway, &token("u1"));
    client.subscribe(&["vendor:1", "conv:1"]);
    redis.publish("ws:vendor:1", "waits");
    redis.publish("ws:conv:1", "the shard has both");
    assert_eq!(client.next_text(), "the shard has both");
    gateway.process().signal("TERM");
    assert_eq!(client.next_text(), "waits");
    assert_eq!(client.expect_close(), 1001);
}
