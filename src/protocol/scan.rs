//! Reads the outline of JSON: which fields an object has, which items an array, and that all of it is valid, without
//! making anything of the values. `request` calls it on what clients send.
//!
//! A scanner of our own, because the JSON library's lazy iterators took three times as long on messages of this size,
//! skip nested values by recursion without a limit, and do not look at the digits of `\u` escapes. Invariant: `at`
//! never passes the end and stays on a character boundary; what is handed out is the text of one complete value by RFC
//! 8259. The one thing not asked for is that surrogate escapes come in pairs.

/// Deepest nesting, the outermost value counted: a bound on the stack, far above what a message needs.
pub(super) const DEPTH_MAX: usize = 64;

/// What keeps text from being an object's outline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ScanError {
    /// Not JSON, or nested too deep.
    Invalid,
    /// Begins like JSON of another type.
    OtherType,
}

/// A field that was found: its name without quotes, escapes as they came, and its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field<'a> {
    /// Of the object itself.
    Outer(&'a str, &'a str),
    /// Of an object in it that was to be looked into. Comes before the `Outer` field that it is a part of.
    Inner(&'a str, &'a str),
}

/// Calls `each` with every field of the object that `json` consists of, and, where `look_into` says so for a name and
/// the value is an object, with the fields of that.
pub(super) fn object<'a>(
    json: &'a str,
    look_into: impl Fn(&str) -> bool,
    mut each: impl FnMut(Field<'a>),
) -> Result<(), ScanError> {
    let mut scanner = Scanner::open(json, b'{')?;
    let outer = scanner.members(&mut |scanner, name| {
        let value = if look_into(name) {
            scanner.value_with_fields(DEPTH_MAX - 1, &mut |name, value| each(Field::Inner(name, value)))?
        } else {
            scanner.value(DEPTH_MAX - 1)?
        };
        each(Field::Outer(name, value));
        Some(())
    });
    outer.and_then(|()| scanner.close()).ok_or(ScanError::Invalid)
}

/// Calls `each` with every item of the array that `json` consists of.
pub(super) fn array<'a>(json: &'a str, mut each: impl FnMut(&'a str)) -> Result<(), ScanError> {
    let mut scanner = Scanner::open(json, b'[')?;
    scanner.items(DEPTH_MAX - 1, &mut each).and_then(|()| scanner.close()).ok_or(ScanError::Invalid)
}

/// Methods return `None` when what follows is not what they are for.
struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    fn open(text: &'a str, bracket: u8) -> Result<Scanner<'a>, ScanError> {
        let mut scanner = Scanner { text, at: 0 };
        match scanner.next_token() {
            Some(byte) if byte == bracket => Ok(scanner),
            Some(_) => Err(ScanError::OtherType),
            None => Err(ScanError::Invalid),
        }
    }

    /// Nothing but white space is left.
    fn close(&mut self) -> Option<()> {
        self.next_token().is_none().then_some(())
    }

    /// The rest of an object whose brace has been read. `value` is called with a name, and reads what belongs to it.
    fn members(&mut self, value: &mut impl FnMut(&mut Self, &'a str) -> Option<()>) -> Option<()> {
        let mut token = self.next_token()?;
        if token == b'}' {
            return Some(());
        }
        loop {
            if token != b'"' {
                return None;
            }
            let name_at = self.at;
            self.string()?;
            let name = &self.text[name_at..self.at - 1];
            if self.next_token()? != b':' {
                return None;
            }
            value(self, name)?;
            match self.next_token()? {
                b',' => token = self.next_token()?,
                b'}' => return Some(()),
                _ => return None,
            }
        }
    }

    /// The rest of an array whose bracket has been read.
    fn items(&mut self, depth_left: usize, each: &mut impl FnMut(&'a str)) -> Option<()> {
        let before = self.at;
        if self.next_token()? == b']' {
            return Some(());
        }
        self.at = before;
        loop {
            each(self.value(depth_left)?);
            match self.next_token()? {
                b',' => {}
                b']' => return Some(()),
                _ => return None,
            }
        }
    }

    /// A value, and if it is an object its fields.
    fn value_with_fields(&mut self, depth_left: usize, each: &mut impl FnMut(&'a str, &'a str)) -> Option<&'a str> {
        let before = self.at;
        if self.next_token()? != b'{' {
            self.at = before;
            return self.value(depth_left);
        }
        let start = self.at - 1;
        let depth_left = depth_left.checked_sub(1)?;
        self.members(&mut |scanner, name| {
            each(name, scanner.value(depth_left)?);
            Some(())
        })?;
        Some(&self.text[start..self.at])
    }

    fn value(&mut self, depth_left: usize) -> Option<&'a str> {
        let first = self.next_token()?;
        let start = self.at - 1;
        match first {
            b'"' => self.string()?,
            b'{' => {
                let depth_left = depth_left.checked_sub(1)?;
                self.members(&mut |scanner, _| scanner.value(depth_left).map(drop))?;
            }
            b'[' => self.items(depth_left.checked_sub(1)?, &mut |_| {})?,
            b't' => self.literal("rue")?,
            b'f' => self.literal("alse")?,
            b'n' => self.literal("ull")?,
            _ => self.number(first)?,
        }
        Some(&self.text[start..self.at])
    }

    /// The rest of a string whose opening quote has been read.
    fn string(&mut self) -> Option<()> {
        loop {
            self.skip_plain();
            match self.next()? {
                b'"' => return Some(()),
                b'\\' => self.escape()?,
                _ => return None,
            }
        }
    }

    /// Moves to the next byte of a string that is a quote, a backslash or a control character.
    fn skip_plain(&mut self) {
        let bytes = self.text.as_bytes();
        while let Some(chunk) = bytes[self.at..].first_chunk::<8>() {
            let found = specials(u64::from_le_bytes(*chunk));
            if found != 0 {
                self.at += found.trailing_zeros() as usize / 8;
                return;
            }
            self.at += chunk.len();
        }
        let rest = &bytes[self.at..];
        self.at += rest.iter().position(|byte| is_special(*byte)).unwrap_or(rest.len());
    }

    fn escape(&mut self) -> Option<()> {
        match self.next()? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(()),
            b'u' => {
                let digits = self.text.as_bytes()[self.at..].first_chunk::<4>()?;
                self.at += digits.len();
                digits.iter().all(u8::is_ascii_hexdigit).then_some(())
            }
            _ => None,
        }
    }

    /// RFC 8259 section 6, with its first byte read.
    fn number(&mut self, first: u8) -> Option<()> {
        let digit = if first == b'-' { self.next()? } else { first };
        match digit {
            b'0' => {}
            b'1'..=b'9' => self.skip_digits(),
            _ => return None,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Some(())
    }

    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        self.skip_digits();
        (self.at > start).then_some(())
    }

    fn skip_digits(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
    }

    fn literal(&mut self, rest: &str) -> Option<()> {
        let matches = self.text.as_bytes()[self.at..].starts_with(rest.as_bytes());
        self.at += if matches { rest.len() } else { 0 };
        matches.then_some(())
    }

    /// The next byte that is no white space.
    fn next_token(&mut self) -> Option<u8> {
        loop {
            match self.next()? {
                b' ' | b'\t' | b'\n' | b'\r' => {}
                byte => return Some(byte),
            }
        }
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
}

/// Marks the top bit of the first special byte of eight, and perhaps of ones after it: a subtraction that borrows is
/// exact up to the first byte that makes it borrow.
fn specials(eight: u64) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const TOPS: u64 = u64::from_le_bytes([0x80; 8]);
    let below = |bytes: u64, limit: u8| bytes.wrapping_sub(ONES * u64::from(limit)) & !bytes & TOPS;
    let equal = |byte: u8| below(eight ^ (ONES * u64::from(byte)), 1);
    equal(b'"') | equal(b'\\') | below(eight, b' ')
}

fn is_special(byte: u8) -> bool {
    byte == b'"' || byte == b'\\' || byte < b' '
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all_fields(json: &str) -> Result<Vec<Field<'_>>, ScanError> {
        let mut fields = Vec::new();
        object(json, |name| name == "in", |field| fields.push(field)).map(|()| fields)
    }

    fn fields(json: &str) -> Result<Vec<(&str, &str)>, ScanError> {
        let outer = |field| if let Field::Outer(name, value) = field { Some((name, value)) } else { None };
        all_fields(json).map(|fields| fields.into_iter().filter_map(outer).collect())
    }

    fn items(json: &str) -> Result<Vec<&str>, ScanError> {
        let mut items = Vec::new();
        array(json, |item| items.push(item)).map(|()| items)
    }

    #[test]
    fn values_are_handed_out_as_they_came() {
        assert_eq!(
            fields(" {\"a\" : [ 1 , {} ] ,\n\"\\u00e9\":\"x\\\"y\", \"\":-0.5E+3 }\t"),
            Ok(vec![("a", "[ 1 , {} ]"), ("\\u00e9", "\"x\\\"y\""), ("", "-0.5E+3")])
        );
        assert_eq!(items(r#"[true,null , "é",[ ]]"#), Ok(vec!["true", "null", "\"é\"", "[ ]"]));
        assert_eq!((fields("{ }"), items("[ ]")), (Ok(vec![]), Ok(vec![])));
    }

    #[test]
    fn an_object_is_looked_into_by_its_name() {
        use Field::{Inner, Outer};
        assert_eq!(
            all_fields(r#"{"in": {"a":{"in":{"b":1}}} ,"in":[{"c":1}],"d":{"e":1}}"#),
            Ok(vec![
                Inner("a", r#"{"in":{"b":1}}"#),
                Outer("in", r#"{"a":{"in":{"b":1}}}"#),
                Outer("in", r#"[{"c":1}]"#),
                Outer("d", r#"{"e":1}"#)
            ])
        );
        for invalid in [r#"{"in":{"a":1}"#, r#"{"in":{"a":1]}"#, r#"{"in":}"#, r#"{"in":{"a"}}"#] {
            assert_eq!(all_fields(invalid), Err(ScanError::Invalid), "{invalid}");
        }
    }

    #[test]
    fn another_type_is_told_from_what_is_invalid() {
        assert_eq!((fields("[1]"), items("{}")), (Err(ScanError::OtherType), Err(ScanError::OtherType)));
        assert_eq!((fields(" "), items("[1")), (Err(ScanError::Invalid), Err(ScanError::Invalid)));
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(items(&nested(DEPTH_MAX)).is_ok());
        assert_eq!(items(&nested(DEPTH_MAX + 1)), Err(ScanError::Invalid));
        assert_eq!(items(&nested(100_000)), Err(ScanError::Invalid));
        assert!(items(&format!("[{}[]]", "[[]],".repeat(10_000))).is_ok());
        let looked_into = |depth: usize| format!(r#"{{"in":{{"a":{}}}}}"#, nested(depth - 2));
        assert!(fields(&looked_into(DEPTH_MAX)).is_ok());
        assert_eq!(fields(&looked_into(DEPTH_MAX + 1)), Err(ScanError::Invalid));
    }

    #[test]
    fn a_special_byte_is_found_wherever_it_stands() {
        for length in 0..50 {
            let plain = "x".repeat(length);
            assert_eq!(items(&format!("[\"{plain}\"]")).map(|items| items[0].len()), Ok(length + 2));
            assert!(items(&format!("[\"{plain}\\n{plain}é\"]")).is_ok());
            assert!(items(&format!("[\"{plain}\u{1f}{plain}\"]")).is_err());
            assert!(items(&format!("[\"{plain}\\")).is_err());
            assert!(items(&format!("[\"{plain}\\u00e\"]")).is_err());
        }
    }

    proptest! {
        #[test]
        fn the_first_special_byte_of_eight_is_found(eight in any::<[u8; 8]>()) {
            let found = specials(u64::from_le_bytes(eight)).trailing_zeros() as usize / 8;
            prop_assert_eq!(found, eight.iter().position(|byte| is_special(*byte)).unwrap_or(8));
        }

        #[test]
        fn a_number_is_one_by_the_grammar(text in "[-+0-9.eE]{1,7}") {
            prop_assert_eq!(items(&format!("[{text}]")).is_ok(), is_number(&text), "{}", text);
        }

        #[test]
        fn no_text_brings_it_down(text in "[\\[\\]{}\",:\\\\u0-9a-f \\Pc]{0,40}") {
            let _ = (all_fields(&text), items(&text));
        }
    }

    /// The grammar of RFC 8259 section 6, written another way.
    fn is_number(text: &str) -> bool {
        let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let (mantissa, exponent) = text.split_once(['e', 'E']).map_or((text, None), |(m, e)| (m, Some(e)));
        let (whole, fraction) = mantissa.split_once('.').map_or((mantissa, None), |(w, f)| (w, Some(f)));
        let whole = whole.strip_prefix('-').unwrap_or(whole);
        is_digits(whole)
            && (whole == "0" || !whole.starts_with('0'))
            && fraction.is_none_or(is_digits)
            && exponent.is_none_or(|exponent| is_digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)))
    }
}
