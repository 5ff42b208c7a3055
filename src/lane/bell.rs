//! What wakes a sleeping shard: one eventfd, rung by the lanes of other threads and by the floor's ring.
//!
//! A busy shard is never rung: the bell knows the core that the shard sleeps on exactly while the shard waits for it,
//! and the first who finds a core there takes it away and rings.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::event::{EventfdFlags, eventfd};
use rustix::thread::sched_getcpu;

/// The shard's end and every lane's end of one bell.
#[derive(Clone)]
pub struct Bell(Arc<Inner>);

struct Inner {
    eventfd: File,
    /// The core that the shard sleeps on, or [`AWAKE`].
    sleeps_on: AtomicUsize,
}

const AWAKE: usize = usize::MAX;

impl Bell {
    pub fn new() -> io::Result<Self> {
        let eventfd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self(Arc::new(Inner { eventfd: eventfd.into(), sleeps_on: AtomicUsize::new(AWAKE) })))
    }

    /// Wakes the shard if it sleeps. Called after something was put where the shard will look.
    pub fn wake(&self) {
        // Pairs with the fence in `doze`: either the shard sees what was put there, or we see it asleep.
        std::sync::atomic::fence(Ordering::SeqCst);
        let asleep = |core| core != AWAKE;
        if asleep(self.0.sleeps_on.load(Ordering::Relaxed)) && asleep(self.0.sleeps_on.swap(AWAKE, Ordering::Relaxed)) {
            self.ring();
        }
    }

    /// Whether the shard waits to be woken.
    pub fn is_asleep(&self) -> bool {
        self.0.sleeps_on.load(Ordering::Relaxed) != AWAKE
    }

    /// Wakes several shards. Those that sleep on the core of the caller come last: they may take it away from the
    /// caller at once, and all others would wait for as long as that lasts.
    pub fn wake_all<'a>(bells: impl Iterator<Item = &'a Self> + Clone) {
        let here = sched_getcpu();
        bells.clone().filter(|bell| bell.0.sleeps_on.load(Ordering::Relaxed) != here).for_each(Self::wake);
        bells.for_each(Self::wake);
    }

    /// Makes the next wait end at once.
    pub fn ring(&self) {
        // Fails only when the count is at its maximum: then it is readable already.
        let _ = (&self.0.eventfd).write(&1u64.to_ne_bytes());
    }

    /// The shard is about to look one last time and then sleep.
    pub fn doze(&self) {
        debug_assert!(!self.is_asleep(), "who dozes was awake");
        self.0.sleeps_on.store(sched_getcpu(), Ordering::Relaxed);
        std::sync::atomic::fence(Ordering::SeqCst);
    }

    /// The shard is awake: takes the count off the eventfd.
    pub fn rouse(&self) {
        self.0.sleeps_on.store(AWAKE, Ordering::Relaxed);
        let _ = (&self.0.eventfd).read(&mut [0; 8]);
    }
}

impl Bell {
    /// Another descriptor for the same eventfd.
    pub fn duplicate(&self) -> io::Result<OwnedFd> {
        Ok(self.0.eventfd.try_clone()?.into())
    }
}

impl AsRawFd for Bell {
    fn as_raw_fd(&self) -> RawFd {
        self.0.eventfd.as_raw_fd()
    }
}

#[cfg(test)]
impl Bell {
    /// Whether it has been rung since it was asked last.
    pub fn was_rung(&self) -> bool {
        (&self.0.eventfd).read(&mut [0; 8]).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sleeper_is_woken_once_wherever_it_sleeps_and_nobody_who_is_awake() {
        let bells = [(); 4].map(|()| Bell::new().unwrap());
        bells[0].doze();
        bells[1].0.sleeps_on.store(sched_getcpu() + 1, Ordering::Relaxed);
        bells[2].doze();
        bells[2].rouse();
        for expected in [[true, true, false, false], [false; 4]] {
            Bell::wake_all(bells.iter());
            assert_eq!(bells.each_ref().map(Bell::was_rung), expected);
        }
    }
}
