//! Messages that go to services: whatever a service says, and when, each client hears the answers to its own messages,
//! in order, each once.

mod any_order;
mod parts;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use proptest::prelude::*;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::auth::Grants;
use crate::clock::TICK_MS;
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
        // Between two ticks.
        shard.clock.advance(30);
        shard.settle();
        shard.call(&ann, "chat", 7).unwrap();
        shard.settle();
        assert_eq!(ann.heard(), []);
        let call = lock(&outside.calls)[0].clone();
        assert_eq!((&*call.content.user_id, call.content.user_type.as_deref()), ("ann", Some("driver")));
        assert_eq!((call.from, &*call.content.session_id), (ann.id, &*shard.session_id(ann.id)));
        assert_eq!((&*call.content.kind, &*call.content.body), ("chat", r#"{"type":"chat","id":7}"#));
        let told_at_ms = u64::from((shard.clock.now().tick() + 1) * TICK_MS) + TIMEOUT_MS;
        assert_eq!(call.content.deadline_us, told_at_ms * 1000, "when the client is told, and not later");

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
fn a_part_that_is_larger_than_all_that_may_wait_has_room_when_nothing_else_waits() {
    with_service(|mut shard, outside| {
        let mut ann = shard.client("ann");
        let large = "x".repeat(BYTES_OF_CONNECTION_MAX + 1);
        let reply = r#"{"type":"done"}"#;
        shard.call_with(&ann, "ask", 0, Some(reply.into())).unwrap();
        shard.call_with(&ann, "chat", 1, Some(reply.into())).unwrap();
        for _ in 0..3 {
            let told = shard.respond(ann.id, outside.ticket(0), Part::more(&large));
            shard.settle();
            shard.floor.state.calls.check();
            assert_eq!(*lock(&told), Some(Fate::Released));
        }
        shard.respond(ann.id, outside.ticket(0), Part::Taken);
        shard.settle();
        let heard = ann.heard();
        assert_eq!(heard[..3], [(); 3].map(|()| Said::text(&large)));
        assert_eq!((heard.len(), heard[3].error_code()), (4, None));
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
