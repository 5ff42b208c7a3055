//! A slow connection's unsent frames. Exists only while the connection is behind: a frame waits here while another one is
//! in flight, and all that wait leave together as one vectored send.

use std::collections::VecDeque;

use crate::lane::frame::LocalFrame;
use crate::shard::io::VECTOR_MAX;
use crate::ws::frame::is_pong;

/// What a waiting frame costs beside its bytes: its place here, its count and its bookkeeping on the heap. Counted, so that
/// many small frames are as much as they are.
pub const FRAME_COST_BYTES: usize = 128;

#[derive(Default)]
pub struct Outbox {
    frames: VecDeque<LocalFrame>,
    bytes: usize,
}

impl Outbox {
    /// Puts a frame behind the others. Of pongs only the newest waits (RFC 6455 section 5.5.3), unless `every_pong` is asked for.
    pub fn push(&mut self, frame: LocalFrame, every_pong: bool) {
        let older = if is_pong(&frame.bytes) && !every_pong {
            self.frames.iter().position(|f| is_pong(&f.bytes))
        } else {
            None
        };
        let dropped = older.and_then(|at| self.frames.remove(at));
        self.bytes += cost_bytes(&frame);
        self.bytes -= dropped.as_ref().map_or(0, cost_bytes);
        self.frames.push_back(frame);
    }

    /// Moves the frames of the next send into `frames`, oldest first.
    pub fn take(&mut self, frames: &mut Vec<LocalFrame>) {
        let count = self.frames.len().min(VECTOR_MAX);
        let before = frames.len();
        frames.extend(self.frames.drain(..count));
        self.bytes -= frames[before..].iter().map(cost_bytes).sum::<usize>();
    }

    /// Drops everything that waits; returns how many frames.
    pub fn clear(&mut self) -> usize {
        self.bytes = 0;
        std::mem::take(&mut self.frames).iter().map(|run| run.frames()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// What waits here costs.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// What a frame costs while it waits.
pub fn cost_bytes(frame: &LocalFrame) -> usize {
    frame.len() + FRAME_COST_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::frame::Frame;
    use crate::ws::frame::{encode_ping, encode_pong};

    fn taken(outbox: &mut Outbox) -> Vec<LocalFrame> {
        let mut frames = Vec::new();
        outbox.take(&mut frames);
        frames
    }

    #[test]
    fn frames_leave_in_order_and_bounded() {
        let mut outbox = Outbox::default();
        for n in 0..VECTOR_MAX + 3 {
            outbox.push(Frame::local(vec![0; n + 1].into(), 0), false);
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
    fn a_frame_counts_with_what_it_costs_and_clearing_says_what_was_lost() {
        let mut outbox = Outbox::default();
        outbox.push(Frame::local(vec![0; 10].into(), 0), false);
        assert_eq!((outbox.bytes(), outbox.clear(), outbox.bytes()), (10 + FRAME_COST_BYTES, 1, 0));
    }

    #[test]
    fn only_the_newest_pong_waits() {
        let mut outbox = Outbox::default();
        outbox.push(Frame::local(encode_pong(b"old"), 0), false);
        outbox.push(Frame::local(encode_ping(b"ours"), 0), false);
        outbox.push(Frame::local(encode_pong(b"new"), 0), false);
        let left: Vec<_> = taken(&mut outbox).iter().map(|frame| frame.bytes.clone()).collect();
        assert_eq!(left, [encode_ping(b"ours"), encode_pong(b"new")]);
        assert_eq!(outbox.bytes(), 0);
    }
}
