//! What the host lets this process have: open files, cores, memory pages.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Slots of all file tables together when nobody says how many connections to expect: 8 bytes of kernel memory each.
const SLOTS_DEFAULT: usize = 4 << 20;

/// The largest file table of one ring (`IORING_MAX_FIXED_FILES`, Linux 5.13 and later).
const SLOTS_PER_RING_MAX: usize = 1 << 20;

/// Descriptors of the process beside clients and shards: standard streams, runtimes, listeners, sources with their
/// reconnects, what is opened to be read once; with room to spare.
const PROCESS_DESCRIPTORS: usize = 64;

/// Two rings, the bell and its duplicates, the listener; and a turn's newcomers, who may have displaced others whose refusal
/// is still being sent.
const SHARD_DESCRIPTORS: usize = 40;

/// Keeps the kernel from backing memory with huge pages of 2 MiB. The allocator asks for them, and every size class and every
/// shard would round up to one: measured with 15,000 connections, 775 bytes a connection instead of 280.
pub fn keep_pages_small() {
    // Refused only by kernels without huge pages.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

/// Raises the soft limit of open files to the hard one and returns it. It limits the descriptors of the process and, by
/// the same number, the file table of each ring.
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

/// How many connections one shard can hold.
///
/// A limit for the whole process leaves each shard room for an uneven share: the kernel spreads connections over the
/// shards by a hash.
pub fn slots_per_shard(open_files: usize, shards: usize, connections_max: usize) -> usize {
    let wanted = match connections_max {
        0 => SLOTS_DEFAULT / shards,
        max => (max / shards).saturating_mul(2).saturating_add(64).min(max),
    };
    wanted.min(open_files).min(SLOTS_PER_RING_MAX)
}

/// How many handshakes of `asked` one shard may have under way, so that descriptors remain for everything else: clients
/// that are being let in have ordinary descriptors, and a flood of them must not take those of the admin port.
pub fn handshakes_per_shard(open_files: usize, shards: usize, admin_connections: usize, asked: usize) -> usize {
    let kept = PROCESS_DESCRIPTORS + shards * SHARD_DESCRIPTORS + admin_connections;
    asked.min(open_files.saturating_sub(kept) / shards).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_never_gets_more_slots_than_a_ring_takes() {
        assert_eq!(slots_per_shard(20_000, 2, 0), 20_000);
        assert_eq!(slots_per_shard(usize::MAX, 2, 0), SLOTS_PER_RING_MAX);
        assert_eq!(slots_per_shard(1 << 30, 64, 0), SLOTS_DEFAULT / 64);
    }

    #[test]
    fn handshakes_leave_descriptors_for_the_admin_port() {
        assert_eq!(handshakes_per_shard(1 << 20, 64, 256, 1024), 1024);
        let (shards, admin) = (118, 256);
        let handshakes = handshakes_per_shard(20_000, shards, admin, 1024);
        assert!(handshakes > 100 && shards * (handshakes + SHARD_DESCRIPTORS) + admin + PROCESS_DESCRIPTORS <= 20_000);
        assert_eq!(handshakes_per_shard(100, 2, 256, 1024), 1);
    }

    #[test]
    fn a_limit_of_connections_fits_into_one_shard_if_the_hash_is_unkind() {
        assert_eq!(slots_per_shard(20_000, 2, 10), 10);
        assert_eq!(slots_per_shard(20_000, 4, 10_000), 5_064);
    }
}
