//! Joins that somebody outside decides about: nobody is a member before it is granted, and what a client says about its
//! channels meanwhile keeps its order.

use std::sync::{Arc, Mutex, MutexGuard};

use crate::lane::{Authorizer, Command, Failure, Permission, Question, Verdict};
use crate::shard::pending::{MESSAGES_OF_CONNECTION_MAX, TIMEOUT_TICKS};

use super::client::{Client, Said};
use super::{Shard, under_faults_with};

/// Decides about conversations, when the test says so.
#[derive(Default)]
struct Doorkeeper {
    questions: Mutex<Vec<Question>>,
    is_away: Mutex<bool>,
}

impl Authorizer for Doorkeeper {
    fn concerns(&self, channel: &str) -> bool {
        channel.starts_with("conv:")
    }

    fn ask(&self, question: Question) -> Result<(), Failure> {
        if *lock(&self.is_away) {
            return Err(Failure::Away);
        }
        lock(&self.questions).push(question);
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody has panicked")
}

impl Doorkeeper {
    /// The only question that has come since the last time.
    fn question(&self) -> Question {
        let mut questions = lock(&self.questions);
        assert_eq!(questions.len(), 1, "{questions:?}");
        questions.remove(0)
    }

    fn asked(&self) -> usize {
        lock(&self.questions).len()
    }
}

/// Tries a promise under several seeds, with an authorizer.
fn with_doorkeeper(promise: impl Fn(Shard, Arc<Doorkeeper>)) {
    let doorkeeper = Mutex::new(Arc::<Doorkeeper>::default());
    let change = |rules: &mut crate::shard::rules::Rules| {
        *lock(&doorkeeper) = Arc::default();
        rules.channels_per_connection_max = 2 * MESSAGES_OF_CONNECTION_MAX;
        rules.authorizer = Some(lock(&doorkeeper).clone());
    };
    under_faults_with(change, |shard| promise(shard, lock(&doorkeeper).clone()));
}

/// Answers a question: granted is what `is_granted` says.
fn answer(shard: &mut Shard, question: &Question, is_granted: impl Fn(&str) -> bool) {
    let permission = |name: &str| if is_granted(name) { Permission::Granted } else { Permission::Denied };
    let permissions = question.channels.iter().map(|name| (name.clone(), permission(name))).collect();
    shard.command(Command::Permit(Verdict { to: question.from, ticket: question.ticket, permissions }));
    shard.settle();
}

fn asks(shard: &mut Shard, client: &Client, channels: &str) {
    client.say(&format!(r#"{{"type":"subscribe","channels":[{channels}]}}"#));
    shard.settle();
}

fn subscribed(channels: &str) -> String {
    format!(r#"{{"type":"subscribed","payload":{{"channels":[{channels}]}}}}"#)
}

#[test]
fn nobody_is_a_member_before_it_is_granted() {
    with_doorkeeper(|mut shard, doorkeeper| {
        let mut ann = shard.client("ann");
        asks(&mut shard, &ann, r#""conv:1","news","conv:2""#);
        assert_eq!(ann.texts(), [""; 0]);
        assert_eq!((shard.publish("conv:1", "early"), shard.publish("news", "early")), (0, 0));
        let question = doorkeeper.question();
        assert_eq!(&*question.user_id, "ann");
        assert_eq!(question.channels, ["conv:1", "conv:2"].map(Box::from));
        answer(&mut shard, &question, |name| name == "conv:1");
        let texts = ann.texts();
        assert_eq!(texts[0], subscribed(r#""conv:1","news""#));
        assert!(texts[1].contains(r#""code":"not_allowed""#) && texts[1].contains(r#"["conv:2"]"#), "{texts:?}");
        assert_eq!(["conv:1", "conv:2", "news"].map(|name| shard.publish(name, "x")), [1, 0, 1]);
        ann.texts();
        // Who is in is not asked about again.
        asks(&mut shard, &ann, r#""conv:1""#);
        assert_eq!((doorkeeper.asked(), ann.texts()), (0, vec![subscribed(r#""conv:1""#)]));
    });
}

#[test]
fn what_is_said_about_channels_meanwhile_keeps_its_order_and_nothing_else_waits() {
    with_doorkeeper(|mut shard, doorkeeper| {
        let mut ann = shard.client("ann");
        asks(&mut shard, &ann, r#""conv:1""#);
        ann.say(r#"{"type":"unsubscribe","channels":["conv:1"]}"#);
        ann.say(r#"{"type":"subscribe","channels":["conv:2"]}"#);
        ann.say(r#"{"type":"subscribe","channels":["news"]}"#);
        ann.say(r#"{"type":"ping"}"#);
        shard.settle();
        let texts = ann.texts();
        assert!(texts.len() == 1 && texts[0].contains("pong"), "{texts:?}");
        let first = doorkeeper.question();
        answer(&mut shard, &first, |_| true);
        let unsubscribed = subscribed(r#""conv:1""#).replace("subscribed", "unsubscribed");
        assert_eq!(ann.texts(), [subscribed(r#""conv:1""#), unsubscribed]);
        let second = doorkeeper.question();
        answer(&mut shard, &second, |_| true);
        assert_eq!(ann.texts(), [subscribed(r#""conv:2""#), subscribed(r#""news""#)]);
        assert_eq!(["conv:1", "conv:2", "news"].map(|name| shard.publish(name, "x")), [0, 1, 1]);
        assert!(shard.floor.state.pending.is_empty());
    });
}

#[test]
fn who_cannot_be_asked_opens_nothing() {
    with_doorkeeper(|mut shard, doorkeeper| {
        let mut ann = shard.client("ann");
        *lock(&doorkeeper.is_away) = true;
        asks(&mut shard, &ann, r#""conv:1","news""#);
        let texts = ann.texts();
        assert_eq!(texts[0], subscribed(r#""news""#));
        assert!(
            texts[1].contains(r#""code":"service_unavailable""#) && texts[1].contains(r#"["conv:1"]"#),
            "{texts:?}"
        );
        assert_eq!(shard.publish("conv:1", "x"), 0);
        *lock(&doorkeeper.is_away) = false;
        asks(&mut shard, &ann, r#""conv:1""#);
        let question = doorkeeper.question();
        answer(&mut shard, &question, |_| true);
        assert_eq!(ann.texts(), [subscribed(r#""conv:1""#)]);
    });
}

#[test]
fn a_verdict_that_does_not_come_is_none() {
    with_doorkeeper(|mut shard, doorkeeper| {
        let mut ann = shard.client("ann");
        asks(&mut shard, &ann, r#""conv:1""#);
        ann.say(r#"{"type":"subscribe","channels":["news"]}"#);
        shard.pass(u64::from(TIMEOUT_TICKS + 2) * 100);
        // Beside the pings of that time.
        let texts: Vec<String> = ann.heard().into_iter().filter_map(Said::into_text).collect();
        assert!(texts[0].contains("service_unavailable") && texts[1] == subscribed(r#""news""#), "{texts:?}");
        // And what comes later finds nobody.
        let question = doorkeeper.question();
        answer(&mut shard, &question, |_| true);
        assert_eq!((shard.publish("conv:1", "x"), shard.counters().answers_stale.get()), (0, 1));
    });
}

#[test]
fn a_verdict_for_somebody_who_has_gone_finds_nobody() {
    with_doorkeeper(|mut shard, doorkeeper| {
        let ann = shard.client("ann");
        asks(&mut shard, &ann, r#""conv:1""#);
        let question = doorkeeper.question();
        ann.say_close(1000);
        shard.settle();
        ann.peer.close();
        shard.pass(1000);
        let bob = shard.client("bob");
        assert_eq!(bob.id.slot, ann.id.slot, "the slot is used again");
        asks(&mut shard, &bob, r#""conv:2""#);
        answer(&mut shard, &question, |_| true);
        assert_eq!((shard.publish("conv:1", "x"), shard.publish("conv:2", "x")), (0, 0));
        bob.say_close(1000);
        bob.peer.close();
        shard.pass(10_000);
        shard.assert_empty();
    });
}

#[test]
fn no_more_waits_than_may() {
    with_doorkeeper(|mut shard, doorkeeper| {
        let mut ann = shard.client("ann");
        for n in 0..=MESSAGES_OF_CONNECTION_MAX {
            asks(&mut shard, &ann, &format!(r#""conv:{n}""#));
        }
        assert_eq!(ann.errors(), ["too_many_requests"]);
        for n in 0..MESSAGES_OF_CONNECTION_MAX {
            let question = doorkeeper.question();
            answer(&mut shard, &question, |_| true);
            assert_eq!(ann.texts(), [subscribed(&format!(r#""conv:{n}""#))]);
        }
        assert!(shard.floor.state.pending.is_empty());
    });
}
