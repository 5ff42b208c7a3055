//! What a backend answers, before it goes to a client.

use crate::protocol::request::Request;

/// The answer as a message that a client can take: one JSON object with a `type`. `None` when it is something else.
pub fn message(bytes: &[u8]) -> Option<&str> {
    let text = simdutf8::basic::from_utf8(bytes).ok()?;
    Request::parse(text).is_ok().then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_object_with_a_type_is_a_message() {
        assert_eq!(message(br#"{"type":"ok","n":1}"#), Some(r#"{"type":"ok","n":1}"#));
        for other in [&b""[..], b"{}", b"[]", b"ok", br#"{"type":1}"#, b"{\"type\":\"a\xff\"}", br#"{"type":"a"} x"#] {
            assert_eq!(message(other), None, "{other:?}");
        }
    }
}
