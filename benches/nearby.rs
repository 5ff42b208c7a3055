//! What a circle costs: in memory, and to move it: `cargo bench --bench nearby`.

use std::sync::Arc;
use std::time::Instant;

use ringway::channel::{Interest, Table};
use ringway::geo::Position;
use ringway::proc;
use ringway::shard::nearby::Nearby;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const FOLLOWERS: u32 = 200_000;

fn main() {
    println!("circles of 1500 m | bytes per follower | ns to set | ns to move | ns to take away");
    measure("all in a town of 20 km", 0.1);
    measure("each in cells of its own", 80.0);
}

/// Circles spread over so many degrees to each side.
fn measure(what: &str, spread: f64) {
    let mut table = Table::new(0, Arc::<Interest>::default(), FOLLOWERS as usize);
    let mut nearby = Nearby::new(Arc::default());
    // As everybody is: in the channel of his user.
    (0..FOLLOWERS).for_each(|slot| _ = table.join(slot, &format!("user:{slot:032x}")));
    let before = resident();
    let set = each(|slot| assert!(nearby.watch(slot, &mut table, centre(slot, 0.0, spread), 1_500.0)));
    let bytes = (resident() - before) / FOLLOWERS as usize;
    // By some 500 m, as somebody drives.
    let moved = each(|slot| assert!(nearby.watch(slot, &mut table, centre(slot, 0.005, spread), 1_500.0)));
    let taken_away = each(|slot| assert!(nearby.unwatch(slot, &mut table)));
    println!("{what} | {bytes} | {set} | {moved} | {taken_away}");
}

fn each(mut operation: impl FnMut(u32)) -> u128 {
    let before = Instant::now();
    (0..FOLLOWERS).for_each(&mut operation);
    before.elapsed().as_nanos() / u128::from(FOLLOWERS)
}

/// The same for a slot every time, and anywhere.
fn centre(slot: u32, aside: f64, spread: f64) -> Position {
    let part = |factor: u32| f64::from(slot.wrapping_mul(factor)) / f64::from(u32::MAX) * 2.0 - 1.0;
    Position::new(part(0x9e37_79b9) * spread + aside, part(0x85eb_ca6b) * spread + aside).expect("a place")
}

fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    proc::bytes(&status, "VmRSS").expect("a row") as usize
}
