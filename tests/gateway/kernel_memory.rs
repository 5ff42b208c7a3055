//! Promise: what a client does not read waits in the gateway, once for all of them, and not in kernel memory, once for each.

use std::fs;

use crate::support::config::Config;
use crate::support::gateway::Gateway;
use crate::support::raw::Raw;
use crate::support::tokens::token;
use crate::support::wait::eventually;

const MESSAGE_BYTES: usize = 400 * 1024;

/// Bytes that the kernel holds for the gateway's connections and that have not been acknowledged: `tx_queue` of
/// `/proc/net/tcp`, for each.
fn unacknowledged(gateway: &Gateway) -> Vec<usize> {
    let port = format!(":{:04X}", gateway.public.port());
    let table = fs::read_to_string("/proc/net/tcp").expect("Linux");
    let established = |fields: &Vec<&str>| fields[1].ends_with(&port) && fields[3] == "01";
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect()).filter(established);
    rows.map(|fields| usize::from_str_radix(&fields[4][..8], 16).expect("a number")).collect()
}

/// A line of `/proc/net/sockstat`: pages of all TCP buffers of this host.
fn tcp_pages() -> usize {
    let text = fs::read_to_string("/proc/net/sockstat").expect("Linux");
    let pages = text.lines().find_map(|line| line.strip_prefix("TCP:")?.split("mem ").nth(1)?.trim().parse().ok());
    pages.expect("a line for TCP")
}

/// `count` clients that read no more after their greeting, and one message for all of them.
fn broadcast_to_non_readers(gateway: &Gateway, count: usize) -> Vec<Raw> {
    let clients = (0..count).map(|n| Raw::connect(gateway, "/ws", &token(&format!("u{n}")))).collect();
    let reached = gateway.admin().broadcast("/broadcast/all", &"x".repeat(MESSAGE_BYTES));
    assert_eq!(reached, count as u64);
    clients
}

/// Waits until the kernel takes nothing more.
fn settle(gateway: &Gateway) -> usize {
    let mut before = 0;
    eventually("the kernel has taken what it takes", || {
        let now = unacknowledged(gateway).iter().sum();
        std::mem::replace(&mut before, now) == now && now > 0
    });
    before
}

#[test]
fn what_nobody_reads_is_not_copied_into_the_kernel() {
    let gateway = Gateway::start(Config::new());
    let clients = broadcast_to_non_readers(&gateway, 8);
    settle(&gateway);
    // The limit, and the one segment by which the kernel may pass it.
    let bound = 32 * 1024 + 2 * 64 * 1024;
    let held = unacknowledged(&gateway);
    assert!(held.len() == clients.len() && held.iter().all(|bytes| *bytes <= bound), "{held:?}");
}

#[test]
fn a_slow_reader_gets_the_whole_message_all_the_same() {
    let gateway = Gateway::start(Config::new());
    let mut clients = broadcast_to_non_readers(&gateway, 2);
    settle(&gateway);
    assert_eq!(clients[0].next_text().len(), MESSAGE_BYTES);
    assert_eq!(clients[1].next_text().len(), MESSAGE_BYTES);
}

/// A measurement, for docs/BENCHMARKS.md: run with `--ignored --nocapture`, in a network namespace of its own or with nothing
/// else going on, and `ulimit -n 20000`.
#[test]
#[ignore = "measures the whole host"]
fn kernel_memory_of_those_who_do_not_read() {
    const CLIENTS: usize = 2000;
    println!("unsent_bytes | unacknowledged per connection | TCP memory of both ends per connection");
    for unsent_bytes in [0, 8, 16, 32, 64, 128].map(|kib| kib * 1024) {
        let gateway = Gateway::start(Config::new().set("server.unsent_bytes", unsent_bytes));
        let before = tcp_pages();
        let clients = broadcast_to_non_readers(&gateway, CLIENTS);
        let unacknowledged = settle(&gateway) / CLIENTS;
        let memory = (tcp_pages() - before) * 4096 / CLIENTS;
        println!("{unsent_bytes} | {unacknowledged} | {memory}");
        drop(clients);
    }
}
