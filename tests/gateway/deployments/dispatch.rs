//! Dispatch: several gateways, clients on any of them, one Redis that carries what the services of rides and orders
//! say, and streams there that take what drivers say.

use std::collections::HashMap;

use sonic_rs::json;

use super::{all_connected, expect, one_is_away, refused};
use crate::support::client::Client;
use crate::support::config::Config;
use crate::support::gateway::Gateway;
use crate::support::redis::Redis;
use crate::support::tokens::{Claims, token};
use crate::support::wait::eventually;
use crate::support::wire;

const SERVICES: &str = r#"
[vocabularies]
tracking = false

[[services]]
name = "location"
kind = "redis"
stream = "locations"

[[services]]
name = "dispatch"
kind = "redis"
stream = "responses"
"#;

fn connect(gateway: &Gateway, user: &str, kind: &str, device: &str) -> Client {
    let token = Claims::of(user).role(kind).sign();
    let target = format!("/ws?token={token}&userType={kind}&deviceId={device}&platform=ios");
    let (mut client, _) = Client::upgrade(gateway, &target, &[]).unwrap_or_else(|refusal| panic!("{refusal:?}"));
    client.expect_type("connected");
    client
}

/// The fields of all entries of a stream.
fn entries(redis: &mut Redis, stream: &str) -> Vec<HashMap<String, String>> {
    let entries: Vec<(String, HashMap<String, String>)> = redis.query(&["XRANGE", stream, "-", "+"]);
    entries.into_iter().map(|(_, fields)| fields).collect()
}

#[test]
fn drivers_and_riders_on_several_nodes_are_one_system() {
    let mut redis = Redis::start();
    let nodes = [(); 2].map(|()| Gateway::start(Config::new().set("redis.url", redis.url()).with(SERVICES)));
    nodes.iter().for_each(|node| all_connected(node, 3));
    let mut devices = [connect(&nodes[0], "d1", "driver", "phone"), connect(&nodes[1], "d1", "driver", "tablet")];
    let mut rider = connect(&nodes[1], "r1", "rider", "phone");

    let offer = json!({"type": "ride_request", "payload": {"rideId": "ride-7"}});
    redis.publish("ws:user:d1", offer.to_string());
    devices.iter_mut().for_each(|device| expect(device, &offer));
    devices[1].send(r#"{"type":"dispatch_response","payload":{"rideId":"ride-7","accepted":true}}"#);
    devices[0].send(
        r#"{"type":"location_update","payload":{"latitude":37.7749,"longitude":-122.4194,"heading":90,"speed":15,
            "accuracy":10,"timestamp":1767600000000,"isAvailable":true}}"#,
    );
    for (stream, text) in [("responses", "ride-7"), ("locations", "37.7749")] {
        eventually("the stream has it", || !entries(&mut redis, stream).is_empty());
        let entry = &entries(&mut redis, stream)[0];
        assert_eq!((&*entry["user_id"], &*entry["user_type"]), ("d1", "driver"), "{entry:?}");
        assert!(entry["message"].contains(text), "{entry:?}");
    }
    rider.send(r#"{"type":"location_update","payload":{"latitude":37.7,"longitude":-122.4}}"#);
    assert_eq!(refused(&mut rider), "forbidden");

    // What its services find out reaches the rider, wherever he is.
    for kind in ["ride_status", "driver_location", "eta_update", "order_status", "notification"] {
        let event = json!({"type": kind, "payload": {"rideId": "ride-7"}});
        redis.publish("ws:user:r1", event.to_string());
        expect(&mut rider, &event);
    }
    for (node, [drivers, riders]) in nodes.iter().zip([[Some(1), None], [Some(1), Some(1)]]) {
        let stats = node.admin().get("/stats").json();
        assert_eq!(wire::number(&stats, &["byUserType", "driver"]), drivers, "{stats:?}");
        assert_eq!(wire::number(&stats, &["byUserType", "rider"]), riders, "{stats:?}");
    }

    redis.kill();
    nodes.iter().for_each(one_is_away);
    eventually("the services are known to be away", || {
        devices[0].send(r#"{"type":"dispatch_response","payload":{"rideId":"ride-8","accepted":false}}"#);
        refused(&mut devices[0]) == "service_unavailable"
    });
    devices.iter_mut().for_each(Client::ping);
    redis.restart();
    nodes.iter().for_each(|node| all_connected(node, 3));
    redis.publish("ws:type:driver", r#"{"type":"notification","payload":{"title":"Snow"}}"#);
    devices.iter_mut().for_each(|device| drop(device.await_type("notification")));
    devices[0].send(r#"{"type":"dispatch_response","payload":{"rideId":"ride-9","accepted":true}}"#);
    eventually("the stream goes on", || {
        entries(&mut redis, "responses").iter().any(|one| one["message"].contains("ride-9"))
    });
    Client::connect(&nodes[0], &token("somebody")).ping();
}
