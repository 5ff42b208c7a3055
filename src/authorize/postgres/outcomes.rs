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

/// Looks without any question after which a query that works for nobody is believed to work for all, although questions
/// failed: a minute.
const QUIET_LOOKS: u32 = 60;

/// Looks between two lines of the log about questions that fail beside others that are answered: ten seconds.
const TELLING_LOOKS: u32 = 10;

/// What is to be told of the questions, look by look.
#[derive(Default)]
pub struct Health {
    /// What they fail with: all of them, since one did.
    failing: Option<String>,
    /// Whether the query, tried for nobody, has failed since then as well.
    fails_for_nobody: bool,
    /// Looks since the last question.
    quiet: u32,
    /// What was told last of those that failed beside others that were answered, and how many looks ago.
    told: Option<(String, u32)>,
}

impl Health {
    /// Takes notice of what has happened. Some: what questions fail with beside others that are answered, which has not
    /// been told yet.
    pub fn see(&mut self, since: Since) -> Option<String> {
        self.quiet = if since == Since::default() { self.quiet.saturating_add(1) } else { 0 };
        if let Some((_, looks)) = &mut self.told {
            *looks = looks.saturating_add(1);
        }
        match since {
            Since { is_answered: false, failed: None } => None,
            Since { is_answered: false, failed } => {
                self.fails_for_nobody &= self.failing.is_some();
                self.failing = failed;
                None
            }
            Since { is_answered: true, failed } => {
                self.failing = None;
                let is_news = |(told, looks): &(String, u32)| Some(told) != failed.as_ref() && *looks >= TELLING_LOOKS;
                let news = failed.clone().filter(|_| self.told.as_ref().is_none_or(is_news))?;
                self.told = Some((news.clone(), 0));
                Some(news)
            }
        }
    }

    /// The query was tried for nobody. One may work so that works for no user: that it does says something when nobody
    /// asks, and it did not before or nobody has asked for long.
    pub fn tried(&mut self, works: bool) {
        self.fails_for_nobody |= !works;
        let is_quiet = self.quiet > 0 && self.fails_for_nobody || self.quiet >= QUIET_LOOKS;
        if works && is_quiet {
            self.failing = None;
        }
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
    }

    #[test]
    fn a_query_that_works_for_nobody_alone_is_not_taken_for_one_that_works() {
        let mut health = Health::default();
        for _ in 0..100 {
            health.see(since(false, Some("a")));
            health.tried(true);
            assert_eq!(health.failing(), Some("a"));
        }
        for quiet in 1..=QUIET_LOOKS {
            health.see(since(false, None));
            health.tried(true);
            assert_eq!(health.failing().is_none(), quiet == QUIET_LOOKS);
        }
    }

    #[test]
    fn a_query_that_fails_for_nobody_as_well_and_then_works_is_mended() {
        let mut health = Health::default();
        for (seen, works, failing) in [
            (since(false, Some("a")), false, Some("a")),
            (since(false, None), false, Some("a")),
            (since(false, Some("a")), true, Some("a")),
            (since(false, None), true, None),
            // Another time.
            (since(false, Some("a")), true, Some("a")),
            (since(false, None), true, Some("a")),
        ] {
            health.see(seen);
            health.tried(works);
            assert_eq!(health.failing(), failing);
        }
    }

    #[test]
    fn what_fails_beside_answers_is_told_once() {
        let mut health = Health::default();
        let mut told = |failed| health.see(since(true, failed));
        assert_eq!([Some("a"), None, Some("a")].map(&mut told), [Some("a".into()), None, None]);
        // Texts that alternate are told now and then.
        let others = (0..30).filter_map(|n| told(Some(if n % 2 == 0 { "b" } else { "a" })));
        assert!((2..=3).contains(&others.count()));
    }

    #[test]
    fn outcomes_are_taken_once() {
        let outcomes = Outcomes::default();
        outcomes.answered();
        outcomes.failed("a".into());
        assert_eq!([outcomes.take(), outcomes.take()], [since(true, Some("a")), since(false, None)]);
    }
}
