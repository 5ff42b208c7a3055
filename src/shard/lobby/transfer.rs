//! Clients on their way from a shard that is full to one that has room. The kernel spreads connects by a hash, so one
//! shard is full before the others are.
//!
//! The first shard's lobby has read, checked and decided; the other one's only adopts. The queues are short: whoever
//! finds them full is told 503, as if every shard were. A descriptor travels, so each shard may have a backend of its
//! own.

use std::os::fd::OwnedFd;
use std::rc::Rc;

use crossbeam_channel::{Receiver, Sender, bounded};
use monoio::net::TcpStream;

use crate::clock::Now;
use crate::lane::bell::Bell;
use crate::metrics::Timed;
use crate::metrics::latency::Stopwatch;
use crate::shard::floor::{Arrival, Floor};
use crate::shard::io::Backend;
use crate::shard::lobby::answer::Answer;
use crate::shard::lobby::{DRAINING_RETRY_AFTER_S, FULL_RETRY_AFTER_S, Lobby};
use crate::ws::handshake::Refusal;

/// Clients that may wait for one shard.
const WAITING_MAX: usize = 64;

/// Clients taken in between two looks at the open connections whom other shards have checked already.
const PER_TURN: usize = 16;

pub struct Transfer {
    pub socket: OwnedFd,
    pub arrival: Arrival,
    /// Runs since the client was accepted.
    pub watch: Stopwatch,
    /// That of the revocations when it was decided on: on its way it is nowhere where it could be closed.
    pub epoch: u64,
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
    fn send(&self, shard: usize, transfer: Box<Transfer>) -> Result<(), Box<Transfer>> {
        let door = &self.0[shard];
        door.sender.try_send(transfer).map_err(|refused| refused.into_inner())?;
        door.bell.wake();
        Ok(())
    }
}

impl<B: Backend> Lobby<B> {
    /// Gives a client to the shard with the most room. What is returned is still to be sent.
    pub(super) fn hand_over(&self, transfer: Box<Transfer>) -> Option<(TcpStream, Answer)> {
        let sent = match self.shared.roomiest_beside(self.shard) {
            Some(shard) => self.shared.transfers.send(shard, transfer),
            None => Err(transfer),
        };
        match sent {
            Ok(()) => {
                self.own_counters.handed_over.add(1);
                None
            }
            Err(transfer) => {
                Some((ordinary(transfer.socket)?, Refusal::Full { retry_after_s: FULL_RETRY_AFTER_S }.into()))
            }
        }
    }

    /// Takes in some of those whom other shards have handed over.
    pub(super) fn receive_transfers(self: &Rc<Self>) {
        for transfer in self.arriving.try_iter().take(PER_TURN) {
            let mut floor = self.floor.borrow_mut();
            // What was true when it was sent may be so no more.
            let refusal = if floor.is_draining() {
                Refusal::Draining { retry_after_s: DRAINING_RETRY_AFTER_S }
            } else if floor.is_full() || transfer.epoch != self.shared.rules.verifier.revocations().epoch() {
                Refusal::Full { retry_after_s: FULL_RETRY_AFTER_S }
            } else {
                adopt(&mut floor, *transfer, Now::read());
                continue;
            };
            if let Some(stream) = ordinary(transfer.socket) {
                let lobby = self.clone();
                monoio::spawn(async move { lobby.tell(stream, refusal.into()).await });
            }
        }
    }
}

/// The floor takes a client, whose descriptor it closes.
pub(super) fn adopt<B: Backend>(floor: &mut Floor<B>, transfer: Transfer, now: Now) {
    let Transfer { socket, arrival, watch, .. } = transfer;
    match floor.adopt(socket, arrival, now) {
        Ok(_) => floor.latency().record(Timed::Handshake, watch.us()),
        Err(error) => tracing::warn!(%error, "a socket could not be registered with the backend"),
    }
}

/// A socket as the lobby uses it. None when there is no memory for that: the client sees the end of the connection.
fn ordinary(socket: OwnedFd) -> Option<TcpStream> {
    TcpStream::from_std(socket.into()).ok()
}
