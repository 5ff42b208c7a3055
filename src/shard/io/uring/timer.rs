//! A timeout request and the memory in which the kernel reads how long it is.

use io_uring::opcode::Timeout;
use io_uring::squeue;
use io_uring::types::Timespec;

#[derive(Default)]
pub struct Timer {
    /// Boxed: it stays where it is while the kernel may read it.
    spec: Box<Timespec>,
    /// Exactly while the request is with the kernel.
    is_set: bool,
}

impl Timer {
    /// The request that completes after so long. One at a time.
    pub fn set(&mut self, us: u64) -> squeue::Entry {
        debug_assert!(!self.is_set, "one at a time");
        self.is_set = true;
        *self.spec = Timespec::new().sec(us / 1_000_000).nsec((us % 1_000_000) as u32 * 1000);
        Timeout::new(&*self.spec).build()
    }

    pub fn fired(&mut self) {
        debug_assert!(self.is_set);
        self.is_set = false;
    }
}
