//! CPU time and memory of processes: the server's, and this one's.

use std::fs;
use std::path::PathBuf;

use ringway::proc;
use serde::Serialize;

use super::on_cpu::OnCpu;

/// A set of processes that are measured together.
pub struct Processes(Vec<Process>);

struct Process {
    pid: u32,
    /// `None` where perf events are forbidden.
    on_cpu: Option<OnCpu>,
}

/// CPU time since the processes are watched, and memory now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    pub cpu_s: f64,
    pub rss_bytes: u64,
}

/// Where CPU times come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    /// [`OnCpu`].
    OnCpu,
    /// What the scheduler charges the threads with, right only where the server has its cores for itself.
    Charged,
}

impl Processes {
    /// Counts from now on.
    pub fn watch(pids: &[u32]) -> Self {
        Self(pids.iter().map(|&pid| Process { pid, on_cpu: OnCpu::of_process(pid).ok() }).collect())
    }

    pub fn own() -> Self {
        Self::watch(&[std::process::id()])
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn pids(&self) -> Vec<u32> {
        self.0.iter().map(|process| process.pid).collect()
    }

    pub fn clock(&self) -> Clock {
        if self.0.iter().all(|process| process.on_cpu.is_some()) { Clock::OnCpu } else { Clock::Charged }
    }

    /// The first of them that is gone.
    pub fn gone(&self) -> Option<u32> {
        self.pids().into_iter().find(|&pid| !folder(pid).exists())
    }

    /// CPU time exactly, memory as the kernel's counters have it (off by a few pages per core).
    pub fn usage(&mut self) -> Usage {
        Usage {
            cpu_s: self.0.iter_mut().filter_map(Process::cpu_s).sum(),
            rss_bytes: self.0.iter().filter_map(|process| rss_bytes(process.pid)).sum(),
        }
    }

    /// The same with memory counted page by page, which takes a while for large processes.
    pub fn usage_exact(&mut self) -> Usage {
        let usage = self.usage();
        let rss = |pid| rss_bytes_exact(pid).or_else(|| rss_bytes(pid));
        Usage { rss_bytes: self.pids().into_iter().filter_map(rss).sum(), ..usage }
    }
}

impl Process {
    fn cpu_s(&mut self) -> Option<f64> {
        match &mut self.on_cpu {
            Some(on_cpu) => on_cpu.ns().ok().map(|ns| ns as f64 / 1e9),
            None => charged_s(self.pid),
        }
    }
}

fn folder(pid: u32) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}"))
}

/// User and system time of all threads, as charged. The scheduler's nanoseconds where they can be read; the ticks of
/// `stat` also know threads that have ended, so the larger of both is the better one.
fn charged_s(pid: u32) -> Option<f64> {
    let ticks = fs::read_to_string(folder(pid).join("stat")).ok().and_then(|stat| proc::cpu_ticks(&stat));
    let ticks_per_s = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100);
    let counted_s = ticks.map(|ticks| ticks as f64 / ticks_per_s as f64);
    let scheduled_s = scheduled_ns(pid).map(|ns| ns as f64 / 1e9);
    match (counted_s, scheduled_s) {
        (Some(counted), Some(scheduled)) => Some(counted.max(scheduled)),
        (counted, scheduled) => counted.or(scheduled),
    }
}

fn scheduled_ns(pid: u32) -> Option<u64> {
    let tasks = fs::read_dir(folder(pid).join("task")).ok()?;
    tasks
        .flatten()
        .map(|task| {
            let schedstat = fs::read_to_string(task.path().join("schedstat")).ok()?;
            schedstat.split_whitespace().next()?.parse::<u64>().ok()
        })
        .sum()
}

fn rss_bytes(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(folder(pid).join("status")).ok()?;
    proc::bytes(&status, "VmRSS")
}

fn rss_bytes_exact(pid: u32) -> Option<u64> {
    let rollup = fs::read_to_string(folder(pid).join("smaps_rollup")).ok()?;
    proc::bytes(&rollup, "Rss")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_used_something_and_a_vanished_one_is_noticed() {
        let mut own = Processes::own();
        assert!(own.usage().rss_bytes > 0 && own.usage_exact().rss_bytes > 0);
        assert_eq!(own.gone(), None);
        assert_eq!(Processes::watch(&[u32::MAX]).gone(), Some(u32::MAX));
    }
}
