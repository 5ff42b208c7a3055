//! Limits of open files: of a ring, of the process, of the host.
//!
//! A connection stands in its ring's table of files, not in the process's. That table may not be larger than the soft
//! limit of open files (the kernel compares it in `io_sqe_files_register`), so it is shards × limit that counts, and
//! more shards than cores get past a limit that cannot be raised.

use super::report::{Verdict, grouped};
use super::{Host, Notes, Wish};

/// The largest table a ring may register (IORING_MAX_FIXED_FILES).
const RING_FILES_MAX: u64 = 1 << 20;
/// Descriptors of the process besides its connections: log, configuration, admin port, brokers.
const DESCRIPTORS_PER_PROCESS: u64 = 128;
/// Descriptors of a shard: listener, two rings, eventfds, and sockets that are still in their handshake.
const DESCRIPTORS_PER_SHARD: u64 = 64;

pub fn check(host: &Host, wish: &Wish, notes: &mut Notes) {
    open_files(host, wish, notes);
    files_of_the_host(host, wish, notes);
    locked_memory(host, notes);
}

fn open_files(host: &Host, wish: &Wish, notes: &mut Notes) {
    let Some(limit) = host.open_files() else {
        let needed = format!("{} connections", grouped(wish.yardstick()));
        return notes.judge(Verdict::Warning, "open files", "unknown", needed, || "look at ulimit -n".into());
    };
    let shards = wish.shards();
    let table = limit.soft.min(RING_FILES_MAX);
    let per_shard = wish.yardstick().div_ceil(shards);
    let descriptors = DESCRIPTORS_PER_PROCESS + DESCRIPTORS_PER_SHARD * shards;

    let verdict = if limit.soft < descriptors { Verdict::Missing } else { wish.holds(shards.saturating_mul(table)) };
    let found = format!("{} (hard {})", shown(limit.soft), shown(limit.hard));
    let needed = format!("{} a shard, {} shards", grouped(per_shard.max(descriptors)), shards);
    notes.judge(verdict, "open files", found, needed, || way_out(host, wish, per_shard.max(descriptors), limit.hard));

    let stopped_by = format!("open files, {} a shard (ulimit -n) on {} shards", grouped(table), shards);
    notes.bound(shards.saturating_mul(table), stopped_by);
}

fn way_out(host: &Host, wish: &Wish, per_shard: u64, hard: u64) -> String {
    if per_shard > RING_FILES_MAX {
        return format!("--shards {}", wish.yardstick().div_ceil(RING_FILES_MAX));
    }
    if per_shard <= hard {
        return format!("ulimit -n {per_shard} before the start, or LimitNOFILE={per_shard} in the unit");
    }
    let ceiling = host.setting("fs.nr_open").filter(|nr_open| *nr_open < per_shard);
    let first = ceiling.map(|_| format!("sysctl -w fs.nr_open={per_shard}, then ")).unwrap_or_default();
    let mut way = format!("{first}LimitNOFILE={per_shard} (systemd), ulimits.nofile (containers) or limits.conf (PAM)");
    if let Some(shards) = shards_within(wish.yardstick(), hard) {
        way.push_str(&format!("; where that cannot be had: ulimit -n {hard} and --shards {shards}"));
    }
    way
}

/// Shards that hold so many connections under a limit of open files, if their own descriptors leave room.
fn shards_within(connections: u64, limit: u64) -> Option<u64> {
    let shards = connections.div_ceil(limit.clamp(1, RING_FILES_MAX));
    (DESCRIPTORS_PER_PROCESS + DESCRIPTORS_PER_SHARD * shards <= limit).then_some(shards)
}

/// Direct descriptors are open files of the host like any other.
fn files_of_the_host(host: &Host, wish: &Wish, notes: &mut Notes) {
    let Some(max) = host.setting("fs.file-max") else { return };
    let free = max.saturating_sub(host.setting("fs.file-nr").unwrap_or(0));
    let needed = format!("{} free", grouped(wish.yardstick()));
    notes.judge(wish.holds(free), "files of the host", format!("{} free", shown(free)), needed, || {
        "tuning/apply, or sysctl -w fs.file-max=4194304".into()
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
    use super::super::{Finding, Report};
    use super::*;

    fn open_files_of(report: &Report) -> &Finding {
        report.findings.iter().find(|finding| finding.name == "open files").expect("looked at")
    }

    #[test]
    fn a_host_with_1024_open_files_is_told() {
        let host = MadeUp::tuned().open_files(1_024, 1_048_576);
        let report = host.examine(&wish(Some(100_000), 4));
        let finding = open_files_of(&report);
        assert_eq!(finding.verdict, Verdict::Missing);
        assert_eq!(finding.found, "1,024 (hard 1,048,576)");
        assert!(finding.fix.as_deref().is_some_and(|fix| fix.contains("ulimit -n 25000")), "{finding:?}");
        assert_eq!(report.capacity.connections, 4 * 1_024);
        assert!(report.capacity.stopped_by.starts_with("open files"), "{}", report.capacity.stopped_by);

        let report = host.examine(&wish(None, 4));
        assert_eq!(open_files_of(&report).verdict, Verdict::Warning);
    }

    #[test]
    fn a_limit_that_cannot_be_raised_is_answered_with_more_shards() {
        let report = MadeUp::tuned().open_files(20_000, 20_000).examine(&wish(Some(1_000_000), 2));
        let fix = open_files_of(&report).fix.clone().expect("a fix");
        assert!(fix.contains("LimitNOFILE=500000"), "{fix}");
        assert!(fix.ends_with("ulimit -n 20000 and --shards 50"), "{fix}");

        let report = MadeUp::tuned().open_files(20_000, 20_000).examine(&wish(Some(1_000_000), 50));
        assert_eq!(open_files_of(&report).verdict, Verdict::Good);
        assert_eq!(report.capacity.connections, 1_000_000);
    }

    #[test]
    fn more_shards_are_not_offered_where_their_own_descriptors_do_not_fit() {
        assert_eq!(shards_within(1_000_000, 20_000), Some(50));
        assert_eq!(shards_within(1_000_000, 1_024), None);
        assert_eq!(shards_within(1_000_000, 0), None);
    }

    #[test]
    fn a_ring_takes_no_more_than_its_maximum_whatever_the_limit() {
        let host = MadeUp::tuned().open_files(u64::MAX, u64::MAX).file("proc/sys/fs/file-max", "9000000000");
        let report = host.examine(&wish(Some(3_000_000), 2));
        let finding = open_files_of(&report);
        assert_eq!((finding.verdict, finding.fix.as_deref()), (Verdict::Missing, Some("--shards 3")));
    }

    #[test]
    fn a_limit_above_nr_open_names_both() {
        let host = MadeUp::tuned().open_files(1_024, 1_024).file("proc/sys/fs/nr_open", "65536");
        let report = host.examine(&wish(Some(500_000), 1));
        let fix = open_files_of(&report).fix.clone().expect("a fix");
        assert!(fix.starts_with("sysctl -w fs.nr_open=500000, then LimitNOFILE=500000"), "{fix}");
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
