//! What the JSON library does not look at while it skips a value: how deep it nests, and the digits of `\u` escapes.
//! `request` asks before it parses.
//!
//! The library skips nested values by recursion without a limit, so ten thousand `[` would end the thread's stack; and
//! it takes any four bytes after `\u`, the closing quote too, so a value passed on as it came would be no JSON.

/// Deepest nesting of a message, the message itself counted. A bound on stack, far above what a message needs.
pub(super) const DEPTH_MAX: usize = 64;

/// Whether it is safe to let the library skip over `json`. Says nothing about whether it is JSON.
pub(super) fn is_safe(json: &[u8]) -> bool {
    // Nearly every message ends here: it cannot be deep, and it escapes nothing.
    let (openings, escapes) = count(json);
    (openings <= DEPTH_MAX && escapes == 0) || is_safe_byte_by_byte(json)
}

/// How many brackets open, and how many backslashes there are, strings included: bounds, found without a branch.
fn count(json: &[u8]) -> (usize, usize) {
    json.iter().fold((0, 0), |(openings, escapes), byte| {
        // `[` is 0x5b and `{` is 0x7b: with that bit set they are one, and nothing else becomes it.
        (openings + usize::from(byte | 0x20 == b'{'), escapes + usize::from(*byte == b'\\'))
    })
}

fn is_safe_byte_by_byte(json: &[u8]) -> bool {
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut bytes = json.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => in_string = !in_string,
            b'\\' if in_string => {
                let escaped = bytes.next();
                if escaped == Some(&b'u') && !is_hex_quad(bytes.as_slice()) {
                    return false;
                }
            }
            b'[' | b'{' if !in_string => depth += 1,
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH_MAX {
            return false;
        }
    }
    true
}

fn is_hex_quad(bytes: &[u8]) -> bool {
    bytes.get(..4).is_some_and(|quad| quad.iter().all(u8::is_ascii_hexdigit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(is_safe(nested(DEPTH_MAX).as_bytes()));
        assert!(!is_safe(nested(DEPTH_MAX + 1).as_bytes()));
        assert!(!is_safe("{".repeat(100_000).as_bytes()));
        assert!(!is_safe(r#"{"a":"#.repeat(100_000).as_bytes()));
    }

    #[test]
    fn many_brackets_side_by_side_or_in_strings_are_no_nesting() {
        assert!(is_safe("[],".repeat(1000).as_bytes()));
        assert!(is_safe(format!("\"{}\"", "[".repeat(1000)).as_bytes()));
        assert!(is_safe(format!(r#""\"{}""#, "[".repeat(1000)).as_bytes()));
        assert!(!is_safe(format!(r#""\\"{}"#, "[".repeat(1000)).as_bytes()));
    }

    #[test]
    fn unicode_escapes_have_four_digits() {
        for good in [r#""\u00e9""#, r#""\uD83D\uDE00""#, r#""\\u""#, r#""\n""#] {
            assert!(is_safe(good.as_bytes()), "{good}");
        }
        for bad in [r#""\u""#, r#""\u12""#, r#""\u12g4""#, r#""\u","x""#, r#""\\\u""#, r#""\u"#] {
            assert!(!is_safe(bad.as_bytes()), "{bad}");
        }
    }
}
