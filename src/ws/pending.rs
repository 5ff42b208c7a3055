//! What a connection keeps of something half received: a cut header, a cut frame, a message with fragments to come.
//!
//! The decoder boxes one [`Pending`] when a chunk ends in the middle of something, and drops it when the peer stands
//! between two messages again. This is the slow way in: bytes are copied here; what lies whole in a
//! chunk never comes by.

use super::header::{HEADER_BYTES_MAX, Header, Opcode};
use super::mask;
use super::text::TextBuffer;
use super::violation::Violation;

/// A frame past its header and past the limits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    pub(super) opcode: Opcode,
    pub(super) fin: bool,
    pub(super) mask: [u8; 4],
    pub(super) payload_bytes: usize,
    /// How much of the payload came with earlier chunks.
    pub(super) received_bytes: usize,
}

impl Frame {
    /// Whether this is one of several frames of its message.
    #[inline]
    pub(super) fn is_fragment(&self) -> bool {
        !self.opcode.is_control() && (!self.fin || self.opcode == Opcode::Continuation)
    }
}

/// A payload that came in several pieces and is whole now.
#[derive(Debug)]
pub(super) enum Assembled {
    Text(String),
    Binary(Vec<u8>),
    Control(Opcode, Vec<u8>),
    /// One fragment of a message, with more to come.
    Fragment,
}

#[derive(Debug, Default)]
pub(super) struct Pending {
    header: PartialHeader,
    /// The frame whose payload is being received.
    frame: Option<Frame>,
    /// What came of the payload of a cut control frame.
    control: Vec<u8>,
    /// The message being received, from its first frame on.
    message: Option<Message>,
    /// When the peer began, in ticks of [`crate::clock`], once somebody has noted it.
    pub(super) since_tick: Option<u32>,
}

/// What came of a message that is not whole.
#[derive(Debug)]
enum Message {
    Text(TextBuffer),
    Binary(Vec<u8>),
}

impl Message {
    /// The message that a frame with this opcode begins.
    fn begun_by(opcode: Opcode) -> Message {
        match opcode {
            Opcode::Binary => Message::Binary(Vec::new()),
            _ => Message::Text(TextBuffer::default()),
        }
    }

    fn len(&self) -> usize {
        match self {
            Message::Text(text) => text.len(),
            Message::Binary(bytes) => bytes.len(),
        }
    }

    fn push(&mut self, piece: &[u8]) -> Result<(), Violation> {
        match self {
            Message::Text(text) => text.push(piece)?,
            Message::Binary(bytes) => bytes.extend_from_slice(piece),
        }
        Ok(())
    }

    fn finish(self) -> Result<Assembled, Violation> {
        match self {
            Message::Text(text) => text.finish().map(Assembled::Text),
            Message::Binary(bytes) => Ok(Assembled::Binary(bytes)),
        }
    }
}

impl Pending {
    /// True when nothing is half received but, perhaps, the frame that was just taken out.
    pub(super) fn is_empty(&self) -> bool {
        self.header.len == 0 && self.frame.is_none() && self.control.is_empty() && self.message.is_none()
    }

    /// The frame whose payload goes on in the next chunk.
    pub(super) fn take_frame(&mut self) -> Option<Frame> {
        self.frame.take()
    }

    /// Bytes of the unfinished message; `None` between two messages.
    pub(super) fn message_bytes(&self) -> Option<usize> {
        self.message.as_ref().map(Message::len)
    }

    /// Continues a header with the front of `input`; `None` when it needs more than is there.
    pub(super) fn complete_header(&mut self, input: &mut &mut [u8]) -> Result<Option<Header>, Violation> {
        self.header.complete(input)
    }

    /// Takes what `input` has of the frame's payload; returns what became whole by it.
    pub(super) fn receive(&mut self, mut frame: Frame, input: &mut &mut [u8]) -> Result<Option<Assembled>, Violation> {
        let missing_bytes = frame.payload_bytes - frame.received_bytes;
        if input.is_empty() && missing_bytes > 0 {
            // Nothing of the payload is stored yet: should the rest come in one chunk, it is borrowed from there.
            self.frame = Some(frame);
            return Ok(None);
        }
        let piece = take(input, missing_bytes.min(input.len()));
        mask::apply(piece, frame.mask, frame.received_bytes);
        frame.received_bytes += piece.len();
        if frame.opcode.is_control() {
            self.control.extend_from_slice(piece);
        } else {
            self.message.get_or_insert_with(|| Message::begun_by(frame.opcode)).push(piece)?;
        }
        if frame.received_bytes < frame.payload_bytes {
            self.frame = Some(frame);
            return Ok(None);
        }
        self.finish(frame)
    }

    fn finish(&mut self, frame: Frame) -> Result<Option<Assembled>, Violation> {
        if frame.opcode.is_control() {
            return Ok(Some(Assembled::Control(frame.opcode, std::mem::take(&mut self.control))));
        }
        match self.message.take_if(|_| frame.fin) {
            Some(message) => message.finish().map(Some),
            None => Ok(Some(Assembled::Fragment)),
        }
    }
}

/// A header cut by the end of a chunk.
#[derive(Debug, Default)]
struct PartialHeader {
    bytes: [u8; HEADER_BYTES_MAX],
    len: usize,
}

impl PartialHeader {
    fn complete(&mut self, input: &mut &mut [u8]) -> Result<Option<Header>, Violation> {
        let had = self.len;
        let len = HEADER_BYTES_MAX.min(had + input.len());
        self.bytes[had..len].copy_from_slice(&input[..len - had]);
        let parsed = Header::parse(&self.bytes[..len])?;
        // What follows the header in `bytes` is payload: it stays in the input.
        let header_bytes = parsed.map_or(len, |(_, header_bytes)| header_bytes);
        take(input, header_bytes - had);
        self.len = if parsed.is_some() { 0 } else { len };
        Ok(parsed.map(|(header, _)| header))
    }
}

/// Splits `n` bytes off the front of `input`.
#[inline]
pub(super) fn take<'a>(input: &mut &'a mut [u8], n: usize) -> &'a mut [u8] {
    let (front, rest) = std::mem::take(input).split_at_mut(n);
    *input = rest;
    front
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ws::frame::encode_masked;

    #[test]
    fn a_header_is_completed_from_single_bytes_and_leaves_the_payload() {
        let mut bytes = encode_masked(Opcode::Text, &[b'x'; 300], [1, 2, 3, 4]);
        let (expected, header_bytes) = Header::parse(&bytes).unwrap().unwrap();
        let mut pending = Pending::default();
        for byte in &mut bytes[..header_bytes - 1] {
            let mut input = std::slice::from_mut(byte);
            assert_eq!(pending.complete_header(&mut input), Ok(None));
            assert!(input.is_empty() && !pending.is_empty());
        }
        let mut input = &mut bytes[header_bytes - 1..];
        assert_eq!(pending.complete_header(&mut input), Ok(Some(expected)));
        assert_eq!(input.len(), 300);
        assert!(pending.is_empty());
    }

    #[test]
    fn memory_grows_with_what_arrived_not_with_what_was_announced() {
        let mut pending = Pending::default();
        let payload_bytes = 16 << 20;
        let frame = Frame { opcode: Opcode::Text, fin: true, mask: [0; 4], payload_bytes, received_bytes: 0 };
        assert!(pending.receive(frame, &mut &mut [b'x'; 100][..]).unwrap().is_none());
        assert_eq!(pending.message_bytes(), Some(100));
        assert!(matches!(&pending.message, Some(Message::Text(text)) if text.capacity() < 1024));
    }
}
