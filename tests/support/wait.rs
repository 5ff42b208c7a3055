//! Waiting: a condition and a deadline, never a sleep that hopes. Called by every test that expects something to come.

use std::time::{Duration, Instant};

/// How long anything may take before the test calls it lost. Generous, since tests share their cores with others.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// How long between two looks at a condition that nothing announces.
pub const PAUSE: Duration = Duration::from_millis(5);

/// Returns as soon as `condition` holds; panics with `what` when the deadline passes first.
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    eventually_some(what, || condition().then_some(()));
}

/// Returns the first value that `look` finds; panics with `what` when the deadline passes first.
#[track_caller]
pub fn eventually_some<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {DEADLINE:?}: {what}");
        std::thread::sleep(PAUSE);
    }
}
