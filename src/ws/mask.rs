//! The masking of client frames (RFC 6455 section 5.3), undone in place.
//!
//! The decoder calls it once per received piece of a payload; the client side in tests and tools masks with the same
//! function, since masking is its own inverse. Written over words, which the compiler turns into vector instructions
//! of whatever the target has, without `unsafe`.

/// Applies `mask` to `payload` in place. `offset` is how many bytes of the frame's payload came before this piece.
#[inline]
pub fn apply(payload: &mut [u8], mask: [u8; 4], offset: usize) {
    let mask = u32::from_le_bytes(mask).rotate_right(8 * (offset % 4) as u32);
    let mask = u64::from(mask) << 32 | u64::from(mask);
    let (words, rest) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_le_bytes(*word) ^ mask).to_le_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.to_le_bytes()) {
        *byte ^= mask;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASK: [u8; 4] = [0x9a, 0x01, 0xff, 0x3c];

    fn naive(payload: &[u8], offset: usize) -> Vec<u8> {
        payload.iter().enumerate().map(|(i, byte)| byte ^ MASK[(i + offset) % 4]).collect()
    }

    #[test]
    fn agrees_with_the_naive_loop_at_every_alignment_length_and_offset() {
        let original: Vec<u8> = (0..160u8).map(|i| i.wrapping_mul(37)).collect();
        let longest = if cfg!(miri) { 40 } else { 120 };
        for start in 0..16 {
            for length in 0..=longest {
                for offset in [0, 1, 2, 3, 4, 125, (1 << 31) + 3] {
                    let mut bytes = original.clone();
                    apply(&mut bytes[start..start + length], MASK, offset);
                    let expected = naive(&original[start..start + length], offset);
                    assert_eq!(bytes[start..start + length], expected, "{start} {length} {offset}");
                    assert_eq!(bytes[..start], original[..start], "bytes before the piece are left alone");
                    assert_eq!(bytes[start + length..], original[start + length..], "bytes after it too");
                }
            }
        }
    }

    #[test]
    fn pieces_with_their_offsets_equal_the_whole() {
        let original: Vec<u8> = (0..=255).collect();
        for cut in 0..=original.len() {
            let mut bytes = original.clone();
            let (head, tail) = bytes.split_at_mut(cut);
            apply(head, MASK, 0);
            apply(tail, MASK, cut);
            assert_eq!(bytes, naive(&original, 0), "cut at {cut}");
        }
    }

    #[test]
    fn masking_twice_gives_the_payload_back() {
        let mut bytes = *b"the quick brown fox jumps over the lazy dog";
        apply(&mut bytes, MASK, 3);
        assert_ne!(&bytes, b"the quick brown fox jumps over the lazy dog");
        apply(&mut bytes, MASK, 3);
        assert_eq!(&bytes, b"the quick brown fox jumps over the lazy dog");
    }
}
