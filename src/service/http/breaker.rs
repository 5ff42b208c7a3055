//! Whether messages go to a backend at all. Sans-IO: what became of requests in, whether there are to be any out.
//!
//! ```text
//!            too many failures in a row, the last       the pause is over and
//!            an answer, or none in time                 a connection can be had
//!  Closed ─────────────────────────────────────► Open ───────────────────────────► HalfOpen: one message is let in
//!    ▲  │    the last: it was not reached         ▲                                    │  │
//!    │  └──────────────────► Unreached ◄──────────┼── it was not reached ──────────────┘  │
//!    │ a connection can be had   │                └── another failure ────────────────────┤
//!    └───────────────────────────┘◄── at start                                            │
//!    └──────────────────────────────── the backend has done its work ─────────────────────┘
//! ```
//!
//! A backend that could not be reached and can be again is believed to work; one that was reached and did not work is
//! asked once before it is given everything.
//!
//! A failure says that the backend is away or gets nothing done. What it answers to a message that it cannot deal with
//! is none, or whoever says such messages would shut out everybody else. Where the two look alike it takes the messages
//! of two users.

/// Where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Messages go out. So many in a row have failed.
    Closed { failures: u32, evidence: Evidence },
    /// None goes out: the backend is not reached.
    Unreached,
    /// None goes out: the backend is reached and does not work.
    Open,
    /// One may go out every now and then, to see whether it works.
    HalfOpen,
}

/// How a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failed {
    /// The backend was not reached.
    Unreached,
    /// It was, and answers nobody.
    Silent,
    /// It was, and has not done its work with a message of this user: a number of his own.
    Broken { user: u64 },
}

/// Whether failures in a row can be the fault of one user's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Evidence {
    Nothing,
    User(u64),
    Enough,
}

impl State {
    const CLOSED: Self = Self::Closed { failures: 0, evidence: Evidence::Nothing };
}

impl Evidence {
    fn and(self, how: Failed) -> Self {
        match (self, how) {
            (Self::Nothing, Failed::Broken { user }) => Self::User(user),
            (Self::User(before), Failed::Broken { user }) if before == user => self,
            _ => Self::Enough,
        }
    }
}

#[derive(Debug)]
pub struct Breaker {
    state: State,
    failures_max: u32,
}

impl Breaker {
    /// Nothing goes out before the backend was reached.
    pub fn new(failures_max: u32) -> Self {
        Self { state: State::Unreached, failures_max }
    }

    /// Whether a message that is here may go out.
    pub fn lets_out(&self) -> bool {
        matches!(self.state, State::Closed { .. } | State::HalfOpen)
    }

    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed { .. })
    }

    /// Whether one message is to be let in.
    pub fn is_half_open(&self) -> bool {
        self.state == State::HalfOpen
    }

    /// The backend has done its work. True when it did not before.
    pub fn worked(&mut self) -> bool {
        !matches!(std::mem::replace(&mut self.state, State::CLOSED), State::Closed { .. })
    }

    /// It has not. True when that is one failure too many.
    pub fn failed(&mut self, how: Failed) -> bool {
        let opened = match how {
            Failed::Unreached => State::Unreached,
            Failed::Silent | Failed::Broken { .. } => State::Open,
        };
        let (next, is_too_many) = match self.state {
            State::Closed { failures, evidence } => {
                let (failures, evidence) = (failures.saturating_add(1), evidence.and(how));
                let is_too_many = failures >= self.failures_max && evidence == Evidence::Enough;
                (if is_too_many { opened } else { State::Closed { failures, evidence } }, is_too_many)
            }
            State::HalfOpen => (opened, true),
            // Of a request that was on its way already.
            State::Unreached | State::Open => (self.state, false),
        };
        self.state = next;
        is_too_many
    }

    /// A connection could be had. True when that closes it.
    pub fn reached(&mut self) -> bool {
        match self.state {
            State::Unreached => {
                self.state = State::CLOSED;
                true
            }
            State::Open => {
                self.state = State::HalfOpen;
                false
            }
            State::Closed { .. } | State::HalfOpen => false,
        }
    }

    /// None could be had.
    pub fn not_reached(&mut self) {
        if !self.is_closed() {
            self.state = State::Unreached;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BROKEN: [Failed; 3] = [Failed::Broken { user: 1 }, Failed::Broken { user: 2 }, Failed::Broken { user: 1 }];

    fn closed() -> Breaker {
        let mut breaker = Breaker::new(3);
        assert!(!breaker.lets_out() && breaker.reached() && breaker.lets_out());
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it_and_others_do_not() {
        let mut breaker = closed();
        for _ in 0..10 {
            assert!(!breaker.failed(Failed::Silent) && !breaker.failed(Failed::Unreached) && !breaker.worked());
        }
        assert_eq!(BROKEN.map(|how| breaker.failed(how)), [false, false, true]);
        assert!(!breaker.lets_out() && !breaker.failed(BROKEN[0]), "it is opened once");
    }

    #[test]
    fn failures_of_one_user_do_not_open_it() {
        for other in [Failed::Broken { user: 8 }, Failed::Silent, Failed::Unreached] {
            let mut breaker = closed();
            for _ in 0..10 {
                assert!(!breaker.failed(Failed::Broken { user: 7 }));
            }
            assert!(breaker.lets_out() && breaker.failed(other), "{other:?}");
        }
    }

    #[test]
    fn who_could_not_be_reached_and_can_be_works() {
        let mut breaker = closed();
        (0..3).for_each(|_| _ = breaker.failed(Failed::Unreached));
        breaker.not_reached();
        assert!(!breaker.lets_out() && !breaker.is_half_open());
        assert!(breaker.reached() && breaker.is_closed());
    }

    #[test]
    fn who_answered_with_errors_is_asked_once_at_first() {
        for (outcome, works) in [(None, true), (Some(BROKEN[0]), false), (Some(Failed::Unreached), false)] {
            let mut breaker = closed();
            BROKEN.iter().for_each(|how| _ = breaker.failed(*how));
            assert!(!breaker.reached() && breaker.is_half_open() && breaker.lets_out() && !breaker.is_closed());
            assert!(match outcome {
                None => breaker.worked(),
                Some(how) => breaker.failed(how),
            });
            assert_eq!((breaker.is_closed(), breaker.lets_out()), (works, works), "{outcome:?}");
        }
    }

    #[test]
    fn what_was_on_its_way_already_may_close_it() {
        let mut breaker = closed();
        BROKEN.iter().for_each(|how| _ = breaker.failed(*how));
        assert!(breaker.worked() && breaker.is_closed());
        breaker.not_reached();
        assert!(breaker.is_closed(), "a request says more than a connection");
    }
}
