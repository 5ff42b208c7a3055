//! Promise: what is published to NATS reaches the clients of every node; what cannot be theirs is counted; a NATS that
//! goes away is told by name, and when it is back, so are the deliveries.

mod identity;
mod jetstream;

use std::collections::HashSet;

use crate::support::blocks::blocks;
use crate::support::client::{Client, Event};
use crate::support::config::Config;
use crate::support::frozen::Frozen;
use crate::support::gateway::Gateway;
use crate::support::nats::Nats;
use crate::support::prometheus::SOURCE_MESSAGES;
use crate::support::tokens::{SECRET, token};
use crate::support::wait::eventually;

const INVALID: &str = "ringway_source_invalid_total";
const LOST: &str = "ringway_source_lost_total";
const UNMATCHED: &str = "ringway_source_unmatched_total";

fn config(nats: &Nats) -> Config {
    Config::new().set("nats.url", nats.url())
}

fn subscriber(gateway: &Gateway, user: &str, channels: &[&str]) -> Client {
    let mut client = Client::connect(gateway, &token(user));
    client.subscribe(channels);
    client
}

fn is_ready(gateway: &Gateway) -> bool {
    gateway.admin().get("/readyz").status == 200
}

fn names_nats_as_lost(gateway: &Gateway) -> bool {
    let answer = gateway.admin().get("/readyz");
    answer.status == 503 && answer.body.contains("nats is not connected")
}

#[test]
fn a_subject_or_a_header_names_the_channel() {
    let nats = Nats::start();
    let gateway = Gateway::start(config(&nats));
    let mut ana = subscriber(&gateway, "ana b", &["conv:b1", "conv:a.b"]);
    let mut peer = nats.peer();
    for (subject, headers, payload) in [
        ("ws.conv.b1", &[][..], r#"{ "type" : "größe" }"#),
        ("ws.user.ana%20b", &[], r#"{"type":"hers"}"#),
        ("ws.all", &[], r#"{"type":"everybody's"}"#),
        ("ws.conv.a.b", &[], r#"{"type":"dots"}"#),
        ("ws.conv.a%2Eb", &[], r#"{"type":"dots again"}"#),
        ("ws.anything", &["Ringway-Channel: user:ana b"], r#"{"type":"a blank"}"#),
        ("ws.anything", &["Ringway-Channel: user:ana%20b"], r#"{"type":"a blank again"}"#),
    ] {
        peer.publish_with(subject, headers, payload);
        assert_eq!(ana.next_text(), payload, "{subject}");
    }
}

#[test]
fn what_cannot_be_delivered_is_counted_and_harms_nobody() {
    let nats = Nats::start();
    let gateway = Gateway::start(config(&nats));
    let mut ana = subscriber(&gateway, "ana", &["conv:b1"]);
    let mut peer = nats.peer();
    peer.publish_bytes("ws.conv.b1", b"\xff");
    peer.publish_bytes("ws.conv.%FF", b"{}");
    peer.publish_with("ws.conv.b1", &["Ringway-Channel: "], "{}");
    peer.publish("ws.conv.nobody", "{}");
    peer.publish("other.conv.b1", "{}");
    peer.publish("ws.conv.b1", "the last");
    assert_eq!(ana.next_text(), "the last");
    let metrics = gateway.admin().metrics();
    let counted = [INVALID, UNMATCHED, SOURCE_MESSAGES, LOST].map(|name| metrics.labelled(name, "source", "nats"));
    assert_eq!(counted, [3.0, 1.0, 5.0, 0.0]);
}

/// More than the client library keeps for who takes its messages, as fast as they can come.
#[test]
fn a_burst_is_delivered_whole_and_in_order() {
    const MESSAGES: usize = 300_000;
    const TOLD: usize = 100;
    let nats = Nats::start();
    let gateway = Gateway::start(config(&nats));
    let mut ana = subscriber(&gateway, "ana", &["conv:b1"]);
    let mut peer = nats.peer();
    let mut burst = Vec::new();
    for n in 0..MESSAGES {
        // Most are for nobody, so that it is not the client who sets the pace.
        let subject = if n % (MESSAGES / TOLD) == 0 { "ws.conv.b1" } else { "ws.x" };
        let payload = n.to_string();
        burst.extend_from_slice(format!("PUB {subject} {}\r\n{payload}\r\n", payload.len()).as_bytes());
    }
    peer.write_bytes(&burst);
    let counted = |name| gateway.admin().metrics().labelled(name, "source", "nats");
    eventually("all have come", || counted(SOURCE_MESSAGES) + counted(LOST) >= MESSAGES as f64);
    assert_eq!((counted(SOURCE_MESSAGES), counted(LOST)), (MESSAGES as f64, 0.0));
    for told in 0..TOLD {
        assert_eq!(ana.next_text(), (told * (MESSAGES / TOLD)).to_string());
    }
}

/// While a shard stands still the source waits for it, and NATS for the source; then it goes on without the shard.
#[test]
fn a_full_lane_holds_back_nats_and_nobody_else_misses_anything() {
    const MESSAGES: usize = 200_000;
    const TOLD: usize = 5_000;
    let nats = Nats::start();
    let config = config(&nats).set("limits.outbox_bytes", 4 << 20).set("server.lane_patience", "200ms");
    let mut gateway = Gateway::start(config);
    let (mut on_frozen, mut on_other) = Client::two_on_different_shards(&gateway);
    on_frozen.subscribe(&["conv:b1"]);
    on_other.subscribe(&["conv:b1"]);
    let shard = gateway.admin().connection_of("first").shard;
    let frozen = Frozen::thread(gateway.process(), &format!("shard-{shard}"));
    let mut peer = nats.peer();
    for n in 0..MESSAGES {
        // More than a lane takes, and as many others behind them as come at once.
        let subject = if n < TOLD { "ws.conv.b1" } else { "ws.x" };
        peer.publish_bytes(subject, n.to_string().as_bytes());
    }
    (0..TOLD).for_each(|n| assert_eq!(on_other.next_text(), n.to_string()));
    let counted = |name| gateway.admin().metrics().labelled(name, "source", "nats");
    eventually("all have come", || counted(SOURCE_MESSAGES) + counted(LOST) >= MESSAGES as f64);
    assert_eq!((counted(SOURCE_MESSAGES), counted(LOST)), (MESSAGES as f64, 0.0));
    frozen.thaw();
    eventually("ready again", || is_ready(&gateway));
}

#[test]
fn every_node_has_every_message_and_a_queue_group_each_message_once() {
    const MESSAGES: usize = 200;
    let nats = Nats::start();
    let nodes = [Gateway::start(config(&nats)), Gateway::start(config(&nats))];
    let mut clients = nodes.each_ref().map(|node| subscriber(node, "ana", &["conv:b1"]));
    let mut peer = nats.peer();
    peer.publish("ws.conv.b1", "to all nodes");
    clients.iter_mut().for_each(|client| assert_eq!(client.next_text(), "to all nodes"));
    drop((clients, nodes));

    let grouped = || Gateway::start(config(&nats).set("nats.queue_group", "gateways"));
    let nodes = [grouped(), grouped()];
    let mut clients = nodes.each_ref().map(|node| subscriber(node, "ana", &["conv:b1"]));
    clients.iter_mut().for_each(Client::set_nonblocking);
    (0..MESSAGES).for_each(|n| peer.publish_bytes("ws.conv.b1", n.to_string().as_bytes()));
    let mut heard = Vec::new();
    eventually("all are heard", || {
        for client in &mut clients {
            while let Some(event) = client.poll() {
                if let Event::Text(text) = event {
                    heard.push(text);
                }
            }
        }
        heard.len() >= MESSAGES
    });
    let different: HashSet<&String> = heard.iter().collect();
    assert_eq!((heard.len(), different.len()), (MESSAGES, MESSAGES));
    let shares = nodes.each_ref().map(|node| node.admin().metrics().labelled(SOURCE_MESSAGES, "source", "nats"));
    assert!(shares.iter().all(|share| *share > 0.0), "{shares:?}");
}

#[test]
fn deliveries_resume_after_nats_was_killed_and_restarted() {
    let mut nats = Nats::start();
    let gateway = Gateway::start(config(&nats));
    let mut client = subscriber(&gateway, "u1", &["conv:b1"]);
    nats.peer().publish("ws.conv.b1", "before");
    assert_eq!(client.next_text(), "before");

    nats.kill();
    eventually("readiness names nats as lost", || names_nats_as_lost(&gateway));
    // The clients stay, and the gateway stays its own bus.
    client.ping();
    gateway.admin().broadcast("/broadcast/channel/conv:b1", "meanwhile");
    assert_eq!(client.next_text(), "meanwhile");

    nats.restart();
    eventually("ready again", || is_ready(&gateway));
    nats.peer().publish("ws.conv.b1", "after");
    assert_eq!(client.next_text(), "after");
    let page = gateway.admin().get("/metrics").body;
    assert!(page.contains("ringway_source_reconnects_total{source=\"nats\"} 1"), "{page}");
}

#[test]
fn a_gateway_that_starts_before_nats_finds_it_later() {
    let mut nats = Nats::start();
    nats.kill();
    let gateway = Gateway::start_alive(config(&nats));
    eventually("readiness names nats as lost", || names_nats_as_lost(&gateway));
    eventually("and why", || gateway.admin().get("/readyz").body.contains("refused"));
    nats.restart();
    eventually("ready", || is_ready(&gateway));
    let mut client = Client::connect(&gateway, &token("u1"));
    nats.peer().publish("ws.user.u1", "found");
    assert_eq!(client.next_text(), "found");
}

#[test]
fn of_several_servers_one_that_is_there_is_enough() {
    let nats = Nats::start();
    let nowhere = crate::support::ports::free();
    let urls = format!("nats://{nowhere},{}", nats.url());
    let gateway = Gateway::start(Config::new().set("nats.url", urls));
    let mut client = Client::connect(&gateway, &token("u1"));
    nats.peer().publish("ws.user.u1", "found");
    assert_eq!(client.next_text(), "found");
}

#[test]
fn a_nats_that_stands_still_slows_no_shard_and_is_noticed() {
    const PINGS: usize = 200;
    let nats = Nats::start();
    let gateway = Gateway::start(config(&nats));
    let mut client = subscriber(&gateway, "u1", &["conv:b1"]);
    nats.stop();
    let mut answered = 0;
    eventually("readiness names nats as lost", || {
        client.ping();
        answered += 1;
        names_nats_as_lost(&gateway)
    });
    (answered..PINGS).for_each(|_| client.ping());
    nats.go_on();
    eventually("ready again", || is_ready(&gateway));
    nats.peer().publish("ws.conv.b1", "after");
    assert_eq!(client.next_text(), "after");
}

#[test]
fn the_configurations_of_the_page_work_as_pasted() {
    let nats = Nats::start();
    let pasted = blocks("docs/integrations/nats.md").into_iter().filter(|block| block.info == "toml");
    let pasted: Vec<String> = pasted.map(|block| block.text.replace("nats://127.0.0.1:4222", &nats.url())).collect();
    assert!(pasted.len() >= 5, "{pasted:?}");
    for text in pasted {
        let gateway = Gateway::start(Config::parse(&text).set("auth.secret", SECRET));
        let ready = || gateway.admin().get("/readyz").body;
        assert!(ready().contains("\"name\":\"nats\",\"state\":\"connected\""), "{text}");
        eventually("its services are connected", || !ready().contains("\"state\":\"connecting\""));
        let mut client = Client::connect(&gateway, &token("u1"));
        nats.peer().publish("ws.user.u1", "found");
        assert_eq!(client.next_text(), "found");
    }
}

#[test]
fn a_gateway_may_have_services_at_nats_and_no_source() {
    let nats = Nats::start();
    let gateway = Gateway::start(config(&nats).set("nats.source", false));
    assert!(!gateway.admin().get("/readyz").body.contains("nats"));
}
