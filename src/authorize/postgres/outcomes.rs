//! What questions have come to since somebody looked: written by each question, taken by whoever looks after the
//! database.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Since the last look.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Since {
    /// Whether any was answered.
    pub is_answered: bool,
    /// Why the last one that was not had no answer.
    pub failed: Option<String>,
}

#[derive(Default)]
pub struct Outcomes(Mutex<Since>);

impl Outcomes {
    pub fn answered(&self) {
        self.lock().is_answered = true;
    }

    pub fn failed(&self, why: String) {
        self.lock().failed = Some(why);
    }

    pub fn take(&self) -> Since {
        std::mem::take(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Since> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is to be told of the questions, look by look.
#[derive(Default)]
pub struct Health {
    /// What they fail with: all of them, since one did.
    failing: Option<String>,
    /// What was told last of those that failed beside others that were answered.
    told: Option<String>,
}

impl Health {
    /// Takes notice of what has happened. Some: what questions fail with beside others that are answered, which has not
    /// been told yet.
    pub fn see(&mut self, since: Since) -> Option<String> {
        match since {
            Since { is_answered: false, failed: None } => None,
            Since { is_answered: false, failed } => {
                self.failing = failed;
                None
            }
            Since { is_answered: true, failed } => {
                self.failing = None;
                let is_news = failed.is_some() && failed != self.told;
                if is_news {
                    self.told.clone_from(&failed);
                }
                failed.filter(|_| is_news)
            }
        }
    }

    /// The query was seen to work.
    pub fn works(&mut self) {
        self.failing = None;
    }

    /// What all questions fail with.
    pub fn failing(&self) -> Option<&str> {
        self.failing.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn since(is_answered: bool, failed: Option<&str>) -> Since {
        Since { is_answered, failed: failed.map(Into::into) }
    }

    #[test]
    fn it_fails_from_a_look_that_saw_failures_alone_until_one_that_saw_an_answer() {
        let mut health = Health::default();
        for (seen, failing) in [
            (since(false, None), None),
            (since(true, None), None),
            (since(false, Some("a")), Some("a")),
            (since(false, None), Some("a")),
            (since(false, Some("b")), Some("b")),
            (since(true, Some("b")), None),
        ] {
            health.see(seen);
            assert_eq!(health.failing(), failing);
        }
        health.see(since(false, Some("a")));
        health.works();
        assert_eq!(health.failing(), None);
    }

    #[test]
    fn what_fails_beside_answers_is_told_once() {
        let mut health = Health::default();
        let told = [Some("a"), None, Some("a"), Some("b")].map(|failed| health.see(since(true, failed)));
        assert_eq!(told.each_ref().map(Option::as_deref), [Some("a"), None, None, Some("b")]);
    }

    #[test]
    fn outcomes_are_taken_once() {
        let outcomes = Outcomes::default();
        outcomes.answered();
        outcomes.failed("a".into());
        assert_eq!([outcomes.take(), outcomes.take()], [since(true, Some("a")), since(false, None)]);
    }
}
