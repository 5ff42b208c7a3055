//! What presence costs who joins and leaves, and in memory: `cargo bench --bench presence`.
//!
//! Each operation is timed by itself, since the longest one matters: it is made in a turn of a shard.

use std::time::Instant;

use ringway::channel::Presence;
use ringway::channel::presence::Settings;
use ringway::proc;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USERS: usize = 1_000_000;

const CHANNELS_OF_TWO: usize = 1_000_000;

fn main() {
    println!("what | median | 99.9 % | longest (ns)");
    in_one_channel();
    in_channels_of_two();
}

fn in_one_channel() {
    let (presence, before) = (presence(), resident());
    each("enter, a million users of one channel", USERS, |number| presence.enter("conv:all", &user(number)));
    settle(&presence);
    println!("bytes per user of one channel | {}", (resident() - before) / USERS);
    each("list, of a million", 1000, |_| drop(presence.list("conv:all")));
    each("vanish, the same", USERS, |number| presence.vanish("conv:all", &user(number), 0));
    let before = Instant::now();
    settle(&presence);
    println!("a million graces end in | {:?}", before.elapsed());
    assert_eq!(presence.totals().online, 0);
}

fn in_channels_of_two() {
    let (presence, before) = (presence(), resident());
    let channel = |number: usize| format!("conv:{:032x}", number / 2);
    each("enter, a million channels of two", 2 * CHANNELS_OF_TWO, |number| {
        presence.enter(&channel(number), &user(number));
    });
    settle(&presence);
    println!("bytes per user and channel, in channels of two | {}", (resident() - before) / (2 * CHANNELS_OF_TWO));
    each("leave, the same", 2 * CHANNELS_OF_TWO, |number| presence.leave(&channel(number), &user(number)));
    settle(&presence);
    assert_eq!(presence.totals().channels, 0);
}

fn presence() -> Presence {
    let channels = vec!["conv:*".parse().expect("a pattern")];
    Presence::new(Settings { channels, grace_ticks: 1, leaving_per_user_max: 1024, announce_max: 100, list_max: 100 })
}

/// As long as a UUID.
fn user(number: usize) -> String {
    format!("{:036x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// Tells everything, long after it happened.
fn settle(presence: &Presence) {
    let mut told = Vec::new();
    for now in [u32::MAX / 4, u32::MAX / 2, u32::MAX - 1] {
        for stripe in 0..presence.stripes() {
            while presence.expire(stripe, now) {}
            for _ in 0..100 {
                presence.take(stripe, now, &mut told);
                told.clear();
            }
        }
    }
}

fn each(what: &str, count: usize, mut operation: impl FnMut(usize)) {
    let mut times: Vec<u128> = Vec::with_capacity(count);
    for number in 0..count {
        let before = Instant::now();
        operation(number);
        times.push(before.elapsed().as_nanos());
    }
    times.sort_unstable();
    println!("{what} | {} | {} | {}", times[count / 2], times[count - 1 - count / 1000], times[count - 1]);
}

fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    proc::bytes(&status, "VmRSS").expect("a row") as usize
}
