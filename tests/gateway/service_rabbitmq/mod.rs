//! Promise: with RabbitMQ behind a service, what a client is told to be sent is in every queue that it belongs in,
//! whatever happens to the broker then; what RabbitMQ cannot take is an error and no silence, and nobody else waits for
//! it.

mod neighbours;
mod outages;

use std::collections::{HashMap, HashSet};

use lapin::message::Delivery;
use toml::Value;

use crate::support::blocks::blocks;
use crate::support::clan::{CHAT, assert_heard_on_every_node, is_connected, member, say};
use crate::support::client::Client;
use crate::support::config::Config;
use crate::support::gateway::Gateway;
use crate::support::rabbitmq::{RabbitMq, shared};
use crate::support::tokens::{SECRET, now, token};
use crate::support::wait::eventually;
use crate::support::wire;

/// A gateway with an exchange of its own, as there are others at the broker.
fn config(broker: &RabbitMq, exchange: &str) -> Config {
    Config::new().set("rabbitmq.url", broker.url()).set("rabbitmq.exchange", exchange)
}

/// The same with the service behind the clans' chat.
fn started(config: Config, keys: &[(&str, Value)]) -> Gateway {
    let common = [("name", "chat".into()), ("kind", "rabbitmq".into())];
    let gateway = Gateway::start(config.service(&[&common, keys].concat()));
    eventually("the service is connected", || is_connected(&gateway));
    gateway
}

fn in_clan(mut client: Client, clan: &str) -> Client {
    client
        .send(&format!(r#"{{"type":"subscribe_clan_chat","clanId":{}}}"#, sonic_rs::to_string(clan).expect("a text")));
    assert_eq!(wire::string(&client.next_json(), &["type"]), "subscription_confirmed");
    client
}

fn header<'a>(delivery: &'a Delivery, name: &str) -> Option<&'a [u8]> {
    delivery.properties.headers().as_ref()?.inner().get(name)?.as_long_string().map(|text| text.as_bytes())
}

fn content(delivery: &Delivery) -> String {
    let message = wire::json(std::str::from_utf8(&delivery.data).expect("text"));
    wire::string(&message, &["content"]).to_owned()
}

#[test]
fn what_is_published_comes_back_to_members_on_every_node() {
    let broker = shared();
    let nodes = [(); 2].map(|()| started(config(&broker, "every_node"), &[]));
    assert_heard_on_every_node(&nodes);
}

#[test]
fn a_message_says_who_says_it_and_the_order_is_kept() {
    const MESSAGES: usize = 200;
    let broker = shared();
    let gateway = started(config(&broker, "order"), &[("routing_key", "chats.{key}".into())]);
    let backend = broker.client();
    backend.keep("order", "order", "chats.*");
    let mut ana = in_clan(Client::connect_at(&gateway, "/ws?userType=driver", &token("ana")), "k1");
    let answers = say(&mut ana, 0..MESSAGES);
    assert!(answers.values().all(|answer| answer == "message_sent"), "{answers:?}");
    let kept = backend.take_all("order");
    assert_eq!(kept.iter().map(content).collect::<Vec<_>>(), (0..MESSAGES).map(|n| n.to_string()).collect::<Vec<_>>());
    let (mut ids, session) = (HashSet::new(), header(&kept[0], "ringway-session-id"));
    for message in &kept {
        assert_eq!(message.routing_key.as_str(), "chats.k1");
        let named = ["type", "user-id", "user-type", "channel", "key"];
        let said = named.map(|name| header(message, &format!("ringway-{name}")).map(String::from_utf8_lossy));
        assert_eq!(said.map(Option::unwrap_or_default), ["chat", "ana", "driver", "clan:k1", "k1"]);
        assert!(session.is_some() && header(message, "ringway-session-id") == session);
        let properties = &message.properties;
        assert_eq!(properties.content_type().as_ref().map(|kind| kind.as_str()), Some("application/json"));
        assert_eq!(*properties.delivery_mode(), Some(2));
        assert!(properties.timestamp().is_some_and(|at| at.abs_diff(now() as u64) < 600));
        assert!(
            ids.insert(properties.message_id().clone().expect("an id")),
            "{:?} came twice",
            properties.message_id()
        );
    }
}

/// A message whose key is any text of the client's.
const POST: &str = r#"
[[routes]]
type = "post"
about = "Says something under a topic."
action = "forward"
service = "chat"
key = "{topic}"
fields = { topic = "text" }
reply = '{"type":"posted"}'
example = '{"type":"post","topic":"t"}'
"#;

fn posting(broker: &RabbitMq, routing_key: &str) -> Gateway {
    let config = Config::parse(POST).set("auth.secret", SECRET).set("server.shards", 1);
    let config = config.set("rabbitmq.url", broker.url()).set("rabbitmq.exchange", "posts");
    started(config, &[("routing_key", routing_key.into())])
}

/// Posts under a topic; what is answered.
fn post(client: &mut Client, topic: &str) -> String {
    let topic = sonic_rs::to_string(topic).expect("a text");
    client.send(&format!(r#"{{"type":"post","topic":{topic}}}"#));
    let answer = client.next_json();
    let code = wire::string(&answer, &["payload", "code"]);
    if code.is_empty() { wire::kind(&answer).to_owned() } else { code.to_owned() }
}

#[test]
fn what_a_client_chooses_is_one_word_of_the_key_and_one_header() {
    let broker = shared();
    let (by_topic, fixed) = (posting(&broker, "by.{key}"), posting(&broker, "posts"));
    let backend = broker.client();
    backend.keep("posts", "posts", "#");
    let mut eve = Client::connect(&by_topic, &token("eve"));
    for topic in ["a.b.c", "*", "#", "by.bob", " a\tb ", "a\r\nringway-type: x\r\n", "\0", "\"';--", "%2E", "é😀", ""]
    {
        assert_eq!(post(&mut eve, topic), "posted", "{topic:?}");
        let [message] = backend.take_all("posts").try_into().expect("one message");
        let key = message.routing_key.as_str();
        assert!(key.starts_with("by.") && key.matches('.').count() == 1, "{topic:?}: {key}");
        assert!(!key.contains(|c: char| "*# ".contains(c) || c.is_control()), "{topic:?}: {key}");
        assert_eq!(header(&message, "ringway-key"), Some(topic.as_bytes()));
        assert_eq!(header(&message, "ringway-type"), Some(&b"post"[..]));
        assert_eq!(message.properties.headers().as_ref().map(|headers| headers.inner().len()), Some(4));
    }
    // What does not fit into a key has none; the client is told, and the connection to the broker stands.
    let long = "x".repeat(255);
    for topic in [&long, &long[..253], &".".repeat(85)] {
        assert_eq!(post(&mut eve, topic), "service_refused");
    }
    // A key has 255 bytes at most, whoever gets it.
    assert_eq!(post(&mut eve, &"x".repeat(7000)), "bad_channel");
    assert_eq!(post(&mut eve, &long[..252]), "posted");
    assert_eq!(backend.take_all("posts")[0].routing_key.as_str().len(), 255);
    assert_eq!(post(&mut Client::connect(&fixed, &token("eve")), &long), "posted");
    assert_eq!(header(&backend.take_all("posts")[0], "ringway-key"), Some(long.as_bytes()));
    let page = by_topic.admin().get("/metrics").body;
    assert!(page.contains("ringway_service_reconnects_total{service=\"chat\"} 0"), "{page}");
}

#[test]
fn a_key_that_the_broker_forbids_is_refused_and_costs_nobody_else_a_message() {
    const MESSAGES: usize = 100;
    let broker = shared();
    broker.client().make_exchange("posts");
    broker.control(&["add_user", "poor", "pw"]);
    broker.control(&["set_permissions", "poor", ".*", ".*", ".*"]);
    broker.control(&["set_topic_permissions", "poor", "posts", "^poor\\.good", ".*"]);
    let config = Config::parse(POST).set("auth.secret", SECRET).set("server.shards", 1);
    let url = broker.url().replace("amqp://", "amqp://poor:pw@");
    let config = config.set("rabbitmq.url", url).set("rabbitmq.exchange", "posts").set("rabbitmq.source", false);
    let config = config.set("limits.messages", 0);
    let gateway = started(config, &[("routing_key", "poor.{key}".into())]);
    let backend = broker.client();
    backend.keep("poor", "posts", "poor.*");
    let (long, wide) = ("x".repeat(220), "é".repeat(120));
    let good: Vec<_> = (0..4).map(|n| (Client::connect(&gateway, &token(&format!("u{n}"))), n)).collect();
    let mut eve = Client::connect(&gateway, &token("eve"));
    std::thread::scope(|scope| {
        let others = good.into_iter().map(|(mut client, n)| {
            scope.spawn(move || {
                for at in 0..MESSAGES {
                    assert_eq!(post(&mut client, &format!("good-{n}-{at}")), "posted");
                }
            })
        });
        let others: Vec<_> = others.collect();
        // The same key again and again, and another one each time: for those RabbitMQ is asked.
        let mut n = 0;
        while !others.iter().all(|other| other.is_finished()) {
            for topic in
                ["evil", &format!("evil{n}"), &format!("{long}{n}"), &format!("{n}{long}"), &format!("{n}{wide}")]
            {
                assert_eq!(post(&mut eve, topic), "service_refused", "{topic}");
            }
            n += 1;
        }
    });
    let kept: HashSet<String> = backend.take_all("poor").iter().map(|kept| kept.routing_key.to_string()).collect();
    assert_eq!(kept.len(), 4 * MESSAGES);
}

#[test]
fn ever_new_forbidden_keys_cost_others_a_message_twice_at_most() {
    const MESSAGES: usize = 500;
    const AT_ONCE: usize = 20;
    let broker = shared();
    broker.client().make_exchange("many");
    broker.control(&["add_user", "many", "pw"]);
    broker.control(&["set_permissions", "many", ".*", ".*", ".*"]);
    broker.control(&["set_topic_permissions", "many", "many", "^many\\.good", ".*"]);
    let config = Config::parse(POST).set("auth.secret", SECRET).set("server.shards", 1).set("limits.messages", 0);
    let url = broker.url().replace("amqp://", "amqp://many:pw@");
    let config = config.set("rabbitmq.url", url).set("rabbitmq.exchange", "many").set("rabbitmq.source", false);
    let gateway = started(config, &[("routing_key", "many.{key}".into()), ("timeout", "60s".into())]);
    let backend = broker.client();
    backend.keep("many", "many", "many.*");
    let say = |client: &mut Client, topics: &[String]| {
        for topic in topics {
            client.send(&format!(r#"{{"type":"post","topic":"{topic}"}}"#));
        }
        topics.iter().map(|_| client.next_json()).collect::<Vec<_>>()
    };
    std::thread::scope(|scope| {
        let others = (0..4).map(|n| {
            let mut client = Client::connect(&gateway, &token(&format!("u{n}")));
            scope.spawn(move || {
                for first in (0..MESSAGES).step_by(AT_ONCE) {
                    let topics: Vec<_> = (first..first + AT_ONCE).map(|at| format!("good-{n}-{at}")).collect();
                    for answer in say(&mut client, &topics) {
                        assert_eq!(wire::kind(&answer), "posted", "{answer:?}");
                    }
                }
            })
        });
        let others: Vec<_> = others.collect();
        let mut eve = Client::connect(&gateway, &token("eve"));
        let mut n = 0;
        while !others.iter().all(|other| other.is_finished()) {
            // Another one each time, and long ones, of which RabbitMQ does not say which it means.
            let end = if n % 100 == 0 { "x".repeat(220) } else { String::new() };
            let topics: Vec<_> = (n..n + AT_ONCE).map(|n| format!("evil{end}{n}")).collect();
            for answer in say(&mut eve, &topics) {
                assert_eq!(wire::string(&answer, &["payload", "code"]), "service_refused", "{answer:?}");
            }
            n += AT_ONCE;
        }
    });
    let mut times: HashMap<String, usize> = HashMap::new();
    let mut order: HashMap<String, Vec<usize>> = HashMap::new();
    for message in backend.take_all("many") {
        let key = message.routing_key.to_string();
        let (who, at) = key.rsplit_once('-').expect("one of theirs");
        let times = times.entry(key.clone()).or_default();
        *times += 1;
        if *times == 1 {
            order.entry(who.to_owned()).or_default().push(at.parse().expect("a number"));
        }
    }
    assert_eq!(times.len(), 4 * MESSAGES);
    assert!(order.values().all(|heard| heard.is_sorted()), "each hears them in the order of who says them");
    let more: Vec<_> = times.iter().filter(|(_, times)| **times > 2).collect();
    assert!(more.is_empty(), "{} came more than twice: {more:?}", more.len());
}

#[test]
fn a_channel_comes_back_as_it_is_whatever_its_name() {
    let broker = shared();
    let gateway = started(config(&broker, "names"), &[]);
    let backend = broker.client();
    backend.keep("names", "names", "#");
    for clan in ["a.b", "#", "*.b", ">", "100%", "%2E", "a:b", "\"'"] {
        let mut client = in_clan(Client::connect(&gateway, &token("ana")), clan);
        let written = sonic_rs::to_string(clan).expect("a text");
        client.send(&format!(r#"{{"type":"chat","clanId":{written},"content":"hello"}}"#));
        let heard = [client.next_json(), client.next_json()];
        let back = heard.iter().find(|message| wire::kind(message) == "chat").expect("it comes back");
        assert_eq!(wire::string(back, &["clanId"]), clan);
        let [message] = backend.take_all("names").try_into().expect("one message");
        assert_eq!(message.routing_key.as_str().split('.').count(), 3, "{clan}: {}", message.routing_key);
    }
}

#[test]
fn who_must_reach_a_queue_and_does_not_is_told_and_nobody_else() {
    const MESSAGES: usize = 300;
    let broker = shared();
    let keys = [("routing_key", "of.{user_id}".into()), ("mandatory", true.into())];
    let gateway = started(config(&broker, "mandatory").set("rabbitmq.source", false), &keys);
    let backend = broker.client();
    backend.keep("mandatory", "mandatory", "of.ana");
    let (mut ana, mut bob) = (member(&gateway, "ana"), member(&gateway, "bob"));
    std::thread::scope(|scope| {
        let ana = scope.spawn(|| say(&mut ana, 0..MESSAGES));
        let bob = scope.spawn(|| say(&mut bob, 0..MESSAGES));
        let (ana, bob) = (ana.join().expect("ana"), bob.join().expect("bob"));
        assert!(ana.len() == MESSAGES && ana.values().all(|answer| answer == "message_sent"), "{ana:?}");
        assert!(bob.len() == MESSAGES && bob.values().all(|answer| answer == "service_refused"), "{bob:?}");
    });
    assert_eq!(backend.waiting("mandatory"), MESSAGES);
    assert!(!gateway.log().contains("hello"), "what clients say is in the log:\n{}", gateway.log());
}

#[test]
fn what_a_full_queue_will_not_have_is_refused_and_the_rest_is_sent() {
    const ROOM: usize = 10;
    let broker = shared();
    let gateway = started(config(&broker, "full").set("rabbitmq.source", false), &[]);
    let backend = broker.client();
    backend.keep_at_most(ROOM as i32, "full", "full", "#");
    let mut ana = member(&gateway, "ana");
    let answers = say(&mut ana, 0..100);
    let sent = answers.values().filter(|answer| *answer == "message_sent").count();
    assert!(answers.values().all(|answer| answer == "message_sent" || answer == "service_refused"), "{answers:?}");
    assert_eq!(sent, backend.waiting("full"));
    assert!((ROOM..100).contains(&sent), "{sent} were sent");
}

#[test]
fn without_it_a_message_that_no_queue_wants_is_sent() {
    let broker = shared();
    let keys = [("routing_key", "nowhere".into()), ("persistent", false.into())];
    let gateway = started(config(&broker, "nowhere").set("rabbitmq.source", false), &keys);
    let mut ana = member(&gateway, "ana");
    ana.send(CHAT);
    assert_eq!(wire::kind(&ana.next_json()), "message_sent");
}

fn waiting(gateway: &Gateway) -> f64 {
    gateway.admin().metrics().labelled("ringway_service_waiting", "service", "chat")
}

const DOCUMENT: &str = "docs/integrations/rabbitmq.md";

/// The configurations of the document, with the addresses and secrets of this broker in the place of those that stand
/// there for somebody else's.
fn documented(broker: &RabbitMq) -> Vec<Config> {
    let here = [
        ("amqp://guest:guest@127.0.0.1:5672", broker.url()),
        ("amqps://ringway@rabbit.example:5671/production", broker.tls_url()),
        ("/etc/ringway/rabbit-ca.pem", broker.certificate()),
        ("…", "guest".to_owned()),
    ];
    let texts = blocks(DOCUMENT).into_iter().filter(|block| block.info == "toml").map(|block| block.text);
    texts
        .map(|text| here.iter().fold(text, |text, (written, here)| text.replace(written, here)))
        .map(|text| Config::parse(&text).set("auth.secret", SECRET).set("server.shards", 1))
        .collect()
}

#[test]
fn what_the_document_shows_works_as_it_stands_there() {
    let broker = shared();
    let backend = broker.client();
    let documented = documented(&broker);
    assert_eq!(documented.len(), 5);
    for (at, config) in documented.into_iter().enumerate() {
        let gateway = Gateway::start(config);
        let mut ana = member(&gateway, "ana");
        let is_for_backends_alone = at == 3;
        if !is_for_backends_alone {
            backend.publish("ws", "ws.user.ana", &[], "from the source");
            assert_eq!(ana.next_text(), "from the source");
            // Whether the gateway serves the chat itself, or RabbitMQ does.
            eventually("the chat goes out", || say(&mut ana, 0..1)[&0] == "message_sent");
            continue;
        }
        const REPORT: &str = r#"{"type":"location.report","payload":{"latitude":1,"longitude":2}}"#;
        eventually("the exchange is there", || {
            ana.send(REPORT);
            wire::string(&ana.next_json(), &["payload", "code"]) == "service_refused"
        });
        backend.keep("locations", "locations", "by.ana");
        ana.send(REPORT);
        assert_ne!(wire::kind(&ana.next_json()), "error");
        assert_eq!(backend.waiting("locations"), 1);
    }
}
