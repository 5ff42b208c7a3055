//! The promises of the floor, kept on a backend in memory, on a clock that the test moves: one file per topic.
//!
//! Every promise is tried under several seeds, that is with several ways in which input is cut, sends are late and
//! events change places. After each run [`Shard::settle`] the floor has done all it can do at that moment.

mod arriving;
mod authenticating;
mod authorizing;
mod batching;
mod beating;
mod calling;
mod chaos;
mod client;
mod closing;
mod confirming;
mod deadlines;
mod draining;
mod echoing;
mod inspecting;
mod kernel;
mod overflow;
mod presence;
mod publishing;
mod replacing;
mod rules;
mod slow;
mod subscribing;
mod telling;
mod timing;
mod tracking;
mod turning;
mod typing;
mod vanishing;
mod verifying;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use crossbeam_channel::Receiver;

use crate::auth::mint::mint;
use crate::auth::{Grants, Identity, VerifierSettings};
use crate::channel::{Interest, Policies, Presence, Table, Typing};
use crate::lane::events::Teller;
use crate::lane::{Addressed, Answer, Bus, Channel, Command, ConnectionId, Except, Filter};
use crate::lane::{LaneEnd, Posted, Publication, Query};
use crate::metrics::{Counters, Latency, Timed};
use crate::notification::{Bounds, Notifications};
use crate::ws::frame::encode_text;

use super::connection::Details;
use super::floor::{Arrival, Floor};
use super::id::SessionKey;
use super::io::memory::{Clock, Memory, Peer};
use super::io::{InFlight, Io};
use super::rules::Rules;
use super::state::ShardState;
use crate::lane::frame::Frame;
use crate::shard::calls::Calls;
use crate::shard::nearby::Nearby;
use crate::shard::paused::Paused;
use crate::shard::pending::Pending;
use crate::shard::profiles::Profiles;
use crate::shard::quotas::{Held, Shares};
use crate::shard::seats::{Seats, Sessions};
use crate::shard::verification::{Verification, Verified};
use client::{Client, HEAD};
use rules::{presence_settings, rules};

const SECRET: &str = "a secret for tests, long enough for its purpose";
const SHARD: usize = 3;
const CAPACITY: usize = 64;
const OUTBOX_BYTES_MAX: usize = 32 * 1024;
const ECHO_MESSAGE_BYTES_MAX: usize = 64 * 1024;

static VERIFIER_SETTINGS: LazyLock<VerifierSettings> =
    LazyLock::new(|| VerifierSettings { secrets: vec![SECRET.into()], ..VerifierSettings::default() });

/// The same for all, so that transcripts can be compared.
static SESSION_KEY: LazyLock<SessionKey> = LazyLock::new(SessionKey::default);

/// A floor with everything around it that a shard's thread would give it.
struct Shard {
    floor: Floor<Memory>,
    bus: Bus,
    presence: Arc<Presence>,
    /// The lanes of the shards before it, which nobody empties.
    others: Vec<LaneEnd>,
    interest: Arc<Interest>,
    policies: Policies,
    clock: Clock,
    /// Where it hears of tokens that were verified beside it.
    verified: Receiver<Verified>,
}

/// Tries a promise under several seeds.
fn under_faults(promise: impl Fn(Shard)) {
    under_faults_with(|_| {}, promise);
}

fn under_faults_with(change: impl Fn(&mut Rules), promise: impl Fn(Shard)) {
    for seed in 0..12 {
        promise(Shard::with(seed, &change));
    }
}

impl Shard {
    fn with(seed: u64, change: impl Fn(&mut Rules)) -> Self {
        Self::with_capacity(seed, CAPACITY, change)
    }

    fn with_capacity(seed: u64, capacity: usize, change: impl Fn(&mut Rules)) -> Self {
        let mut rules = rules();
        change(&mut rules);
        let (clock, interest) = (Clock::default(), Arc::new(Interest::default()));
        let lanes = Bus::open(SHARD + 1, interest.clone(), Policies::default(), Duration::ZERO);
        let (bus, mut others) = lanes.expect("lanes");
        let commands = others.pop().expect("its own");
        let bells = bus.lanes().iter().map(|lane| lane.bell.clone());
        let seats = Arc::new(Seats::new(rules.sessions, bells));
        let pending = Pending::new(clock.now().tick());
        let calls = Calls::new(SHARD, rules.services.clone(), clock.now().tick());
        let presence = Arc::new(Presence::new(presence_settings()));
        let rules = Arc::new(rules);
        let bells = bus.lanes().iter().map(|lane| lane.bell.clone());
        let (verification, mut mailboxes) = Verification::start(&rules.verifier, None, bells).expect("threads");
        let state = ShardState {
            shard: SHARD,
            now: clock.now(),
            judge_from: 0,
            rules: rules.clone(),
            counters: Arc::default(),
            latency: Latency::default(),
            table: Table::new(SHARD, interest.clone(), 0),
            typing: Typing::new(rules.typing_timeout_ticks, rules.typing_interval_ticks),
            profiles: Profiles::default(),
            nearby: Nearby::new(Arc::default()),
            sessions: 0,
            shares: Shares::default(),
            seats,
            calls,
            pending,
            verification,
            paused: Paused::default(),
            echoes: 0,
            scratch: String::new(),
            presence: presence.clone(),
            bus: bus.clone(),
            events: Teller::default(),
            notifications: Notifications::new(Some(Bounds::new(100, 1000, 1 << 20))),
        };
        let floor = Floor::new(Memory::new(seed, clock.clone()), capacity, state, commands);
        let verified = mailboxes.swap_remove(SHARD);
        Self { floor, bus, presence, others, interest, policies: Policies::default(), clock, verified }
    }

    /// Lets the floor work until nothing more happens at this moment.
    fn settle(&mut self) {
        for _ in 0..100_000 {
            let worked = self.floor.turn(self.clock.now());
            if !worked && self.floor.doze() {
                return;
            }
        }
        panic!("the floor does not come to rest");
    }

    /// Lets time pass, tick by tick.
    fn pass(&mut self, ms: u64) {
        self.settle();
        for _ in 0..ms / 100 {
            self.clock.advance(100);
            self.settle();
        }
    }

    fn adopt(&mut self, arrival: Arrival) -> Client {
        let (peer, socket) = Peer::connect();
        let id = self.floor.adopt(socket, arrival, self.clock.now()).unwrap();
        Client::new(peer, id)
    }

    /// A client without a token. What it was told so far is in its hands.
    fn stranger(&mut self) -> Client {
        self.settled(Arrival { identity: None, ..arrival("nobody") })
    }

    /// A client of `user` with a token that holds for an hour.
    fn client(&mut self, user: &str) -> Client {
        self.settled(arrival(user))
    }

    fn client_with(&mut self, user: &str, change: impl FnOnce(&mut Identity, &mut Details)) -> Client {
        let (mut arrival, mut details) = (arrival(user), Box::<Details>::default());
        change(arrival.identity.as_mut().unwrap(), &mut details);
        self.settled(Arrival { details: Some(details), ..arrival })
    }

    /// A client of the echo endpoint.
    fn echo(&mut self) -> Client {
        self.settled(Arrival { identity: None, echo: true, ..arrival("nobody") })
    }

    fn settled(&mut self, arrival: Arrival) -> Client {
        let mut client = self.adopt(arrival);
        self.settle();
        client.heard();
        client
    }

    /// Clients in one channel.
    fn subscribers<const N: usize>(&mut self, channel: &str) -> [Client; N] {
        std::array::from_fn(|n| {
            let mut client = self.client(&format!("u{n}"));
            client.subscribe(channel);
            self.settle();
            client.heard();
            client
        })
    }

    fn ask(&mut self, query: Query) {
        self.command(Command::Ask(query));
    }

    fn command(&mut self, command: Command) {
        let posted = Posted { at_us: self.clock.now().us, command };
        assert!(self.bus.lanes()[SHARD].offer(posted).is_ok(), "the lane is full");
    }

    /// Publishes and settles; says how many it reached.
    fn publish(&mut self, channel: &str, payload: &str) -> usize {
        self.publish_to(channel, encode_text(payload), None)
    }

    /// Publishes and does no more.
    fn post(&mut self, channel: &str, payload: &str) {
        self.post_frame(channel, self.frame(payload));
    }

    /// What arrives now.
    fn frame(&self, payload: &str) -> Frame {
        Frame { bytes: encode_text(payload), arrived_us: self.clock.now().us }
    }

    fn post_frame(&mut self, channel: &str, frame: Frame) {
        self.command(Command::Publish(Publication { frame, ..self.publication(channel, Bytes::new()) }));
    }

    /// A publication as the bus would make it.
    fn publication(&self, channel: &str, bytes: Bytes) -> Publication {
        Publication {
            channel: Channel { name: channel.into(), hash: self.interest.hash(channel) },
            frame: Frame { bytes, arrived_us: self.clock.now().us },
            filter: None,
            answer: None,
            batch_delay_us: self.policies.of(channel).batch_delay_us,
            overflow: self.policies.of(channel).overflow,
            key: self.interest.hash(channel),
            except: Except::Nobody,
            near: None,
        }
    }

    /// Frames that have left, as the histogram counts them.
    fn delivered(&self) -> u64 {
        Latency::default().with_deliveries(self.floor.wire.io.deliveries()).of(Timed::Delivery).len()
    }

    fn publish_to(&mut self, channel: &str, bytes: Bytes, filter: Option<Filter>) -> usize {
        let (answer, reached) = counted();
        let publication = self.publication(channel, bytes);
        let filter = filter.map(Arc::new);
        self.command(Command::Publish(Publication { filter, answer: Some(answer), ..publication }));
        self.settle();
        reached.load(Ordering::Relaxed)
    }

    /// Sends to one connection and settles; says how many it reached.
    fn send_to(&mut self, to: ConnectionId, payload: &str) -> usize {
        let (answer, reached) = counted();
        let frame = self.frame(payload);
        self.command(Command::Send(Addressed { to, frame, answer: Some(answer) }));
        self.settle();
        reached.load(Ordering::Relaxed)
    }

    /// The session id of a connection, as clients see it.
    fn session_id(&self, id: ConnectionId) -> String {
        self.floor.state.rules.session_id(id).to_string()
    }

    fn counters(&self) -> &Counters {
        &self.floor.state.counters
    }

    fn closed(&self, label: &str) -> u64 {
        self.counters().closed.iter().find(|(name, _)| *name == label).unwrap().1
    }

    /// Whether any shard is known to have subscribers.
    fn is_of_interest(&self, channel: &str) -> bool {
        !self.interest.shards(self.interest.hash(channel)).is_empty()
    }

    /// Nothing is left of any connection.
    fn assert_empty(&self) {
        let (wire, state) = (&self.floor.wire, &self.floor.state);
        assert_eq!(wire.connections.len(), 0, "connections");
        assert_eq!(wire.io.in_flight(), InFlight::default());
        assert_eq!(wire.outbox_bytes, 0, "bytes in outboxes");
        assert_eq!((state.table.membership_count(), state.table.channel_count()), (0, 0), "subscriptions and channels");
        assert_eq!((state.table.user_share(), state.sessions), (0, 0), "users and sessions");
        assert!(state.paused.is_empty(), "tokens that are verified");
        assert!(state.calls.is_empty() && !state.calls.is_waiting(), "calls");
        assert!(state.pending.is_empty() && !state.pending.is_waiting(), "messages that wait");
        assert_eq!((state.profiles.is_empty(), state.echoes), (true, 0), "profiles and echoes");
        assert!(state.typing.is_empty(), "who writes");
        assert!(state.seats.is_empty(), "seats and those who lost one");
        assert!(state.nearby.circles() == 0 && state.nearby.is_unused(), "circles");
        assert!(self.floor.wheel.is_empty(), "deadlines");
        let counters = self.counters();
        let levels = [
            &counters.connections,
            &counters.sessions,
            &counters.unauthenticated,
            &counters.subscriptions,
            &counters.outbox_bytes,
        ];
        assert_eq!(levels.map(|gauge| gauge.get()), [0; 5], "what the admin port shows");
        assert_eq!(counters.upgraded.get(), counters.closed.total(), "every connection is counted once as closed");
    }
}

fn arrival(user: &str) -> Arrival {
    let identity = Identity {
        user_id: user.into(),
        user_type: None,
        expires_at: Clock::default().now().unix_s() + 3600,
        grants: None,
        claims: 0,
    };
    Arrival {
        response: HEAD.into(),
        rest: Vec::new(),
        identity: Some(identity),
        details: None,
        held: Held::default(),
        echo: false,
    }
}

/// A token that is good for `ttl_s` seconds from a clock's first moment.
fn token(user: &str, user_type: Option<&str>, ttl_s: u64) -> String {
    mint(SECRET, user, user_type, ttl_s, Clock::default().now().unix_s(), &[]).unwrap()
}

/// An answer to a command, and where it arrives.
fn counted() -> (Answer<usize>, Arc<AtomicUsize>) {
    let reached = Arc::new(AtomicUsize::new(0));
    let sum = reached.clone();
    (
        Arc::new(move |count| {
            sum.fetch_add(count, Ordering::Relaxed);
        }),
        reached,
    )
}
