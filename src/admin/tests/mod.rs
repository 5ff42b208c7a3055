//! The port as a client sees it, over a real socket, with shards that answer as they are told.

mod access;
mod figures;
mod health;
mod notifications;
mod publishing;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use sonic_rs::{JsonContainerTrait, JsonValueTrait, Value};

use super::*;
use crate::auth::{Origins, Verifier, VerifierSettings};
use crate::channel::presence::Settings;
use crate::channel::{Interest, Policies};
use crate::clock::now_us;
use crate::lane::report::{ChannelCount, ChannelList, ConnectionInfo, ShardLatency, TypeCount};
use crate::lane::{Addressed, Bus, Command, ConnectionId, LaneEnd, Posted, Query, Services};
use crate::metrics::{Latency, Timed};
use crate::notification::{Bounds, Notifications};
use crate::route::Routes;
use crate::ws::frame::MESSAGE_BYTES_MAX;

/// How long a message waits for room in a lane.
const PATIENCE: Duration = Duration::from_millis(20);

/// A stall that a test can wait for.
const STALLS: config::Admin = config::Admin {
    listen: SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)),
    grpc_listen: None,
    token: None,
    ready_stall: Duration::from_millis(50),
    live_stall: Duration::from_millis(500),
    connections: 256,
    head_deadline: Duration::from_secs(10),
    transfer_deadline: Duration::from_secs(10),
};

/// An admin port and what stands behind it.
struct Node {
    control: Control,
    address: SocketAddr,
    context: Context,
    interest: Arc<Interest>,
    shards: Vec<JoinHandle<()>>,
    /// What the shards were told, in order.
    told: mpsc::Receiver<Told>,
}

#[derive(Debug, PartialEq)]
enum Told {
    Publish { shard: usize, channel: String, message: Vec<u8>, filter: Option<crate::lane::Filter> },
    Send { shard: usize, to: ConnectionId, message: Vec<u8> },
    Disconnect { shard: usize, user: String, code: u16 },
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Node {
    fn start(shards: usize, token: Option<&str>) -> Node {
        Self::start_with(shards, token, serve_shard)
    }

    fn start_with(
        shards: usize,
        token: Option<&str>,
        serve: fn(usize, LaneEnd, Arc<Counters>, mpsc::Sender<Told>),
    ) -> Node {
        let interest = Arc::new(Interest::default());
        let (teller, told) = mpsc::channel();
        let counters: Arc<[_]> = (0..shards).map(|_| Arc::new(Counters::default())).collect();
        let (bus, ends) = Bus::open(shards, interest.clone(), Policies::default(), PATIENCE).expect("lanes");
        let mut threads = Vec::new();
        for (shard, end) in ends.into_iter().enumerate() {
            let (counters, teller) = (counters[shard].clone(), teller.clone());
            threads.push(thread::spawn(move || serve(shard, end, counters, teller)));
        }
        // These shards are loops that nobody looks at: as if each had just turned, for ever.
        counters.iter().for_each(|counters| counters.turned_at_us.set(i64::MAX));
        let control = Control::start().expect("a thread");
        let channels = vec!["conv:*".parse().expect("a pattern")];
        let settings = Settings { channels, list_max: 2, ..Settings::default() };
        let verifier = Arc::new(Verifier::new(&VerifierSettings::default()));
        let (verification, _) = Verification::start(&verifier, None, std::iter::empty()).expect("no thread");
        let context = Context {
            inlet: Inlet { bus, notifications: Notifications::new(Some(Bounds::new(2, 1000, 1 << 20))) },
            counters,
            server_id: "node-1".into(),
            started: Now::read(),
            presence: Arc::new(Presence::new(settings)),
            presence_updates: Arc::default(),
            sources: vec![Arc::new(SourceStatus::new("redis"))],
            issuer: None,
            verification,
            tasks: control.tasks().clone(),
            revocations: Revocations::default(),
            backends: vec![],
            decisions: None,
            events: None,
            services: Services::new(1, [("chat".into(), None)]),
            session_key: SessionKey::default(),
            public: Public {
                port: 4000,
                path: "/ws".into(),
                origins: Origins::default(),
                development_secret: None,
                routes: Routes::shipped(),
            },
            draining: Arc::default(),
        };
        let settings = config::Admin { token: token.map(Secret::new), ..STALLS };
        let listener = std::net::TcpListener::bind(settings.listen).expect("a free port");
        let address = start(&settings, listener, context.clone(), &control).expect("a socket");
        Node { control, address, context, interest, shards: threads, told }
    }

    fn subscribe(&self, shard: usize, channel: &str) {
        self.interest.add(self.interest.hash(channel), shard);
    }

    fn get(&self, path: &str) -> Answer {
        self.request("GET", path, &[], b"")
    }

    fn post(&self, path: &str, body: &[u8]) -> Answer {
        self.request("POST", path, &[], body)
    }

    fn request(&self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Answer {
        request(self.address, method, path, headers, body)
    }

    fn told(&self, count: usize) -> Vec<Told> {
        let mut told: Vec<_> = (0..count).map(|_| self.told.recv().expect("the shards run")).collect();
        told.sort_by_key(|told| match told {
            Told::Publish { shard, .. } | Told::Send { shard, .. } | Told::Disconnect { shard, .. } => *shard,
        });
        assert!(self.told.try_recv().is_err(), "told too much");
        told
    }

    fn stop(self) {
        assert!(self.control.stop());
        drop((self.control, self.context));
        for shard in self.shards {
            shard.join().expect("a shard that ends");
        }
    }
}

fn request(address: SocketAddr, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).expect("the port is open");
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n",
        address,
        body.len()
    );
    stream.write_all(head.as_bytes()).expect("writable");
    // A body that is refused for its size is not read to its end.
    let _ = stream.write_all(body);
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a whole answer");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    Answer { status, head: head.to_lowercase(), body: body.to_owned() }
}

impl Answer {
    fn json(&self) -> Value {
        assert!(self.head.contains("content-type: application/json"), "{}", self.head);
        sonic_rs::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The code of an error, with its status.
    fn error(&self) -> (u16, String) {
        let json = self.json();
        assert!(json["error"]["message"].as_str().is_some_and(|message| !message.is_empty()), "{}", self.body);
        (self.status, json["error"]["code"].as_str().expect("a code").to_owned())
    }
}

/// Shard n says that a message reached n + 1 connections, which took 100 µs each and one turn of 7 µs; it has one
/// connection of user `u{n}`, and two channels.
fn serve_shard(shard: usize, end: LaneEnd, counters: Arc<Counters>, teller: mpsc::Sender<Told>) {
    counters.connections.set(shard as i64 + 1);
    counters.users.set(1);
    counters.upgraded.add(10);
    counters.closed.count("too_slow");
    let mut latency = Latency::default();
    while let Some(Posted { command, .. }) = end.wait_and_take() {
        match command {
            Command::Publish(publication) => {
                let frame = &publication.frame.bytes;
                let header = if frame[1] < 126 { 2 } else { 4 };
                let _ = teller.send(Told::Publish {
                    shard,
                    channel: publication.channel.name.to_string(),
                    message: frame[header..].to_vec(),
                    filter: publication.filter.as_deref().cloned(),
                });
                latency.record_n(Timed::Delivery, 100, shard as u64 + 1);
                latency.record(Timed::LoopTurn, 7);
                publication.answer.inspect(|answer| answer(shard + 1));
            }
            Command::Send(Addressed { to, frame, answer }) => {
                let _ = teller.send(Told::Send { shard, to, message: frame.bytes[2..].to_vec() });
                answer.inspect(|answer| answer(usize::from(to.generation == 7)));
            }
            Command::Disconnect { user, code, answer } => {
                let _ = teller.send(Told::Disconnect { shard, user: user.into(), code: code.0 });
                answer(1);
            }
            Command::Ask(Query::Connections { limit, user, answer }) => {
                let own = format!("u{shard}");
                let asked = user.is_none_or(|user| *user == *own);
                answer((0..usize::from(asked)).take(limit).map(|slot| connection(shard, slot, &own)).collect());
            }
            Command::Ask(Query::Channels { prefix, answer, .. }) => {
                let all = [("conv:1".to_owned(), 2), (format!("user:u{shard}"), 1)];
                let asked = all.into_iter().filter(|(name, _)| name.starts_with(&*prefix));
                let largest: Vec<_> =
                    asked.map(|(name, subscribers)| ChannelCount { name: name.into(), subscribers }).collect();
                answer(ChannelList { total: largest.len(), largest });
            }
            Command::Ask(Query::Kinds { answer }) => answer(vec![2, 0, 0, 1, 0, 0, 0]),
            Command::Ask(Query::Latency { answer }) => {
                answer(ShardLatency { shard, latency: latency.clone() });
            }
            Command::Ask(Query::Types { answer }) => answer(vec![
                TypeCount { user_type: "driver".into(), sessions: 2 },
                TypeCount { user_type: "driver".into(), sessions: 1 },
            ]),
            Command::Respond(_) | Command::Permit(_) => unreachable!("the admin port is no service"),
            Command::Drain { .. } => return,
        }
    }
}

/// Takes commands and never says anything.
fn serve_nothing(_: usize, end: LaneEnd, _: Arc<Counters>, _: mpsc::Sender<Told>) {
    let mut unanswered: Vec<Command> = Vec::new();
    while let Some(Posted { command, .. }) = end.wait_and_take() {
        unanswered.push(command);
    }
}

/// Shard 0 answers, the others are there but take nothing.
fn serve_first_and_forget_the_others(shard: usize, end: LaneEnd, counters: Arc<Counters>, teller: mpsc::Sender<Told>) {
    if shard == 0 { serve_shard(shard, end, counters, teller) } else { std::mem::forget(end) }
}

fn connection(shard: usize, slot: usize, user: &str) -> ConnectionInfo {
    ConnectionInfo {
        shard,
        slot: slot as u32,
        session_id: format!("session-{shard}-{slot}"),
        user_id: Some(user.into()),
        user_type: None,
        platform: None,
        device_id: None,
        connected_at: 1,
        expires_at: Some(2),
        channels: vec![format!("user:{user}")],
        outbox_bytes: 0,
    }
}

/// The gauges are set by the shards' threads, before they answer their first question.
fn settled(node: &Node) {
    assert_eq!(node.get("/stats").status, 200);
}

/// The answers to one question, again and again for some time.
fn asked(node: &Node, path: &str) -> impl Iterator<Item = Answer> {
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    std::iter::repeat_with(move || node.get(path)).take_while(move |_| std::time::Instant::now() < deadline)
}

/// Reads a page as the OpenMetrics specification has it: a family is described once, its samples follow and bear its
/// name with the suffix of its type, no sample comes twice, and the page has an end.
fn parse_metrics(page: &str) -> std::collections::HashMap<String, f64> {
    let mut samples = std::collections::HashMap::new();
    let mut families = std::collections::HashSet::new();
    let (mut family, mut helped) = (("", ""), "");
    let page = page.strip_suffix("# EOF\n").expect("the page has an end");
    for line in page.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, text) = help.split_once(' ').expect("a help text");
            assert!(!text.is_empty() && families.insert(name), "{line}");
            helped = name;
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            family = kind.split_once(' ').expect("a type");
            assert!(family.0 == helped && ["counter", "gauge", "histogram", "info"].contains(&family.1), "{line}");
        } else {
            let (sample, value) = line.rsplit_once(' ').expect("a value");
            let (name, labels) = sample.split_once('{').map_or((sample, "}"), |(name, labels)| (name, labels));
            let suffixes: &[&str] = match family.1 {
                "counter" => &["_total"],
                "info" => &["_info"],
                "histogram" => &["_bucket", "_sum", "_count"],
                _ => &[""],
            };
            assert!(suffixes.iter().any(|suffix| name.strip_suffix(suffix) == Some(family.0)), "{line}");
            assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'), "{line}");
            let labels = labels.strip_suffix('}').expect("closed labels");
            for label in labels.split(',').filter(|label| !label.is_empty()) {
                let (_, value) = label.split_once('=').expect("a label");
                assert!(value.len() >= 2 && value.starts_with('"') && value.ends_with('"'), "{line}");
            }
            let value: f64 = value.parse().expect("a number");
            assert!(samples.insert(sample.to_owned(), value).is_none(), "twice: {line}");
        }
    }
    samples
}
