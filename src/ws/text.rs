//! A text message that arrives in pieces, checked to be UTF-8 as it grows.
//!
//! The decoder keeps one per connection while a message is incomplete. Each byte is checked about once: a piece is
//! checked when it is appended, and only a character cut by its end (at most 3 bytes) is looked at again. The memory
//! follows the bytes received, never a length that was announced.

use super::violation::Violation;

#[derive(Debug, Default)]
pub(super) struct TextBuffer {
    bytes: Vec<u8>,
    /// How many of the bytes are known to be valid; they end with a whole character.
    checked_bytes: usize,
}

impl TextBuffer {
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Appends a piece, and refuses it when no continuation could make the text valid.
    pub(super) fn push(&mut self, piece: &[u8]) -> Result<(), Violation> {
        self.bytes.extend_from_slice(piece);
        match simdutf8::compat::from_utf8(&self.bytes[self.checked_bytes..]) {
            Ok(valid) => self.checked_bytes += valid.len(),
            Err(error) if error.error_len().is_none() => self.checked_bytes += error.valid_up_to(),
            Err(_) => return Err(Violation::InvalidUtf8),
        }
        Ok(())
    }

    /// The whole message, unless it ends inside a character.
    pub(super) fn finish(self) -> Result<Vec<u8>, Violation> {
        if self.checked_bytes == self.bytes.len() { Ok(self.bytes) } else { Err(Violation::InvalidUtf8) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What becomes of `bytes` when they arrive in pieces of `piece_bytes`.
    fn collect(bytes: &[u8], piece_bytes: usize) -> Result<Vec<u8>, Violation> {
        let mut text = TextBuffer::default();
        for piece in bytes.chunks(piece_bytes) {
            text.push(piece)?;
        }
        text.finish()
    }

    #[test]
    fn a_character_may_be_cut_anywhere() {
        let text = "aß€😀z\u{10ffff}".as_bytes();
        for piece_bytes in 1..=text.len() {
            assert_eq!(collect(text, piece_bytes).as_deref(), Ok(text), "pieces of {piece_bytes}");
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
            let valid = std::str::from_utf8(&bytes).is_ok();
            let expected = if valid { Ok(bytes.clone()) } else { Err(Violation::InvalidUtf8) };
            prop_assert_eq!(collect(&bytes, piece_bytes), expected);
        }
    }
}
