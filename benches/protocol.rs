//! What one message and one connect cost in JSON and tokens: `cargo bench --bench protocol`.
//!
//! Each message is read three ways: as the gateway does, into a tree of values, and into a struct made for it. The
//! struct knows in advance which fields there are, the tree reads all of them: the gateway has to be near the first.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ringway::{
    auth::{Grants, Verifier, VerifierSettings, mint::mint},
    lane::ConnectionId,
    protocol::{reply, request::Request},
    shard::id::SessionKey,
};
use serde::Deserialize;
use sonic_rs::Value;

const NOW_UNIX_S: u64 = 1_800_000_000;

const PING: &str = r#"{"type":"ping"}"#;
const SUBSCRIBE: &str =
    r#"{"type":"subscribe","id":7,"payload":{"conversation_ids":["conv-uuid-1","conv-uuid-2","conv-uuid-3"]}}"#;
const LOCATION: &str = r#"{"type":"location_update","payload":{"latitude":37.7749,"longitude":-122.4194,"heading":90,"speed":15,"accuracy":10,"timestamp":1761566400007,"isAvailable":true}}"#;

#[derive(Deserialize)]
struct Ping<'a> {
    #[serde(rename = "type")]
    _kind: &'a str,
}

#[derive(Deserialize)]
struct Subscribe<'a> {
    #[serde(rename = "type")]
    _kind: &'a str,
    #[serde(borrow, rename = "payload")]
    _payload: Conversations<'a>,
}

#[derive(Deserialize)]
struct Conversations<'a> {
    #[serde(borrow, rename = "conversation_ids")]
    _conversation_ids: Vec<&'a str>,
}

#[derive(Deserialize)]
struct Location<'a> {
    #[serde(rename = "type")]
    _kind: &'a str,
    #[serde(rename = "payload")]
    _payload: Position,
}

#[derive(Deserialize)]
struct Position {
    #[serde(rename = "latitude")]
    _latitude: f64,
    #[serde(rename = "longitude")]
    _longitude: f64,
}

fn requests(criterion: &mut Criterion) {
    compare::<Ping>(criterion, "ping", PING, |request| {
        black_box(&request.kind);
    });
    compare::<Subscribe>(criterion, "subscribe", SUBSCRIBE, |request| {
        black_box(request.strings("conversation_ids", 128).expect("it is there"));
    });
    compare::<Location>(criterion, "location_update", LOCATION, |request| {
        black_box((request.field("latitude"), request.field("longitude")));
    });
}

fn compare<'a, T: Deserialize<'a>>(
    criterion: &mut Criterion,
    name: &str,
    message: &'static str,
    read: fn(&Request<'static>),
) {
    let mut group = criterion.benchmark_group(format!("request/{name}"));
    group.throughput(Throughput::Bytes(message.len() as u64));
    group.bench_function("ringway", |bencher| {
        bencher.iter(|| read(&Request::parse(black_box(message)).expect("it is valid")));
    });
    group.bench_function("tree of values", |bencher| {
        bencher.iter(|| sonic_rs::from_str::<Value>(black_box(message)).expect("it is valid"));
    });
    group.bench_function("struct", |bencher| {
        bencher.iter(|| {
            black_box(sonic_rs::from_str::<T>(black_box(message)).expect("it is valid"));
        });
    });
    group.finish();
}

fn replies(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("reply");
    group.bench_function("pong", |bencher| {
        bencher.iter(|| reply::pong(black_box(1_761_566_400_007), black_box(Some("7"))));
    });
    group.bench_function("subscribed", |bencher| {
        let list = ["conv-uuid-1", "conv-uuid-2", "conv-uuid-3"];
        bencher.iter(|| reply::subscribed("conversation_ids", black_box(&list), black_box(Some("7"))));
    });
    group.finish();
}

fn tokens(criterion: &mut Criterion) {
    let secrets = vec!["a secret of thirty-two bytes or so".to_owned()];
    let rotating = vec!["the next secret, not used yet.....".to_owned(), secrets[0].clone()];
    let token =
        mint(&secrets[0], "507f1f77bcf86cd799439011", Some("driver"), 60, NOW_UNIX_S, &[]).expect("it is signed");
    let verifier = |secrets| Verifier::new(&VerifierSettings { secrets, ..VerifierSettings::default() });
    let mut group = criterion.benchmark_group("token");
    for (name, verifier) in [("current secret", verifier(secrets)), ("previous secret", verifier(rotating))] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| verifier.verify(black_box(&token), NOW_UNIX_S).expect("it is valid"));
        });
    }
    group.finish();
}

fn grants(criterion: &mut Criterion) {
    let grants = Grants::parse(["clan:red", "team:*:news", "conv:*"]).expect("they are valid");
    criterion.bench_function("grants of three", |bencher| {
        bencher.iter(|| grants.allows(black_box("conv:507f1f77bcf86cd799439011")));
    });
}

fn session_ids(criterion: &mut Criterion) {
    let key = SessionKey::default();
    let id = ConnectionId { shard: 1, slot: 7, generation: 9 };
    criterion.bench_function("session id", |bencher| {
        bencher.iter(|| key.session(black_box(id)));
    });
}

criterion_group!(benches, requests, replies, tokens, grants, session_ids);
criterion_main!(benches);
