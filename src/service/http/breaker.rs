//! Whether messages go to a backend at all. Sans-IO: what became of requests in, whether there are to be any out.
//!
//! ```text
//!            too many failures in a row, the last       the pause is over and
//!            an answer, or none in time                 a connection can be had
//!  Closed ─────────────────────────────────────► Open ───────────────────────────► HalfOpen: some messages go out
//!    ▲  │    the last: it was not reached         ▲                                    │  │
//!    │  └──────────────────► Unreached ◄──────────┼── it was not reached ──────────────┘  │
//!    │ a connection can be had   │                └── failures of two users ──────────────┤
//!    └───────────────────────────┘◄── at start                                            │
//!    └──────────────────────────────── the backend has done its work ─────────────────────┘
//! ```
//!
//! A backend that could not be reached and can be again is believed to work; one that was reached and did not work is
//! asked a few times before it is given everything.
//!
//! A failure says that the backend is away or gets nothing done. What it answers to a message that it cannot deal with
//! is none, or whoever says such messages would shut out everybody else. Where the two look alike it takes the messages
//! of two users, and no user's keep the others' from being tried.

use std::mem::replace;

/// Users whose messages go out between two looks at a backend that did not work, one each.
const ASKED_MAX: usize = 4;

/// Where it stands.
#[derive(Debug, PartialEq, Eq)]
enum State {
    /// Messages go out. So many in a row have failed.
    Closed { failures: u32, evidence: Evidence },
    /// None goes out: the backend is not reached.
    Unreached,
    /// None goes out: the backend is reached and does not work.
    Open,
    /// Some go out every now and then, to see whether it works: one of each of these users.
    HalfOpen { asked: Vec<User>, evidence: Evidence },
}

/// A number of his own.
pub type User = u64;

/// How a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failed {
    /// The backend was not reached.
    Unreached,
    /// It was, and has not done its work with a message of this user.
    Broken(User),
}

/// Whether failures can be the fault of one user's messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Evidence {
    Nothing,
    Of(User),
    Enough,
}

impl State {
    const CLOSED: Self = Self::Closed { failures: 0, evidence: Evidence::Nothing };

    const HALF_OPEN: Self = Self::HalfOpen { asked: Vec::new(), evidence: Evidence::Nothing };
}

impl Evidence {
    fn and(self, how: Failed) -> Self {
        match (self, how) {
            (Self::Nothing, Failed::Broken(user)) => Self::Of(user),
            (Self::Of(before), Failed::Broken(user)) if before == user => self,
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

    /// Whether a message of this user that is here goes out.
    pub fn let_out(&mut self, user: User) -> bool {
        match &mut self.state {
            State::Closed { .. } => true,
            State::Unreached | State::Open => false,
            State::HalfOpen { asked, .. } => {
                let goes_out = asked.len() < ASKED_MAX && !asked.contains(&user);
                if goes_out {
                    asked.push(user);
                }
                goes_out
            }
        }
    }

    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed { .. })
    }

    /// Whether some messages are to come.
    pub fn is_half_open(&self) -> bool {
        matches!(self.state, State::HalfOpen { .. })
    }

    /// The backend has done its work. True when it did not before.
    pub fn worked(&mut self) -> bool {
        !matches!(replace(&mut self.state, State::CLOSED), State::Closed { .. })
    }

    /// It has not. True when that is one failure too many.
    pub fn failed(&mut self, how: Failed) -> bool {
        let is_too_many = match &mut self.state {
            State::Closed { failures, evidence } => {
                (*failures, *evidence) = (failures.saturating_add(1), evidence.and(how));
                *failures >= self.failures_max && *evidence == Evidence::Enough
            }
            State::HalfOpen { evidence, .. } => {
                *evidence = evidence.and(how);
                *evidence == Evidence::Enough
            }
            // Of a request that was on its way already.
            State::Unreached | State::Open => false,
        };
        if is_too_many {
            self.state = match how {
                Failed::Unreached => State::Unreached,
                Failed::Broken(_) => State::Open,
            };
        }
        is_too_many
    }

    /// A connection could be had. True when that closes it.
    pub fn reached(&mut self) -> bool {
        let is_closing = self.state == State::Unreached;
        if is_closing {
            self.state = State::CLOSED;
        } else if !self.is_closed() {
            // Others are asked the next time, and who was may be once more.
            self.state = State::HALF_OPEN;
        }
        is_closing
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

    const BROKEN: [Failed; 3] = [Failed::Broken(1), Failed::Broken(2), Failed::Broken(1)];

    /// It was reached.
    fn closed() -> Breaker {
        let mut breaker = Breaker::new(3);
        assert!(!breaker.let_out(1) && breaker.reached() && breaker.let_out(1));
        breaker
    }

    /// It was reached, did not work, and was reached again.
    fn half_open() -> Breaker {
        let mut breaker = closed();
        BROKEN.iter().for_each(|how| _ = breaker.failed(*how));
        assert!(!breaker.let_out(1) && !breaker.reached() && breaker.is_half_open());
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it_and_others_do_not() {
        let mut breaker = closed();
        for _ in 0..10 {
            assert!(!breaker.failed(Failed::Broken(1)) && !breaker.failed(Failed::Unreached) && !breaker.worked());
        }
        assert_eq!(BROKEN.map(|how| breaker.failed(how)), [false, false, true]);
        assert!(!breaker.let_out(3) && !breaker.failed(BROKEN[0]), "it is opened once");
    }

    #[test]
    fn failures_of_one_user_do_not_open_it() {
        for other in [Failed::Broken(8), Failed::Unreached] {
            let mut breaker = closed();
            for _ in 0..10 {
                assert!(!breaker.failed(Failed::Broken(7)));
            }
            assert!(breaker.let_out(7) && breaker.failed(other) && !breaker.let_out(9), "{other:?}");
        }
    }

    #[test]
    fn who_could_not_be_reached_and_can_be_works() {
        let mut breaker = closed();
        (0..3).for_each(|_| _ = breaker.failed(Failed::Unreached));
        breaker.not_reached();
        assert!(!breaker.let_out(1) && !breaker.is_half_open());
        assert!(breaker.reached() && breaker.is_closed());
    }

    #[test]
    fn who_did_not_work_is_asked_for_some_users_at_first() {
        let mut breaker = half_open();
        let asked: Vec<User> = (0..9).map(|n| n / 2).filter(|user| breaker.let_out(*user)).collect();
        assert_eq!(asked, [0, 1, 2, 3], "one message of each");
        for _ in 0..5 {
            assert!(!breaker.failed(Failed::Broken(0)) && breaker.is_half_open());
        }
        assert!(!breaker.reached() && breaker.let_out(0) && breaker.let_out(5), "the next time anybody is asked");
        assert!(!breaker.failed(Failed::Broken(5)) && breaker.failed(Failed::Broken(0)) && !breaker.let_out(7));
        for how in [None, Some(Failed::Unreached)] {
            let mut breaker = half_open();
            assert!(match how {
                None => breaker.worked(),
                Some(how) => breaker.failed(how),
            });
            assert_eq!((breaker.is_closed(), breaker.let_out(0)), (how.is_none(), how.is_none()));
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
