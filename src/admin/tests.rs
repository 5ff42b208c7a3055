//! The port as a client sees it, over a real socket, with shards that answer as they are told.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use sonic_rs::{JsonContainerTrait, JsonValueTrait, Value};

use super::*;
use crate::channel::{Interest, Policies};
use crate::clock::now_us;
use crate::lane::report::{ChannelCount, ChannelList, ConnectionInfo, ShardLatency, TypeCount};
use crate::lane::{Addressed, Command, ConnectionId, LaneEnd, Posted, Query};
use crate::metrics::{Latency, Timed};
use crate::ws::frame::MESSAGE_BYTES_MAX;

/// How long a message waits for room in a lane.
const PATIENCE: Duration = Duration::from_millis(20);

/// A stall that a test can wait for.
const STALLS: config::Admin = config::Admin {
    listen: SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)),
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

#[derive(Debug, PartialEq, Eq)]
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
        let context = Context {
            bus,
            counters,
            server_id: "node-1".into(),
            started: Now::read(),
            sources: vec![Arc::new(SourceStatus::new("redis"))],
            tasks: control.tasks().clone(),
            revocations: Revocations::default(),
            session_key: SessionKey::default(),
            draining: Arc::default(),
        };
        let settings = config::Admin { token: token.map(Secret::new), ..STALLS };
        let address = start(&settings, context.clone(), &control).expect("a free port");
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
        let mut stream = TcpStream::connect(self.address).expect("the port is open");
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n",
            self.address,
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

impl Answer {
    fn json(&self) -> Value {
        assert!(self.head.contains("content-type: application/json"), "{}", self.head);
        sonic_rs::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// The code of an error, with its status.
    fn refusal(&self) -> (u16, String) {
        let json = self.json();
        assert!(json["error"]["message"].as_str().is_some_and(|message| !message.is_empty()), "{}", self.body);
        (self.status, json["error"]["code"].as_str().expect("a code").to_owned())
    }
}

/// Shard n says that a message reached n + 1 connections, has one connection of user `u{n}`, and two channels. Before
/// it says what it has timed it times n + 1 deliveries of 100 µs and one turn of 7 µs more.
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
                latency.record_n(Timed::Delivery, 100, shard as u64 + 1);
                latency.record(Timed::LoopTurn, 7);
                answer(ShardLatency { shard, latency: latency.clone() });
            }
            Command::Ask(Query::Types { answer }) => answer(vec![
                TypeCount { user_type: "driver".into(), sessions: 2 },
                TypeCount { user_type: "driver".into(), sessions: 1 },
            ]),
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

#[test]
fn health_counts_open_connections() {
    let node = Node::start(2, None);
    settled(&node);
    assert_eq!(node.get("/health").body, r#"{"status":"ok","connections":3}"#);
    let json = node.get("/health/websocket").json();
    assert_eq!(json["totalConnections"].as_u64(), Some(20));
    assert_eq!(json["activeConnections"].as_u64(), Some(3));
    assert_eq!(json["connectedUsers"].as_u64(), Some(2));
    assert_eq!(json["subscriptions"]["conversations"].as_u64(), Some(4));
    assert_eq!(json["subscriptions"]["users"].as_u64(), Some(2));
    assert_eq!(json["subscriptions"]["other"].as_u64(), Some(0));
    node.stop();
}

#[test]
fn stats_are_summed_over_the_shards() {
    let node = Node::start(3, None);
    settled(&node);
    let json = node.get("/stats").json();
    assert_eq!(json["serverId"].as_str(), Some("node-1"));
    assert_eq!(json["totalConnections"].as_u64(), Some(6));
    assert_eq!(json["uniqueUsers"].as_u64(), Some(3));
    assert_eq!(json["byUserType"]["driver"].as_u64(), Some(9));
    assert!(json["uptime"].is_u64());
    node.stop();
}

#[test]
fn a_node_is_ready_when_its_sources_are_connected_and_until_it_drains() {
    let node = Node::start(1, None);
    let unready = node.get("/readyz");
    assert_eq!(unready.status, 503);
    assert_eq!(unready.json()["ready"].as_bool(), Some(false));
    assert_eq!(unready.json()["reasons"][0].as_str(), Some("redis is not connected"));
    assert_eq!(unready.json()["sources"][0]["state"].as_str(), Some("connecting"));

    node.context.sources[0].connected();
    let ready = node.get("/readyz");
    assert_eq!((ready.status, ready.json()["ready"].as_bool()), (200, Some(true)));
    assert_eq!(ready.json()["sources"][0]["state"].as_str(), Some("connected"));

    node.context.draining.store(true, Relaxed);
    let draining = node.get("/readyz");
    assert_eq!((draining.status, draining.json()["reasons"][0].as_str()), (503, Some("draining")));
    assert_eq!(node.get("/livez").status, 200);
    node.stop();
}

#[test]
fn a_control_task_that_has_failed_is_told_by_readyz_and_counted() {
    let node = Node::start(1, None);
    node.context.sources[0].connected();
    assert_eq!(node.get("/readyz").status, 200);
    node.control.run("clumsy", async |_| panic!("as a test has it"));
    let unready = asked(&node, "/readyz").find(|answer| answer.status == 503).expect("in time");
    assert_eq!(unready.json()["reasons"][0].as_str(), Some("the control task clumsy has failed"));
    let samples = parse_metrics(&node.get("/metrics").body);
    assert_eq!(samples[r#"ringway_control_failures_total{task="clumsy"}"#], 1.0);
    assert_eq!(samples[r#"ringway_control_failures_total{task="admin"}"#], 0.0);
    assert_eq!(node.get("/livez").status, 200);
    node.stop();
}

#[test]
fn a_message_is_delivered_byte_for_byte_to_the_shards_that_have_subscribers() {
    let node = Node::start(3, None);
    node.subscribe(1, "user:42");
    let message = "{ \"type\":\"größe\",\n \"not\": json".as_bytes();
    let answer = node.post("/broadcast/user/42", message);
    assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"delivered":2}"#));
    let told = Told::Publish { shard: 1, channel: "user:42".into(), message: message.into(), filter: None };
    assert_eq!(node.told(1), [told]);

    assert_eq!(node.post("/broadcast/user/43", message).body, r#"{"delivered":0}"#);
    assert_eq!(node.post("/broadcast/all", message).body, r#"{"delivered":6}"#);
    assert_eq!(node.told(3).len(), 3);
    node.stop();
}

#[test]
fn a_message_to_a_session_goes_to_its_shard_and_no_other() {
    let node = Node::start(2, None);
    let send = |to: ConnectionId, query: &str| {
        let session = node.context.session_key.session(to);
        node.post(&format!("/send/session/{session}{query}"), "größe".as_bytes())
    };
    for (generation, delivered) in [(7, r#"{"delivered":1}"#), (8, r#"{"delivered":0}"#)] {
        let to = ConnectionId { shard: 1, slot: 70_000, generation };
        let answer = send(to, "");
        assert_eq!((answer.status, answer.body.as_str()), (200, delivered));
        assert_eq!(node.told(1), [Told::Send { shard: 1, to, message: "größe".into() }]);
    }
    let elsewhere = ConnectionId { shard: 2, slot: 0, generation: 7 };
    assert_eq!(send(elsewhere, "").body, r#"{"delivered":0}"#, "a shard that is not there");
    assert_eq!(send(ConnectionId { shard: 1, ..elsewhere }, "?userType=driver").refusal(), (400, "bad_query".into()));
    for id in ["6a9c41d2-07be-8001-8000-00a100000007", "x", "%20"] {
        let answer = node.post(&format!("/send/session/{id}"), b"x");
        assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"delivered":0}"#), "{id}");
    }
    assert_eq!(node.post("/send/session/x", b"").refusal(), (400, "body_empty".into()));
    assert_eq!(node.told(0), []);
    node.stop();
}

#[test]
fn names_in_paths_are_percent_decoded_and_may_hold_slashes() {
    let node = Node::start(1, None);
    for (path, channel) in [
        ("/broadcast/channel/conv:c1", "conv:c1"),
        ("/broadcast/channel/conv%3Ac1", "conv:c1"),
        ("/broadcast/channel/room:a/b", "room:a/b"),
        ("/broadcast/channel/room%3Aa%2Fb", "room:a/b"),
        ("/broadcast/channel/conv:Z%C3%BCrich", "conv:Zürich"),
        ("/broadcast/user/auth0%7C1%2F2", "user:auth0|1/2"),
    ] {
        node.subscribe(0, channel);
        assert_eq!(node.post(path, b"x").body, r#"{"delivered":1}"#, "{path}");
        let told = Told::Publish { shard: 0, channel: channel.into(), message: b"x".into(), filter: None };
        assert_eq!(node.told(1), [told]);
    }
    assert_eq!(node.post("/broadcast/channel/%ff", b"x").refusal(), (400, "bad_path".into()));
    node.stop();
}

#[test]
fn filters_narrow_the_recipients_and_an_unknown_one_is_refused() {
    let node = Node::start(1, None);
    assert_eq!(node.post("/broadcast/all?userType=driver&platform=ios", b"x").status, 200);
    let filter = crate::lane::Filter { user_type: Some("driver".into()), platform: Some("ios".into()) };
    let told = Told::Publish { shard: 0, channel: "all".into(), message: b"x".into(), filter: Some(filter) };
    assert_eq!(node.told(1), [told]);
    assert_eq!(node.post("/broadcast/all?usertype=driver", b"x").refusal(), (400, "bad_query".into()));
    node.stop();
}

#[test]
fn what_cannot_be_a_text_message_is_refused() {
    let node = Node::start(1, None);
    assert_eq!(node.post("/broadcast/all", b"").refusal(), (400, "body_empty".into()));
    assert_eq!(node.post("/broadcast/all", b"\xff").refusal(), (400, "body_not_utf8".into()));
    let largest = vec![b'x'; MESSAGE_BYTES_MAX + 1];
    assert_eq!(node.post("/broadcast/all", &largest).refusal(), (413, "body_too_large".into()));
    assert_eq!(node.told(0), []);
    node.stop();
}

#[test]
fn a_user_is_disconnected_on_every_shard() {
    let node = Node::start(2, None);
    assert_eq!(node.post("/disconnect/user/u%201", b"").body, r#"{"disconnected":2}"#);
    let told = |shard| Told::Disconnect { shard, user: "u 1".into(), code: 4004 };
    assert_eq!(node.told(2), [told(0), told(1)]);
    node.stop();
}

#[test]
fn connections_are_listed_up_to_the_limit_or_for_one_user() {
    let node = Node::start(3, None);
    settled(&node);
    let listed = |path: &str| {
        let json = node.get(path).json();
        let sessions = json["connections"].as_array().expect("a list").iter();
        let sessions: Vec<_> = sessions.map(|c| c["session_id"].as_str().expect("an id").to_owned()).collect();
        (json["total"].as_u64().expect("a number"), sessions.join(" "))
    };
    assert_eq!(listed("/connections"), (6, "session-0-0 session-1-0 session-2-0".into()));
    assert_eq!(listed("/connections?limit=2"), (6, "session-0-0 session-1-0".into()));
    assert_eq!(listed("/connections?user=u1"), (1, "session-1-0".into()));
    assert_eq!(listed("/connections?user=nobody&limit=99999999"), (0, "".into()));
    for path in ["/connections?limit=-1", "/connections?limit=x", "/connections?users=u1"] {
        assert_eq!(node.get(path).refusal(), (400, "bad_query".into()), "{path}");
    }
    node.stop();
}

#[test]
fn channels_of_all_shards_are_listed_once() {
    let node = Node::start(2, None);
    let answer = node.get("/channels?limit=2");
    let expected = r#"{"total":3,"channels":[{"name":"conv:1","subscribers":4},{"name":"user:u0","subscribers":1}]}"#;
    assert_eq!((answer.status, answer.body.as_str()), (200, expected));
    let answer = node.get("/channels?prefix=conv:");
    assert_eq!(answer.body, r#"{"total":1,"channels":[{"name":"conv:1","subscribers":4}]}"#);
    node.stop();
}

#[test]
fn unknown_paths_and_methods_are_answered_in_json() {
    let node = Node::start(1, None);
    assert_eq!(node.get("/nothing").refusal(), (404, "not_found".into()));
    assert_eq!(node.get("/broadcast/channel/").refusal(), (404, "not_found".into()));
    let wrong = node.get("/broadcast/all");
    assert_eq!(wrong.refusal(), (405, "method_not_allowed".into()));
    assert!(wrong.head.contains("allow: post"), "{}", wrong.head);
    assert_eq!(node.post("/stats", b"").refusal(), (405, "method_not_allowed".into()));
    node.stop();
}

#[test]
fn with_a_token_only_probes_are_open() {
    let node = Node::start(1, Some("s3cret"));
    // The dashboard's page asks for the token by itself.
    for path in ["/livez", "/health", "/"] {
        assert_eq!(node.get(path).status, 200, "{path}");
    }
    assert_eq!(node.get("/readyz").status, 503);
    for path in ["/stats", "/health/websocket", "/connections", "/channels", "/latency", "/dashboard.json", "/nothing"]
    {
        let answer = node.get(path);
        assert_eq!(answer.refusal(), (401, "token_missing".into()), "{path}");
        assert!(answer.head.contains("www-authenticate: bearer"), "{}", answer.head);
    }
    let with = |token: &str| node.request("POST", "/broadcast/all", &[token], b"x");
    assert_eq!(with("Authorization: Bearer wrong").refusal(), (401, "token_invalid".into()));
    assert_eq!(with("Authorization: Bearer s3cret").status, 200);
    node.stop();
}

#[test]
fn a_page_of_another_site_cannot_publish() {
    let node = Node::start(1, None);
    let answer = node.request("POST", "/broadcast/all", &["Origin: https://evil.example"], b"x");
    assert_eq!(answer.refusal(), (403, "origin_foreign".into()));
    assert_eq!(node.told(0), []);
    node.stop();
}

#[test]
fn without_any_answer_there_is_an_error_and_probes_still_work() {
    let node = Node::start_with(1, None, serve_nothing);
    assert_eq!(node.get("/stats").refusal(), (503, "no_answer".into()));
    assert_eq!(node.get("/health").status, 200);
    node.stop();
}

#[test]
fn a_stuck_lane_is_told_to_whoever_publishes_and_to_whoever_asks() {
    let node = Node::start_with(2, None, serve_first_and_forget_the_others);
    node.context.sources[0].connected();
    assert_eq!(node.get("/readyz").status, 200);
    while node.context.bus.publish("all", "x").lost == 0 {}
    let answer = node.post("/broadcast/all", b"x").json();
    assert_eq!(answer["delivered"].as_u64(), Some(1));
    let note = "partial: 1 of 2 shards answered in time, 1 did not take it: see /readyz";
    assert_eq!(answer["note"].as_str(), Some(note));
    node.subscribe(1, "conv:c1");
    assert_eq!(node.post("/broadcast/channel/conv:c1", b"x").refusal(), (503, "not_taken".into()));

    let ready = node.get("/readyz");
    let reason = "shard 1 takes nothing: its lane is full";
    assert_eq!((ready.status, ready.json()["reasons"][0].as_str()), (503, Some(reason)));
    let samples = parse_metrics(&node.get("/metrics").body);
    assert_eq!(samples[r#"ringway_lane_lost_total{shard="0"}"#], 0.0);
    assert_eq!(samples[r#"ringway_lane_lost_total{shard="1"}"#], 3.0);
    assert_eq!(samples[r#"ringway_lane_stuck{shard="1"}"#], 1.0);
    assert!(samples[r#"ringway_lane_bytes{shard="1"}"#] > 0.0);
    node.stop();
}

/// The answers to one question, again and again for some time.
fn asked(node: &Node, path: &str) -> impl Iterator<Item = Answer> {
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    std::iter::repeat_with(move || node.get(path)).take_while(move |_| std::time::Instant::now() < deadline)
}

#[test]
fn a_shard_that_does_not_turn_is_named_by_readyz_and_later_by_livez() {
    let node = Node::start(2, None);
    node.context.sources[0].connected();
    assert_eq!((node.get("/readyz").status, node.get("/livez").status), (200, 200));

    let turn = |now_us: u64| node.context.counters[1].turned_at_us.set(now_us as i64);
    turn(now_us());
    let unready = asked(&node, "/readyz").find(|answer| answer.status == 503).expect("in time");
    let reasons = unready.json()["reasons"].to_string();
    assert!(reasons.starts_with("[\"shard 1 has not turned for ") && !reasons.contains("shard 0"), "{reasons}");
    let dead = asked(&node, "/livez").find(|answer| answer.status == 503).expect("in time");
    assert_eq!(dead.json()["live"].as_bool(), Some(false));
    assert!(dead.body.contains("shard 1 has not turned for "), "{}", dead.body);

    turn(u64::MAX >> 1);
    assert_eq!((node.get("/readyz").status, node.get("/livez").body.as_str()), (200, r#"{"live":true}"#));
    node.stop();
}

#[test]
fn an_address_in_use_is_reported_before_anything_runs() {
    let node = Node::start(1, None);
    let settings = config::Admin { listen: node.address, ..config::Admin::default() };
    let error = start(&settings, node.context.clone(), &node.control).expect_err("the port is taken");
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    node.stop();
}

#[test]
fn metrics_can_be_read_by_prometheus() {
    let node = Node::start(2, None);
    settled(&node);
    let answer = node.get("/metrics");
    assert!(answer.head.contains("content-type: application/openmetrics-text; version=1.0.0"), "{}", answer.head);
    let samples = parse_metrics(&answer.body);
    let sample = |name: &str| *samples.get(name).unwrap_or_else(|| panic!("{name} in {}", answer.body));
    assert_eq!(sample(r#"ringway_connections{shard="1"}"#), 2.0);
    assert_eq!(sample(r#"ringway_upgraded_total{shard="0"}"#), 10.0);
    assert_eq!(sample(r#"ringway_closed_total{shard="0",code="too_slow"}"#), 1.0);
    assert_eq!(sample(r#"ringway_source_connected{source="redis"}"#), 0.0);
    assert_eq!(sample(r#"ringway_source_messages_total{source="redis"}"#), 0.0);
    assert_eq!(sample("ringway_draining"), 0.0);
    let delivered = sample("ringway_delivery_seconds_count");
    assert!(delivered >= 3.0);
    assert_eq!(sample(r#"ringway_delivery_seconds_bucket{le="0.00005"}"#), 0.0);
    assert_eq!(sample(r#"ringway_delivery_seconds_bucket{le="0.0001"}"#), delivered);
    assert_eq!(sample(r#"ringway_delivery_seconds_bucket{le="+Inf"}"#), delivered);
    assert!(sample("process_resident_memory_bytes") > 0.0);
    assert!(sample("process_open_fds") > 0.0);
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(sample(&format!(r#"ringway_build_info{{version="{version}",server_id="node-1"}}"#)), 1.0);
    node.stop();
}

#[test]
fn latency_is_told_for_all_shards_together_and_for_each() {
    let node = Node::start(2, None);
    let json = node.get("/latency").json();
    let delivery = &json["latency_us"]["delivery"];
    assert_eq!((delivery["count"].as_u64(), delivery["p99_9"].as_u64()), (Some(3), Some(100)));
    assert_eq!(json["latency_us"].as_object().map(|names| names.len()), Some(Timed::ALL.len()));
    assert!(json["shards"].is_null() && json["seconds"].is_number());
    let json = node.get("/latency?shards=true").json();
    assert_eq!(json["latency_us"]["delivery"]["count"].as_u64(), Some(6));
    for (shard, count) in [2, 4].into_iter().enumerate() {
        let of_shard = &json["shards"][shard];
        assert_eq!(of_shard["shard"].as_u64(), Some(shard as u64));
        assert_eq!(of_shard["latency_us"]["delivery"]["count"].as_u64(), Some(count));
    }
    assert_eq!(node.get("/latency?intervall=true").refusal(), (400, "bad_query".into()));
    node.stop();
}

#[test]
fn the_dashboard_is_one_page_and_gets_its_points_once() {
    let node = Node::start(2, None);
    let page = node.get("/");
    assert!(page.head.contains("content-type: text/html"), "{}", page.head);
    assert!(page.head.contains("content-security-policy: default-src 'none';"), "{}", page.head);
    assert!(!page.body.contains("src=\"") && !page.body.contains("@import"), "nothing is fetched from elsewhere");

    let numbers = node.get("/dashboard.json").json();
    assert_eq!(numbers["server_id"].as_str(), Some("node-1"));
    assert_eq!(numbers["connections"].as_u64(), Some(3));
    assert_eq!(numbers["shards"][1]["connections"].as_u64(), Some(2));
    assert_eq!(numbers["user_types"][0]["name"].as_str(), Some("driver"));
    assert_eq!(numbers["user_types"][0]["sessions"].as_u64(), Some(6));
    assert_eq!(numbers["closed"]["too_slow"].as_u64(), Some(2));
    assert_eq!(numbers["slow"]["closed"].as_u64(), Some(2));
    assert!(numbers["refused"].as_object().is_some_and(|refused| refused.is_empty()));
    assert_eq!(numbers["sources"][0]["state"].as_str(), Some("connecting"));
    assert!(numbers["note"].is_null());

    let points = numbers["points"].as_array().expect("points");
    assert_eq!(points[0]["connections"].as_u64(), Some(3));
    let last = points.last().and_then(|point| point["at"].as_u64()).expect("a time");
    let more = node.get(&format!("/dashboard.json?after={last}")).json();
    let points = more["points"].as_array().expect("points");
    assert!(points.iter().all(|point| point["at"].as_u64() > Some(last)), "{more:?}");
    node.stop();
}

#[test]
fn an_interval_is_what_came_after_the_previous_one() {
    let node = Node::start(2, None);
    let deliveries = |path: &str| node.get(path).json()["latency_us"]["delivery"]["count"].as_u64();
    assert_eq!(deliveries("/latency"), Some(3));
    assert_eq!(deliveries("/latency?interval=true"), Some(6), "the first one begins with the process");
    assert_eq!(deliveries("/latency?interval=true"), Some(3));
    assert_eq!(deliveries("/latency"), Some(12));
    assert_eq!(deliveries("/latency?interval=true&shards=true"), Some(6));
    node.stop();
}

#[test]
fn the_log_is_read_by_the_tools_of_hdrhistogram() {
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    let node = Node::start(2, None);
    for (path, sets) in [("/latency.hlog", 1), ("/latency?format=hlog&shards=true", 3)] {
        let answer = node.get(path);
        assert!(answer.head.contains("content-type: text/plain"), "{}", answer.head);
        let mut counts = std::collections::HashMap::new();
        for entry in IntervalLogIterator::new(answer.body.as_bytes()) {
            let LogEntry::Interval(interval) = entry.expect("a log") else { continue };
            let bytes = from_base64(interval.encoded_histogram());
            let histogram: hdrhistogram::Histogram<u64> =
                Deserializer::new().deserialize(&mut bytes.as_slice()).expect("a histogram");
            let tag = interval.tag().expect("a tag").as_str().to_owned();
            assert!(counts.insert(tag, histogram.len()).is_none(), "twice in {}", answer.body);
        }
        assert_eq!(counts.len(), sets * Timed::ALL.len());
        assert!(counts["delivery"] % 3 == 0 && counts["message"] == 0, "{counts:?}");
        assert!(sets == 1 || counts["shard-0.delivery"] + counts["shard-1.delivery"] == counts["delivery"]);
    }
    node.stop();
}

fn from_base64(text: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = text.trim_end_matches('=').bytes().map(|byte| DIGITS.iter().position(|digit| *digit == byte));
    let digits: Vec<usize> = digits.map(|digit| digit.expect("base64")).collect();
    let bytes = digits.chunks(4).flat_map(|four| {
        let bits = four.iter().enumerate().fold(0, |bits, (n, digit)| bits | digit << (18 - 6 * n));
        [bits >> 16, bits >> 8, bits].map(|byte| byte as u8).into_iter().take(four.len() - 1)
    });
    bytes.collect()
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

#[tokio::test]
async fn a_large_answer_is_put_together_while_others_are_served() {
    let (finish, finished) = mpsc::channel();
    let large = tokio::spawn(aside(move || finished.recv()));
    // On this thread nothing blocks, or this would not be reached.
    tokio::task::yield_now().await;
    finish.send(()).expect("it is at work");
    assert_eq!(large.await.expect("no panic"), Ok(Ok(())));
}
