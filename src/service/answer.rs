//! What a backend answers, before it goes to a client: whether it is a message. One rule for all that answer.
//!
//! What becomes of an answer that is none follows from what answers are for there:
//!
//! - Over gRPC, and in a reply over NATS, an answer is what the client is to be told, or empty. Anything else is a
//!   mistake of the backend: the client's message is *refused*, and the log (`debug`) says why.
//! - Over HTTP the status says whether the message has been taken. A body comes with it for many a reason, an `OK` or
//!   what a framework writes by itself: with a 2xx the message is *taken*, and the body none of a client's business.

use crate::protocol::request::Request;

/// Whether a text can be sent to a client: one JSON object with a `type`, as clients have to say it themselves.
pub fn is_message(text: &str) -> bool {
    Request::parse(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_object_with_a_type_is_a_message() {
        let nested = |depth| format!(r#"{{"type":"a","x":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
        for text in [
            r#"{"type":"ok","n":1}"#,
            "\n{\"x\":[{}],\"type\":\"\\u0061\"} ",
            r#"{"type":7,"type":"the last one counts"}"#,
            &nested(63),
        ] {
            assert!(is_message(text), "{text}");
        }
        for other in [
            "",
            "\0",
            "OK",
            "7",
            "{}",
            "[]",
            r#"[{"type":"a"}]"#,
            r#"{"type":7}"#,
            r#"{"type":""}"#,
            r#"{"type":"a","type":7}"#,
            r#"{"type":"a"} x"#,
            r#"{"type":"a"}{"#,
            r#"{"type":"a""#,
            &nested(64),
        ] {
            assert!(!is_message(other), "{other}");
        }
    }
}
