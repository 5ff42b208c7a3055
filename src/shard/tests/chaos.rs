//! What holds whatever happens: answers do not depend on how input is cut or when sends complete, and nothing is left
//! behind by any sequence of events.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use proptest::prelude::*;

use crate::auth::Grants;
use crate::channel::policy::Policy;
use crate::channel::{Overflow, Policies};
use crate::lane::{Addressed, Answer, Command, Query};
use crate::shard::connection::Connection;
use crate::shard::io::memory::Chance;
use crate::shard::seats::Sessions;
use crate::ws::close::CloseCode;
use crate::ws::frame::{Opcode, encode_masked, encode_masked_fragment};

use super::client::{Client, Said, text};
use super::{Arrival, CAPACITY, Shard, arrival, token};

/// So little that clients who stop reading are soon too slow.
const OUTBOX_BYTES_MAX: usize = 3000;

const MASK: [u8; 4] = [9, 8, 7, 6];

/// A conversation of one client, with everything that can be cut: every length form, fragments, control frames between
/// them, an error, a goodbye.
fn conversation() -> Vec<u8> {
    let long = format!(r#"{{"type":"ping","id":"{}","x":"{}"}}"#, "i".repeat(40), "\u{fc}".repeat(300));
    let split = r#"{"type":"subscribe","channels":["conv:ü"]}"#.as_bytes();
    let cut = split.iter().position(|byte| *byte > 0x7f).unwrap() + 1;
    [
        text(r#"{"type":"ping","id":1}"#),
        text(&long),
        encode_masked_fragment(Opcode::Text, false, &split[..cut], MASK),
        encode_masked(Opcode::Ping, b"between", MASK),
        encode_masked_fragment(Opcode::Continuation, true, &split[cut..], MASK),
        text("not json"),
        text(r#"{"type":"unsubscribe","channels":["conv:ü"]}"#),
        encode_masked(Opcode::Pong, b"", MASK),
        encode_masked(Opcode::Close, b"\x03\xe8bye", MASK),
    ]
    .concat()
}

fn hear_conversation(seed: u64, pieces: &[&[u8]]) -> Vec<Said> {
    let mut shard = Shard::with(seed, |rules| rules.outbox_bytes_max = 64 * 1024);
    let mut ann = shard.adopt(arrival("ann"));
    for piece in pieces {
        ann.peer.write(piece);
        shard.settle();
    }
    assert!(ann.peer.is_closed());
    shard.assert_empty();
    ann.heard()
}

#[test]
fn frames_cut_at_every_byte_are_answered_alike() {
    let conversation = conversation();
    let whole = hear_conversation(0, &[&conversation]);
    assert_eq!(whole.len(), 9);
    assert_eq!(whole.last(), Some(&Said::close(CloseCode::NORMAL)));
    for at in 0..=conversation.len() {
        let (begin, end) = conversation.split_at(at);
        assert_eq!(hear_conversation(at as u64, &[begin, end]), whole, "cut at {at}");
    }
    let bytes: Vec<&[u8]> = conversation.chunks(1).collect();
    assert_eq!(hear_conversation(1, &bytes), whole, "byte by byte");
}

#[test]
fn a_conversation_in_the_rest_of_the_upgrade_is_answered_alike() {
    let conversation = conversation();
    let whole = hear_conversation(0, &[&conversation]);
    for at in 0..=conversation.len() {
        let mut shard = Shard::with(at as u64, |rules| rules.outbox_bytes_max = 64 * 1024);
        let mut ann = shard.adopt(Arrival { rest: conversation[..at].into(), ..arrival("ann") });
        ann.peer.write(&conversation[at..]);
        shard.settle();
        assert_eq!(ann.heard(), whole, "cut at {at}");
        shard.assert_empty();
    }
}

/// Something that happens to a shard. Numbers choose among what is there at that moment.
#[derive(Clone, Debug)]
enum Act {
    Connect(u8),
    Say(u8, u8),
    Garbage(u8, Vec<u8>),
    HalfMessage(u8, u8),
    SayClose(u8),
    Stall(u8, bool),
    Vanish(u8),
    Publish(u8, u16),
    /// To one connection, which may have gone long ago.
    Send(u8, u16),
    Ask(u8),
    Disconnect(u8),
    Pass(u16),
    Drain(u16),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => any::<u8>().prop_map(Act::Connect),
        8 => any::<(u8, u8)>().prop_map(|(who, what)| Act::Say(who, what)),
        1 => (any::<u8>(), prop::collection::vec(any::<u8>(), 0..40)).prop_map(|(who, bytes)| Act::Garbage(who, bytes)),
        1 => any::<(u8, u8)>().prop_map(|(who, cut)| Act::HalfMessage(who, cut)),
        1 => any::<u8>().prop_map(Act::SayClose),
        3 => any::<(u8, bool)>().prop_map(|(who, stalled)| Act::Stall(who, stalled)),
        1 => any::<u8>().prop_map(Act::Vanish),
        6 => (any::<u8>(), 0u16..400).prop_map(|(where_to, bytes)| Act::Publish(where_to, bytes)),
        3 => (any::<u8>(), 0u16..400).prop_map(|(to, bytes)| Act::Send(to, bytes)),
        2 => any::<u8>().prop_map(Act::Ask),
        1 => any::<u8>().prop_map(Act::Disconnect),
        2 => (0u16..20_000).prop_map(Act::Pass),
    ]
}

const CHANNELS: [&str; 7] = ["conv:1", "conv:2", "news", "user:u0", "user:u1", "type:driver", "all"];

fn say(client: &Client, what: u8, tokens: &[String; 3]) {
    match what % 9 {
        0 => client.say(r#"{"type":"ping"}"#),
        1 | 2 => client.subscribe(CHANNELS[usize::from(what / 9) % 3]),
        3 => client.subscribe("secret"),
        4 => client.say(&format!(r#"{{"type":"unsubscribe","channels":["{}"]}}"#, CHANNELS[usize::from(what / 9) % 7])),
        5 => client.authenticate(&tokens[usize::from(what / 9) % 3]),
        6 => client.say_frame(Opcode::Pong, b"alive"),
        7 => client.say(&format!(r#"{{"type":"typing","payload":{{"conversation_id":"{}"}}}}"#, 1 + what / 9 % 2)),
        _ => client.say("{"),
    }
}

/// A shard and everybody who ever came to it.
struct Scene {
    shard: Shard,
    clients: Vec<Client>,
    tokens: [String; 3],
    /// Commands that are to be answered, and the answers.
    asked: usize,
    answered: Arc<AtomicUsize>,
}

impl Scene {
    fn new(seed: u64, sessions: Sessions) -> Self {
        let mut shard = Shard::with(seed, |rules| {
            rules.sessions = sessions;
            (rules.messages_max, rules.message_window_ticks, rules.outbox_bytes_max) = (30, 100, OUTBOX_BYTES_MAX);
        });
        let policy = |pattern: &str, overflow| (pattern.parse().unwrap(), Policy { overflow, ..Policy::default() });
        shard.policies = Policies::new([
            policy("conv:1", Overflow::DropOldest),
            policy("conv:2", Overflow::DropNewest),
            policy("news", Overflow::Latest),
            policy("type:*", Overflow::Latest),
            policy("all", Overflow::DropOldest),
        ]);
        let tokens = [token("u0", None, 40), token("u1", Some("driver"), 3600), "nonsense".into()];
        Self { shard, clients: Vec::new(), tokens, asked: 0, answered: Arc::default() }
    }

    fn client(&self, who: u8) -> Option<&Client> {
        self.clients.get(usize::from(who) % self.clients.len().max(1))
    }

    fn connect(&mut self, how: u8) {
        if self.shard.floor.is_full() {
            return;
        }
        let mut arrival = arrival(&format!("u{}", how % 3));
        if let Some(identity) = &mut arrival.identity {
            identity.user_type = (how & 8 != 0).then(|| "driver".into());
            identity.grants = (how & 16 != 0).then(|| Grants::parse(["conv:1"]).unwrap());
            identity.expires_at = self.shard.clock.now().unix_s() + u64::from(how);
        }
        arrival.identity.take_if(|_| how & 4 != 0);
        if how & 32 != 0 {
            arrival.rest = text(r#"{"type":"ping"}"#);
        }
        let client = self.shard.adopt(arrival);
        self.clients.push(client);
    }

    fn play(&mut self, act: &Act) {
        match act {
            Act::Connect(how) => self.connect(*how),
            Act::Publish(channel, bytes) => {
                self.shard.publish(CHANNELS[usize::from(*channel) % CHANNELS.len()], &"x".repeat(usize::from(*bytes)));
            }
            Act::Send(to, bytes) => {
                let Some(to) = self.client(*to).map(|client| client.id) else { return };
                let frame = self.shard.frame(&"x".repeat(usize::from(*bytes)));
                let answer = Some(self.expect_answer());
                self.shard.command(Command::Send(Addressed { to, frame, answer }));
            }
            Act::Ask(what) => self.ask(*what),
            Act::Disconnect(user) => {
                let answer = self.expect_answer();
                let user = format!("u{}", user % 3).into();
                self.shard.command(Command::Disconnect { user, code: CloseCode::OPERATOR, answer });
            }
            Act::Pass(ms) => self.shard.pass(u64::from(*ms)),
            Act::Drain(ms) => self.shard.command(Command::Drain { over: Duration::from_millis((*ms).into()) }),
            Act::Say(who, ..)
            | Act::Garbage(who, ..)
            | Act::HalfMessage(who, ..)
            | Act::SayClose(who)
            | Act::Stall(who, ..)
            | Act::Vanish(who) => {
                if let Some(client) = self.client(*who) {
                    self.act_of(client, act);
                }
            }
        }
    }

    fn ask(&mut self, what: u8) {
        let limit = usize::from(what / 5);
        let query = match what % 5 {
            0 => Query::Connections { limit, user: None, answer: self.expect_answer() },
            1 => Query::Connections { limit, user: Some("u1".into()), answer: self.expect_answer() },
            2 => Query::Channels { prefix: "conv:".into(), limit, answer: self.expect_answer() },
            3 => Query::Kinds { answer: self.expect_answer() },
            _ => Query::Types { answer: self.expect_answer() },
        };
        self.shard.ask(query);
    }

    fn expect_answer<T: 'static>(&mut self) -> Answer<T> {
        self.asked += 1;
        let answered = self.answered.clone();
        Arc::new(move |_| _ = answered.fetch_add(1, Ordering::Relaxed))
    }

    fn act_of(&self, client: &Client, act: &Act) {
        match act {
            Act::Say(_, what) => say(client, *what, &self.tokens),
            Act::Garbage(_, bytes) => client.peer.write(bytes),
            Act::HalfMessage(_, cut) => {
                let message = text(r#"{"type":"ping","id":"half a message"}"#);
                client.peer.write(&message[..usize::from(*cut) % message.len()]);
            }
            Act::SayClose(_) => client.say_close(1000),
            Act::Stall(_, stalled) => client.peer.stall(*stalled),
            _ => client.peer.close(),
        }
    }

    /// What holds whenever nothing more is to be done.
    fn check(&self) {
        assert_eq!(self.answered.load(Ordering::Relaxed), self.asked, "every command has its one answer");
        let wire = &self.shard.floor.wire;
        let in_outboxes: usize =
            wire.connections.iter().filter_map(|(_, c)| c.outbox.as_ref()).map(|o| o.bytes()).sum();
        assert_eq!(wire.outbox_bytes, in_outboxes);
        let bounded = wire.connections.iter().filter(|(_, c)| c.is_alive()).filter_map(|(_, c)| c.outbox.as_ref());
        bounded.for_each(|outbox| assert!(outbox.bytes() <= OUTBOX_BYTES_MAX));
        let state = &self.shard.floor.state;
        let is_single = state.rules.sessions == Sessions::Single;
        assert!(!is_single || state.sessions as i64 == state.table.user_share(), "one session per user");
        let is_there = |slot| wire.connections.get(slot as usize).is_some_and(Connection::is_alive);
        assert!(state.typing.members().all(is_there), "who has left writes no more");
        let alive = wire.connections.iter().filter(|(_, c)| c.is_alive()).count();
        assert_eq!(
            self.shard.counters().upgraded.get() as usize,
            self.shard.counters().closed.total() as usize + alive
        );
    }

    /// Nobody hears anything behind a close frame, or two greetings, or half a frame of one that was closed in order.
    fn check_transcripts(&mut self) {
        for client in &mut self.clients {
            let heard = client.heard();
            let close = heard.iter().position(|said| matches!(said, Said::Close(_)));
            assert!(close.is_none_or(|at| at == heard.len() - 1), "{heard:?}");
            assert!(heard.iter().skip(1).all(|said| *said != Said::Head));
        }
    }
}

fn sessions(single: bool) -> Sessions {
    if single { Sessions::Single } else { Sessions::Multi }
}

/// What a client has heard, but for its session id, which is made of its slot: which of two closed slots
/// is free first is up to chance.
fn transcript(shard: &Shard, client: &mut Client) -> (Vec<Said>, bool) {
    let session = shard.session_id(client.id);
    let without_session = |said| match said {
        Said::Text(text) => Said::Text(text.replace(&session, "session")),
        other => other,
    };
    (client.heard().into_iter().map(without_session).collect(), client.peer.is_closed())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn everything_is_freed_whatever_happened(
        seed in any::<u64>(),
        single in any::<bool>(),
        acts in prop::collection::vec((act(), any::<bool>()), 1..60),
        drain_ms in 0u16..5000,
    ) {
        let mut scene = Scene::new(seed, sessions(single));
        for (act, settle) in &acts {
            scene.play(act);
            if *settle {
                scene.shard.settle();
                scene.check();
            } else {
                scene.shard.floor.turn(scene.shard.clock.now());
            }
        }
        // Some stalled for ever, some never answer: the deadlines end it.
        scene.play(&Act::Drain(drain_ms));
        scene.shard.pass(u64::from(drain_ms) + 5_500);
        prop_assert!(scene.shard.floor.is_done());
        scene.check();
        scene.shard.assert_empty();
        prop_assert!(!CHANNELS.iter().any(|channel| scene.shard.is_of_interest(channel)));
        prop_assert!(scene.clients.iter().all(|client| client.peer.is_closed()));
        scene.check_transcripts();
    }

    #[test]
    fn the_same_script_gives_every_peer_the_same_transcript(
        seeds in any::<[u64; 2]>(),
        single in any::<bool>(),
        acts in prop::collection::vec(act(), 1..40),
    ) {
        let transcripts = seeds.map(|seed| {
            let mut scene = Scene::new(seed, sessions(single));
            for act in &acts {
                scene.play(act);
                scene.shard.settle();
            }
            scene.shard.pass(1000);
            let Scene { shard, clients, .. } = &mut scene;
            clients.iter_mut().map(|client| transcript(shard, client)).collect::<Vec<_>>()
        });
        prop_assert_eq!(&transcripts[0], &transcripts[1]);
    }
}

#[test]
fn a_storm_of_connects_and_goodbyes_at_once_is_served() {
    for seed in 0..20 {
        let mut chance = Chance(seed);
        let mut scene = Scene::new(seed, sessions(seed % 2 == 0));
        for _ in 0..10 {
            (0..CAPACITY).for_each(|_| scene.connect(chance.below(256) as u8));
            for client in &scene.clients {
                match chance.below(3) {
                    0 => client.peer.close(),
                    1 => client.say_close(1000),
                    _ => client.peer.write(b"\x81\0"),
                }
            }
            scene.shard.pass(700);
            scene.shard.assert_empty();
        }
    }
}
