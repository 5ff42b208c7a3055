//! What the host lets this process have: open files, cores, memory pages.

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::config::Config;
use crate::shard::io::Capacity;

/// Slots of all shards together when nobody says how many connections to expect: reserved, not touched.
pub const SLOTS_DEFAULT: usize = 4 << 20;

/// The largest file table of one ring. The kernel would take 2^20, but to cancel a poll it searches one of 128 buckets,
/// in which all polls of the ring stand.
const SLOTS_PER_RING_MAX: usize = 1 << 15;

/// Of all open files this part at most are rings of shards.
const RINGS_PART: usize = 8;

/// Descriptors of the process beside clients and shards: standard streams, runtimes, listeners, sources with their
/// reconnects, what is opened to be read once; with room to spare.
const PROCESS_DESCRIPTORS: usize = 64;

/// The lobby's ring, the bell and its duplicates, the listener; and a turn's newcomers, who may have displaced others
/// whose refusal is still being sent.
const SHARD_DESCRIPTORS: usize = 40;

/// How large the process is going to be.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub shards: usize,
    /// Of each shard.
    pub capacity: Capacity,
    /// Handshakes that each shard may have under way.
    pub handshakes_max: usize,
}

impl Size {
    /// What is asked for, as far as this limit of open files has room for it.
    pub fn decide(open_files: usize, config: &Config) -> Self {
        let shards = shards(config.server.shards);
        let capacity = capacity(open_files, shards, config.server.max_connections);
        let asked = config.limits.handshakes;
        let admin_connections = config.admin.connections * config.admin.ports().count();
        let handshakes_max = handshakes_per_shard(open_files, shards, capacity, admin_connections, asked);
        Self { shards, capacity, handshakes_max }
    }
}

/// Keeps the kernel from backing memory with huge pages of 2 MiB. The allocator asks for them, and every size class
/// and every shard would round up to one: measured with 15,000 connections, 775 bytes a connection instead of 280.
pub fn keep_pages_small() {
    // Refused only by kernels without huge pages.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

/// Raises the soft limit of open files to the hard one and returns it. It limits the descriptors of the process and, by
/// the same number, the file table of each ring, of which there may be many.
pub fn raise_open_files() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let mut raised = limit;
    raised.current = limit.maximum;
    let current = if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    current.map_or(usize::MAX, |n| n as usize)
}

/// How many shards to run: as asked, or one per core.
pub fn shards(asked: usize) -> usize {
    match asked {
        0 => std::thread::available_parallelism().map_or(1, usize::from).min(crate::channel::interest::SHARDS_MAX),
        asked => asked,
    }
}

/// How many connections one shard can hold, and in rings of what size.
///
/// A limit for the whole process leaves each shard room for an uneven share: the kernel spreads connections over the
/// shards by a hash.
pub fn capacity(open_files: usize, shards: usize, connections_max: usize) -> Capacity {
    let wanted = match connections_max {
        0 => SLOTS_DEFAULT / shards,
        max => (max / shards).saturating_mul(2).saturating_add(64).min(max),
    };
    let per_ring = open_files.clamp(1, SLOTS_PER_RING_MAX);
    Capacity { slots: wanted.min(per_ring.saturating_mul(rings_max(open_files, shards))), per_ring }
}

/// How many connections all shards can hold at most under this limit of open files, whatever is asked for.
pub fn connections_max(open_files: usize, shards: usize) -> usize {
    let per_shard = capacity(open_files, shards, usize::MAX).slots;
    per_shard.saturating_mul(shards)
}

/// Rings that one shard may make: each is a descriptor of the process.
fn rings_max(open_files: usize, shards: usize) -> usize {
    (open_files / RINGS_PART / shards).max(1)
}

/// How many handshakes of `asked` one shard may have under way, so that descriptors remain for everything else: clients
/// that are being let in have ordinary descriptors, and a flood of them must not take those of the admin port.
fn handshakes_per_shard(
    open_files: usize,
    shards: usize,
    capacity: Capacity,
    admin_connections: usize,
    asked: usize,
) -> usize {
    let rings = capacity.slots.div_ceil(capacity.per_ring);
    let kept = PROCESS_DESCRIPTORS + shards * (SHARD_DESCRIPTORS + rings) + admin_connections;
    asked.min(open_files.saturating_sub(kept) / shards).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(open_files: usize, shards: usize, connections_max: usize) -> usize {
        capacity(open_files, shards, connections_max).slots
    }

    #[test]
    fn the_limit_of_open_files_bounds_a_ring_and_not_a_shard() {
        assert_eq!(capacity(20_000, 2, 0), Capacity { slots: SLOTS_DEFAULT / 2, per_ring: 20_000 });
        assert_eq!(capacity(usize::MAX, 2, 0), Capacity { slots: SLOTS_DEFAULT / 2, per_ring: SLOTS_PER_RING_MAX });
        assert_eq!(slots(1 << 30, 64, 0), SLOTS_DEFAULT / 64);
        assert!(connections_max(20_000, 2) >= 49_000_000);
    }

    #[test]
    fn rings_leave_most_of_the_descriptors_to_others() {
        for (open_files, shards) in [(64, 1), (1024, 2), (1024, 128), (4096, 8)] {
            let Capacity { slots, per_ring } = capacity(open_files, shards, 0);
            assert!((slots / per_ring).saturating_sub(1) * shards <= open_files / 8, "{open_files} {shards}");
        }
        assert_eq!(connections_max(1024, 2), 2 * 64 * 1024);
    }

    #[test]
    fn handshakes_leave_descriptors_for_the_admin_port() {
        let handshakes =
            |files, shards, asked| handshakes_per_shard(files, shards, capacity(files, shards, 0), 256, asked);
        assert_eq!(handshakes(1 << 20, 64, 1024), 1024);
        for (files, shards) in [(20_000, 118), (1024, 2)] {
            let (rings, here) = (capacity(files, shards, 0), handshakes(files, shards, 1024));
            let each = here + SHARD_DESCRIPTORS + rings.slots.div_ceil(rings.per_ring);
            assert!(here > 100 && shards * each + 256 + PROCESS_DESCRIPTORS <= files);
        }
        assert_eq!(handshakes(100, 2, 1024), 1);
    }

    #[test]
    fn a_limit_of_connections_fits_into_one_shard_if_the_hash_is_unkind() {
        assert_eq!(slots(20_000, 2, 10), 10);
        assert_eq!(slots(20_000, 4, 10_000), 5_064);
    }
}
