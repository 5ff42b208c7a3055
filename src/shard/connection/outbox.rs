//! A slow connection's unsent frames, how many there may be, and what becomes of those that are too many. Exists only
//! while the connection is behind: a frame waits here while another one is in flight, and all that wait leave together
//! as one vectored send.
//!
//! ```text
//!   ┌──────────────── frames ────────────────┐
//!   begun │ oldest                    newest    ◄── push: fits, replaces an older one, or has others make room
//!   ◄── take
//! ```
//!
//! A send is bounded in bytes, so that no kernel entry takes long. What that cuts off a send has *begun*: it is as much
//! under way as what the kernel has, is not counted against the bound, and nothing of it is dropped.
//!
//! Which frames make room is said by the [`Overflow`] of their channel. For a frame that must not be dropped all those
//! do that may be; only when that is not enough the connection is too slow. Frames that were joined are dropped
//! together.
//!
//! Invariant: behind the begun ones the frames cost no more than the bound, but for a close frame, which always fits,
//! and for what a connection that ends was to get before it.

use std::collections::VecDeque;

use crate::channel::Overflow;
use crate::lane::frame::LocalFrame;
use crate::shard::io::VECTOR_MAX;
use crate::ws::frame::{is_close, is_pong};

/// What a waiting frame costs beside its bytes: its place here, its count and its bookkeeping on the heap. Counted, so
/// that many small frames are as much as they are.
pub const FRAME_COST_BYTES: usize = 128;

/// A send takes no more bytes, unless its first frame alone has more. One of 64 MB kept the kernel for 120 ms: this is
/// half a millisecond at that pace.
pub const SEND_BYTES_MAX: usize = 256 * 1024;

#[derive(Default)]
pub struct Outbox {
    frames: VecDeque<LocalFrame>,
    /// Frames at the front that belong to a send which has begun.
    begun: usize,
    /// What the others cost, by overflow policy.
    bytes: ByPolicy,
}

/// What may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// So many bytes. Of pongs only the newest waits (RFC 6455 section 5.5.3).
    Bytes(usize),
    /// All of it: the connection is held back by not being read.
    Unbounded,
}

/// What did not fit, or was replaced.
#[derive(Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Spill {
    /// Frames that were dropped, by the policy that said so.
    pub dropped: ByPolicy,
    /// A frame that must not be dropped found no room.
    pub is_too_slow: bool,
}

/// A number for each [`Overflow`].
pub type ByPolicy = [usize; Overflow::ALL.len()];

impl Outbox {
    /// Puts a frame behind the others, in the place of an older one, or nowhere: also where a newer one waits already.
    pub fn push(&mut self, frame: LocalFrame, bound: Bound) -> Spill {
        let mut spill = Spill::default();
        let Bound::Bytes(bytes_max) = bound else {
            self.put_last(frame);
            return spill;
        };
        let cost = cost_bytes(&frame);
        if is_pong(&frame.bytes) {
            self.find(|older| is_pong(&older.bytes)).map(|at| self.remove(at));
        } else if let Some(at) = self.find_replaced(&frame) {
            if frame.is_older_than(&self.frames[at]) {
                spill.drop(&frame);
                return spill;
            }
            spill.drop(&self.frames[at]);
            if self.bytes() - cost_bytes(&self.frames[at]) + cost <= bytes_max {
                self.put_in_place(at, frame);
                return spill;
            }
            self.remove(at);
        }
        let missing = (self.bytes() + cost).saturating_sub(bytes_max);
        if is_close(&frame.bytes) || self.make_room(missing, frame.overflow, &mut spill) {
            self.put_last(frame);
        } else {
            spill.refuse(&frame);
        }
        spill
    }

    /// Puts a frame behind those of a send that has begun.
    pub fn push_begun(&mut self, frame: LocalFrame) {
        debug_assert_eq!(self.begun, self.frames.len(), "nothing overtakes what waits");
        self.frames.push_back(frame);
        self.begun += 1;
    }

    /// Moves the frames of the next send into `frames`, oldest first.
    pub fn take(&mut self, frames: &mut Vec<LocalFrame>) {
        let count = one_send(self.frames.iter());
        for frame in self.frames.drain(..count) {
            match self.begun {
                0 => self.bytes[frame.overflow as usize] -= cost_bytes(&frame),
                _ => self.begun -= 1,
            }
            frames.push(frame);
        }
        debug_assert!(count > 0 || self.is_empty());
        debug_assert!(!self.is_empty() || self.bytes() == 0);
    }

    /// Drops everything that waits; returns how many frames.
    pub fn clear(&mut self) -> usize {
        (self.begun, self.bytes) = (0, ByPolicy::default());
        std::mem::take(&mut self.frames).iter().map(|run| run.frames()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// What waits here costs, but for what has begun.
    pub fn bytes(&self) -> usize {
        self.bytes.iter().sum()
    }

    fn put_last(&mut self, frame: LocalFrame) {
        self.bytes[frame.overflow as usize] += cost_bytes(&frame);
        self.frames.push_back(frame);
    }

    fn put_in_place(&mut self, at: usize, frame: LocalFrame) {
        debug_assert!(at >= self.begun && frame.overflow == self.frames[at].overflow);
        let bytes = &mut self.bytes[frame.overflow as usize];
        *bytes = *bytes + cost_bytes(&frame) - cost_bytes(&self.frames[at]);
        self.frames[at] = frame;
    }

    fn remove(&mut self, at: usize) -> Option<LocalFrame> {
        debug_assert!(at >= self.begun, "what has begun stays");
        let frame = self.frames.remove(at)?;
        self.bytes[frame.overflow as usize] -= cost_bytes(&frame);
        Some(frame)
    }

    /// The oldest such frame that has not begun.
    fn find(&self, is_it: impl Fn(&LocalFrame) -> bool) -> Option<usize> {
        self.frames.iter().skip(self.begun).position(is_it).map(|at| self.begun + at)
    }

    /// The one that waits of what this one is the newest of: there is one at most. Others are not looked at where none
    /// waits that can be replaced.
    fn find_replaced(&self, frame: &LocalFrame) -> Option<usize> {
        let may_be = frame.overflow == Overflow::Latest && self.bytes[Overflow::Latest as usize] > 0;
        if may_be { self.find(|waiting| frame.replaces(waiting)) } else { None }
    }

    /// Drops what may be dropped for a frame, if that makes enough room.
    fn make_room(&mut self, missing: usize, newcomer: Overflow, spill: &mut Spill) -> bool {
        let [_, oldest, newest, _] = self.bytes;
        let droppable = match newcomer {
            Overflow::DropNewest => 0,
            Overflow::DropOldest => oldest,
            Overflow::Disconnect | Overflow::Latest => oldest + newest,
        };
        if missing > droppable {
            return false;
        }
        let bytes_left = self.bytes() - missing;
        while self.bytes() > bytes_left {
            let oldest = self.find(|frame| frame.overflow == Overflow::DropOldest);
            let next = oldest.or_else(|| self.frames.iter().rposition(|frame| frame.overflow == Overflow::DropNewest));
            let Some(frame) = next.and_then(|at| self.remove(at)) else { unreachable!("their bytes are counted") };
            spill.drop(&frame);
        }
        true
    }
}

impl Spill {
    fn drop(&mut self, frame: &LocalFrame) {
        self.dropped[frame.overflow as usize] += frame.frames();
    }

    /// A frame finds no room.
    fn refuse(&mut self, frame: &LocalFrame) {
        match frame.overflow {
            Overflow::DropOldest | Overflow::DropNewest => self.drop(frame),
            Overflow::Disconnect | Overflow::Latest => {
                self.dropped[Overflow::Disconnect as usize] += frame.frames();
                self.is_too_slow = true;
            }
        }
    }

    pub fn add(&mut self, other: &Self) {
        self.dropped.iter_mut().zip(other.dropped).for_each(|(sum, count)| *sum += count);
        self.is_too_slow |= other.is_too_slow;
    }
}

/// What a frame costs while it waits.
pub fn cost_bytes(frame: &LocalFrame) -> usize {
    frame.len() + FRAME_COST_BYTES
}

/// How many of these frames one send takes: at least one.
pub fn one_send<'a>(frames: impl Iterator<Item = &'a LocalFrame>) -> usize {
    let mut bytes = 0;
    let fitting = frames.take(VECTOR_MAX).enumerate().take_while(|(n, frame)| {
        bytes += frame.len();
        *n == 0 || bytes <= SEND_BYTES_MAX
    });
    fitting.count()
}

#[cfg(test)]
mod tests;
