//! The doctor: looks at a host and says whether it can hold the connections asked for, and what stops it first.
//!
//! `ringway doctor` prints the whole table, the gateway prints the short form at start. What it looks at is a [`Host`]:
//! `/proc` and `/sys` under some root, and two live trials on the running kernel. It changes nothing.
//!
//! Every row that is not good says how to fix it, and the capacity is the least of the bounds that the groups
//! report: those two rules are kept by [`Notes`], not by the groups.

mod host;
mod kernel;
mod limits;
mod memory;
mod network;
mod report;
mod uring;

use std::net::SocketAddr;

use crate::config::{Config, Server};

pub use host::{Host, Live};
pub use kernel::{cores_online, cpu_quota};
pub use report::{Capacity, Report, Row, Verdict};

/// What every node is meant to hold: the yardstick when no number of connections is asked for.
const PROMISED_CONNECTIONS: u64 = 100_000;

/// What the gateway is going to do on this host.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Connections to hold at once. Without it the host is measured against 100,000, and falling short is a warning.
    pub connections: Option<u64>,
    /// `server.max_connections`: what the gateway makes room for; 0: its default.
    pub connections_max: usize,
    /// Shards, each a thread with rings and a table of connections of its own. At least 1.
    pub shards: usize,
    /// Where clients connect.
    pub listen: SocketAddr,
}

impl Wish {
    /// What a gateway with this configuration is going to do, measured against so many connections.
    pub fn of(config: &Config, connections: Option<u64>) -> Self {
        let Server { max_connections, shards, listen, .. } = config.server;
        Self { connections, connections_max: max_connections, shards: crate::host::limits::shards(shards), listen }
    }

    fn yardstick(&self) -> u64 {
        self.connections.unwrap_or(PROMISED_CONNECTIONS)
    }

    fn shards(&self) -> u64 {
        self.shards.max(1) as u64
    }

    /// The verdict on falling short of the yardstick: fatal only when somebody asked for that number.
    fn shortfall(&self) -> Verdict {
        if self.connections.is_some() { Verdict::Missing } else { Verdict::Warning }
    }

    fn holds(&self, connections: u64) -> Verdict {
        if connections >= self.yardstick() { Verdict::Good } else { self.shortfall() }
    }
}

/// Examines the machine this process runs on.
pub fn examine(wish: &Wish) -> Report {
    examine_host(&Host::this(), &Live::try_out(wish.listen), wish)
}

/// Examines a host as it shows itself under a root folder, with the outcome of the live trials.
pub fn examine_host(host: &Host, live: &Live, wish: &Wish) -> Report {
    let mut notes = Notes::default();
    kernel::check(host, wish, &live.ring, &mut notes);
    uring::check(host, &live.ring, &mut notes);
    limits::check(host, wish, &mut notes);
    memory::check(host, wish, &mut notes);
    network::check(host, wish, live.shared_port.as_ref().err(), &mut notes);
    notes.into_report()
}

/// What the groups write down while they look.
#[derive(Default)]
struct Notes {
    rows: Vec<Row>,
    bounds: Vec<Capacity>,
}

impl Notes {
    fn good(&mut self, name: &'static str, found: impl Into<String>, needed: impl Into<String>) {
        self.judge(Verdict::Good, name, found, needed, String::new);
    }

    /// `fix` is asked for only when the verdict is not good, and then kept whatever the verdict.
    fn judge(
        &mut self,
        verdict: Verdict,
        name: &'static str,
        found: impl Into<String>,
        needed: impl Into<String>,
        fix: impl FnOnce() -> String,
    ) {
        let fix = (verdict != Verdict::Good).then(fix);
        self.rows.push(Row { name, found: found.into(), needed: needed.into(), verdict, fix });
    }

    /// The host holds at most so many connections, because of this.
    fn bound(&mut self, connections: u64, stopped_by: impl Into<String>) {
        self.bounds.push(Capacity { connections, stopped_by: stopped_by.into() });
    }

    fn into_report(self) -> Report {
        let nothing_known = || Capacity { connections: 0, stopped_by: "nothing is known of this host".into() };
        let capacity = self.bounds.into_iter().min_by_key(|bound| bound.connections).unwrap_or_else(nothing_known);
        Report { rows: self.rows, capacity }
    }
}

#[cfg(test)]
mod tests {
    use super::host::made_up::{MadeUp, wish};
    use super::*;

    #[test]
    fn a_tuned_host_is_given_a_clean_bill() {
        let report = MadeUp::tuned().examine(&wish(Some(1_000_000), 4));
        let not_good: Vec<_> = report.rows.iter().filter(|row| row.verdict != Verdict::Good).collect();
        assert!(not_good.is_empty(), "{not_good:#?}");
        assert_eq!(report.exit_code(), 0);
    }

    #[test]
    fn every_row_that_is_not_good_says_how_to_fix_it() {
        let report = MadeUp::neglected().examine(&wish(Some(1_000_000), 4));
        let not_good: Vec<_> = report.rows.iter().filter(|row| row.verdict != Verdict::Good).collect();
        assert!(not_good.len() >= 10, "a neglected host has many faults: {not_good:#?}");
        let table = report.render(false);
        for row in not_good {
            let fix = row.fix.as_deref().expect("a row that is not good has a fix");
            assert!(!fix.is_empty() && table.contains(fix), "{} has no way out in:\n{table}", row.name);
        }
    }

    #[test]
    fn capacity_is_the_least_of_all_bounds_and_names_it() {
        // Plenty of files, but 2 GB of memory at 4,000 bytes each.
        let host = MadeUp::tuned().file("proc/meminfo", "MemTotal: 4000000 kB\nMemAvailable: 2000000 kB\n");
        let capacity = host.examine(&wish(None, 4)).capacity;
        assert_eq!(capacity.connections, 2_000_000 * 1024 / 4_000);
        assert!(capacity.stopped_by.starts_with("memory"), "{}", capacity.stopped_by);

        let host = MadeUp::tuned().open_files(1_024, 1_024);
        let capacity = host.examine(&wish(None, 4)).capacity;
        assert_eq!(capacity.connections, 131_072);
        assert!(capacity.stopped_by.starts_with("open files"), "{}", capacity.stopped_by);
    }

    #[test]
    fn falling_short_fails_only_who_asked_for_a_number() {
        let host = MadeUp::tuned().open_files(1_024, 1_024);
        assert_eq!(host.examine(&wish(None, 2)).exit_code(), 0);
        assert_eq!(host.examine(&wish(Some(131_072), 2)).exit_code(), 0);
        assert_eq!(host.examine(&wish(Some(131_073), 2)).exit_code(), 1);
    }

    #[test]
    fn a_host_that_shows_nothing_is_examined_without_panic() {
        let report = MadeUp::empty().examine(&wish(None, 1));
        assert!(!report.rows.is_empty());
        assert!(!report.render(false).is_empty());
    }

    #[test]
    fn the_machine_of_this_test_is_examined() {
        let report = examine(&wish(None, 2));
        for name in ["kernel", "io_uring", "open files", "memory", "shared port"] {
            assert!(report.rows.iter().any(|row| row.name == name), "{name} was not looked at");
        }
    }
}
