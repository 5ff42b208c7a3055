//! The lobby's tasks on this backend: monoio, with an io_uring of its own.

use std::io;

/// Entries of monoio's ring: handshakes under way, not connections.
const ENTRIES: u32 = 1024;

/// Runs tasks on this thread until the first of them ends.
pub fn run(tasks: impl Future<Output = ()>) -> io::Result<()> {
    // The type of the io-uring version that monoio uses, which is older than the floor's.
    let mut builder = monoio_io_uring::IoUring::builder();
    builder.setup_single_issuer().setup_coop_taskrun().setup_defer_taskrun();
    let mut runtime = monoio::RuntimeBuilder::<monoio::IoUringDriver>::new()
        .uring_builder(builder)
        .with_entries(ENTRIES)
        .enable_timer()
        .build()?;
    runtime.block_on(tasks);
    Ok(())
}
