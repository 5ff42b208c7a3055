//! Which publications are notifications that want to be confirmed: those to a user's channel whose text is a message of
//! the type `notification` with an `id`.
//!
//! Payloads are not parsed on their way through, and this is no exception for nearly all of them: a text to any other
//! channel is not looked at, and one to a user is parsed only when the word stands in it.

use std::borrow::Cow;

use memchr::memmem;

use crate::auth::is_name;
use crate::channel::name::USER_PREFIX;
use crate::protocol::request::Request;
use crate::route::field::id_text;

/// The `type` of what is confirmed, as it stands in the text.
const WORD: &[u8] = b"\"notification\"";

/// Longest text that is looked at: whatever is longer is delivered and not kept.
const LOOKED_AT_BYTES_MAX: usize = 1024 * 1024;

/// A notification, and for whom it is.
pub struct Recognised<'a> {
    pub user: &'a str,
    /// As text; none when it is no id, as nobody could confirm it then.
    pub id: Option<Cow<'a, str>>,
}

/// What of a publication is to be confirmed. A notification without any `id` is none that could be.
pub fn recognise<'a>(channel: &'a str, text: &'a str) -> Option<Recognised<'a>> {
    let user = channel.strip_prefix(USER_PREFIX)?;
    if text.len() > LOOKED_AT_BYTES_MAX || !is_name(user) || memmem::find(text.as_bytes(), WORD).is_none() {
        return None;
    }
    let message = Request::parse(text).ok().filter(|message| message.kind == "notification")?;
    let id = message.field("id")?;
    Some(Recognised { user, id: id_text(id) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id_of(channel: &str, text: &str) -> Option<Option<String>> {
        recognise(channel, text).map(|found| found.id.map(Cow::into_owned))
    }

    #[test]
    fn a_notification_with_an_id_to_a_user_is_recognised() {
        for (text, id) in [
            (r#"{"type":"notification","id":"n1","title":"T"}"#, "n1"),
            (r#"{ "payload" : {"id": "n1"}, "type" : "notification" }"#, "n1"),
            (r#"{"type":"notification","id":"outer","payload":{"id":"inner"}}"#, "inner"),
            (r#"{"type":"notification","id":12345678901234567890}"#, "12345678901234567890"),
            (r#"{"type":"notification","id":"a\"\\\u00fc"}"#, "a\"\\ü"),
        ] {
            assert_eq!(id_of("user:u1", text), Some(Some(id.to_owned())), "{text}");
        }
        assert_eq!(recognise("user:auth0|a b", r#"{"type":"notification","id":1}"#).unwrap().user, "auth0|a b");
    }

    #[test]
    fn an_id_that_is_no_id_is_told_from_none() {
        let long = format!(r#"{{"type":"notification","id":"{}"}}"#, "x".repeat(129));
        for text in [
            r#"{"type":"notification","id":"a b"}"#,
            r#"{"type":"notification","id":1.5}"#,
            r#"{"type":"notification","id":{"a":1}}"#,
            &long,
        ] {
            assert_eq!(id_of("user:u1", text), Some(None), "{text}");
        }
    }

    #[test]
    fn everything_else_passes_through() {
        let text = r#"{"type":"notification","id":"n1"}"#;
        for channel in
            ["conv:u1", "all", "notifications", "user:", "type:user:u1", &format!("user:{}", "x".repeat(300))]
        {
            assert_eq!(id_of(channel, text), None, "{channel}");
        }
        for text in [
            "",
            "\"notification\"",
            r#"{"type":"notification"}"#,
            r#"{"type":"ride_status","id":"n1","about":"notification"}"#,
            r#"{"type":"notification","id":"n1""#,
            r#"["notification"]"#,
        ] {
            assert_eq!(id_of("user:u1", text), None, "{text}");
        }
    }
}
