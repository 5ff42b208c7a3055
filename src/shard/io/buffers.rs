//! The shard's receive buffers, which all its rings share. A connection owns none: a buffer is lent to a receive when
//! that goes to the kernel, where it never waits, and comes back when what it brought has been handled.

/// How many buffers there are, and how large they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// As many receives are handed to the kernel at once.
    pub count: usize,
    /// The most that one receive takes.
    pub bytes: usize,
}

impl Shape {
    /// Of a shard: what a client usually sends in one go.
    pub const SHARD: Self = Self { count: 64, bytes: 4096 };
}

pub struct Buffers {
    /// Never moved: the kernel writes to them. One allocation each, so that nobody looks at a lent one on the way to
    /// another.
    memory: Vec<Box<[u8]>>,
    /// Those that are not lent. The last one to come back goes out first: it is in the caches.
    free: Vec<u16>,
}

impl Buffers {
    pub fn new(shape: Shape) -> Self {
        assert!(shape.count > 0 && shape.bytes > 0, "without a buffer nothing is ever received");
        let ids = 0..u16::try_from(shape.count).expect("some dozens of buffers");
        Self { memory: ids.clone().map(|_| vec![0; shape.bytes].into()).collect(), free: ids.rev().collect() }
    }

    /// Lends a buffer, which is valid and not looked at until it is given back or read.
    pub fn lend(&mut self) -> Option<u16> {
        self.free.pop()
    }

    /// Where the kernel may write, and how much. The buffer must be lent.
    pub fn for_kernel(&mut self, id: u16) -> (*mut u8, usize) {
        debug_assert!(self.is_lent(id));
        let buffer = &mut self.memory[usize::from(id)];
        (buffer.as_mut_ptr(), buffer.len())
    }

    /// The first `len` bytes of a buffer that is lent and no longer with the kernel.
    pub fn bytes(&mut self, id: u16, len: usize) -> &mut [u8] {
        debug_assert!(self.is_lent(id));
        &mut self.memory[usize::from(id)][..len]
    }

    pub fn give_back(&mut self, id: u16) {
        debug_assert!(self.is_lent(id), "a buffer comes back once");
        self.free.push(id);
    }

    fn is_lent(&self, id: u16) -> bool {
        usize::from(id) < self.memory.len() && !self.free.contains(&id)
    }

    /// Buffers that are lent.
    pub fn lent(&self) -> usize {
        self.memory.len() - self.free.len()
    }
}
