//! How long threads were on a core, by perf's task clock (perf_event_open(2), `PERF_COUNT_SW_TASK_CLOCK`).
//!
//! The scheduler's own account (`/proc/PID/stat`, `schedstat`, `getrusage`, cgroups) is wrong for a server whose clients run on
//! the same cores. Waking a client in the middle of a long system call asks for a switch, and `wakeup_preempt`
//! (kernel/sched/core.c) lets that switch skip the update of the clock, because it is expected at once. In a kernel built
//! with `PREEMPT_NONE` it comes when the call ends, up to milliseconds later, and what the server did in between is charged
//! to the client. Perf reads the clock at the switch itself.

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
            Err(error) if error.raw_os_error() == Some(nix::libc::ESRCH) => None,
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
    // The kernel's part is counted even so: the task clock knows no modes, and unprivileged users may only ask like this.
    let mut counter = Builder::new(Software::TASK_CLOCK)
        .observe_pid(thread_id)
        .inherit(with_children)
        .exclude_kernel(true)
        .exclude_hv(true)
        .build()?;
    counter.enable()?;
    Ok(counter)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;
    use std::sync::atomic::Ordering::Relaxed;
    use std::time::{Duration, Instant};

    use super::*;

    /// `None` where perf events are forbidden, as they may be on a machine that runs tests.
    fn own() -> Option<OnCpu> {
        OnCpu::of_process(std::process::id()).ok()
    }

    fn work() {
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(20) {
            // Time inside the kernel counts as well.
            drop(fs::read("/proc/self/stat"));
        }
    }

    #[test]
    fn threads_that_start_later_count_also_when_they_have_ended() {
        let Some(mut clock) = own() else { return };
        let before = clock.ns().unwrap();
        std::thread::spawn(work).join().unwrap();
        // On a busy machine a thread gets only a part of the time in which it runs; some it gets.
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
