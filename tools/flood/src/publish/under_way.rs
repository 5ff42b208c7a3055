//! Which messages are under way in a closed loop: the publisher puts them there, the workers take them off when
//! everybody who should have them has them.
//!
//! Message `k` has the place `k % PLACES`. While it is under way, its place holds the number of workers that still miss
//! a receipt; the worker that brings it to zero counts the message as complete. So each worker counts its own receipts
//! without anybody else, and the shared memory is touched once per message and worker.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Acquire, Ordering::Relaxed, Ordering::Release};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use ringway::lane::bell::Bell;

use crate::limits::Trouble;

/// Messages from the oldest that is incomplete to the newest. A power of two, far more than are ever under way: one
/// that is lost leaves room for so many others before the publisher stands still.
pub const PLACES: usize = 1 << 16;

pub struct UnderWay {
    channels: u32,
    /// Per place.
    missing: Box<[AtomicU32]>,
    /// Per channel: workers that have members in it.
    workers: Box<[AtomicU32]>,
    complete: AtomicU64,
    /// Wakes the publisher.
    bell: Bell,
    ear: OwnedFd,
}

impl UnderWay {
    pub fn new(channels: u32) -> Result<Self, Trouble> {
        let zeros = |count: usize| (0..count).map(|_| AtomicU32::new(0)).collect();
        let bell = Bell::new()?;
        Ok(Self {
            channels,
            missing: zeros(PLACES),
            workers: zeros(channels as usize),
            complete: AtomicU64::new(0),
            ear: bell.duplicate()?,
            bell,
        })
    }

    pub fn channels(&self) -> u32 {
        self.channels
    }

    /// Where message `number` (from 1) of a channel has its place.
    #[inline]
    pub fn place(&self, channel: u32, number: u32) -> usize {
        ((u64::from(number) - 1) * u64::from(self.channels) + u64::from(channel)) as usize % PLACES
    }

    /// A worker has members in this channel. Before the first message.
    pub fn join(&self, channel: u32) {
        self.workers[channel as usize].fetch_add(1, Relaxed);
    }

    /// All members of one worker have the message.
    pub fn received(&self, place: usize) {
        if self.missing[place].fetch_sub(1, Release) == 1 {
            self.complete.fetch_add(1, Release);
        }
    }

    /// Tells the publisher that there is room.
    pub fn tell(&self) {
        self.bell.wake();
    }

    pub fn complete(&self) -> u64 {
        self.complete.load(Acquire)
    }

    /// Puts message `k` under way. False while its place is taken by one that is not complete.
    pub fn put(&self, k: u64) -> bool {
        let place = &self.missing[k as usize % PLACES];
        if place.load(Acquire) > 0 {
            return false;
        }
        let workers = self.workers[(k % u64::from(self.channels)) as usize].load(Relaxed);
        place.store(workers, Release);
        if workers == 0 {
            // Nobody is to have it.
            self.complete.fetch_add(1, Release);
        }
        true
    }

    /// Waits until more than `complete` are, but not for long.
    pub fn wait(&self, complete: u64) {
        /// How long a stop may go unnoticed.
        const NAP_MS: u8 = 50;
        self.bell.doze();
        if self.complete() == complete {
            // An interrupted wait is a short one.
            let _ = poll(&mut [PollFd::new(self.ear.as_fd(), PollFlags::POLLIN)], PollTimeout::from(NAP_MS));
        }
        self.bell.rouse();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_complete_when_every_worker_with_members_has_it() {
        let under_way = UnderWay::new(2).unwrap();
        under_way.join(0);
        under_way.join(0);
        under_way.join(1);
        assert!((0..4).all(|k| under_way.put(k)));
        under_way.received(under_way.place(0, 1));
        assert_eq!(under_way.complete(), 0);
        under_way.received(under_way.place(0, 1));
        under_way.received(under_way.place(1, 2));
        assert_eq!(under_way.complete(), 2);
        assert!(under_way.put(PLACES as u64), "the place of message 0 is free");
        assert!(!under_way.put(PLACES as u64 + 1), "message 1 is under way");
    }

    #[test]
    fn a_channel_without_members_holds_nothing_up() {
        let under_way = UnderWay::new(1).unwrap();
        assert!(under_way.put(0));
        assert_eq!(under_way.complete(), 1);
    }
}
