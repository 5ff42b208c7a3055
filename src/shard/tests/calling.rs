//! Messages that go to services: whatever a service says, and when, each client hears the answers to its own messages,
//! in order, each once.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use proptest::prelude::*;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::auth::Grants;
use crate::lane::call::STREAM_WINDOW;
use crate::lane::{Call, Command, ConnectionId, Failure, Fate, Part, Remote, Response, Service, Services, Ticket};
use crate::shard::calls::{BYTES_OF_CONNECTION_MAX, CALLS_OF_CONNECTION_MAX};
use crate::shard::session::calling::Forwarded;
use crate::shard::session::error::SessionError;
use crate::shard::session::{Effects, Session};
use crate::ws::frame::encode_text;

use super::client::{Client, Said};
use super::{SHARD, Shard, under_faults_with};

const TIMEOUT_MS: u64 = 3000;

/// A service outside, of which the test sees everything, and says what it answers.
#[derive(Default)]
struct Outside {
    calls: Mutex<Vec<Call>>,
    forgotten: Mutex<Vec<(ConnectionId, Ticket)>>,
    refuses: Mutex<Option<Failure>>,
}

impl Service for Outside {
    fn call(&self, call: Call) -> Result<(), Failure> {
        match *lock(&self.refuses) {
            Some(failure) => Err(failure),
            None => {
                lock(&self.calls).push(call);
                Ok(())
            }
        }
    }

    fn forget(&self, to: ConnectionId, ticket: Ticket) {
        lock(&self.forgotten).push((to, ticket));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody has panicked")
}

impl Outside {
    fn services(self: &Arc<Self>) -> Services {
        let remote = Remote::new(self.clone(), Duration::from_millis(TIMEOUT_MS));
        Services::new(
            SHARD + 1,
            [("outside".into(), Some(remote.clone())), ("chat".into(), Some(remote)), ("here".into(), None)],
        )
    }

    /// The ticket of the call that came as the `at`th.
    fn ticket(&self, at: usize) -> Ticket {
        lock(&self.calls)[at].ticket
    }

    fn forgotten(&self) -> usize {
        lock(&self.forgotten).len()
    }
}

/// Tries a promise under several seeds, with a service.
fn with_service(promise: impl Fn(Shard, Arc<Outside>)) {
    let outside = Mutex::new(Arc::<Outside>::default());
    let change = |rules: &mut crate::shard::rules::Rules| {
        *lock(&outside) = Arc::default();
        rules.services = lock(&outside).services();
    };
    under_faults_with(change, |shard| promise(shard, lock(&outside).clone()));
}

impl Shard {
    /// A client's message for the service, with its number as `id` and in the reply.
    fn call(&mut self, client: &Client, kind: &'static str, id: usize) -> Result<(), SessionError> {
        self.call_with(client, kind, id, Some(format!(r#"{{"type":"taken","id":{id}}}"#)))
    }

    fn call_with(
        &mut self,
        client: &Client,
        kind: &'static str,
        id: usize,
        reply: Option<String>,
    ) -> Result<(), SessionError> {
        let slot = client.id.slot;
        let raw: Box<RawValue> = serde_json::from_str(&id.to_string()).expect("a number is JSON");
        let service = self.floor.state.rules.services.find("outside").expect("it is there");
        let body = format!(r#"{{"type":"{kind}","id":{id}}}"#).into();
        let (reply, kind) = (reply.map(|reply| encode_text(&reply)), kind.into());
        let forwarded = Forwarded { service, kind, id: Some(&raw), body, channel: None, key: None, reply };
        let mut effects = Effects::default();
        let mut session = Session { state: &mut self.floor.state, slot, effects: &mut effects };
        let called = session.call(&self.floor.wire.connections[slot as usize], forwarded);
        effects.frames.drain(..).for_each(|frame| self.floor.wire.send(slot, frame));
        called
    }

    /// A service says something; told is what becomes of it, as far as that is known already.
    fn respond(&mut self, to: ConnectionId, ticket: Ticket, part: Part) -> Told {
        let told = Told::default();
        let tell = told.clone();
        let fate = Arc::new(move |fate| assert_eq!(lock(&tell).replace(fate), None, "told twice"));
        self.command(Command::Respond(Response { to, ticket, part, fate: Some(fate) }));
        told
    }
}

type Told = Arc<Mutex<Option<Fate>>>;

fn taken(id: usize) -> Said {
    Said::text(&format!(r#"{{"type":"taken","id":{id}}}"#))
}

#[test]
fn a_message_reaches_its_service_with_who_says_it_and_its_answer_reaches_him() {
    with_service(|mut shard, outside| {
        let mut ann = shard.client_with("ann", |identity, _| identity.user_type = Some("driver".into()));
        let mut bob = shard.client("bob");
        shard.call(&ann, "chat", 7).unwrap();
        shard.settle();
        assert_eq!(ann.heard(), []);
        let call = lock(&outside.calls)[0].clone();
        assert_eq!((&*call.content.user_id, call.content.user_type.as_deref()), ("ann", Some("driver")));
        assert_eq!((call.from, &*call.content.session_id), (ann.id, &*shard.session_id(ann.id)));
        assert_eq!((&*call.content.kind, &*call.content.body), ("chat", r#"{"type":"chat","id":7}"#));
        assert_eq!(call.content.deadline_us, shard.clock.now().us + TIMEOUT_MS * 1000);

        shard.respond(ann.id, call.ticket, Part::Taken);
        shard.settle();
        assert_eq!((ann.heard(), bob.heard()), (vec![taken(7)], vec![]));
        shard.call(&ann, "ask", 8).unwrap();
        shard.respond(ann.id, outside.ticket(1), Part::message("as it \u{1f600} is"));
        shard.settle();
        assert_eq!(ann.texts(), ["as it \u{1f600} is"]);
        assert!(shard.floor.state.calls.is_empty());
        assert_eq!(outside.forgotten(), 0);
    });
}

#[test]
fn a_route_whose_service_is_outside_hands_the_message_over_and_answers_when_it_is_taken() {
    with_service(|mut shard, outside| {
        let [mut ann, mut bob] = ["ann", "bob"].map(|user| {
            let mut member = shard.client_with(user, |identity, _| identity.grants = Grants::parse(["clan:*"]).ok());
            member.say(r#"{"type":"subscribe_clan_chat","clanId":"k1"}"#);
            shard.settle();
            assert_eq!(member.texts().len(), 1);
            member
        });
        ann.say(r#"{"type":"chat","clanId":"k2","content":"hello"}"#);
        ann.say(r#"{"type":"chat","id":5,"clanId":"k1","content":"{user_id} \"hello\""}"#);
        shard.settle();
        assert_eq!((ann.errors(), bob.heard()), (vec!["not_subscribed".to_owned()], vec![]));
        let call = lock(&outside.calls)[0].clone();
        assert_eq!(
            (&*call.content.kind, call.content.channel.as_deref(), call.content.key.as_deref()),
            ("chat", Some("clan:k1"), Some("k1"))
        );
        let body: Value = serde_json::from_str(&call.content.body).unwrap();
        assert_eq!((&body["userId"], &body["content"]), (&"ann".into(), &r#"{user_id} "hello""#.into()));

        shard.respond(ann.id, call.ticket, Part::Taken);
        shard.settle();
        let reply: Value = serde_json::from_str(&ann.texts()[0]).unwrap();
        assert_eq!((&reply["type"], &reply["id"]), (&"message_sent".into(), &5.into()));
        assert_eq!(reply["messageId"], body["messageId"], "both name the same message");
        assert_eq!(bob.heard(), [], "what the channel hears is the service's to say");
    });
}

#[test]
fn answers_of_one_type_leave_in_the_order_of_the_messages_and_other_types_do_not_wait() {
    with_service(|mut shard, outside| {
        let mut ann = shard.client("ann");
        for (id, kind) in ["chat", "chat", "ask", "chat"].into_iter().enumerate() {
            shard.call(&ann, kind, id).unwrap();
        }
        for (at, heard) in [(3, vec![]), (1, vec![]), (2, vec![taken(2)]), (0, vec![taken(0), taken(1), taken(3)])] {
            shard.respond(ann.id, outside.ticket(at), Part::Taken);
            shard.settle();
            assert_eq!(ann.heard(), heard, "{at}");
        }
        assert!(shard.floor.state.calls.is_empty());
    });
}

#[test]
fn what_is_not_answered_in_time_is_told_in_its_place_and_a_late_answer_is_dropped() {
    with_service(|mut shard, outside| {
        let mut ann = shard.client("ann");
        shard.call(&ann, "chat", 0).unwrap();
        shard.call(&ann, "chat", 1).unwrap();
        shard.respond(ann.id, outside.ticket(1), Part::Taken);
        shard.pass(TIMEOUT_MS - 200);
        assert_eq!(ann.heard(), []);
        shard.pass(300);
        let heard = ann.heard();
        assert_eq!(heard[0].error_code().as_deref(), Some("service_unavailable"));
        let Said::Text(error) = &heard[0] else { unreachable!("it has a code") };
        assert!(error.contains(r#""request":"chat""#) && error.ends_with(r#","id":0}"#), "{error}");
        assert_eq!(heard[1..], [taken(1)]);
        assert_eq!(lock(&outside.forgotten)[..], [(ann.id, outside.ticket(0))]);

        let told = shard.respond(ann.id, outside.ticket(0), Part::Taken);
        shard.settle();
        assert_eq!((ann.heard(), *lock(&told)), (vec![], Some(Fate::Gone)));
        assert_eq!(shard.counters().answers_stale.get(), 1);
        let service = shard.floor.state.rules.services.find("outside").unwrap();
        let counters = shard.floor.state.calls.counters(service);
        assert_eq!((counters.calls.get(), counters.late.get(), counters.outstanding.get()), (2, 1, 0));
    });
}

#[test]
fn a_shard_that_stood_still_looks_at_the_answers_before_it_judges() {
    with_service(|mut shard, outside| {
        let mut ann = shard.client("ann");
        shard.call(&ann, "chat", 0).unwrap();
        shard.settle();
        shard.clock.advance(TIMEOUT_MS * 2);
        shard.floor.turn(shard.clock.now());
        shard.respond(ann.id, outside.ticket(0), Part::Taken);
        shard.settle();
        assert_eq!(
            ann.heard().into_iter().filter(|said| matches!(said, Said::Text(_))).collect::<Vec<_>>(),
            [taken(0)]
        );
    });
}

#[test]
fn an_answer_that_waits_in_the_lane_is_not_late_and_none_is() {
    with_service(|mut shard, outside| {
        let mut ann = shard.client("ann");
        shard.call(&ann, "chat", 0).unwrap();
        shard.call(&ann, "ask", 1).unwrap();
        shard.pass(TIMEOUT_MS - 100);
        for _ in 0..400 {
            shard.post("conv:1", "to nobody");
        }
        shard.respond(ann.id, outside.ticket(0), Part::Taken);
        // A turn takes a few of them, and takes long.
        shard.clock.slow_down(1000);
        while !shard.floor.lane.is_empty() {
            shard.floor.turn(shard.clock.now());
            shard.clock.advance(10);
        }
        shard.clock.slow_down(0);
        shard.pass(200);
        let heard = ann.heard();
        assert_eq!((&heard[0], heard[1].error_code().as_deref()), (&taken(0), Some("service_unavailable")));
        assert!(shard.floor.state.calls.is_empty());
    });
}

#[test]
fn what_its_service_refuses_is_told_in_its_place() {
    with_service(|mut shard, outside| {
        let mut ann = shard.client("ann");
        shard.call(&ann, "chat", 0).unwrap();
        for (id, failure) in [(1, Failure::Full), (2, Failure::Away)] {
            *lock(&outside.refuses) = Some(failure);
            shard.call(&ann, "chat", id).unwrap();
        }
        shard.settle();
        assert_eq!(ann.heard(), []);
        shard.respond(ann.id, outside.ticket(0), Part::Failed(Failure::Refused));
        shard.settle();
        assert_eq!(ann.errors(), ["service_refused", "busy", "service_unavailable"]);
        assert_eq!((shard.counters().errors_sent.get(), outside.forgotten()), (3, 0));
        assert!(shard.floor.state.calls.is_empty());
    });
}

#[test]
fn no_more_messages_wait_for_one_connection_than_may_and_others_are_not_concerned() {
    with_service(|mut shard, outside| {
        let [ann, bob] = [shard.client("ann"), shard.client("bob")];
        for id in 0..CALLS_OF_CONNECTION_MAX {
            shard.call(&ann, "chat", id).unwrap();
        }
        assert_eq!(shard.call(&ann, "ask", 99), Err(SessionError::TooManyRequests));
        assert_eq!(shard.call(&bob, "ask", 0), Ok(()));
        // An answer that has to wait still takes its place.
        shard.respond(ann.id, outside.ticket(1), Part::Taken);
        shard.settle();
        assert_eq!(shard.call(&ann, "ask", 99), Err(SessionError::TooManyRequests));
        shard.respond(ann.id, outside.ticket(0), Part::Taken);
        shard.settle();
        assert_eq!(shard.call(&ann, "ask", 99), Ok(()));
    });
}

#[test]
fn what_waits_for_one_connection_is_bounded_in_bytes() {
    with_service(|mut shard, outside| {
        let mut ann = shard.client("ann");
        let large = "x".repeat(BYTES_OF_CONNECTION_MAX / 4);
        (0..6).for_each(|id| shard.call_with(&ann, "chat", id, None).unwrap());
        for at in 1..6 {
            shard.respond(ann.id, outside.ticket(at), Part::message(&large));
            shard.settle();
            shard.floor.state.calls.check();
        }
        let large_reply = shard.call_with(&ann, "chat", 6, Some(large.clone()));
        assert_eq!(large_reply, Err(SessionError::TooManyRequests));
        shard.respond(ann.id, outside.ticket(0), Part::Taken);
        shard.settle();
        let heard = ann.heard();
        let codes: Vec<_> = heard.iter().map(Said::error_code).collect();
        assert_eq!(codes, [None, None, None, Some("busy".to_owned()), Some("busy".to_owned())]);
    });
}

#[test]
fn nothing_is_left_of_who_has_gone_and_an_answer_does_not_reach_who_came_in_his_place() {
    with_service(|mut shard, outside| {
        let ann = shard.client("ann");
        (0..3).for_each(|id| shard.call(&ann, "chat", id).unwrap());
        shard.respond(ann.id, outside.ticket(1), Part::Taken);
        shard.settle();
        ann.peer.close();
        shard.settle();
        assert!(shard.floor.state.calls.is_empty());
        assert_eq!(outside.forgotten(), 2, "one had been answered");
        let mut eve = shard.client("eve");
        assert_eq!(eve.id.slot, ann.id.slot, "the slot is used again");
        shard.call(&eve, "chat", 9).unwrap();
        for (to, ticket) in [(ann.id, 0), (ann.id, 1), (eve.id, 0), (eve.id, 1), (ann.id, 3)] {
            let told = shard.respond(to, outside.ticket(ticket), Part::message("for ann"));
            shard.settle();
            assert_eq!(*lock(&told), Some(Fate::Gone));
        }
        assert_eq!(shard.counters().answers_stale.get(), 5);
        shard.respond(eve.id, outside.ticket(3), Part::Taken);
        shard.settle();
        assert_eq!(eve.heard(), [taken(9)]);
    });
}

#[test]
fn an_answer_in_parts_is_as_fast_as_its_client_and_makes_nobody_too_slow() {
    with_service(|mut shard, outside| {
        let mut ann = shard.client("ann");
        shard.call_with(&ann, "ask", 0, None).unwrap();
        ann.peer.stall(true);
        // Far more than an outbox holds, as fast as the service is let.
        let parts: Vec<String> = (0..100).map(|n| format!("{n} {}", "x".repeat(4000))).collect();
        let (mut sent, mut waiting) = (0, Vec::<Told>::new());
        for round in 0..1000 {
            waiting.retain(|told| lock(told).is_none());
            while waiting.len() < STREAM_WINDOW && sent < parts.len() {
                waiting.push(shard.respond(ann.id, outside.ticket(0), Part::more(&parts[sent])));
                sent += 1;
            }
            shard.settle();
            shard.floor.state.calls.check();
            if round == 20 {
                assert!(sent < 40, "{sent} parts were taken for a client that does not read");
                // However long that lasts, the service owes nothing.
                shard.pass(TIMEOUT_MS * 3);
                ann.peer.stall(false);
            }
        }
        assert_eq!((sent, waiting.len()), (parts.len(), 0));
        shard.respond(ann.id, outside.ticket(0), Part::Taken);
        shard.settle();
        let texts: Vec<Said> = ann.heard().into_iter().filter(|said| matches!(said, Said::Text(_))).collect();
        assert_eq!(texts, parts.iter().map(|part| Said::text(part)).collect::<Vec<_>>());
        assert!(shard.floor.state.calls.is_empty());
        assert_eq!(shard.closed("too_slow"), 0);
    });
}

#[test]
fn a_service_that_says_more_than_the_window_holds_is_broken_off_and_the_client_told() {
    with_service(|mut shard, outside| {
        let mut ann = shard.client("ann");
        shard.call_with(&ann, "ask", 0, None).unwrap();
        shard.call_with(&ann, "ask", 1, None).unwrap();
        let told: Vec<_> = (0..10_000).map(|n| shard.flood(ann.id, outside.ticket(1), n)).collect();
        assert_eq!(outside.forgotten(), 1);
        assert!(told[STREAM_WINDOW..].iter().all(|told| *lock(told) == Some(Fate::Gone)));
        shard.respond(ann.id, outside.ticket(0), Part::Taken);
        shard.settle();
        let heard = ann.heard();
        assert_eq!(heard.len(), STREAM_WINDOW + 1);
        assert_eq!(heard.last().and_then(Said::error_code).as_deref(), Some("busy"));
    });
}

impl Shard {
    fn flood(&mut self, to: ConnectionId, ticket: Ticket, n: usize) -> Told {
        let told = self.respond(to, ticket, Part::more(&format!("{n}")));
        if n % 100 == 99 {
            self.settle();
            self.floor.state.calls.check();
        }
        told
    }
}

#[test]
fn a_silent_stream_is_late_and_one_that_goes_on_is_not() {
    with_service(|mut shard, outside| {
        let mut ann = shard.client("ann");
        shard.call_with(&ann, "ask", 0, None).unwrap();
        for n in 0..5 {
            shard.respond(ann.id, outside.ticket(0), Part::more(&n.to_string()));
            shard.pass(TIMEOUT_MS - 500);
        }
        assert_eq!(ann.texts().len(), 5);
        shard.pass(1000);
        assert_eq!(ann.errors(), ["service_unavailable"]);
    });
}

#[test]
fn who_is_silent_is_late_also_with_parts_that_wait_for_an_earlier_answer() {
    with_service(|mut shard, outside| {
        let mut ann = shard.client("ann");
        for id in 0..4 {
            shard.call_with(&ann, "ask", id, None).unwrap();
            shard.respond(ann.id, outside.ticket(id), Part::more("and more"));
        }
        shard.pass(TIMEOUT_MS * 2);
        assert_eq!(ann.errors(), ["service_unavailable"; 4]);
        assert!(shard.floor.state.calls.is_empty());
    });
}

/// Something that happens. Numbers choose among what is there at that moment.
#[derive(Clone, Debug)]
enum Act {
    Connect,
    Call {
        who: u8,
        kind: bool,
        has_reply: bool,
    },
    /// To any call that ever was.
    Respond {
        call: u16,
        part: u8,
        bytes: u16,
    },
    Refuse(bool),
    Stall(u8, bool),
    Vanish(u8),
    SayClose(u8),
    Pass(u16),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        2 => Just(Act::Connect),
        10 => any::<(u8, bool, bool)>().prop_map(|(who, kind, has_reply)| Act::Call { who, kind, has_reply }),
        // One part of each type may be on its way at once: with errors for all other calls they fit into an outbox.
        20 => (any::<u16>(), any::<u8>(), 0u16..10_000)
            .prop_map(|(call, part, bytes)| Act::Respond { call, part, bytes }),
        1 => any::<bool>().prop_map(Act::Refuse),
        3 => any::<(u8, bool)>().prop_map(|(who, stalled)| Act::Stall(who, stalled)),
        1 => any::<u8>().prop_map(Act::Vanish),
        1 => any::<u8>().prop_map(Act::SayClose),
        2 => (0u16..2000).prop_map(Act::Pass),
    ]
}

/// A call and what the service said to it.
struct Asked {
    client: usize,
    kind: &'static str,
    /// None: the service refused it.
    ticket: Option<Ticket>,
    said: Vec<(Told, String)>,
}

struct Scene {
    shard: Shard,
    outside: Arc<Outside>,
    clients: Vec<Client>,
    asked: Vec<Asked>,
}

impl Scene {
    fn new(seed: u64) -> Self {
        let outside = Arc::<Outside>::default();
        let shard = Shard::with(seed, |rules| rules.services = outside.services());
        Self { shard, outside, clients: Vec::new(), asked: Vec::new() }
    }

    fn play(&mut self, act: &Act) {
        let who = |who: u8, clients: &[Client]| usize::from(who) % clients.len().max(1);
        match *act {
            Act::Connect if self.clients.len() < 6 => {
                let client = self.shard.client(&format!("u{}", self.clients.len()));
                self.clients.push(client);
            }
            Act::Refuse(refuses) => *lock(&self.outside.refuses) = refuses.then_some(Failure::Away),
            Act::Pass(ms) => self.shard.pass(ms.into()),
            Act::Call { who: client, kind, has_reply } if !self.clients.is_empty() => {
                self.call(who(client, &self.clients), if kind { "chat" } else { "ask" }, has_reply);
            }
            Act::Respond { call, part, bytes } if !self.asked.is_empty() => {
                self.respond(usize::from(call) % self.asked.len(), part, bytes);
            }
            Act::Stall(client, stalled) if !self.clients.is_empty() => {
                self.clients[who(client, &self.clients)].peer.stall(stalled);
            }
            Act::Vanish(client) if !self.clients.is_empty() => self.clients[who(client, &self.clients)].peer.close(),
            Act::SayClose(client) if !self.clients.is_empty() => {
                self.clients[who(client, &self.clients)].say_close(1000);
            }
            _ => {}
        }
    }

    fn call(&mut self, client: usize, kind: &'static str, has_reply: bool) {
        let id = self.asked.len();
        if !self.is_open(client) {
            return;
        }
        let reply = has_reply.then(|| format!(r#"{{"call":{id},"reply":true}}"#));
        let before = lock(&self.outside.calls).len();
        if self.shard.call_with(&self.clients[client], kind, id, reply).is_ok() {
            let ticket = lock(&self.outside.calls).get(before).map(|call| call.ticket);
            self.asked.push(Asked { client, kind, ticket, said: Vec::new() });
        }
    }

    fn is_open(&self, client: usize) -> bool {
        let Client { id, peer, .. } = &self.clients[client];
        let is_alive = |slot: u32| self.shard.floor.wire.connections[slot as usize].is_alive();
        !peer.is_closed() && self.shard.floor.is_current(*id) && is_alive(id.slot)
    }

    fn respond(&mut self, call: usize, part: u8, bytes: u16) {
        let Asked { client, ticket: Some(ticket), said, .. } = &mut self.asked[call] else { return };
        let text = format!(r#"{{"call":{call},"n":{},"x":"{}"}}"#, said.len(), "x".repeat(bytes.into()));
        let (part, text) = match part % 8 {
            0 => (Part::Taken, String::new()),
            1 => (Part::message(&text), text),
            2 => (Part::Failed(Failure::Refused), String::new()),
            _ => (Part::more(&text), text),
        };
        let told = self.shard.respond(self.clients[*client].id, *ticket, part);
        said.push((told, text));
    }

    /// What each client that stayed has heard about each of its calls.
    fn check(&mut self) {
        for client in 0..self.clients.len() {
            let heard: Vec<String> = self.clients[client].heard().into_iter().filter_map(text_of).collect();
            // Who has gone may have missed the end, but what he heard was his and in order.
            let stayed = self.is_open(client);
            let calls: Vec<Value> = heard.iter().map(|text| serde_json::from_str(text).expect("whole JSON")).collect();
            let number = |value: &Value| value["call"].as_u64().or(value["id"].as_u64()).expect("a number") as usize;
            assert!(calls.iter().all(|value| self.asked[number(value)].client == client), "another one's answer");
            for kind in ["chat", "ask"] {
                let of_kind = calls.iter().map(&number).filter(|call| self.asked[*call].kind == kind);
                assert!(of_kind.is_sorted(), "out of order");
            }
            for (call, asked) in self.asked.iter().enumerate().filter(|(_, asked)| asked.client == client) {
                let about = calls.iter().zip(&heard).filter(|(value, _)| number(value) == call);
                let (values, texts): (Vec<_>, Vec<_>) = about.unzip();
                asked.check(&values, &texts, stayed);
            }
        }
    }
}

fn text_of(said: Said) -> Option<String> {
    match said {
        Said::Text(text) => Some(text),
        _ => None,
    }
}

impl Asked {
    fn check(&self, values: &[&Value], texts: &[&String], stayed: bool) {
        let fates: Vec<Option<Fate>> = self.said.iter().map(|(told, _)| *lock(told)).collect();
        assert!(fates.iter().all(Option::is_some), "nobody is left waiting: {fates:?}");
        let gone = fates.iter().position(|fate| *fate == Some(Fate::Gone)).unwrap_or(fates.len());
        assert!(fates[gone..].iter().all(|fate| *fate == Some(Fate::Gone)), "nothing follows a gap: {fates:?}");
        let released = self.said[..gone].iter().map(|(_, text)| text).filter(|text| !text.is_empty());
        let messages = texts.iter().copied().filter(|text| text.contains(r#""n":"#));
        match stayed {
            true => assert!(messages.eq(released), "what was released was heard, in order, once"),
            false => assert!(messages.zip(released).all(|(heard, released)| heard == released)),
        }
        let ends: Vec<usize> =
            (0..values.len()).filter(|at| values[*at]["reply"] == true || values[*at]["type"] == "error").collect();
        assert!(ends.len() <= 1 && ends.iter().all(|at| *at == values.len() - 1), "an end is one and last: {values:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn whatever_services_say_each_client_hears_its_own_answers_in_order_and_once(
        seed in any::<u64>(),
        acts in prop::collection::vec((act(), any::<bool>()), 1..150),
    ) {
        let mut scene = Scene::new(seed);
        for (act, settles) in &acts {
            scene.play(act);
            match settles {
                true => scene.shard.settle(),
                false => drop(scene.shard.floor.turn(scene.shard.clock.now())),
            }
            scene.shard.floor.state.calls.check();
        }
        scene.clients.iter().for_each(|client| client.peer.stall(false));
        scene.shard.pass(TIMEOUT_MS * 5);
        prop_assert!(scene.shard.floor.state.calls.is_empty(), "every call ends");
        let service = scene.shard.floor.state.rules.services.find("outside").unwrap();
        prop_assert_eq!(scene.shard.floor.state.calls.counters(service).outstanding.get(), 0);
        scene.check();
        prop_assert_eq!(scene.shard.closed("too_slow"), 0);
    }
}
