//! How busy the workers are, to tell a slow server from a slow tool.

use std::fs;
use std::time::Instant;

use super::on_cpu::OnCpu;

/// From here on a thread has nothing left to give: what is late now, is late because of it.
const SATURATED: f64 = 0.95;

/// How late the tool may start a send, in its worst hundredth, before its schedule counts as slipped.
const LAG_US_MAX: u64 = 20_000;

/// The threads that are looked at.
pub struct Workers(Vec<Worker>);

struct Worker {
    thread_id: i32,
    /// `None` where perf events are forbidden.
    on_cpu: Option<OnCpu>,
}

/// Running totals of the workers.
pub struct Snapshot {
    at: Instant,
    threads: Vec<Option<Thread>>,
}

#[derive(Clone, Copy)]
struct Thread {
    ran_ns: u64,
    waited_ns: u64,
}

/// What the threads did between two snapshots.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Busy {
    /// Share of the time in which the busiest thread ran or waited for a core.
    pub busiest: f64,
    /// Share in which the thread that ran most was on a core.
    pub running: f64,
    /// Share in which the thread that waited most could have run and got no core.
    pub waiting: f64,
}

impl Workers {
    pub fn watch(thread_ids: &[i32]) -> Self {
        Self(
            thread_ids
                .iter()
                .map(|&thread_id| Worker { thread_id, on_cpu: OnCpu::of_thread(thread_id).ok() })
                .collect(),
        )
    }

    pub fn snapshot(&mut self) -> Snapshot {
        Snapshot { at: Instant::now(), threads: self.0.iter_mut().map(Worker::read).collect() }
    }
}

impl Snapshot {
    pub fn until(&self, later: &Self) -> Busy {
        let ns = later.at.duration_since(self.at).as_nanos().max(1) as f64;
        let mut busy = Busy::default();
        for (before, after) in self.threads.iter().zip(&later.threads) {
            let (Some(before), Some(after)) = (before, after) else { continue };
            let ran = after.ran_ns.saturating_sub(before.ran_ns) as f64 / ns;
            let waited = after.waited_ns.saturating_sub(before.waited_ns) as f64 / ns;
            // Two clocks of the kernel, read one after the other: together they may pass the time that there was.
            busy.busiest = busy.busiest.max((ran + waited).min(1.0));
            busy.running = busy.running.max(ran);
            busy.waiting = busy.waiting.max(waited);
        }
        busy
    }
}

impl Busy {
    /// Why the tool and not the server was the bottleneck; `None` when it was not. `lag_p99_us` is how late scheduled
    /// sends started; in a closed loop there is no schedule and none to slip. With cores of its
    /// own, what it waits for is itself.
    pub fn limits(self, lag_p99_us: Option<u64>, has_own_cores: bool) -> Option<String> {
        let is_limited = match lag_p99_us {
            Some(lag_us) => self.busiest >= SATURATED && lag_us >= LAG_US_MAX,
            None if has_own_cores => self.busiest >= SATURATED,
            // There the tool is busy by design, and shares the cores: only one that has a core for itself and
            // uses it up holds the server back.
            None => self.running >= SATURATED,
        };
        if !is_limited {
            return None;
        }
        let (running, waiting) = (self.running * 100.0, self.waiting * 100.0);
        Some(if self.running >= SATURATED {
            format!("a worker used its core to {running:.0} %: more --workers on more cores are needed")
        } else if has_own_cores {
            format!(
                "a worker ran for {running:.0} % of the time, the publisher and Redis used the rest of the tool's cores"
            )
        } else {
            format!(
                "a worker was never idle: it ran for {running:.0} % of the time and up to {waiting:.0} % it waited for a \
                 core, so tool and server do not fit on this machine together at this rate"
            )
        })
    }
}

impl Worker {
    /// Time waiting for a core, and time on one where perf does not tell it (Documentation/scheduler/sched-stats.rst).
    fn read(&mut self) -> Option<Thread> {
        let text = fs::read_to_string(format!("/proc/self/task/{}/schedstat", self.thread_id)).ok()?;
        let mut numbers = text.split_whitespace().map(str::parse::<u64>);
        let (charged_ns, waited_ns) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
        let ran_ns = match &mut self.on_cpu {
            Some(on_cpu) => on_cpu.ns().ok()?,
            None => charged_ns,
        };
        Some(Thread { ran_ns, waited_ns })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_tool_that_keeps_its_schedule_does_not_limit() {
        let busy = Busy { busiest: 0.99, running: 0.5, waiting: 0.49 };
        assert_eq!(busy.limits(Some(100), false), None);
        assert!(busy.limits(Some(LAG_US_MAX), false).is_some_and(|reason| reason.contains("do not fit")));
    }

    #[test]
    fn nobody_is_busier_than_all_the_time() {
        let at = Instant::now();
        let snapshot = |ms, thread| Snapshot { at: at + std::time::Duration::from_millis(ms), threads: vec![thread] };
        let before = snapshot(0, Some(Thread { ran_ns: 0, waited_ns: 0 }));
        let after = snapshot(100, Some(Thread { ran_ns: 60_000_000, waited_ns: 45_000_000 }));
        assert_eq!(before.until(&after), Busy { busiest: 1.0, running: 0.6, waiting: 0.45 });
    }

    #[test]
    fn an_idle_tool_never_limits() {
        assert_eq!(Busy { busiest: 0.5, running: 0.5, waiting: 0.0 }.limits(Some(u64::MAX), false), None);
    }

    #[test]
    fn a_tool_without_schedule_limits_when_its_core_is_used_up() {
        let busy = Busy { busiest: 0.99, running: 0.98, waiting: 0.01 };
        assert!(busy.limits(None, false).is_some_and(|reason| reason.contains("more --workers")));
    }
}
