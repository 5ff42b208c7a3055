//! Messages of which nobody knows whether RabbitMQ lets us write to their keys. They wait until the
//! [`asker`](super::asker) has an answer, and go out then, or are refused.
//!
//! What one user says goes out in its order: who has something here has all here that comes behind it. A user whose key
//! is refused stands behind all others from then on, so that each who tries keys costs the others one question.

use std::collections::VecDeque;

use lapin::types::ShortString;

use crate::lane::Failure;
use crate::service::Job;

use super::asker::Question;
use super::keys::is_about;

/// Keys of one question: what goes to RabbitMQ in one write.
const ASKED_MAX: usize = 64;

/// Of one user; there are as many altogether as the service's `queue` lets in.
const OF_A_USER_MAX: usize = 64;

pub struct Doubtful {
    waiting: VecDeque<Message>,
    /// So many of them, in front, are asked about now.
    asked: usize,
    /// The answer that is on its way is about others.
    is_outdated: bool,
    ask_max: usize,
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
        Self { waiting: VecDeque::new(), asked: 0, is_outdated: false, ask_max: ASKED_MAX }
    }
}

impl Doubtful {
    pub fn has(&self, user: &str) -> bool {
        self.waiting.iter().any(|message| *message.job.content.user_id == *user)
    }

    /// Behind the others. A user has room for some.
    pub fn push(&mut self, message: Message) {
        let user = &message.job.content.user_id;
        if self.waiting.iter().filter(|other| other.job.content.user_id == *user).count() < OF_A_USER_MAX {
            self.waiting.push_back(message);
        } else {
            message.job.fail(Failure::Full);
        }
    }

    /// Before all others: they were sent before those came.
    pub fn put_first(&mut self, messages: Vec<Message>) {
        messages.into_iter().rev().for_each(|message| self.waiting.push_front(message));
        self.is_outdated = self.asked > 0;
    }

    /// Nobody will answer what was asked.
    pub fn forget_question(&mut self) {
        (self.asked, self.is_outdated) = (0, false);
    }

    /// What is to be asked now. Who was told meanwhile that it is too late, and whose key was refused meanwhile, is not
    /// asked about.
    pub fn question(&mut self, mut is_refused: impl FnMut(&str) -> bool) -> Option<Question> {
        if self.asked > 0 {
            return None;
        }
        while self.asked < self.ask_max
            && let Some(message) = self.waiting.get(self.asked)
        {
            let failure = match message {
                _ if message.job.time_left().is_zero() => Failure::Late,
                _ if is_refused(message.key.as_str()) => Failure::Refused,
                _ => {
                    self.asked += 1;
                    continue;
                }
            };
            self.waiting.remove(self.asked).into_iter().for_each(|message| message.job.fail(failure));
        }
        (self.asked > 0).then(|| self.waiting.iter().take(self.asked).map(|message| message.key.clone()).collect())
    }

    /// Those that an answer settles leave. `None` when it is about no key that was asked about.
    pub fn answered(&mut self, refusal: Option<&str>) -> Option<Verdict> {
        let (asked, is_outdated) = (self.asked, self.is_outdated);
        self.forget_question();
        if is_outdated {
            return Some(Verdict::default());
        }
        let Some(words) = refusal else {
            self.ask_max = ASKED_MAX;
            return Some(Verdict { allowed: self.waiting.drain(..asked).collect(), refused: None });
        };
        let is_meant = |message: &&Message| is_about(words, message.key.as_str());
        let first = self.waiting.iter().take(asked).position(|message| is_meant(&message))?;
        let mut meant = self.waiting.iter().take(asked).filter(is_meant).map(|message| &message.key);
        let key = meant.next();
        let is_one_key = meant.all(|other| Some(other) == key);
        let allowed = self.waiting.drain(..first).collect();
        // Long keys are cut off in what RabbitMQ says: then the first that may be meant is asked about alone.
        self.ask_max = if is_one_key { ASKED_MAX } else { 1 };
        let refused = if is_one_key { self.waiting.pop_front() } else { None };
        if let Some(message) = &refused {
            self.put_behind(&message.job.content.user_id);
        }
        Some(Verdict { allowed, refused })
    }

    /// All that a user has here.
    fn put_behind(&mut self, user: &str) {
        let all = std::mem::take(&mut self.waiting).into_iter();
        let (theirs, mut others): (VecDeque<_>, VecDeque<_>) =
            all.partition(|message| *message.job.content.user_id == *user);
        others.extend(theirs);
        self.waiting = others;
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
            self.doubtful.push(message);
        }

        fn asked(&mut self) -> Vec<String> {
            let question = self.doubtful.question(|_| false).expect("there are some");
            question.iter().map(ToString::to_string).collect()
        }

        /// Which keys are allowed, and which is refused.
        fn answered(&mut self, refused: Option<&str>) -> (Vec<String>, Option<String>) {
            let words = refused.map(|key| format!("ACCESS_REFUSED - write access to topic '{key}"));
            let verdict = self.doubtful.answered(words.as_deref()).expect("it is about one of them");
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
        users.doubtful.put_first(before);
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
        assert_eq!(users.doubtful.waiting.len(), OF_A_USER_MAX + 1);
    }
}
