//! What one message and one connect cost in JSON and tokens: `cargo bench --bench protocol`.
//!
//! Each message is read three ways: as the gateway does (parsed, its route found, the route's field read), into a tree
//! of values, and into a struct made for it. The struct knows in advance which fields there are, the tree reads all of
//! them: the gateway has to be near the first.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ringway::auth::mint::mint;
use ringway::auth::{Grants, Verifier, VerifierSettings};
use ringway::lane::ConnectionId;
use ringway::protocol::reply::{Message, Problem, Timestamp};
use ringway::protocol::request::Request;
use ringway::route::action::{Action, Forward};
use ringway::route::table::Sender;
use ringway::route::template::{Place, Template, Value};
use ringway::route::{Route, Routes};
use ringway::shard::id::SessionKey;
use ringway::ws::frame::encode_text;
use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

const NOW_UNIX_S: u64 = 1_800_000_000;

const PING: &str = r#"{"type":"ping"}"#;
const CHAT: &str = r#"{"type":"chat","content":"Who is in for tonight?","clanId":"k1","messageType":"TEXT"}"#;
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

#[derive(Deserialize)]
struct Chat<'a> {
    #[serde(rename = "type")]
    _kind: &'a str,
    #[serde(borrow, rename = "payload")]
    _payload: Content<'a>,
}

#[derive(Deserialize)]
struct Content<'a> {
    #[serde(rename = "content")]
    _content: &'a str,
}

fn subscribe(channels: usize) -> String {
    let ids: Vec<String> = (0..channels).map(|n| format!("507f1f77bcf86cd7994{n:05}")).collect();
    format!(r#"{{"type":"subscribe","id":7,"payload":{{"conversation_ids":{}}}}}"#, serde_json::json!(ids))
}

fn chat(bytes: usize) -> String {
    let (before, after) = (r#"{"type":"chat","payload":{"clanId":"7","content":""#, r#""}}"#);
    format!("{before}{}{after}", "x".repeat(bytes - before.len() - after.len()))
}

fn requests(criterion: &mut Criterion) {
    compare::<Ping>(criterion, "ping", PING);
    for channels in [1, 10, 100] {
        compare::<Subscribe>(criterion, &format!("subscribe to {channels}"), &subscribe(channels));
    }
    compare::<Location>(criterion, "location_update", LOCATION);
    compare::<Chat>(criterion, "chat of 8 KiB", &chat(8192));
}

fn compare<'a, T: Deserialize<'a>>(criterion: &mut Criterion, name: &str, message: &'a str) {
    let mut group = criterion.benchmark_group(format!("request/{name}"));
    group.throughput(Throughput::Bytes(message.len() as u64));
    group.bench_function("ringway", |bencher| bencher.iter(|| read(black_box(message))));
    group.bench_function("tree of values", |bencher| {
        bencher.iter(|| serde_json::from_str::<serde_json::Value>(black_box(message)).expect("it is valid"));
    });
    group.bench_function("struct", |bencher| {
        bencher.iter(|| {
            black_box(serde_json::from_str::<T>(black_box(message)).expect("it is valid"));
        });
    });
    group.finish();
}

/// What a session does with a message before it acts.
fn read(message: &str) {
    let request = Request::parse(message).expect("it is valid");
    let route = route_of(&request);
    match &route.action {
        Action::Subscribe(list) => _ = black_box(request.strings(&list.field, 128).expect("it is there")),
        _ => _ = black_box(route.read(&request).expect("it is valid")),
    }
}

fn routes(criterion: &mut Criterion) {
    let request = Request::parse(PING).expect("it is valid");
    criterion.bench_function("route of ping", |bencher| {
        bencher.iter(|| Routes::shipped().find(black_box(&request), Sender::default()).is_ok());
    });
    // From the text of the message to that of the answer, or to that of the message for others.
    let mut group = criterion.benchmark_group("routed");
    for (name, message) in [("ping", PING), ("chat", CHAT), ("location_update of a driver", LOCATION)] {
        let mut json = String::new();
        group.bench_function(name, |bencher| bencher.iter(|| routed(black_box(message), &mut json)));
    }
    group.finish();
}

fn route_of(request: &Request<'_>) -> &'static Route {
    Routes::shipped().find(request, Sender { user_type: Some("driver"), claims: 0 }).expect("it is known")
}

fn routed(message: &str, json: &mut String) {
    let request = Request::parse(message).expect("it is valid");
    let route = route_of(&request);
    let values = route.read(&request).expect("it is valid");
    let template = match &route.action {
        Action::Ping { reply } => reply,
        Action::Forward(Forward { message: Some(message), .. }) => message,
        _ => return,
    };
    let (id, now) = (Uuid::nil(), Timestamp(1_761_566_400_007));
    json.clear();
    template.fill(json, request.id, |place| match place {
        Place::UserId => Value::Text("507f1f77bcf86cd799439011"),
        Place::MessageId => Value::Shown(&id),
        Place::Field(at) => values[at].map_or(Value::Missing, |value| Value::Json(value.get())),
        _ => Value::Shown(&now),
    });
    black_box(encode_text(json));
}

fn fill(template: &Template, id: Option<&RawValue>, list: &[&str]) -> String {
    let (mut json, now) = (String::new(), Timestamp(black_box(1_761_566_400_007)));
    template.fill(&mut json, id, |place| match place {
        Place::List => Value::List(list),
        _ => Value::Shown(&now),
    });
    json
}

fn replies(criterion: &mut Criterion) {
    let id: Option<&RawValue> = serde_json::from_str("7").ok();
    let mut group = criterion.benchmark_group("reply");
    let action = |message| &route_of(&Request::parse(message).expect("it is valid")).action;
    let Action::Ping { reply } = action(PING) else { unreachable!("ping is pinged") };
    group.bench_function("pong", |bencher| {
        bencher.iter(|| fill(reply, black_box(id), &[]));
    });
    let subscribe = subscribe(1);
    let Action::Subscribe(list) = action(&subscribe) else { unreachable!("subscribe subscribes") };
    group.bench_function("subscribed", |bencher| {
        let items = ["conv-uuid-1", "conv-uuid-2", "conv-uuid-3"];
        bencher.iter(|| fill(&list.reply, black_box(id), black_box(&items)));
    });
    group.bench_function("error", |bencher| {
        bencher.iter(|| {
            let (code, message) = black_box(("not_subscribed", "not subscribed to these channels"));
            Message::error(Problem { code, message, request: Some("unsubscribe"), part: None }).json_in_answer_to(id)
        });
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

criterion_group!(benches, requests, routes, replies, tokens, grants, session_ids);
criterion_main!(benches);
