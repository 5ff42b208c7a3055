//! Messages of which nobody knows whether RabbitMQ lets us write to their keys. They wait until the
//! [`asker`](super::asker) has an answer, and go out then, or are refused.
//!
//! What one user says goes out in its order: who has something here has all here that comes behind it. A user whose key
//! is refused is a suspect for a while: what he has here, and what he says from then on, waits behind what all others
//! have here. So each who tries keys costs the others one question.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use lapin::types::ShortString;

use crate::lane::Failure;
use crate::service::Job;

use super::asker::Question;
use super::keys::is_about;

/// Keys of one question: what goes to RabbitMQ in one write.
const ASKED_MAX: usize = 64;

/// Of one user; there are as many altogether as the service's `queue` lets in.
const OF_A_USER_MAX: usize = 64;

/// After so long without a refusal a user is as others are.
const SUSPECTED_FOR: Duration = Duration::from_secs(60);

/// Suspects. When there are more, those who have nothing here are forgotten.
const SUSPECTS_MAX: usize = 4096;

pub struct Doubtful {
    /// Those who are no suspects.
    first: Line,
    suspects: Line,
    /// How many messages a user has in both.
    of_users: HashMap<Box<str>, usize>,
    refused_at: HashMap<Box<str>, Instant>,
    /// The answer that is on its way is about others.
    is_outdated: bool,
    ask_max: usize,
}

#[derive(Default)]
struct Line {
    waiting: VecDeque<Message>,
    /// So many of them, in front, are asked about now.
    asked: usize,
}

pub struct Message {
    pub job: Job,
    pub key: ShortString,
    /// It had one when it was sent before.
    pub id: Option<ShortString>,
}

/// What an answer says of those that were asked about.
#[derive(Default)]
pub struct Verdict {
    pub allowed: Vec<Message>,
    pub refused: Option<Message>,
}

impl Default for Doubtful {
    fn default() -> Self {
        Self {
            first: Line::default(),
            suspects: Line::default(),
            of_users: HashMap::new(),
            refused_at: HashMap::new(),
            is_outdated: false,
            ask_max: ASKED_MAX,
        }
    }
}

impl Doubtful {
    pub fn has(&self, user: &str) -> bool {
        self.of_users.contains_key(user)
    }

    /// Behind the others of its line. A user has room for some.
    pub fn push(&mut self, message: Message, now: Instant) {
        let user = &message.job.content.user_id;
        if self.of_users.get(user).is_some_and(|messages| *messages >= OF_A_USER_MAX) {
            message.job.fail(Failure::Full);
            return;
        }
        let is_suspect = self.is_suspect(user, now);
        if !is_suspect {
            self.refused_at.remove(user);
        }
        *self.of_users.entry(user.clone()).or_default() += 1;
        self.line(is_suspect).waiting.push_back(message);
    }

    /// Before all others of its line: they were sent before those came.
    pub fn put_first(&mut self, messages: Vec<Message>, now: Instant) {
        self.is_outdated = self.is_asking();
        for message in messages.into_iter().rev() {
            let user = &message.job.content.user_id;
            let is_suspect = self.is_suspect(user, now);
            *self.of_users.entry(user.clone()).or_default() += 1;
            self.line(is_suspect).waiting.push_front(message);
        }
    }

    /// Nobody will answer what was asked.
    pub fn forget_question(&mut self) {
        (self.first.asked, self.suspects.asked, self.is_outdated) = (0, 0, false);
    }

    /// What is to be asked now. Who was told meanwhile that it is too late, and whose key was refused meanwhile, is not
    /// asked about.
    pub fn question(&mut self, mut is_refused: impl FnMut(&str) -> bool) -> Option<Question> {
        if self.is_asking() {
            return None;
        }
        let mut keys = Vec::new();
        for line in [&mut self.first, &mut self.suspects] {
            while keys.len() < self.ask_max
                && let Some(message) = line.waiting.get(line.asked)
            {
                let failure = match message {
                    _ if message.job.time_left().is_zero() => Failure::Late,
                    _ if is_refused(message.key.as_str()) => Failure::Refused,
                    _ => {
                        keys.push(message.key.clone());
                        line.asked += 1;
                        continue;
                    }
                };
                if let Some(message) = line.waiting.remove(line.asked) {
                    count_out(&mut self.of_users, &message);
                    message.job.fail(failure);
                }
            }
        }
        (!keys.is_empty()).then_some(keys)
    }

    /// Those that an answer settles leave. `None` when it is about no key that was asked about.
    pub fn answered(&mut self, refusal: Option<&str>, now: Instant) -> Option<Verdict> {
        let (first, suspects, is_outdated) = (self.first.asked, self.suspects.asked, self.is_outdated);
        self.forget_question();
        if is_outdated {
            return Some(Verdict::default());
        }
        let mut asked: Vec<Message> = self.first.waiting.drain(..first).collect();
        asked.extend(self.suspects.waiting.drain(..suspects));
        asked.iter().for_each(|message| count_out(&mut self.of_users, message));
        let Some(words) = refusal else {
            self.ask_max = ASKED_MAX;
            return Some(Verdict { allowed: asked, refused: None });
        };
        let mut meant = asked.iter().enumerate().filter(|(_, message)| is_about(words, message.key.as_str()));
        let Some((at, Message { key, .. })) = meant.next() else {
            self.put_first(asked, now);
            return None;
        };
        let is_one_key = meant.all(|(_, other)| other.key == *key);
        // Long keys are cut off in what RabbitMQ says: then the first that may be meant is asked about alone.
        self.ask_max = if is_one_key { ASKED_MAX } else { 1 };
        let mut rest = asked.split_off(at).into_iter();
        let refused = if is_one_key { rest.next() } else { None };
        self.put_first(rest.collect(), now);
        if let Some(message) = &refused {
            self.suspect(&message.job.content.user_id, now);
        }
        Some(Verdict { allowed: asked, refused })
    }

    fn is_asking(&self) -> bool {
        self.first.asked + self.suspects.asked > 0
    }

    fn line(&mut self, is_suspect: bool) -> &mut Line {
        if is_suspect { &mut self.suspects } else { &mut self.first }
    }

    /// A suspect stays one as long as he has something here: what comes next goes behind that.
    fn is_suspect(&self, user: &str, now: Instant) -> bool {
        let refused_at = self.refused_at.get(user);
        refused_at.is_some_and(|at| now - *at <= SUSPECTED_FOR || self.has(user))
    }

    /// All that a new suspect has here goes to the end of the suspects' line.
    fn suspect(&mut self, user: &str, now: Instant) {
        if self.refused_at.len() >= SUSPECTS_MAX {
            self.refused_at.retain(|user, _| self.of_users.contains_key(user));
        }
        let was_suspect = self.is_suspect(user, now);
        self.refused_at.insert(user.into(), now);
        if !was_suspect && self.has(user) {
            let all = std::mem::take(&mut self.first.waiting).into_iter();
            let (theirs, others): (VecDeque<_>, VecDeque<_>) =
                all.partition(|message| *message.job.content.user_id == *user);
            self.first.waiting = others;
            self.suspects.waiting.extend(theirs);
        }
    }
}

/// It leaves.
fn count_out(of_users: &mut HashMap<Box<str>, usize>, message: &Message) {
    let user = &message.job.content.user_id;
    if let Some(messages) = of_users.get_mut(user) {
        *messages -= 1;
        if *messages == 0 {
            of_users.remove(user);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::channel::Policies;
    use crate::lane::{Bus, Call, Command, ConnectionId, Content, LaneEnd, Part, Service, Ticket};
    use crate::service::{Jobs, Queue, ServiceStatus};

    struct Users {
        queue: Queue,
        jobs: Jobs,
        end: LaneEnd,
        doubtful: Doubtful,
    }

    impl Users {
        fn new() -> Self {
            let (bus, mut ends) = Bus::open(1, Arc::default(), Policies::default(), Duration::ZERO).expect("a lane");
            let status = Arc::new(ServiceStatus::new("chat", "rabbitmq", 1000));
            status.link.connected();
            let (queue, jobs) = Queue::new(bus, status);
            Self { queue, jobs, end: ends.remove(0), doubtful: Doubtful::default() }
        }

        fn message(&mut self, user: &str, key: &str) -> Message {
            let from = ConnectionId { shard: 0, slot: 1, generation: 2 };
            let content = Content { user_id: user.into(), deadline_us: u64::MAX, ..Content::default() };
            self.queue.call(Call { from, ticket: Ticket(1), content }).expect("room");
            Message { job: self.jobs.try_next().expect("a job"), key: key.into(), id: None }
        }

        fn say(&mut self, user: &str, key: &str) {
            let message = self.message(user, key);
            self.doubtful.push(message, Instant::now());
        }

        fn asked(&mut self) -> Vec<String> {
            let question = self.doubtful.question(|_| false).expect("there are some");
            question.iter().map(ToString::to_string).collect()
        }

        /// Which keys are allowed, and which is refused.
        fn answered(&mut self, refused: Option<&str>) -> (Vec<String>, Option<String>) {
            let words = refused.map(|key| format!("ACCESS_REFUSED - write access to topic '{key}"));
            let verdict = self.doubtful.answered(words.as_deref(), Instant::now()).expect("it is about one of them");
            let keys = verdict.allowed.iter().map(|message| message.key.to_string()).collect();
            (keys, verdict.refused.map(|message| message.key.to_string()))
        }
    }

    #[test]
    fn who_is_refused_stands_behind_all_others() {
        let mut users = Users::new();
        for (user, key) in [("ana", "a1"), ("eve", "e1"), ("eve", "e2"), ("bob", "b1"), ("eve", "e3"), ("bob", "b2")] {
            users.say(user, key);
        }
        assert_eq!(users.asked(), ["a1", "e1", "e2", "b1", "e3", "b2"]);
        assert!(users.doubtful.question(|_| false).is_none(), "one question at a time");
        assert_eq!(users.answered(Some("e1' in exchange")), (vec!["a1".into()], Some("e1".into())));
        assert_eq!(users.asked(), ["b1", "b2", "e2", "e3"]);
        assert_eq!(users.answered(None).0, ["b1", "b2", "e2", "e3"]);
        assert!(!users.doubtful.has("eve"));
        // So does all that she says for a while.
        for (user, key) in [("eve", "e4"), ("ana", "a2"), ("eve", "e5"), ("bob", "b3")] {
            users.say(user, key);
        }
        assert_eq!(users.asked(), ["a2", "b3", "e4", "e5"]);
        assert_eq!(users.answered(Some("e4' in exchange")), (vec!["a2".into(), "b3".into()], Some("e4".into())));
        users.say("ana", "a3");
        assert_eq!(users.asked(), ["a3", "e5"]);
        assert_eq!(users.answered(None).0, ["a3", "e5"]);
    }

    #[test]
    fn nobody_is_a_suspect_for_ever_and_nothing_is_kept_of_who_has_gone() {
        let (mut users, now) = (Users::new(), Instant::now());
        users.say("eve", "e1");
        users.asked();
        users.answered(Some("e1' in exchange"));
        assert!(users.doubtful.is_suspect("eve", now) && users.doubtful.of_users.is_empty());
        let later = now + SUSPECTED_FOR * 2;
        assert!(!users.doubtful.is_suspect("eve", later));
        users.say("eve", "e2");
        assert!(users.doubtful.is_suspect("eve", later), "what comes next must not overtake it");
        (0..2 * SUSPECTS_MAX).for_each(|n| users.doubtful.suspect(&n.to_string(), now));
        assert!(users.doubtful.refused_at.len() <= SUSPECTS_MAX && users.doubtful.is_suspect("eve", now));
    }

    #[test]
    fn of_keys_that_may_be_meant_the_first_is_asked_about_alone() {
        let mut users = Users::new();
        let long = "x".repeat(220);
        for key in ["a".into(), format!("{long}1"), format!("{long}2"), "b".into()] {
            users.say("eve", &key);
        }
        assert_eq!(users.asked().len(), 4);
        let cut = format!("{}...", &long[..200]);
        assert_eq!(users.answered(Some(&cut)), (vec!["a".into()], None));
        assert_eq!(users.asked(), [format!("{long}1")]);
        assert_eq!(users.answered(None), (vec![format!("{long}1")], None));
        assert_eq!(users.asked(), [format!("{long}2"), "b".into()]);
        assert_eq!(users.answered(Some(&cut)), (vec![], Some(format!("{long}2"))));
        assert_eq!(users.asked(), ["b"]);
    }

    #[test]
    fn what_was_sent_before_goes_before_and_the_answer_on_its_way_is_about_others() {
        let mut users = Users::new();
        users.say("ana", "a2");
        assert_eq!(users.asked(), ["a2"]);
        let before = vec![users.message("ana", "a0"), users.message("ana", "a1")];
        users.doubtful.put_first(before, Instant::now());
        assert_eq!(users.answered(None), (vec![], None));
        assert_eq!(users.asked(), ["a0", "a1", "a2"]);
    }

    #[test]
    fn a_user_has_room_for_some() {
        let mut users = Users::new();
        (0..=OF_A_USER_MAX).for_each(|n| users.say("eve", &n.to_string()));
        users.say("ana", "a1");
        let Some(Command::Respond(response)) = users.end.take().map(|taken| taken.command) else { panic!("no answer") };
        assert!(matches!(response.part, Part::Failed(Failure::Full)));
        assert!(users.end.take().is_none());
        assert_eq!(users.doubtful.first.waiting.len(), OF_A_USER_MAX + 1);
    }
}
