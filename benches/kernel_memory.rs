//! What the kernel keeps for clients that read nothing, by `server.unsent_bytes`: `cargo bench --bench kernel_memory`.
//!
//! It measures the whole host: run it in a network namespace of its own, or with nothing else going on. It needs
//! `ulimit -n 20000`.

#[path = "../tests/support/mod.rs"]
#[allow(dead_code, reason = "the tests need more of it")]
mod support;

use support::config::Config;
use support::gateway::Gateway;
use support::non_readers::{broadcast_to_non_readers, settle};

const CLIENTS: usize = 2000;

const PAGE_BYTES: usize = 4096;

fn main() {
    println!("unsent_bytes | unacknowledged per connection | TCP memory of both ends per connection");
    for unsent_bytes in [0, 8, 16, 32, 64, 128].map(|kib| kib * 1024) {
        let gateway = Gateway::start(Config::new().set("server.unsent_bytes", unsent_bytes));
        let before = tcp_pages();
        let _clients = broadcast_to_non_readers(&gateway, CLIENTS);
        let unacknowledged = settle(&gateway) / CLIENTS;
        let memory = tcp_pages().saturating_sub(before) * PAGE_BYTES / CLIENTS;
        println!("{unsent_bytes} | {unacknowledged} | {memory}");
    }
}

/// A line of `/proc/net/sockstat`: pages of all TCP buffers of this host.
fn tcp_pages() -> usize {
    let text = std::fs::read_to_string("/proc/net/sockstat").expect("Linux");
    let pages = text.lines().find_map(|line| line.strip_prefix("TCP:")?.split("mem ").nth(1)?.trim().parse().ok());
    pages.expect("a line for TCP")
}
