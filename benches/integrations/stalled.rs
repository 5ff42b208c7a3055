//! What clients notice of a RabbitMQ that stands still: messages are delivered at a steady rate while others go on
//! saying what is forwarded to it, at a steady rate too, whether they are answered or not. It is stopped and goes on by
//! turns.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use toml::Value;

use crate::clients::Clients;
use crate::quiet;
use crate::support::gateway::Gateway;
use crate::support::rabbitmq::RabbitMq;
use crate::support::raw::{TEXT, frame};
use crate::support::redis::Redis;
use crate::support::wait::eventually;

const PHASES: usize = 8;
const PHASE: Duration = Duration::from_secs(5);

/// Each message goes to one channel, and is brought to all of its subscribers.
const CHANNELS: usize = 10;
const SUBSCRIBERS: usize = 200;
const EVERY: Duration = Duration::from_millis(2);

const SPEAKERS: usize = 16;
const SPEAK_EVERY: Duration = Duration::from_millis(20);

const ROUTE: &str = "[[routes]]\ntype = 'say'\naction = 'forward'\nservice = 'desk'\nreply = '{\"type\":\"said\"}'\n";

/// What came in one phase.
struct Phase {
    delivery_us: Histogram<u64>,
    said: usize,
    answered: usize,
    refused: usize,
}

pub fn run() {
    let (broker, mut redis) = (RabbitMq::start(), Redis::start());
    let gateway = gateway(&broker, &redis);
    let channels: Vec<String> = (0..CHANNELS).map(|n| format!("conv:c{n}")).collect();
    let (mut subscribers, mut speakers) =
        (Clients::subscribe(&gateway, SUBSCRIBERS, &channels), Clients::connect(&gateway, SPEAKERS));
    let mut phases = Vec::new();
    for n in 0..PHASES {
        broker.process().signal(if is_stopped(n) { "STOP" } else { "CONT" });
        phases.push(phase(&mut redis, &mut subscribers, &mut speakers));
    }
    broker.process().signal("CONT");
    print(&phases);
}

fn is_stopped(phase: usize) -> bool {
    phase % 2 == 1
}

fn gateway(broker: &RabbitMq, redis: &Redis) -> Gateway {
    let texts = [
        ("name", "desk"),
        ("kind", "rabbitmq"),
        ("exchange", "bench"),
        ("routing_key", "of.{user_id}"),
        ("timeout", "500ms"),
    ];
    let config = quiet().with(ROUTE).set("redis.url", redis.url());
    let config = config.set("rabbitmq.url", broker.url()).set("rabbitmq.source", false);
    let gateway = Gateway::start(config.service(&texts.map(|(key, text)| (key, Value::from(text)))));
    eventually("the service is connected", || {
        gateway.admin().get("/metrics").body.contains("ringway_service_connected{service=\"desk\"} 1")
    });
    gateway
}

/// Ends when all that was published has come.
fn phase(redis: &mut Redis, subscribers: &mut Clients, speakers: &mut Clients) -> Phase {
    let (began, is_over) = (Instant::now(), AtomicBool::new(false));
    let mut delivery_us = Histogram::new(3).expect("three digits");
    let messages = (PHASE.as_micros() / EVERY.as_micros()) as usize;
    let (said, answered, refused) = thread::scope(|scope| {
        let speaking = scope.spawn(|| speak(speakers, &is_over));
        scope.spawn(|| {
            for n in 0..messages {
                thread::sleep((began + EVERY * n as u32).saturating_duration_since(Instant::now()));
                redis.publish(&format!("ws:conv:c{}", n % CHANNELS), began.elapsed().as_micros().to_string());
            }
        });
        let mut left = messages * SUBSCRIBERS / CHANNELS;
        while left > 0 {
            subscribers.hear(|_, payload| {
                let now_us = began.elapsed().as_micros() as u64;
                let published_us: u64 =
                    std::str::from_utf8(payload).ok().and_then(|us| us.parse().ok()).expect("a time");
                delivery_us.record(now_us.saturating_sub(published_us)).expect("it grows");
                left -= 1;
            });
        }
        is_over.store(true, Relaxed);
        speaking.join().expect("no panic")
    });
    Phase { delivery_us, said, answered, refused }
}

/// What was said, taken, and refused.
fn speak(speakers: &mut Clients, is_over: &AtomicBool) -> (usize, usize, usize) {
    let say = frame(TEXT, br#"{"type":"say","text":"sixty-four bytes, as what comes from sources has them"}"#);
    let (mut said, mut answered, mut refused) = (0, 0, 0);
    let mut next = Instant::now();
    while !is_over.load(Relaxed) {
        if Instant::now() >= next {
            next += SPEAK_EVERY;
            speakers.list.iter_mut().for_each(|client| client.write(&say));
            said += SPEAKERS;
        }
        speakers.hear_within(next.saturating_duration_since(Instant::now()), |_, payload| {
            if payload.starts_with(br#"{"type":"said""#) { answered += 1 } else { refused += 1 }
        });
    }
    (said, answered, refused)
}

fn print(phases: &[Phase]) {
    println!("| RabbitMQ | deliveries | p50, µs | p99, µs | said | taken | refused |\n|{}", " --- |".repeat(7));
    for (n, Phase { delivery_us, said, answered, refused }) in phases.iter().enumerate() {
        let state = if is_stopped(n) { "stopped" } else { "answers" };
        let [p50, p99] = [0.5, 0.99].map(|quantile| delivery_us.value_at_quantile(quantile));
        println!("| {state} | {} | {p50} | {p99} | {said} | {answered} | {refused} |", delivery_us.len());
    }
    for quantile in [0.5, 0.99] {
        let median = |stopped: bool| {
            let of_state = phases.iter().enumerate().filter(|(n, _)| is_stopped(*n) == stopped);
            let mut values: Vec<u64> =
                of_state.map(|(_, phase)| phase.delivery_us.value_at_quantile(quantile)).collect();
            values.sort_unstable();
            (values[(values.len() - 1) / 2] + values[values.len() / 2]) as f64 / 2.0
        };
        println!("\nThe median p{}, stopped beside answering: {:.2} ×", quantile * 100.0, median(true) / median(false));
    }
}
