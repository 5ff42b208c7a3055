//! The shard's receive buffers: one provided-buffer ring (io_uring, Linux 5.19), from which the kernel takes a buffer for each
//! receive. A connection owns no buffer; a buffer is out only between a receive's completion and the end of its handling.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::Submitter;
use io_uring::types::BufRingEntry;

/// The group that the receives name.
pub const GROUP: u16 = 0;

pub struct Buffers {
    shape: Shape,
    /// `shape.count` ring entries, page aligned as the kernel asks; the tail lies in the first entry's reserved field.
    ring: NonNull<BufRingEntry>,
    /// `shape.count` buffers of `shape.bytes` each.
    memory: NonNull<u8>,
    tail: u16,
    /// Buffers that the kernel may take.
    provided: usize,
}

/// How many buffers there are, and how large they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// As many receives are handed to the kernel at once. A power of two.
    pub count: usize,
    /// The most that one receive takes.
    pub bytes: usize,
}

impl Shape {
    /// Of a shard: what a client usually sends in one go.
    pub const SHARD: Self = Self { count: 64, bytes: 4096 };

    fn ring_layout(self) -> Layout {
        Layout::from_size_align(self.count * size_of::<BufRingEntry>(), 4096).expect("some dozens of entries")
    }

    fn memory_layout(self) -> Layout {
        Layout::from_size_align(self.count * self.bytes, 4096).expect("some megabytes")
    }
}

impl Buffers {
    /// Allocates the buffers and registers them with the ring behind `submitter`.
    pub fn register(submitter: &Submitter<'_>, shape: Shape) -> io::Result<Self> {
        assert!(shape.count.is_power_of_two() && shape.count <= 1 << 15 && shape.bytes > 0);
        let ring = allocate(shape.ring_layout()).cast();
        let memory = allocate(shape.memory_layout());
        let mut buffers = Self { shape, ring, memory, tail: 0, provided: 0 };
        // SAFETY: the ring is page aligned, zeroed and `count` entries long, and is freed only in `drop`, which the owner
        // runs after the io_uring that it was registered with is gone.
        unsafe {
            submitter.register_buf_ring_with_flags(ring.as_ptr() as u64, shape.count as u16, GROUP, 0)?;
        }
        (0..shape.count as u16).for_each(|id| buffers.provide(id));
        Ok(buffers)
    }

    /// Buffers that are out, on loan or lost.
    pub fn out(&self) -> usize {
        self.shape.count - self.provided
    }

    /// How many buffers the kernel may take now.
    pub fn provided(&self) -> usize {
        self.provided
    }

    /// The kernel has taken a buffer.
    pub fn taken(&mut self) {
        debug_assert!(self.provided > 0);
        self.provided -= 1;
    }

    /// The first `len` bytes of a buffer that was taken and not yet provided again.
    pub fn bytes(&mut self, id: u16, len: usize) -> &mut [u8] {
        assert!((id as usize) < self.shape.count && len <= self.shape.bytes);
        // SAFETY: within the allocation by the assertion; the kernel does not write to a buffer between its completion and
        // `provide`, and `&mut self` keeps others away.
        unsafe { std::slice::from_raw_parts_mut(self.memory.as_ptr().add(id as usize * self.shape.bytes), len) }
    }

    /// Gives buffer `id` to the kernel (again).
    pub fn provide(&mut self, id: u16) {
        assert!((id as usize) < self.shape.count);
        let at = self.tail as usize % self.shape.count;
        // SAFETY: `at` lies in the ring, the kernel does not read entries beyond the tail that was published, and the
        // address stays valid as long as the registration.
        unsafe {
            let entry = self.ring.as_ptr().add(at);
            (*entry).set_addr(self.memory.as_ptr().add(id as usize * self.shape.bytes) as u64);
            (*entry).set_len(self.shape.bytes as u32);
            (*entry).set_bid(id);
        }
        self.tail = self.tail.wrapping_add(1);
        self.provided += 1;
        // SAFETY: the tail field is two bytes, aligned, and only this thread writes it; the kernel reads it with acquire.
        unsafe {
            let tail = BufRingEntry::tail(self.ring.as_ptr()).cast::<AtomicU16>();
            (*tail).store(self.tail, Ordering::Release);
        }
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // SAFETY: allocated in `register` with these layouts; the owner drops its io_uring first, so the kernel no longer
        // knows the addresses.
        unsafe {
            dealloc(self.ring.as_ptr().cast(), self.shape.ring_layout());
            dealloc(self.memory.as_ptr(), self.shape.memory_layout());
        }
    }
}

fn allocate(layout: Layout) -> NonNull<u8> {
    // SAFETY: both layouts have a size above zero.
    let memory = unsafe { alloc_zeroed(layout) };
    NonNull::new(memory).unwrap_or_else(|| handle_alloc_error(layout))
}
