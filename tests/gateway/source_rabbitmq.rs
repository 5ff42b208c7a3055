//! Promise: what backends publish to RabbitMQ reaches the channels that its routing key or its header names, and does
//! again when RabbitMQ is back; what waits there is bounded, and so is what is on its way.

use std::io::Read;
use std::net::{Ipv4Addr, TcpListener};

use lapin::types::{AMQPValue, FieldArray};

use crate::support::client::Client;
use crate::support::config::Config;
use crate::support::gateway::Gateway;
use crate::support::prometheus::SOURCE_MESSAGES;
use crate::support::rabbitmq::{RabbitMq, shared};
use crate::support::tokens::token;
use crate::support::wait::{DEADLINE, eventually};

const INVALID: &str = "ringway_source_invalid_total";
const UNMATCHED: &str = "ringway_source_unmatched_total";

/// A gateway with an exchange of its own, as there are others at the broker.
fn config(broker: &RabbitMq, exchange: &str) -> Config {
    Config::new().set("rabbitmq.url", broker.url()).set("rabbitmq.exchange", exchange)
}

fn list<const N: usize>(names: [&str; N]) -> AMQPValue {
    let names: Vec<AMQPValue> = names.iter().map(|name| AMQPValue::LongString((*name).into())).collect();
    AMQPValue::FieldArray(FieldArray::from(names))
}

fn counted(gateway: &Gateway, name: &str) -> f64 {
    gateway.admin().metrics().labelled(name, "source", "rabbitmq")
}

fn reason(gateway: &Gateway) -> Option<String> {
    let answer = gateway.admin().get("/readyz");
    (answer.status == 503).then_some(answer.body)
}

#[test]
fn the_routing_key_names_the_channel() {
    let broker = shared();
    let gateway = Gateway::start(config(&broker, "keys").set("rabbitmq.prefix", "live"));
    let mut ana = Client::connect(&gateway, &token("ana"));
    ana.subscribe(&["clan:k1", "conv:a.b", "conv:100%"]);
    let backend = broker.client();
    let reached = ["live.clan.k1", "live.user.ana", "live.all", "live.conv.a.b", "live.conv.a%2Eb", "live.conv.100%25"];
    for key in reached {
        backend.publish("keys", key, &[], key);
        assert_eq!(ana.next_text(), key);
    }
    for key in ["live.clan.k2", "live.clan", "live.clan.k1.x"] {
        backend.publish("keys", key, &[], "for nobody");
    }
    for key in ["live", "live."] {
        backend.publish("keys", key, &[], "without a channel");
    }
    backend.publish("keys", "live.clan.k1", &[], b"\xff");
    backend.publish("keys", "ws.clan.k1", &[], "of somebody else");
    backend.publish("keys", "live.clan.k1", &[], "{\"größe\": 1}");
    assert_eq!(ana.next_text(), "{\"größe\": 1}");
    let counts = [SOURCE_MESSAGES, UNMATCHED, INVALID].map(|name| counted(&gateway, name));
    assert_eq!(counts, [(reached.len() + 7) as f64, 3.0, 3.0]);
}

#[test]
fn the_header_names_several_channels_and_each_gets_it_once() {
    let broker = shared();
    let gateway = Gateway::start(config(&broker, "header"));
    let [mut ana, mut bob, mut eve] = ["ana", "bob", "eve"].map(|user| Client::connect(&gateway, &token(user)));
    ana.subscribe(&["clan:k1"]);
    bob.subscribe(&["clan:k1"]);
    eve.subscribe(&["clan:k2"]);
    let backend = broker.client();
    for (at, channels) in [
        list(["clan:k1", "user:eve", "clan:k1", "clan:none"]),
        AMQPValue::LongString("clan:k1, user:eve ,clan:k1".into()),
    ]
    .into_iter()
    .enumerate()
    {
        // What the key would say does not count then.
        backend.publish("header", "ws.clan.k2", &[("channels", channels)], format!("several {at}"));
    }
    for channels in [
        list([]),
        list([""]),
        AMQPValue::LongString("clan:k1,,clan:k2".into()),
        AMQPValue::LongString(b"\xff".to_vec().into()),
        AMQPValue::LongInt(5),
        AMQPValue::FieldArray(FieldArray::from(vec![AMQPValue::Boolean(true)])),
        AMQPValue::LongString(vec!["clan:k1"; 1001].join(",").into()),
    ] {
        backend.publish("header", "ws.clan.k1", &[("channels", channels)], "invalid");
    }
    backend.publish("header", "ws.all", &[("other", AMQPValue::LongInt(1))], "the end");
    for client in [&mut ana, &mut bob, &mut eve] {
        assert_eq!([(); 3].map(|()| client.next_text()), ["several 0", "several 1", "the end"]);
    }
    assert_eq!([INVALID, UNMATCHED].map(|name| counted(&gateway, name)), [7.0, 0.0]);
}

#[test]
fn a_durable_queue_keeps_for_its_node_what_comes_while_it_is_away() {
    const MESSAGES: usize = 500;
    let broker = shared();
    let config = config(&broker, "durable").set("rabbitmq.queue", "durable-1");
    let gateway = Gateway::start(config.clone());
    // Who listens to the same queue would take half of the messages away.
    let second = Gateway::start_alive(config.clone());
    eventually("the second says so", || reason(&second).is_some_and(|body| body.contains("exclusive")));
    drop(second);
    assert!(gateway.stop().success());

    let backend = broker.client();
    backend.publish_all("durable", "ws.conv.c1", (0..MESSAGES).map(|n| n.to_string()));
    assert_eq!(backend.waiting("durable-1"), MESSAGES);
    let gateway = Gateway::start(config);
    // All of them were for channels that had no subscriber yet: the node has taken them.
    eventually("they are taken", || counted(&gateway, UNMATCHED) as usize == MESSAGES);
    let mut ana = Client::connect(&gateway, &token("ana"));
    ana.subscribe(&["conv:c1"]);
    backend.publish("durable", "ws.conv.c1", &[], "now");
    assert_eq!(ana.next_text(), "now");
    assert_eq!(backend.waiting("durable-1"), 0);
}

#[test]
fn no_more_is_on_its_way_than_may_be_and_nothing_is_lost_by_that() {
    const PREFETCH: usize = 16;
    const MESSAGES: usize = 1000;
    let broker = shared();
    let config = config(&broker, "prefetch").set("rabbitmq.queue", "prefetch-1");
    let mut gateway = Gateway::start(config.set("rabbitmq.prefetch", PREFETCH as i64));
    let mut ana = Client::connect(&gateway, &token("ana"));
    ana.subscribe(&["conv:c1"]);
    let backend = broker.client();
    gateway.process().signal("STOP");
    backend.publish_all("prefetch", "ws.conv.c1", (0..MESSAGES).map(|n| n.to_string()));
    assert_eq!(backend.waiting("prefetch-1"), MESSAGES - PREFETCH);
    gateway.process().signal("CONT");
    (0..MESSAGES).for_each(|n| assert_eq!(ana.next_text(), n.to_string()));
    eventually("all are acknowledged", || backend.waiting("prefetch-1") == 0);
}

#[test]
fn what_waits_for_a_node_is_bounded_and_the_oldest_go() {
    const MESSAGES: usize = 300;
    const BYTES: usize = 64 << 10;
    let broker = shared();
    let config = config(&broker, "bounded").set("rabbitmq.queue", "bounded-1");
    let mut gateway = Gateway::start(config.set("rabbitmq.queue_bytes", BYTES as i64).set("rabbitmq.prefetch", 1));
    let mut ana = Client::connect(&gateway, &token("ana"));
    ana.subscribe(&["conv:c1"]);
    let backend = broker.client();
    gateway.process().signal("STOP");
    backend.publish_all("bounded", "ws.conv.c1", (0..MESSAGES).map(|n| format!("{n:01024}")));
    assert_eq!(backend.waiting("bounded-1"), BYTES / 1024);
    gateway.process().signal("CONT");
    let heard: Vec<usize> = (0..1 + BYTES / 1024).map(|_| ana.next_text().parse().expect("a number")).collect();
    let newest = MESSAGES - BYTES / 1024..MESSAGES;
    assert_eq!(heard, std::iter::once(0).chain(newest).collect::<Vec<_>>());
}

#[test]
fn deliveries_resume_after_rabbitmq_was_killed_and_restarted() {
    let mut broker = RabbitMq::start();
    let exclusive = Gateway::start(config(&broker, "ws"));
    let named = Gateway::start(config(&broker, "ws").set("rabbitmq.queue", "node-2"));
    let mut clients = [&exclusive, &named].map(|gateway| Client::connect(gateway, &token("u1")));
    clients.iter_mut().for_each(|client| client.subscribe(&["conv:c1"]));
    broker.client().publish("ws", "ws.conv.c1", &[], "before");
    clients.iter_mut().for_each(|client| assert_eq!(client.next_text(), "before"));

    broker.kill();
    for gateway in [&exclusive, &named] {
        eventually("readiness names it as lost", || reason(gateway).is_some_and(|body| body.contains("rabbitmq")));
    }
    // The clients stay, and the gateway stays its own bus.
    clients[0].ping();
    exclusive.admin().broadcast("/broadcast/channel/conv:c1", "meanwhile");
    assert_eq!(clients[0].next_text(), "meanwhile");

    broker.restart();
    for gateway in [&exclusive, &named] {
        eventually("ready again", || reason(gateway).is_none());
        assert_eq!(counted(gateway, "ringway_source_reconnects_total"), 1.0);
    }
    broker.client().publish("ws", "ws.conv.c1", &[], "after");
    assert_eq!(clients[0].next_text(), "after");
    // From a durable queue it comes again if RabbitMQ was killed before it had the acknowledgement.
    let heard = clients[1].next_text();
    let newest = if heard == "before" { clients[1].next_text() } else { heard };
    assert_eq!(newest, "after");
}

#[test]
fn a_gateway_that_starts_before_rabbitmq_finds_it_later_and_its_queue_when_that_is_removed() {
    let mut broker = RabbitMq::start();
    broker.kill();
    let gateway = Gateway::start_alive(config(&broker, "ws").set("rabbitmq.queue", "node-1"));
    eventually("readiness names it as lost", || reason(&gateway).is_some_and(|body| body.contains("rabbitmq")));
    broker.restart();
    eventually("ready", || reason(&gateway).is_none());
    let mut client = Client::connect(&gateway, &token("u1"));
    broker.client().publish("ws", "ws.user.u1", &[], "found");
    assert_eq!(client.next_text(), "found");

    broker.client().remove_queue("node-1");
    eventually("it has noticed", || counted(&gateway, "ringway_source_reconnects_total") == 1.0);
    broker.client().publish("ws", "ws.user.u1", &[], "found again");
    assert_eq!(client.next_text(), "found again");
}

#[test]
fn an_exchange_or_a_binding_that_was_removed_is_there_again_and_nothing_else_is_lost() {
    let broker = shared();
    let gateway = Gateway::start(config(&broker, "rebound").set("rabbitmq.queue", "rebound-1"));
    let backend = broker.client();
    let is_heard = || {
        let before = counted(&gateway, SOURCE_MESSAGES);
        backend.publish("rebound", "ws.user.u1", &[], "there again");
        eventually("what the queue had is taken", || backend.waiting("rebound-1") == 0);
        counted(&gateway, SOURCE_MESSAGES) > before
    };
    eventually("it is heard", is_heard);
    backend.unbind("rebound-1", "rebound", "ws.#");
    eventually("it is bound again", is_heard);
    backend.remove_exchange("rebound");
    backend.make_exchange("rebound");
    eventually("it is bound to the new one", is_heard);
    assert_eq!(counted(&gateway, "ringway_source_reconnects_total"), 0.0);
}

#[test]
fn whoever_signs_the_brokers_certificate_must_be_known() {
    let broker = shared();
    let config = config(&broker, "tls").set("rabbitmq.url", broker.tls_url());
    let stranger = Gateway::start_alive(config.clone());
    let gateway = Gateway::start(config.set("rabbitmq.tls_ca_file", broker.certificate()));
    let mut client = Client::connect(&gateway, &token("u1"));
    broker.client().publish("tls", "ws.user.u1", &[], "sealed");
    assert_eq!(client.next_text(), "sealed");
    eventually("the other says why not", || reason(&stranger).is_some_and(|body| body.contains("certificate")));
}

#[test]
fn a_wrong_password_is_told_and_not_shown() {
    let broker = shared();
    let url = broker.url().replace("amqp://", "amqp://guest:hunter2@");
    let gateway = Gateway::start_alive(config(&broker, "ws").set("rabbitmq.url", url));
    eventually("it says so", || reason(&gateway).is_some_and(|body| body.contains("ACCESS_REFUSED")));
    let shown = [gateway.log(), gateway.admin().get("/readyz").body].concat();
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn one_that_says_nothing_is_given_up_and_nothing_of_it_stays() {
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let address = silent.local_addr().expect("a bound socket has an address");
    let mut gateway = Gateway::start_alive(Config::new().set("rabbitmq.url", format!("amqp://{address}")));
    let (mut first, _) = silent.accept().expect("it connects");
    let (_second, _) = silent.accept().expect("it tries again");
    let mut said = Vec::new();
    first.set_read_timeout(Some(DEADLINE)).expect("not zero");
    first.read_to_end(&mut said).expect("it has closed the first");
    assert_eq!(said, b"AMQP\x00\x00\x09\x01");
    assert!(reason(&gateway).is_some_and(|body| body.contains("no answer within")));
    let threads = format!("/proc/{}/task", gateway.process().pid());
    let of_connections = || {
        let names = std::fs::read_dir(&threads).expect("it is alive").flatten();
        let names = names.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
        names.filter(|name| name.starts_with("lapin-io-loop")).count()
    };
    eventually("only the thread of the second is there", || of_connections() == 1);
}
