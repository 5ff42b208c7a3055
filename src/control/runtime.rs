//! The threads of the control side: starts tasks, watches over them, and stops them.
//!
//! [`Control::run`] is for what only ever awaits: all of it shares one thread, so that the requests of operators and
//! the watchdog cost no thread each. [`Control::run_apart`] is for what may block its thread: a source that waits in a
//! full lane, because its client would otherwise go on reading into memory. Whatever such a task does, the shared
//! thread answers `/readyz` and `/livez`.

use std::any::Any;
use std::borrow::Cow;
use std::convert::Infallible;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio_util::sync::DropGuard;
use tracing::{error, warn};

use super::Stop;
use super::tasks::{Running, Tasks};

/// How long tasks may take to end when they are told to. What takes longer (a source in a full lane, for
/// `server.lane_patience`) ends with the process.
const STOP_DEADLINE: Duration = Duration::from_secs(2);

/// Threads of the shared runtime for what blocks in it: waiting for room in the lanes, putting large answers together.
/// More would only wait as well.
const BLOCKING_THREADS_MAX: usize = 8;

/// The control side. When it is dropped, what runs on the shared thread ends as well.
pub struct Control {
    shared: Handle,
    stop: Stop,
    tasks: Tasks,
    _told_on_drop: DropGuard,
    _thread: oneshot::Sender<Infallible>,
}

impl Control {
    /// Starts the shared thread.
    ///
    /// # Errors
    ///
    /// When the thread or its runtime cannot be had.
    pub fn start() -> io::Result<Self> {
        let mut builder = Builder::new_current_thread();
        let runtime = builder.enable_all().max_blocking_threads(BLOCKING_THREADS_MAX).build()?;
        let (stop, shared) = (Stop::new(), runtime.handle().clone());
        let (alive, dropped) = oneshot::channel::<Infallible>();
        thread::Builder::new().name("control".into()).spawn(move || {
            let _ = runtime.block_on(dropped);
            // What still blocks must not hold up the end.
            runtime.shutdown_background();
        })?;
        let _told_on_drop = stop.clone().drop_guard();
        Ok(Self { shared, stop, tasks: Tasks::default(), _told_on_drop, _thread: alive })
    }

    /// Runs a task on the shared thread, which it must not block. It ends when it is told to stop.
    pub fn run<F>(&self, name: impl Into<Cow<'static, str>>, work: impl FnOnce(Stop) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (running, stop) = (self.tasks.enter(name.into()), self.stop.clone());
        let working = self.shared.spawn(work(stop.clone()));
        self.shared.spawn(async move {
            match working.await {
                Err(error) if error.is_panic() => failed(running, &panic_text(&*error.into_panic())),
                _ => ended(running, &stop),
            }
        });
    }

    /// Runs a task on a thread of its own, which it may block. It ends when it is told to stop.
    ///
    /// # Errors
    ///
    /// When the thread or its runtime cannot be had.
    pub fn run_apart<F>(
        &self,
        name: impl Into<Cow<'static, str>>,
        work: impl FnOnce(Stop) -> F + Send + 'static,
    ) -> io::Result<()>
    where
        F: Future<Output = ()>,
    {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let name = name.into();
        let (running, stop) = (self.tasks.enter(name.clone()), self.stop.clone());
        let live = move || {
            // Without tokio's budget of steps per poll, so that all that was read from a socket is passed on before
            // more is read: a full lane holds back the broker and not a queue in between.
            let to_its_end = || runtime.block_on(tokio::task::unconstrained(work(stop.clone())));
            let result = catch_unwind(AssertUnwindSafe(to_its_end));
            // A name that is just being resolved must not hold up the end.
            runtime.shutdown_background();
            match result {
                Err(panic) => failed(running, &panic_text(&*panic)),
                Ok(()) => ended(running, &stop),
            }
        };
        thread::Builder::new().name(name.into_owned()).spawn(live).map(drop)
    }

    /// What runs on the shared thread although it is no task: nobody waits for its end.
    pub fn shared(&self) -> &Handle {
        &self.shared
    }

    pub fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// Tells all tasks to end and waits for them, within the deadline. False when some go on.
    pub fn stop(&self) -> bool {
        self.stop.cancel();
        let late = self.tasks.wait(STOP_DEADLINE);
        if !late.is_empty() {
            warn!(tasks = ?late, waited = ?STOP_DEADLINE, "left behind");
        }
        late.is_empty()
    }
}

fn ended(running: Running, stop: &Stop) {
    if !stop.is_cancelled() {
        failed(running, "it ended by itself");
    }
}

fn failed(running: Running, why: &str) {
    error!(task = &*running.name, why, "a control task has failed: this node is not ready until it is restarted");
    running.fail();
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("it panicked: {}", text.unwrap_or("without a message"))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Longer than any test.
    const LONG: Duration = Duration::from_secs(600);

    fn control() -> Control {
        Control::start().expect("a thread")
    }

    #[test]
    fn tasks_end_when_they_are_told_to() {
        let control = control();
        control.run("shared", async |stop| stop.cancelled().await);
        control.run_apart("apart", async |stop| stop.cancelled().await).expect("a thread");
        assert!(control.stop());
        assert_eq!(control.tasks().failed(), [""; 0]);
    }

    #[test]
    fn a_task_that_does_not_end_is_left_behind_and_named() {
        let control = control();
        control.run("deaf", async |_| std::future::pending().await);
        control.run("obedient", async |stop| stop.cancelled().await);
        control.stop.cancel();
        assert_eq!(control.tasks.wait(Duration::from_millis(20)), ["deaf"]);
    }

    #[test]
    fn a_task_that_ends_by_itself_or_panics_has_failed_and_the_others_go_on() {
        let control = control();
        let (tell, told) = mpsc::channel();
        control.run("tired", async |_| ());
        control.run("clumsy", async |_| panic!("a defect"));
        control.run_apart("clumsy apart", async |_| panic!("a defect of {}", 1)).expect("a thread");
        assert_eq!(control.tasks.wait(LONG), [""; 0]);
        assert_eq!(control.tasks().failed(), ["tired", "clumsy", "clumsy apart"]);
        control.run("healthy", async move |stop| {
            tell.send(()).expect("the test waits");
            stop.cancelled().await;
        });
        told.recv().expect("it runs");
        assert!(control.stop());
    }

    #[test]
    fn a_task_apart_may_block_and_keeps_nobody_waiting() {
        let control = control();
        let (go_on, may_go_on) = mpsc::channel::<()>();
        control.run_apart("stuck", async move |_| _ = may_go_on.recv()).expect("a thread");
        let (tell, told) = mpsc::channel();
        control.run("probe", async move |stop| {
            tell.send(()).expect("the test waits");
            stop.cancelled().await;
        });
        told.recv().expect("it is answered");
        control.stop.cancel();
        assert_eq!(control.tasks.wait(Duration::from_millis(20)), ["stuck"]);
        drop(go_on);
        assert_eq!(control.tasks.wait(LONG), [""; 0]);
    }

    #[test]
    fn nothing_runs_on_when_the_control_side_is_dropped() {
        let control = control();
        let tasks = control.tasks().clone();
        control.run("shared", async |_| std::future::pending().await);
        control.run_apart("apart", async |stop| stop.cancelled().await).expect("a thread");
        drop(control);
        assert_eq!(tasks.wait(LONG), [""; 0]);
    }
}
