//! The network: listening queues, cookies, connection tracking, sharing the port, ports of a local load generator.

use std::io;

use super::report::{Verdict, grouped};
use super::{Host, Notes, Wish};

/// The kernel's own default since 5.4; less is an old or a deliberately narrowed host.
const ACCEPT_QUEUE_MIN: u64 = 4_096;
const HALF_OPEN_MIN: u64 = 1_024;
/// Beyond so many sockets in a bucket of the kernel's table the search for the one that a packet is for becomes a walk.
const SOCKETS_PER_BUCKET: u64 = 2;
/// A range this narrow makes even a small local test awkward.
const PORTS_MIN: u64 = 16_384;
/// The bit of CAP_NET_BIND_SERVICE in `CapEff`.
const NET_BIND_SERVICE: u32 = 10;

pub fn check(host: &Host, wish: &Wish, shared_port: Option<&io::Error>, notes: &mut Notes) {
    queues(host, notes);
    established_table(host, wish, notes);
    connection_tracking(host, wish, notes);
    port_sharing(shared_port, notes);
    privileged_port(host, wish, notes);
    if wish.listen.ip().is_loopback() {
        client_ports(host, wish, notes);
    }
}

fn queues(host: &Host, notes: &mut Notes) {
    if let Some(queue) = host.setting("net.core.somaxconn") {
        let verdict = if queue >= ACCEPT_QUEUE_MIN { Verdict::Good } else { Verdict::Warning };
        let needed = format!("{} or more (net.core.somaxconn)", grouped(ACCEPT_QUEUE_MIN));
        notes.judge(verdict, "accept queue", grouped(queue), needed, || {
            "tuning/apply, or sysctl -w net.core.somaxconn=65535: a reconnect storm waits here".into()
        });
    }
    if let Some(queue) = host.setting("net.ipv4.tcp_max_syn_backlog") {
        let verdict = if queue >= HALF_OPEN_MIN { Verdict::Good } else { Verdict::Warning };
        let needed = format!("{} or more (tcp_max_syn_backlog)", grouped(HALF_OPEN_MIN));
        notes.judge(verdict, "half-open queue", grouped(queue), needed, || {
            "tuning/apply, or sysctl -w net.ipv4.tcp_max_syn_backlog=65535".into()
        });
    }
    if let Some(cookies) = host.setting("net.ipv4.tcp_syncookies") {
        let verdict = if cookies > 0 { Verdict::Good } else { Verdict::Warning };
        notes.judge(verdict, "SYN cookies", if cookies > 0 { "on" } else { "off" }, "on", || {
            "sysctl -w net.ipv4.tcp_syncookies=1: without them a SYN flood shuts everybody out".into()
        });
    }
}

/// The kernel finds the socket of each packet in a hash table whose size is chosen when the host boots. Known since
/// Linux 6.1.
fn established_table(host: &Host, wish: &Wish, notes: &mut Notes) {
    // Negative in a network namespace that has none of its own: it is the host's.
    let Some(buckets) = host.signed_setting("net.ipv4.tcp_ehash_entries").map(i64::unsigned_abs).filter(|n| *n > 0)
    else {
        return;
    };
    let is_enough = buckets.saturating_mul(SOCKETS_PER_BUCKET) >= wish.yardstick();
    let verdict = if is_enough { Verdict::Good } else { Verdict::Warning };
    let needed = grouped(wish.yardstick().div_ceil(SOCKETS_PER_BUCKET));
    notes.judge(
        verdict,
        "socket hash table",
        format!("{} buckets", grouped(buckets)),
        format!("{needed} or more"),
        || {
            let enough = wish.yardstick().next_power_of_two();
            format!(
                "boot with thash_entries={enough}: each packet walks through a bucket to its socket (tuning/README.md)"
            )
        },
    );
}

/// The table exists as soon as the module is loaded; it only counts when a firewall rule uses it.
fn connection_tracking(host: &Host, wish: &Wish, notes: &mut Notes) {
    let Some(max) = host.setting("net.netfilter.nf_conntrack_max") else { return };
    let tracked = host.setting("net.netfilter.nf_conntrack_count").unwrap_or(0);
    if tracked == 0 {
        return notes.good("conntrack", "not in use", format!("not in use, or {} entries", grouped(wish.yardstick())));
    }
    let free = max.saturating_sub(tracked);
    let needed = format!("{} free", grouped(wish.yardstick()));
    notes.judge(wish.holds(free), "conntrack", format!("{} free", grouped(free)), needed, || {
        "do not track the gateway's port (tuning/README.md), or sysctl -w net.netfilter.nf_conntrack_max=2097152".into()
    });
    notes.bound(free, format!("connection tracking (nf_conntrack_max = {max})"));
}

fn port_sharing(error: Option<&io::Error>, notes: &mut Notes) {
    match error {
        None => notes.good("shared port", "works", "SO_REUSEPORT, one listener a shard"),
        Some(error) => {
            notes.judge(
                Verdict::Missing,
                "shared port",
                error.to_string(),
                "SO_REUSEPORT, one listener a shard",
                || "listen on an address of this host (--listen), on a kernel with SO_REUSEPORT".into(),
            );
        }
    }
}

fn privileged_port(host: &Host, wish: &Wish, notes: &mut Notes) {
    let Some(first_free) = host.setting("net.ipv4.ip_unprivileged_port_start") else { return };
    let port = u64::from(wish.listen.port());
    if port == 0 || port >= first_free {
        return;
    }
    let allowed = host.has_capability(NET_BIND_SERVICE);
    let verdict = if allowed { Verdict::Good } else { Verdict::Missing };
    let found = if allowed { "CAP_NET_BIND_SERVICE" } else { "no capability" };
    notes.judge(verdict, "port below 1024", found, format!("to listen on {port}"), || {
        "AmbientCapabilities=CAP_NET_BIND_SERVICE in the unit (and the same in CapabilityBoundingSet, without \
         PrivateUsers); or a port from 1024 up"
            .into()
    });
}

/// A gateway on loopback is being tried out: the load generator beside it has so many ports per source address.
fn client_ports(host: &Host, wish: &Wish, notes: &mut Notes) {
    let [first, last] = host.settings("net.ipv4.ip_local_port_range")[..] else { return };
    let ports = last.saturating_sub(first) + 1;
    let verdict = if ports >= PORTS_MIN { Verdict::Good } else { Verdict::Warning };
    let addresses = wish.yardstick().div_ceil(ports);
    let needed = format!("{} source addresses (127.x.y.z) to fill it from here", grouped(addresses));
    notes.judge(verdict, "client ports", format!("{} an address", grouped(ports)), needed, || {
        "tuning/apply --profile flood, on a machine that serves nothing else".into()
    });
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::super::Row;
    use super::super::host::made_up::{MadeUp, wish};
    use super::*;

    fn row(host: &MadeUp, wish: &Wish, name: &str) -> Option<Row> {
        host.examine(wish).rows.into_iter().find(|row| row.name == name)
    }

    #[test]
    fn a_conntrack_table_in_use_bounds_the_connections() {
        let host = MadeUp::tuned()
            .file("proc/sys/net/netfilter/nf_conntrack_max", "262144")
            .file("proc/sys/net/netfilter/nf_conntrack_count", "144");
        let report = host.examine(&wish(Some(500_000), 4));
        assert_eq!(report.capacity.connections, 262_000);
        assert!(report.capacity.stopped_by.starts_with("connection tracking"), "{}", report.capacity.stopped_by);
        assert_eq!(report.exit_code(), 1);
    }

    #[test]
    fn a_conntrack_table_that_nothing_uses_does_not() {
        let host = MadeUp::tuned()
            .file("proc/sys/net/netfilter/nf_conntrack_max", "262144")
            .file("proc/sys/net/netfilter/nf_conntrack_count", "0");
        assert!(host.examine(&wish(Some(500_000), 4)).capacity.connections > 500_000);
    }

    #[test]
    fn a_socket_table_is_measured_by_the_sockets_in_a_bucket() {
        for (buckets, verdict) in [("262144", Verdict::Warning), ("524288", Verdict::Good), ("-524288", Verdict::Good)]
        {
            let host = MadeUp::tuned().file("proc/sys/net/ipv4/tcp_ehash_entries", buckets);
            let found = row(&host, &wish(Some(1_000_000), 2), "socket hash table").expect("looked at");
            assert_eq!(found.verdict, verdict, "{buckets}");
        }
        let host = MadeUp::tuned().file("proc/sys/net/ipv4/tcp_ehash_entries", "262144");
        let report = host.examine(&wish(Some(1_000_000), 2));
        assert!(report.rows.iter().any(|f| f.fix.as_deref().is_some_and(|r| r.contains("thash_entries=1048576"))));
    }

    #[test]
    fn an_address_that_cannot_be_shared_is_missing() {
        let mut host = MadeUp::tuned();
        host.live.shared_port = Err(io::Error::from_raw_os_error(libc::EADDRNOTAVAIL));
        let found = row(&host, &wish(None, 2), "shared port").expect("looked at");
        assert_eq!(found.verdict, Verdict::Missing);
    }

    #[test]
    fn a_port_below_1024_needs_its_capability() {
        let mut low = wish(None, 2);
        low.listen.set_port(443);
        let found = row(&MadeUp::tuned(), &low, "port below 1024").expect("looked at");
        assert_eq!(found.verdict, Verdict::Missing);
        let allowed = MadeUp::tuned().file("proc/self/status", "CapEff:\t0000000000000400\n");
        let found = row(&allowed, &low, "port below 1024").expect("looked at");
        assert_eq!(found.verdict, Verdict::Good);
        assert_eq!(row(&MadeUp::tuned(), &wish(None, 2), "port below 1024"), None);
    }

    #[test]
    fn client_ports_matter_only_on_loopback() {
        let mut public = wish(Some(1_000_000), 2);
        let local = row(&MadeUp::tuned(), &public, "client ports").expect("looked at");
        assert!(local.needed.starts_with("19 source addresses"), "{}", local.needed);
        public.listen = SocketAddr::from(([0, 0, 0, 0], 4000));
        assert_eq!(row(&MadeUp::tuned(), &public, "client ports"), None);
    }
}
