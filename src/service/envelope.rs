//! A message with who says it, as one JSON object, for backends that are given nothing but a text.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::lane::Content;

#[derive(Serialize)]
struct Envelope<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    user_id: &'a str,
    session_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    message: &'a RawValue,
}

/// `{"type":…,"user_id":…,"session_id":…,"user_type":…,"channel":…,"key":…,"message":{…}}`.
pub fn envelope(content: &Content) -> String {
    // Bodies are messages of clients that were read as JSON, or what routes make of them.
    let message = serde_json::from_str(&content.body).unwrap_or(RawValue::NULL);
    let envelope = Envelope {
        kind: &content.kind,
        user_id: &content.user_id,
        session_id: &content.session_id,
        user_type: content.user_type.as_deref(),
        channel: content.channel.as_deref(),
        key: content.key.as_deref(),
        message,
    };
    serde_json::to_string(&envelope).expect("texts")
}
