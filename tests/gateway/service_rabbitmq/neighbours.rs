//! What one client sends and RabbitMQ will not or cannot have is an error for that client; others do not wait for it.

use super::*;
use crate::support::clan::AT_ONCE;

/// A gateway whose clients post to an exchange of their own, as a user who may have one limit or another.
fn posting_as(broker: &RabbitMq, user: &str, exchange: &str, keys: &[(&str, Value)]) -> Gateway {
    let config = Config::parse(POST).set("auth.secret", SECRET).set("server.shards", 1).set("limits.messages", 0);
    let url = broker.url().replace("amqp://", &format!("amqp://{user}@"));
    let config = config.set("rabbitmq.url", url).set("rabbitmq.exchange", exchange).set("rabbitmq.source", false);
    let config = config.set("limits.message_bytes", 400_000);
    started(config, &[&[("routing_key", "to.{key}".into())], keys].concat())
}

/// Two queues of an exchange: one stands still.
fn one_stands_still(broker: &RabbitMq, exchange: &str) {
    let backend = broker.client();
    backend.make_exchange(exchange);
    backend.keep(&format!("{exchange}-good"), exchange, "to.good");
    backend.keep(&format!("{exchange}-still"), exchange, "to.still");
    broker.queue_process(&format!("{exchange}-still"), "suspend");
}

fn sent(gateway: &Gateway, user: &str, topic: &str, messages: usize) -> Client {
    let mut client = Client::connect(gateway, &token(user));
    (0..messages).for_each(|_| client.send(&format!(r#"{{"type":"post","topic":"{topic}"}}"#)));
    client
}

#[test]
fn nobody_waits_for_a_message_whose_queue_stands_still() {
    const MESSAGES: usize = 50;
    let broker = shared();
    one_stands_still(&broker, "still");
    let keys = [("mandatory", true.into()), ("timeout", "2s".into())];
    let gateway = posting_as(&broker, "guest:guest", "still", &keys);
    let mut eve = sent(&gateway, "eve", "still", 1);
    let mut bob = Client::connect(&gateway, &token("bob"));
    for _ in 0..MESSAGES {
        assert_eq!(post(&mut bob, "good"), "posted");
        assert_eq!(post(&mut bob, "nowhere"), "service_refused");
    }
    assert_eq!(wire::string(&eve.next_json(), &["payload", "code"]), "service_unavailable");
    broker.queue_process("still-still", "resume");
    assert_eq!((broker.client().waiting("still-good"), broker.client().waiting("still-still")), (MESSAGES, 1));
}

#[test]
fn who_is_late_gives_the_place_back_and_a_connection_that_is_held_back_is_given_up() {
    let broker = shared();
    one_stands_still(&broker, "places");
    let gateway = posting_as(&broker, "guest:guest", "places", &[("timeout", "1s".into())]);
    // More than wait for their confirms at once, and than RabbitMQ takes for one queue.
    let many = 1 + 1024 / AT_ONCE;
    let mut many: Vec<Client> = (0..many).map(|n| sent(&gateway, &format!("eve{n}"), "still", AT_ONCE)).collect();
    let mut bob = Client::connect(&gateway, &token("bob"));
    eventually("others are served again", || post(&mut bob, "good") == "posted");
    for client in &mut many {
        (0..AT_ONCE).for_each(|_| assert_eq!(wire::kind(&client.next_json()), "error"));
    }
    assert!(gateway.log().contains("a queue may stand still"), "{}", gateway.log());
    broker.queue_process("places-still", "resume");
}

#[test]
fn who_may_have_one_connection_only_is_asked_for_permissions_over_it() {
    const MESSAGES: usize = 50;
    let broker = shared();
    broker.client().make_exchange("alone");
    broker.control(&["add_user", "alone", "pw"]);
    broker.control(&["set_permissions", "alone", ".*", ".*", ".*"]);
    broker.control(&["set_topic_permissions", "alone", "alone", "^to\\.good", ".*"]);
    broker.control(&["set_user_limits", "alone", r#"{"max-connections":1}"#]);
    broker.client().keep("alone", "alone", "#");
    let gateway = posting_as(&broker, "alone:pw", "alone", &[("timeout", "5s".into())]);
    let (mut eve, mut bob) = (Client::connect(&gateway, &token("eve")), Client::connect(&gateway, &token("bob")));
    for n in 0..MESSAGES {
        assert_eq!(post(&mut eve, &format!("evil{n}")), "service_refused");
        assert_eq!(post(&mut bob, &format!("good{n}")), "posted");
    }
    assert_eq!(broker.client().waiting("alone"), MESSAGES);
    assert!(gateway.log().contains("no second connection"), "{}", gateway.log());
}

#[test]
fn a_message_that_is_too_large_for_the_broker_is_refused_alone() {
    const MESSAGES: usize = 200;
    let broker = RabbitMq::start();
    broker.control(&["eval", "application:set_env(rabbit, max_message_size, 100000)."]);
    let backend = broker.client();
    backend.make_exchange("sizes");
    backend.keep("sizes", "sizes", "#");
    let gateway = posting_as(&broker, "guest:guest", "sizes", &[]);
    let others: Vec<_> = (0..4).map(|n| Client::connect(&gateway, &token(&format!("user{n}")))).collect();
    let mut eve = Client::connect(&gateway, &token("eve"));
    let large = format!(r#"{{"type":"post","topic":"t","more":"{}"}}"#, "x".repeat(150_000));
    std::thread::scope(|scope| {
        let others = others.into_iter().map(|mut client| {
            scope.spawn(move || (0..MESSAGES).for_each(|_| assert_eq!(post(&mut client, "t"), "posted")))
        });
        let others: Vec<_> = others.collect();
        while !others.iter().all(|other| other.is_finished()) {
            eve.send(&large);
            assert_eq!(wire::string(&eve.next_json(), &["payload", "code"]), "service_refused");
        }
    });
    assert!(gateway.log().contains("RabbitMQ takes no larger messages"), "{}", gateway.log());
    let ids = backend.take_all("sizes").into_iter().map(|message| message.properties.message_id().clone());
    assert_eq!(ids.collect::<HashSet<_>>().len(), 4 * MESSAGES);
}
