//! The rings of one shard: which slot is in which, what waits to be handed to the kernel, and what wakes the shard.
//!
//! A file table is bounded by the limit of open files and by what a cancellation may cost, a shard is not: it has as
//! many rings as its highest slot asks for, each made when the first of its slots is opened. All of them ring one bell,
//! and their completions go into one queue ([`Slots`]) in the order in which they were fetched. What a turn pays for a
//! ring where nothing happens is a look at one cache line.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{Ordering, fence};

use io_uring::types::Fixed;
use io_uring::{IoUring, squeue};

use super::needs;
use super::slots::Slots;
use super::tag::Tag;
use crate::lane::bell::Bell;
use crate::shard::io::{Capacity, Slot};

pub struct Rings {
    /// Each for `capacity.per_ring` slots. Never empty.
    rings: Vec<IoUring>,
    capacity: Capacity,
    bell: Bell,
    /// Requests that wait in the rings for being handed to the kernel.
    queued: usize,
    /// Completions ring the bell.
    dozing: bool,
}

impl Rings {
    /// With the first ring.
    pub fn new(capacity: Capacity, bell: &Bell) -> io::Result<Self> {
        assert!(capacity.per_ring > 0);
        let mut rings = Self { rings: Vec::new(), capacity, bell: bell.clone(), queued: 0, dozing: false };
        rings.add()?;
        Ok(rings)
    }

    fn add(&mut self) -> io::Result<()> {
        let first = self.rings.len() * self.capacity.per_ring;
        let files = self.capacity.per_ring.min(self.capacity.slots.saturating_sub(first)).max(1);
        let mut ring = needs::make_ring(files as u32, &self.bell)?;
        // Also while the shard dozes: whoever opens a slot wakes it.
        ring.completion().disable_eventfd();
        self.rings.push(ring);
        Ok(())
    }

    #[cfg(test)]
    pub fn count(&self) -> usize {
        self.rings.len()
    }

    fn of(&self, slot: Slot) -> usize {
        slot as usize / self.capacity.per_ring
    }

    /// The slot's direct descriptor: its place in the file table of its ring.
    pub fn file(&self, slot: Slot) -> Fixed {
        Fixed(slot % self.capacity.per_ring as u32)
    }

    /// Puts a socket into the table of the slot's ring, which is made if need be, and closes the descriptor.
    pub fn register(&mut self, slot: Slot, socket: OwnedFd) -> io::Result<()> {
        let ring = self.of(slot);
        while self.rings.len() <= ring {
            self.add()?;
        }
        self.rings[ring].submitter().register_files_update(self.file(slot).0, &[socket.as_raw_fd()])?;
        Ok(())
    }

    /// Queues a request of the tag's slot for the next [`Rings::enter`]; enters at once when there is no room for it.
    ///
    /// # Safety
    ///
    /// Every operand of the request must outlive it.
    pub unsafe fn push(&mut self, request: squeue::Entry, tag: Tag, slots: &mut Slots) {
        debug_assert!(needs::includes(&request), "the doctor does not try this request: {request:?}");
        let request = request.user_data(tag.user_data());
        let ring = self.of(tag.slot);
        // SAFETY: promised by the caller.
        while unsafe { self.rings[ring].submission().push(&request) }.is_err() {
            self.submit(ring, slots).expect("a ring accepts submissions as long as it lives");
        }
        self.queued += 1;
    }

    /// Hands everything queued to the kernel and fetches what has completed.
    pub fn enter(&mut self, slots: &mut Slots) -> io::Result<()> {
        for ring in 0..self.rings.len() {
            if !self.rings[ring].submission().is_empty() || has_completed(&mut self.rings[ring]) {
                self.submit(ring, slots)?;
            }
        }
        Ok(())
    }

    /// Enters the kernel with one ring: submits, runs deferred work, fetches completions.
    fn submit(&mut self, ring: usize, slots: &mut Slots) -> io::Result<()> {
        loop {
            match self.rings[ring].submit() {
                Ok(submitted) => {
                    self.queued -= submitted;
                    break;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                // Too many completions are kept back: make room first.
                Err(e) if matches!(e.raw_os_error(), Some(libc::EBUSY | libc::EAGAIN)) => {
                    slots.fetch(self.rings[ring].completion());
                }
                Err(e) => return Err(e),
            }
        }
        if !self.rings[ring].completion().is_empty() {
            slots.fetch(self.rings[ring].completion());
        }
        Ok(())
    }

    pub fn has_queued(&self) -> bool {
        self.queued > 0
    }

    /// From now on completions ring the bell. False when something has completed already. Nothing may be queued.
    pub fn doze(&mut self) -> bool {
        debug_assert!(!self.has_queued());
        self.dozing = true;
        self.rings.iter_mut().for_each(|ring| ring.completion().enable_eventfd());
        // The kernel sets the task-run flag, then looks whether the bell is muted; we unmute, then look at the flag.
        fence(Ordering::SeqCst);
        !self.rings.iter_mut().any(has_completed)
    }

    pub fn rouse(&mut self) {
        if std::mem::take(&mut self.dozing) {
            self.rings.iter_mut().for_each(|ring| ring.completion().disable_eventfd());
        }
    }
}

/// Whether the kernel has finished something that was not fetched yet. What it has finished waits as a rule until the
/// ring is entered: then it is only a flag.
fn has_completed(ring: &mut IoUring) -> bool {
    let submission = ring.submission();
    let waits = submission.taskrun() || submission.cq_overflow();
    drop(submission);
    waits || !ring.completion().is_empty()
}
