//! A slow connection's unsent frames. Exists only while the connection is behind: a frame waits here while another one is
//! in flight, and all that wait leave together as one vectored send.

use std::collections::VecDeque;

use super::frame::LocalFrame;
use super::io::VECTOR_MAX;

#[derive(Default)]
pub struct Outbox {
    frames: VecDeque<LocalFrame>,
    bytes: usize,
}

impl Outbox {
    pub fn push(&mut self, frame: LocalFrame) {
        self.bytes += frame.len();
        self.frames.push_back(frame);
    }

    /// The frames of the next send, oldest first.
    pub fn take(&mut self) -> Vec<LocalFrame> {
        let count = self.frames.len().min(VECTOR_MAX);
        let taken: Vec<_> = self.frames.drain(..count).collect();
        self.bytes -= taken.iter().map(|f| f.len()).sum::<usize>();
        taken
    }

    /// Drops everything that waits; returns how many frames.
    pub fn clear(&mut self) -> usize {
        self.bytes = 0;
        std::mem::take(&mut self.frames).len()
    }

    /// How many frames wait.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::frame::Frame;

    #[test]
    fn frames_leave_in_order_and_bounded() {
        let mut outbox = Outbox::default();
        for n in 0..VECTOR_MAX + 3 {
            outbox.push(Frame::local(vec![0; n + 1].into(), 0));
        }
        let first = outbox.take();
        assert_eq!(first.len(), VECTOR_MAX);
        assert!(first.iter().enumerate().all(|(n, f)| f.len() == n + 1));
        let second = outbox.take();
        assert_eq!(
            second.iter().map(|f| f.len()).collect::<Vec<_>>(),
            [VECTOR_MAX + 1, VECTOR_MAX + 2, VECTOR_MAX + 3]
        );
        assert!(outbox.is_empty() && outbox.bytes() == 0);
    }

    #[test]
    fn clearing_says_what_was_lost() {
        let mut outbox = Outbox::default();
        outbox.push(Frame::local(vec![0; 10].into(), 0));
        assert_eq!((outbox.bytes(), outbox.clear(), outbox.bytes()), (10, 1, 0));
    }
}
