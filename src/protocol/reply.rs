//! What Ringway itself says to a client beside the answers of routes (`route/`): the greeting, the signs of life, and
//! what went wrong.
//!
//! Written by the JSON library, fields in the order they have here. Invariant: whatever the user ids, channels and
//! texts are made of, the result is one valid JSON object.

use std::fmt::{self, Display};
use std::time::{Duration, UNIX_EPOCH};

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::value::RawValue;

/// The last millisecond of the year 9999: RFC 3339 has four digits for the year.
const TIMESTAMP_MAX_MS: u64 = 253_402_300_799_999;

/// Room for a usual message, so that it is written without growing the buffer.
const USUAL_BYTES: usize = 320;

/// One message of the gateway.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Message<'a> {
    /// The first message of a session whose request carried the token.
    Connected {
        #[serde(rename = "userId")]
        user_id: &'a str,
        message: &'a str,
        payload: Welcome<'a>,
    },
    /// The warning before a token's time is over.
    TokenExpiring { payload: Expiry },
    /// The heartbeat of sessions with a user type.
    Heartbeat { payload: Time },
    /// Something went wrong, and the connection stays. Both shapes that clients read: `message`, and `payload`.
    Error { message: &'a str, payload: Problem<'a> },
}

#[derive(Serialize)]
pub struct Welcome<'a> {
    pub user_id: &'a str,
    pub session_id: &'a str,
    pub server_id: &'a str,
    /// In milliseconds.
    pub heartbeat_interval: u64,
}

#[derive(Serialize)]
pub struct Expiry {
    /// In seconds.
    pub expires_in: u64,
    /// In unix seconds.
    pub expires_at: u64,
}

#[derive(Serialize)]
pub struct Time {
    /// In unix milliseconds.
    pub timestamp: u64,
}

#[derive(Serialize)]
pub struct Problem<'a> {
    pub code: &'a str,
    pub message: &'a str,
    /// The `type` of what is answered, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<&'a str>,
    /// What of the request it is about, while the rest holds.
    #[serde(flatten)]
    pub part: Option<Part<'a>>,
}

/// Some items of a list in a request.
pub struct Part<'a> {
    /// The list's field.
    pub field: &'a str,
    pub items: &'a [&'a str],
}

impl<'a> Message<'a> {
    pub fn connected(welcome: Welcome<'a>) -> Self {
        Message::Connected { user_id: welcome.user_id, message: "Connected to WebSocket Gateway", payload: welcome }
    }

    pub fn error(problem: Problem<'a>) -> Self {
        Message::Error { message: problem.message, payload: problem }
    }

    pub fn json(&self) -> String {
        self.json_in_answer_to(None)
    }

    /// With the `id` of the message that is answered, as it came, behind the other fields.
    pub fn json_in_answer_to(&self, id: Option<&RawValue>) -> String {
        let mut json = Vec::with_capacity(USUAL_BYTES);
        sonic_rs::to_writer(&mut json, self).expect("a vector takes every byte");
        if let Some(id) = id {
            let end = json.pop();
            debug_assert_eq!(end, Some(b'}'), "a message is an object");
            json.extend_from_slice(br#","id":"#);
            json.extend_from_slice(id.get().as_bytes());
            json.push(b'}');
        }
        // Checking a usual message takes less than letting the library's own string grow to its size.
        String::from_utf8(json).expect("texts and their JSON are text")
    }
}

impl Serialize for Part<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(self.field, self.items)?;
        map.end()
    }
}

/// A moment of unix milliseconds as messages tell it: UTC by RFC 3339, with milliseconds.
pub struct Timestamp(pub u64);

impl Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = UNIX_EPOCH + Duration::from_millis(self.0.min(TIMESTAMP_MAX_MS));
        humantime::format_rfc3339_millis(moment).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::protocol::request::RequestError;

    fn problem<'a>(code: &'a str, message: &'a str, request: Option<&'a str>) -> Problem<'a> {
        Problem { code, message, request, part: None }
    }

    #[test]
    fn connected_is_the_message_of_the_documents() {
        let welcome = Welcome { user_id: "U", session_id: "S", server_id: "N", heartbeat_interval: 30_000 };
        assert_eq!(
            Message::connected(welcome).json(),
            r#"{"type":"connected","userId":"U","message":"Connected to WebSocket Gateway","payload":{"user_id":"U","session_id":"S","server_id":"N","heartbeat_interval":30000}}"#
        );
    }

    #[test]
    fn an_error_carries_both_shapes() {
        let id: &RawValue = serde_json::from_str("3").unwrap();
        assert_eq!(
            Message::error(problem("not_subscribed", "Join first", Some("typing"))).json_in_answer_to(Some(id)),
            r#"{"type":"error","message":"Join first","payload":{"code":"not_subscribed","message":"Join first","request":"typing"},"id":3}"#
        );
        let part = Some(Part { field: "channels", items: &["a"] });
        assert_eq!(
            Message::error(Problem { part, ..problem("not_allowed", "No", Some("subscribe")) }).json(),
            r#"{"type":"error","message":"No","payload":{"code":"not_allowed","message":"No","request":"subscribe","channels":["a"]}}"#
        );
        let error = RequestError::NoType;
        assert_eq!(
            Message::error(problem(error.code(), &error.to_string(), None)).json(),
            r#"{"type":"error","message":"the message has no type: a string that is not empty is expected","payload":{"code":"missing_type","message":"the message has no type: a string that is not empty is expected"}}"#
        );
    }

    #[test]
    fn clocks_are_told_in_the_units_of_the_documents() {
        assert_eq!(
            Message::Heartbeat { payload: Time { timestamp: 1_761_566_400_007 } }.json(),
            r#"{"type":"heartbeat","payload":{"timestamp":1761566400007}}"#
        );
        assert_eq!(
            Message::TokenExpiring { payload: Expiry { expires_in: 30, expires_at: 1_761_566_400 } }.json(),
            r#"{"type":"token_expiring","payload":{"expires_in":30,"expires_at":1761566400}}"#
        );
        assert_eq!(Timestamp(1_761_566_400_007).to_string(), "2025-10-27T12:00:00.007Z");
        assert_eq!(Timestamp(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Timestamp(u64::MAX).to_string(), "9999-12-31T23:59:59.999Z");
    }

    proptest! {
        #[test]
        fn every_text_comes_back_as_it_was(user in any::<String>(), channel in any::<String>()) {
            let welcome = Welcome { user_id: &user, session_id: &channel, server_id: &user, heartbeat_interval: 1 };
            let connected: Value = serde_json::from_str(&Message::connected(welcome).json()).unwrap();
            prop_assert_eq!(&connected["userId"], &json!(user));
            prop_assert_eq!(&connected["payload"]["session_id"], &json!(channel));
            let part = Some(Part { field: "x", items: &[&channel, &user] });
            let error = Message::error(Problem { part, ..problem(&user, &channel, Some(&user)) }).json();
            let error: Value = serde_json::from_str(&error).unwrap();
            prop_assert_eq!(&error["payload"]["x"], &json!([channel, user]));
            prop_assert_eq!(&error["message"], &json!(channel));
        }
    }
}
