//! How the node is, as probes and people are told.

use super::*;

#[test]
fn health_counts_open_connections() {
    let node = Node::start(2, None);
    settled(&node);
    assert_eq!(node.get("/health").body, r#"{"status":"ok","connections":3}"#);
    let json = node.get("/health/websocket").json();
    assert_eq!(json["totalConnections"].as_u64(), Some(20));
    assert_eq!(json["activeConnections"].as_u64(), Some(3));
    assert_eq!(json["connectedUsers"].as_u64(), Some(2));
    assert_eq!(json["subscriptions"]["conversations"].as_u64(), Some(4));
    assert_eq!(json["subscriptions"]["users"].as_u64(), Some(2));
    assert_eq!(json["subscriptions"]["other"].as_u64(), Some(0));
    node.stop();
}

#[test]
fn stats_are_summed_over_the_shards() {
    let node = Node::start(3, None);
    settled(&node);
    let json = node.get("/stats").json();
    assert_eq!(json["serverId"].as_str(), Some("node-1"));
    assert_eq!(json["totalConnections"].as_u64(), Some(6));
    assert_eq!(json["uniqueUsers"].as_u64(), Some(3));
    assert_eq!(json["byUserType"]["driver"].as_u64(), Some(9));
    assert!(json["uptime"].is_u64());
    node.stop();
}

#[test]
fn a_node_is_ready_when_its_sources_are_connected_and_until_it_drains() {
    let node = Node::start(1, None);
    let unready = node.get("/readyz");
    assert_eq!(unready.status, 503);
    assert_eq!(unready.json()["ready"].as_bool(), Some(false));
    assert_eq!(unready.json()["reasons"][0].as_str(), Some("redis is not connected"));
    assert_eq!(unready.json()["sources"][0]["state"].as_str(), Some("connecting"));

    node.context.sources[0].link.connected();
    let ready = node.get("/readyz");
    assert_eq!((ready.status, ready.json()["ready"].as_bool()), (200, Some(true)));
    assert_eq!(ready.json()["sources"][0]["state"].as_str(), Some("connected"));

    node.context.draining.store(true, Relaxed);
    let draining = node.get("/readyz");
    assert_eq!((draining.status, draining.json()["reasons"][0].as_str()), (503, Some("draining")));
    assert_eq!(node.get("/livez").status, 200);
    node.stop();
}

#[test]
fn a_control_task_that_has_failed_is_told_by_readyz_and_counted() {
    let node = Node::start(1, None);
    node.context.sources[0].link.connected();
    assert_eq!(node.get("/readyz").status, 200);
    node.control.run("clumsy", async |_| panic!("as a test has it"));
    let unready = asked(&node, "/readyz").find(|answer| answer.status == 503).expect("in time");
    assert_eq!(unready.json()["reasons"][0].as_str(), Some("the control task clumsy has failed"));
    let samples = parse_metrics(&node.get("/metrics").body);
    assert_eq!(samples[r#"ringway_control_failures_total{task="clumsy"}"#], 1.0);
    assert_eq!(samples[r#"ringway_control_failures_total{task="admin"}"#], 0.0);
    assert_eq!(node.get("/livez").status, 200);
    node.stop();
}

#[test]
fn without_any_answer_there_is_an_error_and_probes_still_work() {
    let node = Node::start_with(1, None, serve_nothing);
    assert_eq!(node.get("/stats").error(), (503, "no_answer".into()));
    assert_eq!(node.get("/health").status, 200);
    node.stop();
}

#[test]
fn a_stuck_lane_is_told_to_whoever_publishes_and_to_whoever_asks() {
    let node = Node::start_with(2, None, serve_first_and_forget_the_others);
    node.context.sources[0].link.connected();
    assert_eq!(node.get("/readyz").status, 200);
    while node.context.inlet.bus.publish("all", "x").lost == 0 {}
    let answer = node.post("/broadcast/all", b"x").json();
    assert_eq!(answer["delivered"].as_u64(), Some(1));
    let note = "partial: 1 of 2 shards answered in time, 1 did not take it: see /readyz";
    assert_eq!(answer["note"].as_str(), Some(note));
    node.subscribe(1, "conv:c1");
    assert_eq!(node.post("/broadcast/channel/conv:c1", b"x").error(), (503, "not_taken".into()));

    let ready = node.get("/readyz");
    let reason = "shard 1 takes nothing: its lane is full";
    assert_eq!((ready.status, ready.json()["reasons"][0].as_str()), (503, Some(reason)));
    let samples = parse_metrics(&node.get("/metrics").body);
    assert_eq!(samples[r#"ringway_lane_lost_total{shard="0"}"#], 0.0);
    assert_eq!(samples[r#"ringway_lane_lost_total{shard="1"}"#], 3.0);
    assert_eq!(samples[r#"ringway_lane_stuck{shard="1"}"#], 1.0);
    assert!(samples[r#"ringway_lane_bytes{shard="1"}"#] > 0.0);
    node.stop();
}

#[test]
fn a_shard_that_does_not_turn_is_named_by_readyz_and_later_by_livez() {
    let node = Node::start(2, None);
    node.context.sources[0].link.connected();
    assert_eq!((node.get("/readyz").status, node.get("/livez").status), (200, 200));

    let turn = |now_us: u64| node.context.counters[1].turned_at_us.set(now_us as i64);
    turn(now_us());
    let unready = asked(&node, "/readyz").find(|answer| answer.status == 503).expect("in time");
    let reasons = unready.json()["reasons"].to_string();
    assert!(reasons.starts_with("[\"shard 1 has not turned for ") && !reasons.contains("shard 0"), "{reasons}");
    let dead = asked(&node, "/livez").find(|answer| answer.status == 503).expect("in time");
    assert_eq!(dead.json()["live"].as_bool(), Some(false));
    assert!(dead.body.contains("shard 1 has not turned for "), "{}", dead.body);

    turn(u64::MAX >> 1);
    assert_eq!((node.get("/readyz").status, node.get("/livez").body.as_str()), (200, r#"{"live":true}"#));
    node.stop();
}
