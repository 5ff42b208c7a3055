//! What is in flight: the frames of each send, kept where the kernel reads them until it has said that it is done.

use slab::Slab;

use crate::lane::frame::LocalFrame;
use crate::metrics::latency::Departures;
use crate::shard::io::VECTOR_MAX;

/// Vectored sends kept to be filled anew.
const SPARE_VECTORS: usize = 512;

#[derive(Default)]
pub struct Sends {
    loads: Slab<Load>,
    #[expect(clippy::vec_box, reason = "moved in and out as boxes, which is what a load holds")]
    spare: Vec<Box<Many>>,
}

/// What is in flight for one slot.
pub enum Load {
    One(LocalFrame),
    Many(Box<Many>),
}

/// Frames in one vectored send. Boxed, as the kernel reads the header; used again, so that a send allocates nothing.
pub struct Many {
    frames: Vec<LocalFrame>,
    parts: Vec<libc::iovec>,
    header: libc::msghdr,
}

impl Sends {
    pub fn len(&self) -> usize {
        self.loads.len()
    }

    /// Several frames as one load; none when there are none.
    pub fn gather(&mut self, frames: impl IntoIterator<Item = LocalFrame>) -> Option<Load> {
        let mut frames = frames.into_iter();
        let first = frames.next()?;
        let Some(second) = frames.next() else { return Some(Load::One(first)) };
        let mut many = self.spare.pop().unwrap_or_else(Many::empty);
        many.fill([first, second].into_iter().chain(frames));
        Some(Load::Many(many))
    }

    /// Keeps a load until [`Sends::finish`]; says its key.
    pub fn keep(&mut self, load: Load) -> usize {
        debug_assert!(load.bytes() > 0, "an empty send would look like a failed one");
        self.loads.insert(load)
    }

    /// Whether the kernel has taken all of it.
    pub fn is_whole(&self, key: usize, result: i32) -> bool {
        usize::try_from(result).is_ok_and(|bytes| bytes == self.loads[key].bytes())
    }

    /// The kernel has taken all of it.
    pub fn departed(&self, key: usize, departures: &mut Departures<'_>) {
        match &self.loads[key] {
            Load::One(frame) => frame.departed(departures),
            Load::Many(many) => many.frames.iter().for_each(|frame| frame.departed(departures)),
        }
    }

    /// The kernel reads nothing of it any more.
    pub fn finish(&mut self, key: usize) {
        if let Load::Many(mut many) = self.loads.remove(key)
            && self.spare.len() < SPARE_VECTORS
        {
            many.frames.clear();
            self.spare.push(many);
        }
    }
}

impl Load {
    fn bytes(&self) -> usize {
        match self {
            Self::One(frame) => frame.len(),
            Self::Many(many) => many.frames.iter().map(|f| f.len()).sum(),
        }
    }
}

impl Many {
    fn empty() -> Box<Self> {
        // SAFETY: a msghdr is plain data for which all zeroes means "no address, no parts, no control data".
        let header = unsafe { std::mem::zeroed() };
        Box::new(Self { frames: Vec::new(), parts: Vec::new(), header })
    }

    /// What the kernel is shown. Valid for as long as the load is kept.
    pub fn header(&self) -> *const libc::msghdr {
        &self.header
    }

    fn fill(&mut self, frames: impl Iterator<Item = LocalFrame>) {
        debug_assert!(self.frames.is_empty());
        self.frames.extend(frames);
        debug_assert!(self.frames.len() <= VECTOR_MAX);
        let part = |f: &LocalFrame| libc::iovec { iov_base: f.bytes.as_ptr().cast_mut().cast(), iov_len: f.len() };
        self.parts.clear();
        self.parts.extend(self.frames.iter().map(part));
        self.header.msg_iov = self.parts.as_mut_ptr();
        self.header.msg_iovlen = self.parts.len();
    }
}
