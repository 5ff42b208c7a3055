//! A slow connection's unsent frames, how many there may be, and what becomes of those that are too many. Exists only while
//! the connection is behind: a frame waits here while another one is in flight, and all that wait leave together as one
//! vectored send.
//!
//! ```text
//!   ┌──────────────── frames ────────────────┐
//!   begun │ oldest                    newest    ◄── push: fits, replaces an older one, or has others make room
//!   ◄── take
//! ```
//!
//! A send is bounded in bytes, so that no kernel entry takes long. What that cuts off a send has *begun*: it is as much under
//! way as what the kernel has, is not counted against the bound, and nothing of it is dropped.
//!
//! Which frames make room is said by the [`Overflow`] of their channel. For a frame that must not be dropped all those do that
//! may be; only when that is not enough the connection is too slow. Frames that were joined are dropped together.
//!
//! Invariant: behind the begun ones the frames cost no more than the bound, but for a close frame, which always fits.

use std::collections::VecDeque;

use crate::channel::Overflow;
use crate::lane::frame::LocalFrame;
use crate::shard::io::VECTOR_MAX;
use crate::ws::frame::{is_close, is_pong};

/// What a waiting frame costs beside its bytes: its place here, its count and its bookkeeping on the heap. Counted, so that
/// many small frames are as much as they are.
pub const FRAME_COST_BYTES: usize = 128;

/// A send takes no more bytes, unless its first frame alone has more: some 100 µs of copying in the kernel.
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
    /// Puts a frame behind the others, in the place of an older one, or nowhere.
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

    /// The frame whose place a newer one of its channel takes: there is one at most. Others are not looked at where none
    /// waits that can be replaced.
    fn find_replaced(&self, newer: &LocalFrame) -> Option<usize> {
        let may_be = newer.overflow == Overflow::Latest && self.bytes[Overflow::Latest as usize] > 0;
        if may_be { self.find(|older| newer.replaces(older)) } else { None }
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
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::lane::Channel;
    use crate::lane::frame::{Frame, Run};
    use crate::ws::frame::{encode_close_without_code, encode_ping, encode_pong};

    const ROOM: Bound = Bound::Bytes(10 * (100 + FRAME_COST_BYTES));

    fn taken(outbox: &mut Outbox) -> Vec<LocalFrame> {
        let mut frames = Vec::new();
        outbox.take(&mut frames);
        frames
    }

    /// A frame of 100 bytes, told apart by its first.
    fn publication(n: u8, overflow: Overflow, channel: u64) -> LocalFrame {
        sized(n, 100, overflow, channel)
    }

    fn sized(n: u8, bytes: usize, overflow: Overflow, channel: u64) -> LocalFrame {
        let channel = Channel { name: channel.to_string().into(), hash: channel };
        Run::join(&[Frame { bytes: vec![n; bytes].into(), arrived_us: 0 }], overflow, &channel)
    }

    fn first_bytes(frames: &[LocalFrame]) -> Vec<u8> {
        frames.iter().map(|frame| frame.bytes[0]).collect()
    }

    /// Pushes frames 0, 1, 2, … of one channel; says what waits then, and what became of the others.
    fn pushed(count: u8, overflow: Overflow) -> (Vec<u8>, Spill) {
        let (mut outbox, mut spill) = (Outbox::default(), Spill::default());
        (0..count).for_each(|n| spill.add(&outbox.push(publication(n, overflow, 1), ROOM)));
        (first_bytes(&taken(&mut outbox)), spill)
    }

    fn spilled(overflow: Overflow, frames: usize, is_too_slow: bool) -> Spill {
        let mut spill = Spill { is_too_slow, ..Spill::default() };
        spill.dropped[overflow as usize] = frames;
        spill
    }

    #[test]
    fn frames_leave_in_order_and_bounded() {
        let mut outbox = Outbox::default();
        for n in 0..VECTOR_MAX + 3 {
            let _ = outbox.push(Frame::local(vec![0; n + 1].into(), 0), Bound::Unbounded);
        }
        let first = taken(&mut outbox);
        assert_eq!(first.len(), VECTOR_MAX);
        assert!(first.iter().enumerate().all(|(n, f)| f.len() == n + 1));
        let second = taken(&mut outbox);
        assert_eq!(
            second.iter().map(|f| f.len()).collect::<Vec<_>>(),
            [VECTOR_MAX + 1, VECTOR_MAX + 2, VECTOR_MAX + 3]
        );
        assert!(outbox.is_empty() && outbox.bytes() == 0);
    }

    #[test]
    fn a_send_is_bounded_in_bytes_unless_one_frame_has_more() {
        let mut outbox = Outbox::default();
        for bytes in [SEND_BYTES_MAX * 2, 1, SEND_BYTES_MAX / 2, SEND_BYTES_MAX / 2, 1] {
            let _ = outbox.push(Frame::local(vec![0; bytes].into(), 0), Bound::Unbounded);
        }
        let counts: Vec<usize> = std::iter::from_fn(|| Some(taken(&mut outbox).len()).filter(|n| *n > 0)).collect();
        assert_eq!(counts, [1, 2, 2]);
    }

    #[test]
    fn a_frame_counts_with_what_it_costs_and_clearing_says_what_was_lost() {
        let mut outbox = Outbox::default();
        assert_eq!(outbox.push(Frame::local(vec![0; 10].into(), 0), ROOM), Spill::default());
        assert_eq!((outbox.bytes(), outbox.clear(), outbox.bytes()), (10 + FRAME_COST_BYTES, 1, 0));
    }

    #[test]
    fn only_the_newest_pong_waits() {
        let mut outbox = Outbox::default();
        for frame in [encode_pong(b"old"), encode_ping(b"ours"), encode_pong(b"new")] {
            assert_eq!(outbox.push(Frame::local(frame, 0), ROOM), Spill::default());
        }
        let left: Vec<_> = taken(&mut outbox).iter().map(|frame| frame.bytes.clone()).collect();
        assert_eq!(left, [encode_ping(b"ours"), encode_pong(b"new")]);
        assert_eq!(outbox.bytes(), 0);
    }

    #[test]
    fn disconnect_drops_the_newcomer_and_says_too_slow() {
        let (left, spill) = pushed(13, Overflow::Disconnect);
        assert_eq!((left, spill), ((0..10).collect(), spilled(Overflow::Disconnect, 3, true)));
    }

    #[test]
    fn drop_oldest_keeps_the_newest() {
        let (left, spill) = pushed(13, Overflow::DropOldest);
        assert_eq!((left, spill), ((3..13).collect(), spilled(Overflow::DropOldest, 3, false)));
    }

    #[test]
    fn drop_newest_keeps_the_oldest() {
        let (left, spill) = pushed(13, Overflow::DropNewest);
        assert_eq!((left, spill), ((0..10).collect(), spilled(Overflow::DropNewest, 3, false)));
    }

    #[test]
    fn of_latest_the_newest_of_each_channel_waits_in_its_place() {
        let mut outbox = Outbox::default();
        let mut spill = Spill::default();
        for (n, channel) in [(0, 1), (1, 2), (2, 1), (3, 3), (4, 2), (5, 1)] {
            spill.add(&outbox.push(publication(n, Overflow::Latest, channel), ROOM));
        }
        assert_eq!(spill, spilled(Overflow::Latest, 3, false));
        assert_eq!(outbox.bytes(), 3 * (100 + FRAME_COST_BYTES));
        assert_eq!(first_bytes(&taken(&mut outbox)), [5, 4, 3]);
    }

    #[test]
    fn one_frame_of_each_channel_may_still_be_too_much() {
        let mut outbox = Outbox::default();
        for channel in 0..10 {
            assert_eq!(outbox.push(publication(0, Overflow::Latest, channel), ROOM), Spill::default());
        }
        assert_eq!(outbox.push(publication(0, Overflow::Latest, 10), ROOM), spilled(Overflow::Disconnect, 1, true));
    }

    #[test]
    fn a_larger_one_that_replaces_a_smaller_has_others_make_room() {
        let mut outbox = Outbox::default();
        let _ = outbox.push(publication(0, Overflow::Latest, 1), ROOM);
        (1..10).for_each(|n| _ = outbox.push(publication(n, Overflow::DropOldest, 2), ROOM));
        let spill = outbox.push(sized(99, 200, Overflow::Latest, 1), ROOM);
        assert_eq!(spill.dropped, [0, 1, 0, 1]);
        assert_eq!(first_bytes(&taken(&mut outbox)), [2, 3, 4, 5, 6, 7, 8, 9, 99]);
    }

    #[test]
    fn what_must_not_be_dropped_is_made_room_for_by_what_may_be() {
        let mut outbox = Outbox::default();
        (0..5).for_each(|n| _ = outbox.push(publication(n, Overflow::DropNewest, 1), ROOM));
        (5..10).for_each(|n| _ = outbox.push(publication(n, Overflow::DropOldest, 2), ROOM));
        let mut spill = Spill::default();
        // Six answers: first the oldest of the one channel go, then the newest of the other.
        (20..26).for_each(|n| spill.add(&outbox.push(publication(n, Overflow::Disconnect, 3), ROOM)));
        assert_eq!(spill, Spill { dropped: [0, 5, 1, 0], is_too_slow: false });
        assert_eq!(first_bytes(&taken(&mut outbox)), [0, 1, 2, 3, 20, 21, 22, 23, 24, 25]);
    }

    #[test]
    fn nothing_goes_for_a_frame_that_fits_in_no_case() {
        for overflow in Overflow::ALL {
            let mut outbox = Outbox::default();
            (0..10).for_each(|n| _ = outbox.push(publication(n, Overflow::DropOldest, 1), ROOM));
            let spill = outbox.push(sized(99, 5000, overflow, 2), ROOM);
            assert_eq!(spill.dropped.iter().sum::<usize>(), 1, "{overflow:?}");
            assert_eq!(taken(&mut outbox).len(), 10, "{overflow:?}");
        }
    }

    #[test]
    fn what_has_begun_is_not_counted_and_stays() {
        let mut outbox = Outbox::default();
        (0..3).for_each(|_| outbox.push_begun(publication(7, Overflow::DropOldest, 1)));
        (0..20).for_each(|n| _ = outbox.push(publication(n, Overflow::DropOldest, 1), ROOM));
        assert_eq!(first_bytes(&taken(&mut outbox)), [7, 7, 7, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19]);
        assert!(outbox.is_empty() && outbox.bytes() == 0);
    }

    fn any_overflow() -> impl Strategy<Value = Overflow> {
        (0..Overflow::ALL.len()).prop_map(|n| Overflow::ALL[n])
    }

    proptest! {
        #[test]
        fn the_bound_holds_the_order_too_and_every_frame_is_somewhere(
            pushes in prop::collection::vec((any_overflow(), 0u64..4, 1usize..400, 0u8..20), 1..120),
        ) {
            let Bound::Bytes(bytes_max) = ROOM else { unreachable!() };
            let (mut outbox, mut spill, mut left) = (Outbox::default(), Spill::default(), Vec::new());
            for (n, (overflow, channel, bytes, then)) in pushes.iter().enumerate() {
                spill.add(&outbox.push(sized(n as u8, *bytes, *overflow, *channel), ROOM));
                prop_assert!(outbox.bytes() <= bytes_max);
                match then {
                    0 => outbox.take(&mut left),
                    1 => {
                        prop_assert_eq!(outbox.push(Frame::local(encode_close_without_code(), 0), ROOM), Spill::default());
                        outbox.frames.pop_back();
                        outbox.bytes[0] -= FRAME_COST_BYTES + 2;
                    }
                    _ => {}
                }
            }
            while !outbox.is_empty() {
                outbox.take(&mut left);
            }
            prop_assert_eq!(outbox.bytes, ByPolicy::default());
            prop_assert_eq!(left.len() + spill.dropped.iter().sum::<usize>(), pushes.len());
            for channel in 0..4 {
                for overflow in Overflow::ALL {
                    let of_channel = left.iter().map(|frame| frame.bytes[0]).filter(|n| {
                        let (o, c, ..) = pushes[usize::from(*n)];
                        (o, c) == (overflow, channel)
                    });
                    prop_assert!(of_channel.is_sorted(), "of a channel nothing overtakes");
                }
            }
        }
    }
}
