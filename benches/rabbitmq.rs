//! Messages through RabbitMQ: from a queue to one subscriber and to a thousand, and from clients through a route whose
//! service waits for RabbitMQ's confirms: `cargo bench --profile quick --bench rabbitmq`. It needs `ulimit -n 20000`.
//!
//! Broker, gateway and clients share the machine, so the rate is that of all three; what the gateway itself costs is its
//! CPU time, its client of RabbitMQ included.

#[path = "../tests/support/mod.rs"]
#[allow(dead_code, reason = "the tests need more of it")]
mod support;

use std::io::{ErrorKind, Read};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use toml::Value;

use support::config::Config;
use support::gateway::Gateway;
use support::rabbitmq::RabbitMq;
use support::raw::{Raw, TEXT, frame};
use support::tokens::token;
use support::wait::eventually;

/// Of every message from the broker.
const PAYLOAD_BYTES: usize = 64;

/// A frame of the gateway's with so few bytes has a header of two.
const FRAME_HEADER_BYTES: usize = 2;

/// What each client says before it waits for the answers.
const AT_ONCE: usize = 25;

const REPORT: &str = r#"{"type":"location.report","payload":{"latitude":48.2082,"longitude":16.3738}}"#;
const ACCEPTED: &str = r#"{"type":"location.accepted"}"#;

/// Nothing comes to clients but what is measured.
fn config(broker: &RabbitMq) -> Config {
    let quiet = Config::new().set("heartbeat.interval", "1h").set("heartbeat.idle_timeout", "2h");
    quiet.set("rabbitmq.url", broker.url()).set("limits.outbox_bytes", 64 << 20)
}

fn main() {
    let broker = RabbitMq::start();
    println!("what | messages/s | gateway CPU µs per message");
    for _ in 0..3 {
        from_the_source(&broker, 1, 100_000);
        from_the_source(&broker, 1000, 4_000);
        through_a_service(&broker, "to no queue", 60);
        broker.client().keep("kept", "bench", "#");
        through_a_service(&broker, "to a durable queue", 60);
        broker.client().remove_queue("kept");
    }
    println!("answers to pings while | p50 | p99 | highest, µs");
    (0..3).for_each(|_| while_it_stands_still(&broker));
}

/// A queue that has filled up is delivered.
fn from_the_source(broker: &RabbitMq, subscribers: usize, messages: usize) {
    let mut gateway = Gateway::start(config(broker).set("rabbitmq.queue", "bench"));
    let mut clients: Vec<Raw> = (0..subscribers).map(|n| subscriber(&gateway, n)).collect();
    gateway.process().signal("STOP");
    let payloads = std::iter::repeat_n("x".repeat(PAYLOAD_BYTES), messages);
    broker.client().publish_all("ws", "ws.conv.c1", payloads);
    let measured = Measured::start(&mut gateway);
    gateway.process().signal("CONT");
    read_from_all(&mut clients, messages * (FRAME_HEADER_BYTES + PAYLOAD_BYTES));
    measured.print(&mut gateway, &format!("from a queue to {subscribers}"), messages);
    broker.client().remove_queue("bench");
}

/// Clients say something, each as much as may wait, and wait for all answers.
fn through_a_service(broker: &RabbitMq, what: &str, rounds: usize) {
    const CLIENTS: usize = 64;
    let mut gateway = Gateway::start(with_service(broker));
    eventually("the service is connected", || {
        gateway.admin().get("/metrics").body.contains("ringway_service_connected{service=\"location\"} 1")
    });
    let mut clients: Vec<Raw> = (0..CLIENTS).map(|n| Raw::connect(&gateway, "/ws", &token(&format!("u{n}")))).collect();
    clients.iter().for_each(|client| client.stream.set_nonblocking(true).expect("a TCP socket"));
    let said = frame(TEXT, REPORT.as_bytes()).repeat(AT_ONCE);
    let measured = Measured::start(&mut gateway);
    for _ in 0..rounds {
        clients.iter_mut().for_each(|client| client.write(&said));
        read_from_all(&mut clients, AT_ONCE * (FRAME_HEADER_BYTES + ACCEPTED.len()));
    }
    measured.print(&mut gateway, &format!("from {CLIENTS} clients {what}"), rounds * CLIENTS * AT_ONCE);
}

/// What others wait for their pongs while clients call the service, with a broker that answers and with one that does not.
fn while_it_stands_still(broker: &RabbitMq) {
    const PINGS: usize = 5_000;
    let gateway = Gateway::start(with_service(broker));
    let (mut pinger, is_over) = (Raw::connect(&gateway, "/ws", &token("pinger")), AtomicBool::new(false));
    let ping = frame(TEXT, br#"{"type":"ping"}"#);
    std::thread::scope(|scope| {
        for n in 0..16 {
            let mut client = Raw::connect(&gateway, "/ws", &token(&format!("u{n}")));
            let is_over = &is_over;
            scope.spawn(move || {
                while !is_over.load(Relaxed) {
                    client.write(&frame(TEXT, REPORT.as_bytes()).repeat(AT_ONCE));
                    (0..AT_ONCE).for_each(|_| drop(client.next_text()));
                }
            });
        }
        for (what, signal) in [("RabbitMQ answers", "CONT"), ("it stands still", "STOP")] {
            broker.process().signal(signal);
            let mut waited = Histogram::<u64>::new(3).expect("three digits");
            for _ in 0..PINGS {
                let began = Instant::now();
                pinger.write(&ping);
                assert!(pinger.next_text().contains("pong"));
                waited.record(began.elapsed().as_micros() as u64).expect("it fits");
            }
            let [p50, p99] = [0.5, 0.99].map(|quantile| waited.value_at_quantile(quantile));
            println!("{what} | {p50} | {p99} | {}", waited.max());
        }
        broker.process().signal("CONT");
        is_over.store(true, Relaxed);
    });
}

/// A gateway with the service behind reports of locations, and nothing from the broker.
fn with_service(broker: &RabbitMq) -> Config {
    let keys = [("name", "location"), ("kind", "rabbitmq"), ("exchange", "bench"), ("routing_key", "of.{user_id}")];
    let keys = keys.map(|(key, text)| (key, Value::from(text)));
    config(broker).set("rabbitmq.source", false).service(&keys)
}

fn subscriber(gateway: &Gateway, n: usize) -> Raw {
    let mut client = Raw::connect(gateway, "/ws", &token(&format!("u{n}")));
    client.write(&frame(TEXT, br#"{"type":"subscribe","payload":{"channels":["conv:c1"]}}"#));
    assert!(client.next_text().contains(r#""subscribed""#));
    client.stream.set_nonblocking(true).expect("a TCP socket");
    client
}

/// Until each has had so many bytes.
fn read_from_all(clients: &mut [Raw], bytes: usize) {
    const PATIENCE: Duration = Duration::from_secs(300);
    let (began, mut buffer) = (Instant::now(), vec![0; 1 << 20]);
    let mut left = vec![bytes; clients.len()];
    while left.iter().any(|left| *left > 0) {
        for (client, left) in clients.iter_mut().zip(&mut left).filter(|(_, left)| **left > 0) {
            match client.stream.read(&mut buffer) {
                Ok(read) if (1..=*left).contains(&read) => *left -= read,
                Ok(read) => panic!("{read} bytes came, and {left} are to come"),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => panic!("{error}"),
            }
        }
        assert!(began.elapsed() < PATIENCE, "{left:?} bytes are missing");
    }
}

/// Time and CPU from here on.
struct Measured {
    began: Instant,
    cpu: Duration,
}

impl Measured {
    fn start(gateway: &mut Gateway) -> Measured {
        Measured { cpu: cpu_time(gateway), began: Instant::now() }
    }

    fn print(self, gateway: &mut Gateway, what: &str, messages: usize) {
        let (time, cpu) = (self.began.elapsed(), cpu_time(gateway) - self.cpu);
        let rate = messages as f64 / time.as_secs_f64();
        println!("{what} | {rate:.0} | {:.1}", cpu.as_secs_f64() * 1e6 / messages as f64);
    }
}

/// User and system time of the gateway so far, in steps of 10 ms.
fn cpu_time(gateway: &mut Gateway) -> Duration {
    let path = format!("/proc/{}/stat", gateway.process().pid());
    let text = std::fs::read_to_string(path).expect("it is alive");
    // Behind the name, which stands in brackets: fields 14 and 15 of the whole.
    let fields = text.rsplit(')').next().expect("a last part").split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number")).sum();
    Duration::from_millis(ticks * 10)
}
