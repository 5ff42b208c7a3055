//! What is remembered for a while costs in memory and time: notifications until they are confirmed and after, and who
//! writes where: `cargo bench --bench kept`.

use std::process::Command;
use std::time::Instant;

use bytes::Bytes;
use ringway::channel::Typing;
use ringway::channel::typing::Stop;
use ringway::clock::Now;
use ringway::notification::{Bounds, Notifications, recognise};
use ringway::proc;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const NOTIFICATIONS: usize = 500_000;

/// No more than a shard has room for.
const WRITERS: u32 = 60_000;

/// Of the text of a notification.
const TEXT_BYTES: usize = 200;

/// A row is a process of its own: what another one has given back would be taken for its memory.
const ROWS: [fn(); 5] = [|| pending(1), || remembered(1), || pending(5), || remembered(5), typing];

fn main() {
    // Cargo's own flags are none of ours.
    let row = std::env::args().skip(1).find_map(|word| word.parse::<usize>().ok());
    if let Some(row) = row {
        return ROWS[row]();
    }
    println!("what | bytes | ns");
    let program = std::env::current_exe().expect("it runs");
    for row in 0..ROWS.len() {
        let done = Command::new(&program).arg(row.to_string()).status().expect("it starts");
        assert!(done.success(), "{done}");
    }
}

/// Beside their texts.
fn pending(of_user: usize) {
    let kept = Notifications::new(Some(bounds()));
    let (bytes, ns) = measured(NOTIFICATIONS, |number| keep(&kept, number, of_user));
    println!("a kept notification, {of_user} of a user | {} | {ns}", bytes - TEXT_BYTES);
}

fn remembered(of_user: usize) {
    let kept = Notifications::new(Some(bounds()));
    let (bytes, ns) = measured(NOTIFICATIONS, |number| {
        keep(&kept, number, of_user);
        assert!(kept.confirm(&user(number, of_user), &id(number), Now::default()));
    });
    println!("kept, confirmed and remembered, {of_user} of a user | {bytes} | {ns}");
}

fn typing() {
    let mut typing = Typing::new(100, 10);
    let (bytes, ns) = measured(WRITERS as usize, |number| {
        let channel = format!("conv:{number:032x}");
        let frame = format!(
            r#"{{"type":"typing.stop","payload":{{"conversation_id":"{number:032x}","user_id":"{number:032x}"}}}}"#
        );
        let stop = Stop { channel: channel.into(), except_user: Some(number as u64), frame: Bytes::from(frame) };
        typing.begin(number as u32, 0, stop, 0);
    });
    println!("somebody writes in a channel | {bytes} | {ns}");
}

fn keep(kept: &Notifications, number: usize, of_user: usize) {
    let channel = format!("user:{}", user(number, of_user));
    let text = format!(r#"{{"type":"notification","id":"{}","text":""#, id(number));
    let text = format!("{text}{:x>1$}", "\"}", TEXT_BYTES - text.len());
    let found = recognise(&channel, &text).expect("a notification");
    assert!(kept.keep(&found, &text, Now::default()).is_some());
}

/// As long as a UUID.
fn user(number: usize, of_user: usize) -> String {
    format!("{:036x}", number / of_user)
}

fn id(number: usize) -> String {
    format!("{number:036x}")
}

fn bounds() -> Bounds {
    Bounds {
        per_user: 100,
        total: NOTIFICATIONS,
        bytes: usize::MAX,
        expiry_ticks: 1_000_000,
        memory_ticks: 1_000_000,
        first_repeat_ticks: 100,
        longest_repeat_ticks: 3000,
    }
}

/// Bytes of resident memory, and nanoseconds, for each.
fn measured(count: usize, each: impl FnMut(usize)) -> (usize, u128) {
    let (before, began) = (resident(), Instant::now());
    (0..count).for_each(each);
    ((resident() - before) / count, began.elapsed().as_nanos() / count as u128)
}

fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    proc::bytes(&status, "VmRSS").expect("a row") as usize
}
