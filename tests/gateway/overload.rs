//! Promise: whatever clients send, and however much, a shard goes on serving everybody
//! else, and its memory stays bounded.

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::support::client::{Client, Event};
use crate::support::config::Config;
use crate::support::gateway::Gateway;
use crate::support::prometheus::{CLOSED, OUTBOX_BYTES, TURNS};
use crate::support::raw::{CONTINUATION, PING, Raw, TEXT, fragment, frame};
use crate::support::tokens::token;
use crate::support::wait::eventually;
use crate::support::wire::{CLOSE_GOING_AWAY, CLOSE_TOO_MANY_MESSAGES};

/// Connections that write `bytes` over and over and drop what they read, until they are stopped or closed.
struct Flood {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Flood {
    fn start(gateway: &Gateway, connections: usize, bytes: &[u8]) -> Flood {
        let stop = Arc::<AtomicBool>::default();
        let raws: Vec<Raw> = (0..connections).map(|n| Raw::connect(gateway, "/ws", &token(&format!("f{n}")))).collect();
        let mut threads = Vec::new();
        let mut raws = raws.into_iter().peekable();
        while raws.peek().is_some() {
            let (mut share, stop, bytes): (Vec<_>, _, _) =
                (raws.by_ref().take(100).collect(), stop.clone(), bytes.to_vec());
            threads.push(std::thread::spawn(move || {
                share.iter().for_each(|raw| raw.stream.set_nonblocking(true).expect("a TCP socket"));
                // It ends by itself, whatever becomes of the test.
                let until = Instant::now() + Duration::from_secs(120);
                while !stop.load(Ordering::Relaxed) && !share.is_empty() && Instant::now() < until {
                    share.retain_mut(|raw| {
                        goes_on(raw.stream.write(&bytes)) && goes_on(raw.stream.read(&mut [0; 65536]))
                    });
                }
            }));
        }
        Flood { stop, threads }
    }

    fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().expect("a flood does not panic"));
    }
}

fn goes_on(result: std::io::Result<usize>) -> bool {
    match result {
        Ok(bytes) => bytes > 0,
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}

#[test]
fn a_flood_of_pings_keeps_nobody_from_anything() {
    let config = Config::new().set("server.shards", 1).set("limits.frames", 0).set("server.drain", "1s");
    let mut gateway = Gateway::start(config);
    let mut bystander = Client::connect(&gateway, &token("bystander"));
    // Empty pings, of which some 700 fill a receive buffer.
    let flood = Flood::start(&gateway, 450, &frame(PING, b"").repeat(2000));
    let turns = || gateway.admin().metrics().sum(TURNS);
    for round in 0..5 {
        let before = turns();
        bystander.subscribe(&["conv:c1"]);
        assert_eq!(gateway.admin().broadcast("/broadcast/channel/conv:c1", &round.to_string()), 1);
        assert_eq!(bystander.next_text(), round.to_string());
        bystander.ping();
        Client::connect(&gateway, &token("newcomer")).ping();
        assert_eq!((gateway.admin().get("/readyz").status, gateway.admin().get("/livez").status), (200, 200));
        assert!(turns() > before, "the loop turns");
    }
    gateway.process().signal("TERM");
    assert_eq!(bystander.expect_close(), CLOSE_GOING_AWAY);
    assert_eq!(gateway.process().wait().code(), Some(0), "{}", gateway.log());
    flood.end();
}

#[test]
fn empty_continuations_end_the_connection() {
    let gateway = Gateway::start(Config::new());
    let mut bystander = Client::connect(&gateway, &token("bystander"));
    let mut raw = Raw::connect(&gateway, "/ws", &token("loud"));
    raw.write(&fragment(TEXT, b""));
    // One more than the thousand that a window allows, the first one counted too.
    raw.write(&fragment(CONTINUATION, b"").repeat(1000));
    assert_eq!(raw.expect_close(), CLOSE_TOO_MANY_MESSAGES);
    assert_eq!(gateway.admin().metrics().labelled(CLOSED, "code", "too_many_messages"), 1.0);
    bystander.ping();
}

#[test]
fn pings_that_are_never_read_cost_next_to_nothing() {
    const CLIENTS: usize = 100;
    const PINGS: usize = 5_000;
    let gateway = Gateway::start(Config::new().set("limits.frames", 0));
    let mut silent: Vec<Raw> = (0..CLIENTS).map(|n| Raw::connect(&gateway, "/ws", &token(&format!("s{n}")))).collect();
    let pings = frame(PING, b"").repeat(PINGS);
    silent.iter_mut().for_each(|raw| raw.write(&pings));
    let mut bystander = Client::connect(&gateway, &token("bystander"));
    let received = || gateway.admin().metrics().sum("ringway_control_frames_received_total");
    eventually("all pings have come", || received() >= (CLIENTS * PINGS) as f64);
    bystander.ping();
    let waiting = gateway.admin().metrics().sum(OUTBOX_BYTES);
    assert!(waiting <= (CLIENTS * 256) as f64, "{waiting} bytes wait for {CLIENTS} clients");
}

/// Longer than the silence that ends a connection, below.
const PAST_SILENCE: Duration = Duration::from_secs(5);

#[test]
fn a_gateway_that_was_stopped_closes_nobody_who_answers() {
    let config = Config::new().set("heartbeat.interval", "1s").set("heartbeat.idle_timeout", "4s");
    let mut gateway = Gateway::start(config);
    let mut clients: Vec<Client> = (0..20).map(|n| Client::connect(&gateway, &token(&format!("c{n}")))).collect();
    gateway.process().signal("STOP");
    let stopped = Instant::now();
    eventually("it has stood still for longer than silence may last", || stopped.elapsed() > PAST_SILENCE);
    gateway.process().signal("CONT");
    // Each goes on answering for longer than it would take to be closed.
    let woken = Instant::now();
    clients.iter_mut().for_each(Client::set_nonblocking);
    eventually("nobody is closed", || {
        for client in &mut clients {
            match client.poll() {
                None | Some(Event::Ping | Event::Pong) => {}
                Some(other) => panic!("{other:?}"),
            }
        }
        woken.elapsed() > PAST_SILENCE
    });
    assert_eq!(gateway.admin().active(), 20);
}
