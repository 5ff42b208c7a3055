//! How long threads were on a core, by perf's task clock (perf_event_open(2), `PERF_COUNT_SW_TASK_CLOCK`).
//!
//! The scheduler's own account (`/proc/PID/stat`, `schedstat`, `getrusage`) charges a server's time to its clients
//! where both share cores and the kernel does not preempt itself: docs/BENCHMARKS.md, "How CPU time is measured". Perf
//! reads the clock at the switch itself.

use std::fs;
use std::io;

use perf_event::events::Software;
use perf_event::{Builder, Counter};

/// Running totals of some threads, from the moment this was made.
pub struct OnCpu(Vec<Counter>);

impl OnCpu {
    /// Of all threads that a process has, and of those that they will start.
    ///
    /// # Errors
    /// That of perf_event_open: `EACCES` when `kernel.perf_event_paranoid` or a seccomp profile forbids it.
    pub fn of_process(pid: u32) -> io::Result<Self> {
        let threads = fs::read_dir(format!("/proc/{pid}/task"))?;
        let ids: Vec<i32> = threads.flatten().filter_map(|thread| thread.file_name().to_str()?.parse().ok()).collect();
        let counters = ids.into_iter().filter_map(|id| match counter(id, true) {
            // It has ended since: such as one that answered whether the server was ready.
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => None,
            counter => Some(counter),
        });
        counters.collect::<io::Result<_>>().map(Self)
    }

    /// Of one thread alone.
    ///
    /// # Errors
    /// As [`OnCpu::of_process`].
    pub fn of_thread(id: i32) -> io::Result<Self> {
        counter(id, false).map(|counter| Self(vec![counter]))
    }

    pub fn ns(&mut self) -> io::Result<u64> {
        self.0.iter_mut().map(Counter::read).sum()
    }
}

fn counter(thread_id: i32, with_children: bool) -> io::Result<Counter> {
    // A builder leaves the kernel out, as unprivileged users must ask; the task clock knows
    // no modes and counts it even so.
    let mut builder = Builder::new().kind(Software::TASK_CLOCK).observe_pid(thread_id);
    builder.inherit(with_children);
    let mut counter = builder.build()?;
    counter.enable()?;
    Ok(counter)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;
    use std::sync::atomic::Ordering::Relaxed;

    use super::*;

    /// `None` where perf events are forbidden, as they may be on a machine that runs tests.
    fn own() -> Option<OnCpu> {
        OnCpu::of_process(std::process::id()).ok()
    }

    /// Some milliseconds, nearly all of it inside the kernel.
    fn work() {
        for _ in 0..2000 {
            fs::read("/proc/self/stat").unwrap();
        }
    }

    #[test]
    fn threads_that_start_later_count_also_when_they_have_ended() {
        let Some(mut clock) = own() else { return };
        let before = clock.ns().unwrap();
        std::thread::spawn(work).join().unwrap();
        // Far more than starting and joining a thread takes.
        assert!(clock.ns().unwrap() - before > 1_000_000);
    }

    #[test]
    fn a_process_that_is_gone_cannot_be_watched() {
        assert!(OnCpu::of_process(u32::MAX).is_err());
        assert!(OnCpu::of_thread(i32::MAX).is_err());
    }

    #[test]
    fn threads_that_come_and_go_are_no_obstacle() {
        let Some(_) = own() else { return };
        let is_over = Arc::new(AtomicBool::new(false));
        let restless = std::thread::spawn({
            let is_over = is_over.clone();
            move || {
                while !is_over.load(Relaxed) {
                    std::thread::spawn(|| {}).join().unwrap();
                }
            }
        });
        let watched = (0..200).all(|_| own().is_some());
        is_over.store(true, Relaxed);
        restless.join().unwrap();
        assert!(watched);
    }
}
