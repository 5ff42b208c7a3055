//! Clients that read nothing, and what the kernel keeps for them.

use std::fs;

use super::gateway::Gateway;
use super::raw::Raw;
use super::tokens::token;
use super::wait::eventually;

/// The message that waits for them.
pub const MESSAGE_BYTES: usize = 400 * 1024;

/// `count` clients that read no more after their greeting, and one message for all of them.
#[track_caller]
pub fn broadcast_to_non_readers(gateway: &Gateway, count: usize) -> Vec<Raw> {
    let clients = (0..count).map(|n| Raw::connect(gateway, "/ws", &token(&format!("u{n}")))).collect();
    let reached = gateway.admin().broadcast("/broadcast/all", &"x".repeat(MESSAGE_BYTES));
    assert_eq!(reached, count as u64);
    clients
}

/// Bytes that the kernel holds for the gateway's connections and that have not been acknowledged: `tx_queue` of
/// `/proc/net/tcp`, for each.
pub fn unacknowledged(gateway: &Gateway) -> Vec<usize> {
    let port = format!(":{:04X}", gateway.public.port());
    let table = fs::read_to_string("/proc/net/tcp").expect("Linux");
    let established = |fields: &Vec<&str>| fields[1].ends_with(&port) && fields[3] == "01";
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect()).filter(established);
    rows.map(|fields| usize::from_str_radix(&fields[4][..8], 16).expect("a number")).collect()
}

/// Waits until the kernel takes nothing more, and says how much it holds.
#[track_caller]
pub fn settle(gateway: &Gateway) -> usize {
    let mut before = 0;
    eventually("the kernel has taken what it takes", || {
        let now = unacknowledged(gateway).iter().sum();
        std::mem::replace(&mut before, now) == now && now > 0
    });
    before
}
