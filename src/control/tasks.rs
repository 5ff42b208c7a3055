//! The tasks by name, and what has become of them.
//!
//! Written by [`super::runtime`] alone; read by `/readyz` and `/metrics`, and by whoever waits for the end.
//!
//! Invariant: a task is entered before it runs and leaves [`State::Running`] exactly once, whatever ends it.

use std::borrow::Cow;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A task's, which no other one has.
pub(super) type Name = Cow<'static, str>;

/// Clones are the same list.
#[derive(Clone, Debug, Default)]
pub struct Tasks(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    list: Mutex<Vec<Task>>,
    one_has_ended: Condvar,
}

#[derive(Clone, Debug)]
pub(super) struct Task {
    pub name: Name,
    pub state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Running,
    /// It was told to end, and has.
    Stopped,
    /// It panicked, or ended although nobody had told it to.
    Failed,
}

/// One running task. It has ended when this is dropped.
pub(super) struct Running {
    tasks: Tasks,
    place: usize,
    pub name: Name,
    ends_as: State,
}

impl Tasks {
    /// The names of those that have failed.
    pub fn failed(&self) -> Vec<Cow<'static, str>> {
        self.names(State::Failed)
    }

    pub(super) fn enter(&self, name: Name) -> Running {
        let mut list = self.lock();
        list.push(Task { name: name.clone(), state: State::Running });
        Running { tasks: self.clone(), place: list.len() - 1, name, ends_as: State::Stopped }
    }

    /// Waits until none runs, at most for this long. Returns the names of those that still do.
    pub(super) fn wait(&self, at_most: Duration) -> Vec<Name> {
        let some_run = |list: &mut Vec<Task>| list.iter().any(|task| task.state == State::Running);
        drop(self.0.one_has_ended.wait_timeout_while(self.lock(), at_most, some_run));
        self.names(State::Running)
    }

    pub(super) fn list(&self) -> Vec<Task> {
        self.lock().clone()
    }

    fn names(&self, state: State) -> Vec<Name> {
        self.lock().iter().filter(|task| task.state == state).map(|task| task.name.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Task>> {
        self.0.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    /// It ends because something is wrong with it.
    pub(super) fn fail(mut self) {
        self.ends_as = State::Failed;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.tasks.lock()[self.place].state = self.ends_as;
        self.tasks.0.one_has_ended.notify_all();
    }
}
