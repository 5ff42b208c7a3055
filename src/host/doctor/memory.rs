//! Memory: what connections cost, what the host and its control groups leave, and how the kernel treats it.

use std::path::{Path, PathBuf};

use super::report::{Verdict, gigabytes, grouped};
use super::{Host, Notes, Wish};

/// Kernel memory of one idle connection, one end: socket, inode, file, request. Measured, see tuning/README.md.
const KERNEL_BYTES_PER_CONNECTION: u64 = 3_600;
/// User-space memory of one authenticated connection in two channels, at most: the gateway's own budget.
const USER_BYTES_PER_CONNECTION: u64 = 400;
const BYTES_PER_CONNECTION: u64 = KERNEL_BYTES_PER_CONNECTION + USER_BYTES_PER_CONNECTION;
/// Above this the kernel swaps out quiet connections readily.
const SWAPPINESS_MAX: u64 = 30;
/// Limits of control groups v1 that are this high mean "none".
const UNLIMITED: u64 = 1 << 60;

pub fn check(host: &Host, wish: &Wish, notes: &mut Notes) {
    available(host, wish, notes);
    tcp_pages(host, wish, notes);
    swap(host, notes);
    huge_pages(host, notes);
}

fn available(host: &Host, wish: &Wish, notes: &mut Notes) {
    let needed_bytes = wish.yardstick().saturating_mul(BYTES_PER_CONNECTION);
    let needed = format!("{} for {} connections", gigabytes(needed_bytes), grouped(wish.yardstick()));
    let Some(of_host) = host.memory_bytes("MemAvailable") else {
        return notes.judge(Verdict::Warning, "memory", "unknown", needed, || "mount /proc".into());
    };
    // The kernel's part of a connection is charged to the control group as well (admin-guide/cgroup-v2.rst, memory).
    let of_group = control_group_headroom(host).filter(|left| *left < of_host);
    let (bytes, whose, fix) = match of_group {
        Some(left) => (left, "of the control group", "raise MemoryMax= or the container's memory limit"),
        None => (of_host, "available", "more memory, or more nodes with fewer connections each"),
    };
    let connections = bytes / BYTES_PER_CONNECTION;
    notes.judge(wish.holds(connections), "memory", format!("{} {whose}", gigabytes(bytes)), needed, || fix.into());
    let each = grouped(BYTES_PER_CONNECTION);
    notes.bound(connections, format!("memory, {} {whose} at {each} bytes a connection", gigabytes(bytes)));
}

/// What the tightest of the control groups around this process leaves.
fn control_group_headroom(host: &Host) -> Option<u64> {
    let headroom = |group: PathBuf| {
        let max = host.number(group.join("memory.max")).or_else(|| host.number(group.join("memory.limit_in_bytes")))?;
        let used =
            host.number(group.join("memory.current")).or_else(|| host.number(group.join("memory.usage_in_bytes")));
        let in_use = used.unwrap_or(0).saturating_sub(quiet_page_cache(host, &group));
        (max < UNLIMITED).then(|| max.saturating_sub(in_use))
    };
    host.control_groups("memory").into_iter().filter_map(headroom).min()
}

/// Page cache that the kernel gives back on demand: counted as used, but no obstacle.
fn quiet_page_cache(host: &Host, group: &Path) -> u64 {
    let statistics = host.text(group.join("memory.stat")).unwrap_or_default();
    let value = |key: &str| {
        let rest = statistics.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))?;
        rest.trim().parse().ok()
    };
    value("total_inactive_file").or_else(|| value("inactive_file")).unwrap_or(0)
}

/// A frame that the client has not acknowledged costs its connection one page of `tcp_mem`, however small it is.
fn tcp_pages(host: &Host, wish: &Wish, notes: &mut Notes) {
    let [_, _, pages] = host.settings("net.ipv4.tcp_mem")[..] else { return };
    let verdict = if pages >= wish.yardstick() { Verdict::Good } else { Verdict::Warning };
    let needed = format!("{} pages: one frame to everybody at once", grouped(wish.yardstick()));
    notes.judge(verdict, "tcp_mem", format!("{} pages", grouped(pages)), needed, || {
        "tuning/apply, which sets net.ipv4.tcp_mem to a quarter of the memory: beyond it TCP queues nothing more".into()
    });
}

fn swap(host: &Host, notes: &mut Notes) {
    let Some(swap) = host.memory_bytes("SwapTotal") else { return };
    let Some(swappiness) = host.setting("vm.swappiness") else { return };
    if swap == 0 {
        return notes.good("swap", "none", "none, or swappiness 10");
    }
    let verdict = if swappiness <= SWAPPINESS_MAX { Verdict::Good } else { Verdict::Warning };
    let found = format!("{}, swappiness {swappiness}", gigabytes(swap));
    notes.judge(verdict, "swap", found, "none, or swappiness 10", || {
        "tuning/apply, or sysctl -w vm.swappiness=10: quiet connections are what gets swapped out".into()
    });
}

fn huge_pages(host: &Host, notes: &mut Notes) {
    let path = "sys/kernel/mm/transparent_hugepage/enabled";
    let Some(modes) = host.text(path) else { return };
    let Some((_, rest)) = modes.split_once('[') else { return };
    let mode = rest.split(']').next().unwrap_or(rest).to_owned();
    let verdict = if mode == "always" { Verdict::Warning } else { Verdict::Good };
    notes.judge(verdict, "huge pages", mode, "madvise or never", || {
        format!("echo madvise > /{path}: with always, memory grows in steps of 2 MB, and more of it than is used")
    });
}

#[cfg(test)]
mod tests {
    use super::super::Row;
    use super::super::host::made_up::{MadeUp, wish};
    use super::*;

    fn row(host: &MadeUp, connections: u64, name: &str) -> Row {
        let report = host.examine(&wish(Some(connections), 4));
        report.rows.into_iter().find(|row| row.name == name).expect("looked at")
    }

    #[test]
    fn memory_for_the_connections_asked_for_is_weighed() {
        let host = MadeUp::tuned().file("proc/meminfo", "MemTotal: 8000000 kB\nMemAvailable: 3906250 kB\n");
        assert_eq!(row(&host, 1_000_000, "memory").verdict, Verdict::Good);
        let short = row(&host, 1_000_001, "memory");
        assert_eq!(short.verdict, Verdict::Missing);
        assert_eq!(short.found, "4.0 GB available");
    }

    #[test]
    fn a_control_group_with_less_than_the_host_decides() {
        let group = "sys/fs/cgroup/system.slice/ringway.service";
        let v2 = MadeUp::tuned()
            .file(&format!("{group}/memory.max"), "500000000\n")
            .file(&format!("{group}/memory.current"), "100000000\n");
        let v1 = MadeUp::tuned()
            .file("proc/self/cgroup", "4:memory:/docker/abc\n")
            .file("sys/fs/cgroup/memory/memory.limit_in_bytes", "500000000\n")
            .file("sys/fs/cgroup/memory/memory.usage_in_bytes", "100000000\n");
        for host in [v2, v1] {
            let capacity = host.examine(&wish(None, 4)).capacity;
            assert_eq!(capacity.connections, 100_000);
            assert!(capacity.stopped_by.contains("control group"), "{}", capacity.stopped_by);
            let short = row(&host, 100_001, "memory");
            assert!(short.fix.as_deref().is_some_and(|fix| fix.contains("MemoryMax")), "{short:?}");
        }
    }

    #[test]
    fn page_cache_of_a_control_group_is_not_in_the_way() {
        let group = "sys/fs/cgroup/system.slice/ringway.service";
        let host = MadeUp::tuned()
            .file(&format!("{group}/memory.max"), "500000000\n")
            .file(&format!("{group}/memory.current"), "400000000\n")
            .file(&format!("{group}/memory.stat"), "anon 50000000\ninactive_file 300000000\nactive_file 50000000\n");
        assert_eq!(host.examine(&wish(None, 4)).capacity.connections, 100_000);
    }

    #[test]
    fn an_unlimited_control_group_does_not_count() {
        let host = MadeUp::tuned()
            .file("proc/self/cgroup", "4:memory:/\n")
            .file("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(row(&host, 1_000_000, "memory").verdict, Verdict::Good);
    }

    #[test]
    fn tcp_pages_are_weighed_against_a_frame_to_everybody() {
        let host = MadeUp::tuned().file("proc/sys/net/ipv4/tcp_mem", "287898\t383867\t575796\n");
        assert_eq!(row(&host, 575_796, "tcp_mem").verdict, Verdict::Good);
        assert_eq!(row(&host, 575_797, "tcp_mem").verdict, Verdict::Warning);
    }
}
