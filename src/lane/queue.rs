//! One shard's lane: two bounded queues, one for messages and one for orders (all other commands, questions too), and
//! what is known of its state.
//!
//! ```text
//!  sources, services, admin port ──► messages: at most 4,096, 64 MiB ─┐
//!                                                                    ├──► take(), on the shard, orders first
//!  admin port, drain ────► orders: at most 256, 64 kept for drains ──┘
//! ```
//!
//! Orders have a queue of their own so that a question, a disconnect or the drain never waits behind messages. How
//! long whoever posts waits is up to [`super::bus::Posting`]; the shard only takes, and never waits for anybody. A lane
//! is *stuck* from the moment that somebody has waited in vain until the shard takes something again.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use rustix::thread::futex;

use super::bell::Bell;
use super::command::{Command, Posted};

/// Messages that may wait in one lane: some milliseconds of work for a shard, so that a
/// burst does not hold up its source.
pub(super) const MESSAGES_MAX: usize = 4096;

/// Bytes of their frames. Small messages reach the count first, at 16 KiB each both are reached together; so
/// this is what large messages may hold in memory behind a shard that stands still. Lanes share the frames,
/// so it is not this once for each.
pub const BYTES_MAX: usize = 64 << 20;

/// Orders that may wait: the admin port has at most 64 questions under way, and gives up on each after three seconds.
pub(super) const ORDERS_MAX: usize = 256;

/// Room in the same queue for the drain, which must reach a shard that owes answers to everybody.
const ORDERS_KEPT: usize = 64;

const _: () = assert!(ORDERS_KEPT < ORDERS_MAX, "others have room too");

/// One shard's lane, as others see it.
pub struct Lane {
    messages: Sender<Posted>,
    orders: Sender<Posted>,
    state: Arc<State>,
    pub bell: Bell,
}

/// One shard's lane, as the shard sees it.
pub struct LaneEnd {
    messages: Receiver<Posted>,
    orders: Receiver<Posted>,
    state: Arc<State>,
    pub bell: Bell,
}

struct State {
    /// Bytes of the frames that wait. What is being put counts already.
    bytes: AtomicUsize,
    /// Somebody waits for room. Whoever takes something away clears it and tells of it.
    awaited: AtomicBool,
    /// Set by whoever waited in vain, cleared by the shard when it takes something.
    stuck: AtomicBool,
    /// What has been logged: it follows `stuck`, and is never written by the shard, which must not wait for the log.
    told_stuck: AtomicBool,
    /// Messages that the shard never got.
    lost: AtomicU64,
    /// The same when the lane was last said to be stuck.
    lost_before: AtomicU64,
    vacancies: Arc<Vacancies>,
}

/// Why a lane did not take something.
pub enum Refused {
    /// It is given back.
    Full(Posted),
    /// The shard has ended.
    Ended,
}

/// Where those wait who found lanes full. All lanes of a bus share it, as one message may wait for several.
#[derive(Default)]
pub struct Vacancies {
    /// How often there has been room in a lane that somebody waited for. A futex.
    times: AtomicU32,
}

impl Lane {
    pub fn new(vacancies: Arc<Vacancies>) -> io::Result<(Self, LaneEnd)> {
        let (messages, messages_end) = bounded(MESSAGES_MAX);
        let (orders, orders_end) = bounded(ORDERS_MAX);
        let state = Arc::new(State {
            bytes: AtomicUsize::new(0),
            awaited: AtomicBool::new(false),
            stuck: AtomicBool::new(false),
            told_stuck: AtomicBool::new(false),
            lost: AtomicU64::new(0),
            lost_before: AtomicU64::new(0),
            vacancies,
        });
        let bell = Bell::new()?;
        let end = LaneEnd { messages: messages_end, orders: orders_end, state: state.clone(), bell: bell.clone() };
        Ok((Self { messages, orders, state, bell }, end))
    }

    /// Puts it in if there is room. Rings nobody.
    #[expect(clippy::result_large_err, reason = "given back as it was; a box would cost every message")]
    pub fn offer(&self, posted: Posted) -> Result<(), Refused> {
        let tried = match posted.command.message_bytes() {
            Some(bytes) => self.offer_message(posted, bytes),
            None => self.offer_order(posted),
        };
        tried.map_err(|error| match error {
            TrySendError::Full(posted) => Refused::Full(posted),
            TrySendError::Disconnected(_) => Refused::Ended,
        })
    }

    #[expect(clippy::result_large_err, reason = "given back as it was; a box would cost every message")]
    fn offer_message(&self, posted: Posted, bytes: usize) -> Result<(), TrySendError<Posted>> {
        // Sequentially consistent for `await_room`. A message beyond the bound passes when it is alone.
        let before = self.state.bytes.fetch_add(bytes, Ordering::SeqCst);
        let tried = if before == 0 || before.saturating_add(bytes) <= BYTES_MAX {
            self.messages.try_send(posted)
        } else {
            Err(TrySendError::Full(posted))
        };
        if tried.is_err() {
            let counted = self.state.bytes.fetch_sub(bytes, Ordering::Relaxed);
            debug_assert!(counted >= bytes, "what is given back was counted");
        }
        tried
    }

    #[expect(clippy::result_large_err, reason = "given back as it was; a box would cost every message")]
    fn offer_order(&self, posted: Posted) -> Result<(), TrySendError<Posted>> {
        let is_drain = matches!(posted.command, Command::Drain { .. });
        if !is_drain && self.orders.len() >= ORDERS_MAX - ORDERS_KEPT {
            return Err(TrySendError::Full(posted));
        }
        self.orders.try_send(posted)
    }

    /// Announces that somebody will wait for room, unless a further [`Lane::offer`] finds it.
    ///
    /// Either that offer sees what the shard has taken away, or the shard sees this announcement: both sides first
    /// write (`awaited` here, `bytes` there) and then read what the other one writes, sequentially consistent.
    pub(super) fn await_room(&self) {
        self.state.awaited.store(true, Ordering::SeqCst);
    }

    /// Counts what is given up, if it is a message: whoever posts an order is told.
    pub(super) fn lose(&self, command: &Command) {
        if command.message_bytes().is_some() {
            self.state.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Somebody has waited in vain. True when that is news.
    pub(super) fn declare_stuck(&self) -> bool {
        self.state.stuck.store(true, Ordering::Relaxed);
        let news = !self.state.told_stuck.swap(true, Ordering::Relaxed);
        if news {
            self.state.lost_before.store(self.lost(), Ordering::Relaxed);
        }
        news
    }

    /// How many were lost, when the shard takes again what it is sent and nobody has said so yet.
    pub(super) fn take_recovery(&self) -> Option<u64> {
        let recovered = !self.is_stuck() && self.state.told_stuck.swap(false, Ordering::Relaxed);
        let before = self.state.lost_before.load(Ordering::Relaxed);
        debug_assert!(self.lost() >= before, "a count only grows");
        recovered.then(|| self.lost() - before)
    }

    /// An empty lane never is: its shard may have taken everything just before it was declared to be.
    pub fn is_stuck(&self) -> bool {
        self.state.stuck.load(Ordering::Relaxed) && self.waiting() > 0
    }

    /// Messages that the shard never got because its lane was full.
    pub fn lost(&self) -> u64 {
        self.state.lost.load(Ordering::Relaxed)
    }

    /// Bytes of the frames that wait.
    pub fn bytes(&self) -> usize {
        self.state.bytes.load(Ordering::Relaxed)
    }

    /// Messages and orders that wait.
    pub fn waiting(&self) -> usize {
        self.messages.len() + self.orders.len()
    }
}

impl LaneEnd {
    /// The next order, or else the next message. Never waits; wakes those who wait for room.
    pub fn take(&self) -> Option<Posted> {
        let posted = self.next_order().or_else(|| self.messages.try_recv().ok())?;
        self.has_taken(&posted);
        Some(posted)
    }

    /// The next order, for a shard that has its hands full of messages.
    pub fn take_order(&self) -> Option<Posted> {
        let posted = self.next_order()?;
        self.has_taken(&posted);
        Some(posted)
    }

    fn next_order(&self) -> Option<Posted> {
        // `is_empty` is two loads, `try_recv` of an empty queue a fence.
        if self.orders.is_empty() { None } else { self.orders.try_recv().ok() }
    }

    fn has_taken(&self, posted: &Posted) {
        let state = &*self.state;
        let bytes = posted.command.message_bytes().unwrap_or(0);
        // For an order too: see `Lane::await_room`.
        let counted = state.bytes.fetch_sub(bytes, Ordering::SeqCst);
        debug_assert!(counted >= bytes, "what is taken was counted before it was put in");
        if state.awaited.load(Ordering::SeqCst) && state.awaited.swap(false, Ordering::Relaxed) {
            state.vacancies.announce();
        }
        // Not for an order while messages are left behind: whoever publishes would wait for nothing.
        if state.stuck.load(Ordering::Relaxed) && (bytes > 0 || self.messages.is_empty()) {
            state.stuck.store(false, Ordering::Relaxed);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.orders.is_empty() && self.messages.is_empty()
    }
}

impl Vacancies {
    /// To be read before lanes are looked at.
    pub(super) fn times(&self) -> u32 {
        self.times.load(Ordering::SeqCst)
    }

    fn announce(&self) {
        self.times.fetch_add(1, Ordering::SeqCst);
        // Never fails for memory of our own.
        let _ = futex::wake(&self.times, futex::Flags::PRIVATE, i32::MAX as u32);
    }

    /// Waits until there has been room since `seen`, or for so long.
    pub(super) fn wait(&self, seen: u32, at_most: Duration) {
        let timeout = futex::Timespec { tv_sec: at_most.as_secs() as _, tv_nsec: at_most.subsec_nanos() as _ };
        // Every error is a reason to look again: announced meanwhile, a signal, the time is over.
        let _ = futex::wait(&self.times, futex::Flags::PRIVATE, seen, Some(&timeout));
    }
}

#[cfg(test)]
impl LaneEnd {
    /// Waits for the next one; none when nobody can post any more.
    pub fn wait_and_take(&self) -> Option<Posted> {
        loop {
            if let Some(posted) = self.take() {
                return Some(posted);
            }
            // Of the state there is one handle with the lane and one here.
            if Arc::strong_count(&self.state) == 1 && self.is_empty() {
                return None;
            }
            let mut select = crossbeam_channel::Select::new();
            select.recv(&self.messages);
            select.recv(&self.orders);
            select.ready();
        }
    }
}
