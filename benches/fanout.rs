//! What user space spends on a fan-out, per recipient: `cargo bench --bench fanout`.
//!
//! Ringway's floor publishes to subscribers whose sockets swallow everything, so that what is left is the walk over the
//! table, one look at a state, one count and one queued send. Beside it what servers usually do: hold a tungstenite
//! WebSocket per recipient and write the message to each, into a stream that swallows as well. The kernel's part is the
//! same for both and is measured by `ringway-flood fanout`.
//!
//! Likewise for positions: a vendor's session on one shard tells where he is, and another shard brings it to those who
//! are near.

use std::hint::black_box;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ringway::auth::{Grants, Identity, Origins, Verifier, VerifierSettings};
use ringway::channel::{Interest, Overflow, Policies, Table, Typing};
use ringway::clock::Now;
use ringway::geo::GridUse;
use ringway::lane::events::Teller;
use ringway::lane::frame::{Frame, LocalFrame};
use ringway::lane::{Bus, Channel, Command, Except, Posted, Publication, Services};
use ringway::metrics::Counters;
use ringway::metrics::latency::{Deliveries, Latency};
use ringway::notification::Notifications;
use ringway::route::Routes;
use ringway::shard::calls::Calls;
use ringway::shard::connection::Connection;
use ringway::shard::floor::{Arrival, Floor};
use ringway::shard::id::SessionKey;
use ringway::shard::io::{Chunk, Event, InFlight, Io, Slot};
use ringway::shard::nearby::Nearby;
use ringway::shard::paused::Paused;
use ringway::shard::pending::Pending;
use ringway::shard::profiles::Profiles;
use ringway::shard::quotas::{Held, Shares};
use ringway::shard::rules::{LobbyRules, Rules};
use ringway::shard::seats::{Seats, Sessions};
use ringway::shard::session::{Effects, Session};
use ringway::shard::state::ShardState;
use ringway::shard::verification::Verification;
use ringway::ws::frame::{Opcode, encode_masked, encode_text};
use tungstenite::protocol::Role;
use tungstenite::{Message, Utf8Bytes, WebSocket};

const PAYLOAD: &str = r#"{"type":"message.new","payload":{"content":"sixty-four bytes.."}}"#;
const CHANNEL: &str = "conv:c1";
const CIRCLE: &str = r#"{"type":"subscribe_nearby","latitude":48.2082,"longitude":16.3738,"radius":1500}"#;
const LOCATION: &str =
    r#"{"type":"location_update","payload":{"latitude":48.2079,"longitude":16.3711,"heading":90,"speed":1.4}}"#;

fn fanout(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("fan-out");
    for subscribers in [1_000, 10_000] {
        group.throughput(Throughput::Elements(subscribers));
        group.bench_function(BenchmarkId::new("ringway", subscribers), |bencher| {
            let mut shard = Shard::with_subscribers(subscribers);
            bencher.iter(|| shard.publish(PAYLOAD));
        });
        group.bench_function(BenchmarkId::new("tungstenite", subscribers), |bencher| {
            let connect = |_| WebSocket::from_raw_socket(Swallow, Role::Server, None);
            let mut sockets: Vec<_> = (0..subscribers).map(connect).collect();
            bencher.iter(|| {
                let text = Utf8Bytes::from(PAYLOAD);
                for socket in &mut sockets {
                    socket.send(Message::Text(text.clone())).expect("it swallows");
                }
            });
        });
    }
    group.finish();
}

fn positions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("location_update");
    for followers in [0, 1, 1_000] {
        group.bench_function(BenchmarkId::new("nearby", followers), |bencher| {
            let (mut shard, mut vendor) = Shard::near(followers);
            bencher.iter(|| {
                vendor.say(LOCATION);
                shard.floor.turn(Now { us: 2_000_000, unix_ms: 1_800_000_001_000 })
            });
        });
    }
    group.finish();
}

struct Shard {
    floor: Floor<Void>,
    bus: Bus,
    channel: Channel,
}

/// A session without a floor.
struct Vendor {
    state: ShardState,
    connection: Connection,
    effects: Effects,
}

impl Vendor {
    fn say(&mut self, message: &str) {
        let Self { state, connection, effects } = self;
        Session { state, slot: 0, effects }.answer(connection, message);
        assert!(effects.frames.is_empty(), "nothing goes wrong");
    }
}

const NOW: Now = Now { us: 1_000_000, unix_ms: 1_800_000_000_000 };

fn state(shard: usize, bus: &Bus, grid_use: &Arc<GridUse>, connections: usize) -> ShardState {
    ShardState {
        shard,
        now: NOW,
        judge_from: 0,
        rules: Arc::new(rules()),
        counters: Arc::<Counters>::default(),
        latency: Latency::default(),
        table: Table::new(shard, bus.interest().clone(), connections),
        typing: Typing::new(100, 10),
        profiles: Profiles::default(),
        nearby: Nearby::new(grid_use.clone()),
        sessions: 0,
        shares: Shares::default(),
        seats: Arc::new(Seats::new(Sessions::Multi, [bus.lanes()[0].bell.clone()])),
        pending: Pending::new(0),
        calls: Calls::new(shard, Services::default(), 0),
        verification: verification(),
        paused: Paused::default(),
        echoes: 0,
        scratch: String::new(),
        presence: Arc::default(),
        bus: bus.clone(),
        events: Teller::default(),
        notifications: Notifications::new(None),
    }
}

/// Nobody here has a token that is verified beside the shard.
fn verification() -> Verification {
    let verifier = Arc::new(Verifier::new(&VerifierSettings::default()));
    Verification::start(&verifier, None, std::iter::empty()).expect("no thread is asked for").0
}

fn identity(user: String, user_type: Option<&str>) -> Identity {
    let (user_id, user_type) = (user.into(), user_type.map(Into::into));
    Identity { user_id, user_type, expires_at: NOW.unix_s() + 3600, grants: None, claims: 0 }
}

impl Shard {
    fn with_subscribers(count: u64) -> Self {
        let subscribe = format!(r#"{{"type":"subscribe","channels":["{CHANNEL}"]}}"#);
        Self::with_clients(count, &subscribe, &Arc::default())
    }

    /// Clients with a circle, and a vendor on another shard who is in all of them.
    fn near(count: u64) -> (Self, Vendor) {
        let grid_use = Arc::default();
        let shard = Self::with_clients(count, CIRCLE, &grid_use);
        let mut state = state(1, &shard.bus, &grid_use, 1);
        let mut connection = Connection::new(1, NOW, None);
        let mut effects = Effects::default();
        let mut session = Session { state: &mut state, slot: 0, effects: &mut effects };
        assert!(session.admit(&mut connection, identity("v1".into(), Some("vendor"))));
        effects.frames.clear();
        (shard, Vendor { state, connection, effects })
    }

    fn with_clients(count: u64, first_message: &str, grid_use: &Arc<GridUse>) -> Self {
        let lanes = Bus::open(2, Arc::<Interest>::default(), Policies::default(), Duration::ZERO);
        let (bus, mut lane_ends) = lanes.expect("an eventfd");
        let state = state(0, &bus, grid_use, count as usize);
        let mut floor = Floor::new(Void::default(), count as usize, state, lane_ends.remove(0));
        for user in 0..count {
            let arrival = Arrival {
                response: b"101".to_vec(),
                rest: encode_masked(Opcode::Text, first_message.as_bytes(), [1, 2, 3, 4]),
                identity: Some(identity(format!("user-{user}"), None)),
                details: None,
                held: Held::default(),
                echo: false,
            };
            floor.adopt((), arrival, NOW).expect("there is room");
        }
        floor.turn(NOW);
        let channel = Channel { name: CHANNEL.into(), hash: bus.hash(CHANNEL) };
        Self { floor, bus, channel }
    }

    fn publish(&mut self, payload: &str) {
        let frame = Frame { bytes: encode_text(payload), arrived_us: 0 };
        let channel = self.channel.clone();
        let publication = Publication {
            channel,
            frame,
            filter: None,
            answer: None,
            batch_delay_us: 0,
            overflow: Overflow::Disconnect,
            key: 0,
            except: Except::Nobody,
            near: None,
        };
        assert!(self.bus.lanes()[0].offer(Posted::now(Command::Publish(publication))).is_ok(), "the floor empties it");
        self.floor.turn(Now { us: 2_000_000, unix_ms: 1_800_000_001_000 });
    }
}

/// A backend whose sockets take everything at once: a send is queued as for a ring, and done when the ring is entered.
#[derive(Default)]
struct Void {
    queued: Vec<(Slot, LocalFrame)>,
    deliveries: Deliveries,
}

impl Io for Void {
    type Socket = ();

    fn open(&mut self, _: Slot, (): ()) -> io::Result<()> {
        Ok(())
    }

    fn enter(&mut self) -> io::Result<()> {
        self.queued.drain(..).for_each(|queued| drop(black_box(queued)));
        Ok(())
    }

    fn send_all(&mut self, slot: Slot, frames: impl IntoIterator<Item = LocalFrame>) {
        self.queued.extend(frames.into_iter().map(|frame| (slot, frame)));
    }
    fn now_us(&self) -> u64 {
        0
    }
    fn await_sent(&mut self, _: Slot) -> bool {
        false
    }
    fn shut(&mut self, _: Slot) {}

    fn resume(&mut self, _: Slot) {}

    fn close(&mut self, _: Slot) {}
    fn reset(&mut self, _: Slot) {}
    fn tick(&mut self, _: u32) {}
    fn alarm(&mut self, _: u64) {}
    fn next(&mut self) -> Option<Event> {
        None
    }
    fn bytes(&mut self, _: &Chunk) -> &mut [u8] {
        &mut []
    }
    fn release(&mut self, _: Chunk, _: bool) {}
    fn has_queued(&mut self) -> bool {
        !self.queued.is_empty()
    }
    fn doze(&mut self) -> bool {
        true
    }
    fn rouse(&mut self) {}
    fn in_flight(&self) -> InFlight {
        InFlight::default()
    }
    fn deliveries(&self) -> &Deliveries {
        &self.deliveries
    }
}

/// A stream that takes everything and gives nothing.
struct Swallow;

impl Write for Swallow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(black_box(bytes).len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Swallow {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::WouldBlock.into())
    }
}

fn rules() -> Rules {
    let secrets = vec!["a secret of thirty-two bytes or more".to_owned()];
    Rules {
        routes: Routes::shipped(),
        services: Services::default(),
        authorizer: None,
        verifier: Arc::new(Verifier::new(&VerifierSettings { secrets, ..VerifierSettings::default() })),
        origins: Origins::default(),
        user_types: Vec::new(),
        user_type_from_query: true,
        sessions: Sessions::Multi,
        default_grants: Grants::parse(["*"]).expect("a good pattern"),
        path: "/ws".into(),
        echo: None,
        server_id: "bench".into(),
        tells_addresses: false,
        session_key: SessionKey::default(),
        connections_max: usize::MAX,
        message_bytes_max: 8192,
        outbox_bytes_max: 65_536,
        channels_per_connection_max: 128,
        channel_name_bytes_max: 255,
        messages_max: 0,
        message_window_ticks: 600,
        frames_max: 0,
        message_deadline_ticks: 300,
        heartbeat_ms: 30_000,
        heartbeat_ticks: 300,
        idle_ticks: 600,
        typing_timeout_ticks: 100,
        typing_interval_ticks: 10,
        auth_deadline_ticks: 100,
        close_deadline_ticks: 50,
        expiry_warning_s: 30,
        batch_delay_min_us: u32::MAX,
        lobby: LobbyRules::default(),
    }
}

criterion_group!(benches, fanout, positions);
criterion_main!(benches);
