//! What is counted: slots of the gateway, open files of the process and of the host.
//!
//! A connection stands in the file table of a ring, not in the process's. A table may not be larger than the soft limit
//! of open files (the kernel compares it in `io_sqe_files_register`), but a shard makes as many rings as it needs: the
//! limit decides how many rings that are, and each of them is a descriptor.

use std::ops::RangeInclusive;

use super::report::{Verdict, grouped};
use super::{Host, Notes, Wish};
use crate::host::limits;

/// Descriptors of the process besides its connections: log, configuration, admin port, brokers.
const DESCRIPTORS_PER_PROCESS: u64 = 128;
/// Descriptors of a shard: listener, lobby's ring, eventfds, and sockets that are still in their handshake.
const DESCRIPTORS_PER_SHARD: u64 = 64;
/// Limits that are proposed, as powers of two: the last is as much as the kernel gives when nobody tells it otherwise
/// (`fs.nr_open`).
const PROPOSED: RangeInclusive<u32> = 10..=20;
/// The bit of CAP_SYS_ADMIN in `CapEff`.
const SYS_ADMIN: u32 = 21;

pub fn check(host: &Host, wish: &Wish, notes: &mut Notes) {
    slots(wish, notes);
    open_files(host, wish, notes);
    files_of_the_host(host, wish, notes);
    locked_memory(host, notes);
}

/// What the gateway makes room for.
fn slots(wish: &Wish, notes: &mut Notes) {
    let (slots, stopped_by) = match wish.connections_max {
        0 => (limits::SLOTS_DEFAULT as u64, "slots of the shards (server.max_connections asks for more)".to_owned()),
        max => (max as u64, format!("server.max_connections = {max}")),
    };
    notes.judge(wish.holds(slots), "slots", grouped(slots), grouped(wish.yardstick()), || {
        format!("server.max_connections = {}", wish.yardstick())
    });
    notes.bound(slots, stopped_by);
}

fn open_files(host: &Host, wish: &Wish, notes: &mut Notes) {
    let Some(limit) = host.open_files() else {
        let needed = format!("{} connections", grouped(wish.yardstick()));
        return notes.judge(Verdict::Warning, "open files", "unknown", needed, || "look at ulimit -n".into());
    };
    let shards = wish.shards();
    let descriptors = DESCRIPTORS_PER_PROCESS + DESCRIPTORS_PER_SHARD * shards;
    let most = in_rings(limit.soft, shards);

    let verdict = if limit.soft < descriptors { Verdict::Missing } else { wish.holds(most) };
    let found = format!("{} (hard {})", shown(limit.soft), shown(limit.hard));
    let enough = enough_open_files(wish.yardstick(), shards).max(descriptors);
    let needed = format!("{} for {} connections", grouped(enough), grouped(wish.yardstick()));
    notes.judge(verdict, "open files", found, needed, || way_out(host, enough, limit.hard));
    notes.bound(most, format!("open files, {} (ulimit -n) on {} shards", grouped(limit.soft), shards));
}

/// What all rings together hold that may be made under a limit of open files.
fn in_rings(open_files: u64, shards: u64) -> u64 {
    limits::connections_max(open_files as usize, shards as usize) as u64
}

/// A limit under which so many connections fit.
fn enough_open_files(connections: u64, shards: u64) -> u64 {
    let mut limits = PROPOSED.map(|bits| 1 << bits);
    limits.find(|&open_files| in_rings(open_files, shards) >= connections).unwrap_or(1 << PROPOSED.end())
}

fn way_out(host: &Host, enough: u64, hard: u64) -> String {
    if enough <= hard {
        return format!("ulimit -n {enough} before the start, or LimitNOFILE={enough} in the unit");
    }
    let ceiling = host.setting("fs.nr_open").filter(|nr_open| *nr_open < enough);
    let first = ceiling.map(|_| format!("sysctl -w fs.nr_open={enough}, then ")).unwrap_or_default();
    format!("{first}LimitNOFILE={enough} (systemd), ulimits.nofile (containers) or limits.conf (PAM)")
}

/// Direct descriptors are open files of the host like any other.
fn files_of_the_host(host: &Host, wish: &Wish, notes: &mut Notes) {
    let Some(max) = host.setting("fs.file-max") else { return };
    let free = max.saturating_sub(host.setting("fs.file-nr").unwrap_or(0));
    let (found, needed) = (format!("{} free", shown(free)), format!("{} free", grouped(wish.yardstick())));
    if host.has_capability(SYS_ADMIN) && host.is_outermost() {
        // Asked in `alloc_empty_file` in place of the limit.
        return notes.good("files of the host", format!("{found}, and CAP_SYS_ADMIN"), "either");
    }
    notes.judge(wish.holds(free), "files of the host", found, needed, || {
        format!("tuning/apply, or sysctl -w fs.file-max={}", (2 * wish.yardstick()).max(4_194_304))
    });
    notes.bound(free, format!("open files of the host (fs.file-max = {max})"));
}

fn locked_memory(host: &Host, notes: &mut Notes) {
    let Some((soft, _)) = host.limit("Max locked memory") else { return };
    notes.good("locked memory", shown(soft), "nothing: rings are not counted since Linux 5.12");
}

fn shown(limit: u64) -> String {
    if limit == u64::MAX { "unlimited".into() } else { grouped(limit) }
}

#[cfg(test)]
mod tests {
    use super::super::host::made_up::{MadeUp, wish};
    use super::super::{Report, Row};
    use super::*;

    fn open_files_of(report: &Report) -> &Row {
        report.rows.iter().find(|row| row.name == "open files").expect("looked at")
    }

    #[test]
    fn a_host_with_1024_open_files_holds_as_many_rings_as_they_allow() {
        let host = MadeUp::tuned().open_files(1_024, 4_096);
        let report = host.examine(&wish(Some(1_000_000), 2));
        let row = open_files_of(&report);
        assert_eq!(row.verdict, Verdict::Missing);
        assert_eq!(row.found, "1,024 (hard 4,096)");
        assert!(row.fix.as_deref().is_some_and(|fix| fix.contains("ulimit -n 4096")), "{row:?}");
        assert_eq!(report.capacity.connections, 131_072);
        assert!(report.capacity.stopped_by.starts_with("open files"), "{}", report.capacity.stopped_by);

        let report = host.examine(&wish(None, 2));
        assert_eq!(open_files_of(&report).verdict, Verdict::Good);
    }

    #[test]
    fn a_limit_too_low_for_the_process_itself_is_told() {
        let report = MadeUp::tuned().open_files(200, 200).examine(&wish(Some(10), 2));
        assert_eq!(open_files_of(&report).verdict, Verdict::Missing);
    }

    #[test]
    fn more_shards_are_not_needed_for_more_connections() {
        let host = MadeUp::tuned().open_files(20_000, 20_000);
        assert_eq!(open_files_of(&host.examine(&wish(Some(4_000_000), 2))).verdict, Verdict::Good);
    }

    #[test]
    fn a_limit_above_nr_open_names_both() {
        let host = MadeUp::tuned().open_files(1_024, 1_024).file("proc/sys/fs/nr_open", "2047");
        let report = host.examine(&wish(Some(500_000), 1));
        let fix = open_files_of(&report).fix.clone().expect("a fix");
        assert!(fix.starts_with("sysctl -w fs.nr_open=2048, then LimitNOFILE=2048"), "{fix}");
    }

    #[test]
    fn the_gateways_own_limit_of_connections_is_named() {
        let mut wish = wish(Some(5_000_000), 2);
        let stopped_by = |wish: &Wish| MadeUp::tuned().examine(wish).capacity;
        let plain =
            MadeUp::tuned().file("proc/sys/fs/file-max", "9000000").file("proc/meminfo", "MemAvailable: 99000000 kB\n");
        assert_eq!(plain.examine(&wish).capacity.connections, limits::SLOTS_DEFAULT as u64);
        wish.connections_max = 10_000;
        assert_eq!(stopped_by(&wish).connections, 10_000);
        assert_eq!(stopped_by(&wish).stopped_by, "server.max_connections = 10000");
    }

    #[test]
    fn whoever_may_pass_the_limit_of_the_host_is_not_bounded_by_it() {
        let host = MadeUp::tuned()
            .file("proc/sys/fs/file-max", "200000")
            .file("proc/self/status", "CapEff:\t0000000000200000\n")
            .file("proc/self/uid_map", "0 0 4294967295\n");
        assert!(host.examine(&wish(Some(1_000_000), 4)).capacity.connections > 1_000_000);
        let contained = host.file("proc/self/uid_map", "0 100000 65536\n");
        assert!(contained.examine(&wish(Some(1_000_000), 4)).capacity.connections < 200_000);
    }

    #[test]
    fn files_in_use_on_the_host_are_not_counted_as_free() {
        let host =
            MadeUp::tuned().file("proc/sys/fs/file-max", "200000").file("proc/sys/fs/file-nr", "150000 0 200000");
        let report = host.examine(&wish(Some(60_000), 4));
        assert_eq!(report.capacity.connections, 50_000);
        assert_eq!(report.exit_code(), 1);
    }
}
