//! A queue that never copies itself to grow: what waits in it stands in chunks.

use std::collections::VecDeque;

/// A chunk grows by copying itself, so it is small.
const PER_CHUNK: usize = 256;

pub struct Queue<T> {
    /// None is empty.
    chunks: VecDeque<Vec<T>>,
    /// How many of the first chunk have been taken.
    taken: usize,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { chunks: VecDeque::new(), taken: 0 }
    }
}

impl<T: Copy> Queue<T> {
    pub fn push(&mut self, item: T) {
        match self.chunks.back_mut().filter(|chunk| chunk.len() < PER_CHUNK) {
            Some(chunk) => chunk.push(item),
            None => self.chunks.push_back(vec![item]),
        }
    }

    /// Takes the first one if it is as wanted.
    pub fn pop_if(&mut self, is_wanted: impl FnOnce(&T) -> bool) -> Option<T> {
        let chunk = self.chunks.front()?;
        let item = *chunk.get(self.taken).filter(|item| is_wanted(item))?;
        self.taken += 1;
        if self.taken == chunk.len() {
            self.chunks.pop_front();
            self.taken = 0;
        }
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_first_is_taken_first_and_nothing_before_its_time() {
        let mut queue = Queue::default();
        (0..1000).for_each(|number| queue.push(number));
        assert_eq!(queue.pop_if(|number| *number > 0), None);
        let mut taken: Vec<u32> = std::iter::from_fn(|| queue.pop_if(|number| *number < 700)).collect();
        queue.push(1000);
        taken.extend(std::iter::from_fn(|| queue.pop_if(|_| true)));
        assert!(taken.into_iter().eq(0..=1000));
        assert!(queue.chunks.is_empty());
    }
}
