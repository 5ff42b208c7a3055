//! Where the messages of a stream end in its bytes, however these come. Told by [`super::metered`] what has come.
//!
//! Invariant: whatever the bytes are, nothing of them is kept but the head of a message that has come in part.

/// What stands before a message: whether it is compressed, and its length.
pub const HEAD_BYTES: usize = 5;

#[derive(Default)]
pub struct Boundaries {
    head: [u8; HEAD_BYTES],
    /// What has come of a message that is not whole, with its head.
    part_bytes: usize,
}

impl Boundaries {
    /// Hands out the length of each message that is whole with these bytes, with its head.
    pub fn pass(&mut self, mut bytes: &[u8], mut whole: impl FnMut(usize)) {
        while !bytes.is_empty() {
            let (now, behind) = bytes.split_at(bytes.len().min(self.bytes() - self.part_bytes));
            if let Some(head) = self.head.get_mut(self.part_bytes..self.part_bytes + now.len()) {
                head.copy_from_slice(now);
            }
            self.part_bytes += now.len();
            if self.part_bytes >= HEAD_BYTES && self.part_bytes == self.bytes() {
                whole(std::mem::take(&mut self.part_bytes));
            }
            bytes = behind;
        }
    }

    /// Whether a message has come in part.
    pub fn is_within(&self) -> bool {
        self.part_bytes > 0
    }

    /// Those of the message with its head, or of the head while that is not whole.
    fn bytes(&self) -> usize {
        let [_, length @ ..] = self.head;
        let message = if self.part_bytes < HEAD_BYTES { 0 } else { u32::from_be_bytes(length) as usize };
        HEAD_BYTES + message
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_end_where_they_end_however_their_bytes_come() {
        // Of one byte, of none, and of 300.
        let stream = [&[0, 0, 0, 0, 1, 9][..], &[0; 5], &[0, 0, 0, 1, 44], &[7; 300]].concat();
        for first in 0..=stream.len() {
            for second in first..=stream.len() {
                let (mut boundaries, mut lengths) = (Boundaries::default(), Vec::new());
                for (part, passed) in [(0..first, first), (first..second, second), (second..stream.len(), stream.len())]
                {
                    boundaries.pass(&stream[part], |length| lengths.push(length));
                    let whole: usize = lengths.iter().sum();
                    assert_eq!(boundaries.is_within(), whole < passed, "{first} {second}");
                }
                assert_eq!(lengths, [6, 5, 305], "{first} {second}");
            }
        }
    }
}
