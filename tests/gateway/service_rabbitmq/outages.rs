//! A broker that is killed, stands still or is out of memory: what was confirmed is there, and nothing piles up.

use super::*;
use crate::support::clan::{AT_ONCE, next_answer, say_meanwhile, sent_of};

#[test]
fn what_was_confirmed_outlives_a_broker_that_is_killed_under_load() {
    const CLIENTS: usize = 8;
    const MESSAGES: usize = 500;
    let mut broker = RabbitMq::start();
    let gateway = started(config(&broker, "ws"), &[("timeout", "60s".into())]);
    broker.client().keep("kept", "ws", "ws.#");
    let mut clients: Vec<Client> = (0..CLIENTS).map(|n| member(&gateway, &format!("user{n}"))).collect();
    let backend = broker.client();
    let answers = say_meanwhile(&mut clients, 0..CLIENTS * MESSAGES, || {
        eventually("some are kept", || backend.waiting("kept") > MESSAGES / 2);
        broker.kill();
    });
    assert_eq!(answers.len(), CLIENTS * MESSAGES, "each has its answer");
    let sent = sent_of(&answers);
    eventually("nothing waits", || waiting(&gateway) == 0.0);

    broker.restart();
    eventually("the service is connected again", || is_connected(&gateway));
    eventually("the source is as well", || gateway.admin().get("/readyz").status == 200);
    assert_eq!(say(&mut clients[0], 9_000_000..9_000_001)[&9_000_000], "message_sent");
    let kept: HashSet<String> = broker.client().take_all("kept").iter().map(content).collect();
    let lost: Vec<_> = sent.iter().filter(|n| !kept.contains(&n.to_string())).collect();
    assert!(lost.is_empty(), "{lost:?} of {} are lost", sent.len());
    assert!(kept.contains("9000000"));
}

#[test]
fn a_broker_that_stands_still_keeps_nobody_from_anything() {
    const PINGS: usize = 500;
    const QUEUE: usize = 200;
    let broker = RabbitMq::start();
    let keys = [("timeout", "1s".into()), ("queue", (QUEUE as i64).into())];
    let mut gateway = started(config(&broker, "ws"), &keys);
    broker.client().keep("kept", "ws", "ws.#");
    let mut clients: Vec<Client> = (0..80).map(|n| member(&gateway, &format!("user{n}"))).collect();
    let mut other = Client::connect(&gateway, &token("other"));
    broker.process().signal("STOP");
    // As many as the window and the queue take, and more.
    for client in &mut clients {
        (0..AT_ONCE)
            .for_each(|n| client.send(&format!(r#"{{"type":"chat","clanId":"k1","content":"still","id":{n}}}"#)));
        other.ping();
    }
    (0..PINGS).for_each(|_| other.ping());
    let mut codes: HashMap<String, usize> = HashMap::new();
    for client in &mut clients {
        for _ in 0..AT_ONCE {
            let answer = next_answer(client);
            assert_eq!(wire::kind(&answer), "error", "{answer:?}");
            *codes.entry(wire::string(&answer, &["payload", "code"]).to_owned()).or_default() += 1;
        }
    }
    assert_eq!(codes.keys().map(String::as_str).collect::<HashSet<_>>(), ["service_unavailable", "busy"].into());
    assert!(waiting(&gateway) <= (1024 + QUEUE) as f64, "{} wait", waiting(&gateway));
    (0..PINGS).for_each(|_| other.ping());
    broker.process().signal("CONT");
    eventually("messages go out again", || say(&mut clients[0], 0..1)[&0] == "message_sent");
    eventually("nothing waits", || waiting(&gateway) == 0.0);
    assert!(gateway.process().ended().is_none());
}

#[test]
fn a_broker_that_is_low_on_memory_takes_nothing_and_nothing_piles_up() {
    let broker = RabbitMq::start();
    let gateway = started(config(&broker, "ws"), &[("timeout", "1s".into())]);
    let mut ana = member(&gateway, "ana");
    assert_eq!(say(&mut ana, 0..1)[&0], "message_sent");
    broker.control(&["set_vm_memory_high_watermark", "0.0000001"]);
    // It says so to whoever publishes.
    eventually("the service is known to be blocked", || {
        say(&mut ana, 0..1);
        gateway.admin().get("/readyz").body.contains("takes nothing for now: low on memory")
    });
    let answers = say(&mut ana, 0..500);
    assert!(answers.values().all(|answer| answer == "service_unavailable"), "{answers:?}");
    assert!(waiting(&gateway) < 50.0, "{} wait", waiting(&gateway));
    broker.control(&["set_vm_memory_high_watermark", "0.9"]);
    eventually("the service is connected again", || is_connected(&gateway));
    assert_eq!(say(&mut ana, 0..1)[&0], "message_sent");
    eventually("nothing waits", || waiting(&gateway) == 0.0);
}

#[test]
fn an_exchange_that_is_gone_is_made_again() {
    let broker = shared();
    let gateway = started(config(&broker, "gone").set("rabbitmq.source", false), &[]);
    let mut ana = member(&gateway, "ana");
    assert_eq!(say(&mut ana, 0..1)[&0], "message_sent");
    broker.client().remove_exchange("gone");
    eventually("messages go out again", || say(&mut ana, 0..1)[&0] == "message_sent");
    broker.client().keep("gone", "gone", "#");
    assert_eq!(say(&mut ana, 0..1)[&0], "message_sent");
    assert_eq!(broker.client().waiting("gone"), 1);
}
