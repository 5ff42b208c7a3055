//! A text message that arrives in pieces, checked to be UTF-8 as it grows.
//!
//! The decoder keeps one per connection while a message is incomplete. Each byte is checked once: a piece when it is
//! appended, a character that its end cuts as soon as the rest of it has come. The memory follows the bytes received,
//! never a length that was announced.

use smallvec::SmallVec;

use super::violation::Violation;

/// Bytes of the longest character (RFC 3629 section 3).
const CHARACTER_BYTES_MAX: usize = 4;

#[derive(Debug, Default)]
pub(super) struct TextBuffer {
    text: String,
    /// The first bytes of a character that was cut by the end of a piece, and that may still become one.
    cut: SmallVec<[u8; CHARACTER_BYTES_MAX]>,
}

impl TextBuffer {
    pub(super) fn len(&self) -> usize {
        self.text.len() + self.cut.len()
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.text.capacity()
    }

    /// Appends a piece, and refuses it when no continuation could make the text valid.
    pub(super) fn push(&mut self, mut piece: &[u8]) -> Result<(), Violation> {
        while let (false, Some((&byte, rest))) = (self.cut.is_empty(), piece.split_first()) {
            self.push_byte(byte)?;
            piece = rest;
        }
        let (whole, cut) = piece.split_at(piece.len() - cut_bytes(piece));
        self.text.push_str(simdutf8::basic::from_utf8(whole).map_err(|_| Violation::InvalidUtf8)?);
        cut.iter().try_for_each(|&byte| self.push_byte(byte))
    }

    /// A byte of a character that comes in pieces.
    fn push_byte(&mut self, byte: u8) -> Result<(), Violation> {
        self.cut.push(byte);
        match std::str::from_utf8(&self.cut) {
            Ok(character) => {
                self.text.push_str(character);
                self.cut.clear();
            }
            Err(error) if error.error_len().is_none() => {}
            Err(_) => return Err(Violation::InvalidUtf8),
        }
        Ok(())
    }

    /// The whole message, unless it ends inside a character.
    pub(super) fn finish(self) -> Result<String, Violation> {
        if self.cut.is_empty() { Ok(self.text) } else { Err(Violation::InvalidUtf8) }
    }
}

/// How many bytes at the end of `piece` begin a character that goes on behind it.
fn cut_bytes(piece: &[u8]) -> usize {
    let is_continuation = |byte: &u8| (0x80..0xc0).contains(byte);
    let last = piece.iter().rev().take(CHARACTER_BYTES_MAX).take_while(|byte| is_continuation(byte)).count() + 1;
    let Some(lead) = piece.len().checked_sub(last).map(|at| piece[at]) else { return 0 };
    let announced = match lead {
        0xf0.. => 4,
        0xe0.. => 3,
        0xc0.. => 2,
        _ => 1,
    };
    if last < announced { last } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What becomes of `bytes` when they arrive in pieces of `piece_bytes`.
    fn collect(bytes: &[u8], piece_bytes: usize) -> Result<String, Violation> {
        let mut text = TextBuffer::default();
        for piece in bytes.chunks(piece_bytes) {
            text.push(piece)?;
        }
        text.finish()
    }

    #[test]
    fn a_character_may_be_cut_anywhere() {
        let text = "aß€😀z\u{10ffff}";
        for piece_bytes in 1..=text.len() {
            assert_eq!(collect(text.as_bytes(), piece_bytes).as_deref(), Ok(text), "pieces of {piece_bytes}");
        }
    }

    #[test]
    fn a_text_that_ends_inside_a_character_is_refused_only_at_its_end() {
        let mut text = TextBuffer::default();
        assert_eq!(text.push(b"ok \xf0\x9f\x98"), Ok(()));
        assert_eq!(text.finish(), Err(Violation::InvalidUtf8));
    }

    #[test]
    fn what_cannot_become_valid_is_refused_at_once() {
        for hopeless in [&b"\xff"[..], b"\x80", b"\xc0\x80", b"\xed\xa0", b"\xf4\x90", b"\xf0\x80", b"\xe2\x28"] {
            assert_eq!(TextBuffer::default().push(hopeless), Err(Violation::InvalidUtf8), "{hopeless:x?}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_standard_library_whatever_the_pieces(
            bytes in prop_oneof![
                any::<Vec<u8>>(),
                any::<String>().prop_map(String::into_bytes),
                // Nearly valid text: one byte of a valid one replaced.
                (any::<String>(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(text, at, byte)| {
                    let mut bytes = text.into_bytes();
                    if !bytes.is_empty() {
                        let at = at.index(bytes.len());
                        bytes[at] = byte;
                    }
                    bytes
                }),
            ],
            piece_bytes in 1..80usize,
        ) {
            let expected = String::from_utf8(bytes.clone()).map_err(|_| Violation::InvalidUtf8);
            prop_assert_eq!(collect(&bytes, piece_bytes), expected);
        }
    }
}
