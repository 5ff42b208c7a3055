//! What the floor needs from the outside world, and the backends that give it.
//!
//! A backend owns everything about sockets: descriptors, receive buffers, what is in flight. The floor speaks of slots
//! ([`Io`]). What a whole shard needs beside it is a [`Backend`]: a runtime for the lobby, and a trial of everything on
//! the kernel that is there. [`uring`] is the backend of production; the tests have a faulty one in memory.
//!
//! ```text
//!            open            send               close
//!   free ──────────► open ──────────► sending     │     a slot is free again only after Event::Closed, which comes
//!                     ▲                  │        ▼     when nothing of the slot is in flight any more
//!                     └── Event::Sent ───┘     closing ── Event::Closed ──► free
//! ```
//!
//! Between the last send and `close` there may be `shut`: the peer hears the end of our stream and can still finish its
//! own.

mod buffers;
#[cfg(test)]
pub mod memory;
pub mod uring;

use std::io;
use std::os::fd::OwnedFd;

pub use buffers::Shape;

use crate::lane::bell::Bell;
use crate::lane::frame::LocalFrame;
use crate::metrics::latency::Deliveries;

/// The backend of the gateway: what its shards run on, and what the doctor tries.
pub type Chosen = uring::Uring;

/// A connection's place: in the floor's slab, in the backend's tables and in the registered file tables of the rings.
pub type Slot = u32;

/// How many slots a backend has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    pub slots: usize,
    /// The file table of each ring.
    pub per_ring: usize,
}

/// Frames in one vectored send: the kernel's `UIO_FASTIOV` is 8 and `IOV_MAX` 1024; beyond some dozens nothing is won.
pub const VECTOR_MAX: usize = 64;

/// Something happened.
#[derive(Debug)]
pub enum Event {
    /// Bytes came. The chunk is read with [`Io::bytes`] and must be given back with [`Io::release`].
    Received { slot: Slot, chunk: Chunk },
    /// The peer is gone or the socket failed; nothing more will be received. The floor answers with [`Io::close`].
    Ended { slot: Slot },
    /// What [`Io::await_sent`] asked for has left; the slot takes the next send.
    Sent { slot: Slot },
    /// After [`Io::close`]: nothing is in flight, the descriptor is closed, the slot may be reused.
    Closed { slot: Slot },
    /// The tick asked for with [`Io::tick`].
    Tick,
    /// The alarm asked for with [`Io::alarm`].
    Alarm,
}

impl Event {
    /// The slot that it is about, which is in use until [`Event::Closed`] was told.
    pub fn slot(&self) -> Option<Slot> {
        match *self {
            Self::Received { slot, .. } | Self::Ended { slot } | Self::Sent { slot } | Self::Closed { slot } => {
                Some(slot)
            }
            Self::Tick | Self::Alarm => None,
        }
    }

    /// Bytes that came.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Received { chunk, .. } => chunk.len as usize,
            _ => 0,
        }
    }
}

/// A receive buffer on loan from the backend.
#[derive(Debug)]
pub struct Chunk {
    pub(super) slot: Slot,
    pub(super) buffer: u16,
    pub(in crate::shard) len: u32,
}

/// One shard's sockets. One send per slot at a time; frames are kept alive by the backend while they are in flight.
pub trait Io {
    /// What is handed over to become a slot: an open, connected stream socket.
    type Socket;

    /// Takes over a socket and watches it for input.
    fn open(&mut self, slot: Slot, socket: Self::Socket) -> io::Result<()>;

    /// Sends frames, at most [`VECTOR_MAX`], several of them as one vectored send. The slot must not be sending.
    fn send_all(&mut self, slot: Slot, frames: impl IntoIterator<Item = LocalFrame>);

    /// Asks for [`Event::Sent`] when what is in flight has left. False when nothing is.
    fn await_sent(&mut self, slot: Slot) -> bool;

    /// Ends our side of the stream behind what was sent (FIN); the peer's stays open. Nothing may be in flight for the
    /// slot, and nothing is sent on it after this.
    fn shut(&mut self, slot: Slot);

    /// Stops the slot: cancels what is in flight, waits for it, closes the socket. [`Event::Closed`] follows.
    fn close(&mut self, slot: Slot);

    /// The same, but what the peer has not taken is dropped, and it is told by a reset: the kernel would else keep
    /// that, and try to deliver it, for minutes.
    fn reset(&mut self, slot: Slot);

    /// Asks for one [`Event::Tick`] after `ms` milliseconds.
    fn tick(&mut self, ms: u32);

    /// Asks for one [`Event::Alarm`] after `us` microseconds, not before. One at a time.
    fn alarm(&mut self, us: u64);

    /// The next thing that happened, as far as is known without entering the kernel. Does a bounded amount of work:
    /// `None` does not mean that nothing is left, [`Io::has_queued`] says that.
    fn next(&mut self) -> Option<Event>;

    fn bytes(&mut self, chunk: &Chunk) -> &mut [u8];

    /// Gives the buffer back. Until then the slot receives nothing; without `watch` not before [`Io::resume`].
    fn release(&mut self, chunk: Chunk, watch: bool);

    /// Watches a slot again that was released without; nothing when it is watched.
    fn resume(&mut self, slot: Slot);

    /// Hands everything queued to the kernel and fetches what has completed.
    fn enter(&mut self) -> io::Result<()>;

    /// Whether requests wait for the next [`Io::enter`], or completions for [`Io::next`]: not the moment to sleep.
    fn has_queued(&mut self) -> bool;

    /// Microseconds of the clock that the backend lives by; how long a turn takes is measured with it.
    fn now_us(&self) -> u64;

    /// Before sleeping: from now on completions ring the shard's bell. False when something is queued or has completed
    /// already.
    fn doze(&mut self) -> bool;

    /// After sleeping: no bell while the loop looks for completions itself.
    fn rouse(&mut self);

    /// Frames now in flight, and receive buffers now on loan or lost: both zero when nothing is going on.
    fn in_flight(&self) -> InFlight;

    /// How long frames took from their arrival at the gateway until the kernel had taken them.
    fn deliveries(&self) -> &Deliveries;
}

/// What a shard is made of: sockets for its floor, a runtime for its lobby, and what both need of the kernel.
pub trait Backend: Io<Socket = OwnedFd> + Sized + 'static {
    /// The first kernel that has all of it, as major and minor number. Some bring it to older ones: the trial decides.
    const OLDEST_KERNEL: (u32, u32);

    /// What the trial looks at, in a few words.
    const TRIED: &'static str;

    /// For slots 0 to `capacity.slots` - 1. While it dozes, what completes rings the bell. An error says what refuses
    /// and what can be done, as far as the backend knows it; so does that of [`Backend::run`].
    fn new(capacity: Capacity, bell: &Bell) -> io::Result<Self>;

    /// Runs tasks on this thread, which use monoio, until the first of them ends. The driver asks nothing of the kernel
    /// that this backend does without.
    fn run(tasks: impl Future<Output = ()>) -> io::Result<()>;

    /// Tries all that floor and lobby need on the kernel that runs this process. May wait a second; leaves nothing
    /// behind.
    fn try_out() -> Trial;
}

/// What became of a trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trial {
    /// Nothing can be tried: the error of the kernel.
    Refused { errno: i32 },
    /// It is there, but without these features; all is well when the list is empty.
    Made { lacking: Vec<String> },
}

/// What a backend holds for its slots at this moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InFlight {
    pub sends: usize,
    pub receive_buffers: usize,
}
