//! Clients on their way from a shard that is full to one that has room. The kernel spreads connects by a hash, so one
//! shard is full before the others are.
//!
//! The first shard's lobby has read, checked and decided; the other one's only adopts. The queues are short: whoever
//! finds them full is told 503, as if every shard were.

use std::os::fd::OwnedFd;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::metrics::latency::Stopwatch;

use crate::lane::bell::Bell;
use crate::shard::floor::Arrival;

/// Clients that may wait for one shard.
const WAITING_MAX: usize = 64;

pub struct Transfer {
    pub socket: OwnedFd,
    pub arrival: Arrival,
    /// Runs since the client was accepted.
    pub watch: Stopwatch,
}

/// The ways into every shard's lobby.
pub struct Transfers(Box<[Door]>);

struct Door {
    sender: Sender<Box<Transfer>>,
    bell: Bell,
}

impl Transfers {
    /// With the end at which each shard, whose bell is given, takes its own.
    pub fn new(bells: impl Iterator<Item = Bell>) -> (Self, Vec<Receiver<Box<Transfer>>>) {
        let (doors, ends) = bells
            .map(|bell| {
                let (sender, receiver) = bounded(WAITING_MAX);
                (Door { sender, bell }, receiver)
            })
            .unzip::<_, _, Vec<_>, Vec<_>>();
        (Self(doors.into()), ends)
    }

    /// Hands a client over; gives it back when the shard has too many waiting, or has ended.
    pub fn send(&self, shard: usize, transfer: Box<Transfer>) -> Result<(), Box<Transfer>> {
        let door = &self.0[shard];
        door.sender.try_send(transfer).map_err(|refused| refused.into_inner())?;
        door.bell.wake();
        Ok(())
    }
}
