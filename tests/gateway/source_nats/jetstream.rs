//! A place in a stream: it goes on where it stopped, and nothing is left out.

use super::*;
use crate::support::nats::Peer;
use crate::support::wire;

fn following(nats: &Nats) -> Config {
    config(nats).set("nats.jetstream", "WS").set("nats.jetstream_create", true).set("server.id", "node-1")
}

/// Publishes until the stream has it.
#[track_caller]
fn keep(peer: &mut Peer, subject: &str, payload: &str) {
    eventually("the stream has it", || peer.request(subject, payload).payload.contains("\"seq\""));
}

#[test]
fn the_stream_and_the_place_are_made_as_configured() {
    let nats = Nats::start();
    let gateway = Gateway::start(following(&nats).set("nats.jetstream_age", "2h"));
    let mut peer = nats.peer();
    let stream = peer.request("$JS.API.STREAM.INFO.WS", "").json();
    assert_eq!(wire::strings(&stream, &["config", "subjects"]), ["ws.>"]);
    assert_eq!(wire::number(&stream, &["config", "max_age"]), Some(7_200_000_000_000));
    assert_eq!(wire::number(&stream, &["config", "max_bytes"]), Some(256 << 20));
    let place = peer.request("$JS.API.CONSUMER.INFO.WS.ringway-node-1", "").json();
    assert_eq!(wire::string(&place, &["config", "ack_policy"]), "explicit");

    let mut ana = subscriber(&gateway, "ana", &["conv:b1"]);
    keep(&mut peer, "ws.conv.b1", "kept");
    assert_eq!(ana.next_text(), "kept");
    eventually("it is acknowledged", || {
        let place = peer.request("$JS.API.CONSUMER.INFO.WS.ringway-node-1", "").json();
        wire::number(&place, &["ack_floor", "stream_seq"]) == Some(1)
    });
}

#[test]
fn what_was_published_while_the_gateway_was_away_comes_when_it_is_back() {
    const MESSAGES: usize = 700;
    let nats = Nats::start();
    let mut peer = nats.peer();
    peer.request("$JS.API.STREAM.CREATE.WS", r#"{"name":"WS","subjects":["ws.>"],"storage":"memory"}"#);
    keep(&mut peer, "ws.user.ana", "before there was a gateway");
    let gateway = Gateway::start(following(&nats));
    keep(&mut peer, "ws.user.ana", "to nobody");
    eventually("it has come, and nothing else", || gateway.admin().metrics().sum(SOURCE_MESSAGES) == 1.0);
    assert!(gateway.stop().success());

    // Kept until ana is there, although the gateway was not when it was published.
    keep(&mut peer, "ws.user.ana", r#"{"type":"notification","id":"n1"}"#);
    (0..MESSAGES).for_each(|n| keep(&mut peer, "ws.conv.b1", &n.to_string()));
    let gateway = Gateway::start(following(&nats));
    eventually("all have come, and what was before has not", || {
        gateway.admin().metrics().sum(SOURCE_MESSAGES) == (MESSAGES + 1) as f64
    });
    let mut ana = Client::connect(&gateway, &token("ana"));
    assert_eq!(ana.next_text(), r#"{"type":"notification","id":"n1"}"#);
}

#[test]
fn what_the_stream_has_reaches_clients_although_nats_is_killed_meanwhile() {
    const MESSAGES: usize = 3_000;
    let mut nats = Nats::start();
    let gateway = Gateway::start(following(&nats));
    let mut ana = subscriber(&gateway, "ana", &["conv:b1"]);
    let mut kept = HashSet::new();
    let mut peer = nats.peer();
    for n in 0..MESSAGES {
        if n % (MESSAGES / 3) == MESSAGES / 6 {
            // Each time the gateway has found it again.
            eventually("the stream is followed", || is_ready(&gateway));
            // What the client library has for the gateway, and the gateway for the stream, is lost with it.
            (0..100).for_each(|_| peer.publish_bytes("ws.conv.b1", b"{}"));
            nats.kill();
            nats.restart();
            peer = nats.peer();
        }
        keep(&mut peer, "ws.conv.b1", &format!(r#"{{"n":{n}}}"#));
        kept.insert(n as u64);
    }
    while !kept.is_empty() {
        if let Some(n) = wire::number(&ana.next_json(), &["n"]) {
            kept.remove(&n);
        }
    }
    let reconnects = gateway.admin().metrics().labelled("ringway_source_reconnects_total", "source", "nats");
    assert!(reconnects >= 3.0, "{reconnects}");
}

#[test]
fn a_stream_that_is_not_there_is_waited_for() {
    let nats = Nats::start();
    let gateway = Gateway::start_alive(following(&nats).set("nats.jetstream_create", false));
    eventually("readiness says why", || gateway.admin().get("/readyz").body.contains("stream not found"));
    let mut peer = nats.peer();
    peer.request("$JS.API.STREAM.CREATE.WS", r#"{"name":"WS","subjects":["ws.>"],"storage":"memory"}"#);
    eventually("ready", || is_ready(&gateway));
    let mut ana = subscriber(&gateway, "ana", &["conv:b1"]);
    keep(&mut peer, "ws.conv.b1", "kept");
    assert_eq!(ana.next_text(), "kept");
}

#[test]
fn a_place_that_is_taken_away_is_made_again() {
    let nats = Nats::start();
    let gateway = Gateway::start(following(&nats).set("nats.jetstream_durable", "mine"));
    let mut peer = nats.peer();
    let mut ana = subscriber(&gateway, "ana", &["conv:b1"]);
    peer.request("$JS.API.CONSUMER.DELETE.WS.mine", "");
    eventually("it is there again", || {
        let place = peer.request("$JS.API.CONSUMER.INFO.WS.mine", "");
        !place.payload.contains("error") && is_ready(&gateway)
    });
    keep(&mut peer, "ws.conv.b1", "kept");
    assert_eq!(ana.next_text(), "kept");
}
