//! What Ringway itself says to a client, as JSON bytes ready for a frame. Called by the shard.
//!
//! Each function writes its message in one pass into one buffer. `id` is the JSON text of the request's `id`, returned
//! as it came, after the last field beside `type`. Invariant: whatever the user ids, channels and texts are made of,
//! the result is one valid JSON object.

use std::{
    fmt::Display,
    io::Write,
    time::{Duration, UNIX_EPOCH},
};

/// The last millisecond of the year 9999: RFC 3339 has four digits for the year.
const TIMESTAMP_MAX_MS: u64 = 253_402_300_799_999;

/// Room for the fixed parts of the longest message, so that a usual one is written without growing the buffer.
const FIXED_BYTES: usize = 192;

/// The first message of a session whose request carried the token.
pub fn connected(user_id: &str, session_id: &str, server_id: &str, heartbeat_ms: u64) -> String {
    let mut json = buffer(2 * user_id.len() + session_id.len() + server_id.len());
    json.extend_from_slice(br#"{"type":"connected","userId":"#);
    string(&mut json, user_id);
    json.extend_from_slice(br#","message":"Connected to WebSocket Gateway","payload":{"user_id":"#);
    string(&mut json, user_id);
    json.extend_from_slice(br#","session_id":"#);
    string(&mut json, session_id);
    json.extend_from_slice(br#","server_id":"#);
    string(&mut json, server_id);
    json.extend_from_slice(br#","heartbeat_interval":"#);
    number(&mut json, heartbeat_ms);
    json.push(b'}');
    end(json, None)
}

/// The answer to `auth`, at the beginning of a session and when its token is renewed.
pub fn auth_success(user_id: &str, session_id: &str, id: Option<&str>) -> String {
    let mut json = buffer(user_id.len() + session_id.len());
    json.extend_from_slice(br#"{"type":"auth.success","payload":{"user_id":"#);
    string(&mut json, user_id);
    json.extend_from_slice(br#","session_id":"#);
    string(&mut json, session_id);
    json.push(b'}');
    end(json, id)
}

/// The answer to `ping`, with the gateway's time.
pub fn pong(now_unix_ms: u64, id: Option<&str>) -> String {
    let mut json = Vec::with_capacity(64 + id.map_or(0, |id| r#","id":"#.len() + id.len()));
    json.extend_from_slice(br#"{"type":"pong","timestamp":""#);
    timestamp(&mut json, now_unix_ms);
    json.push(b'"');
    end(json, id)
}

/// The heartbeat of sessions with a user type.
pub fn heartbeat(now_unix_ms: u64) -> String {
    let mut json = Vec::with_capacity(64);
    json.extend_from_slice(br#"{"type":"heartbeat","payload":{"timestamp":"#);
    number(&mut json, now_unix_ms);
    json.push(b'}');
    end(json, None)
}

/// The warning before a token's time is over: how many seconds are left, and the moment in unix seconds.
pub fn token_expiring(expires_in_s: u64, expires_at_unix_s: u64) -> String {
    let mut json = buffer(0);
    json.extend_from_slice(br#"{"type":"token_expiring","payload":{"expires_in":"#);
    number(&mut json, expires_in_s);
    json.extend_from_slice(br#","expires_at":"#);
    number(&mut json, expires_at_unix_s);
    json.push(b'}');
    end(json, None)
}

/// The answer to `subscribe`: what was joined, in the field in which the client named it (`channels`,
/// `conversation_ids`).
pub fn subscribed<S: AsRef<str>>(field: &str, list: &[S], id: Option<&str>) -> String {
    list_reply(br#"{"type":"subscribed","payload":{"#, field, list, id)
}

/// The answer to `unsubscribe`, likewise.
pub fn unsubscribed<S: AsRef<str>>(field: &str, list: &[S], id: Option<&str>) -> String {
    list_reply(br#"{"type":"unsubscribed","payload":{"#, field, list, id)
}

/// Something went wrong, and the connection stays. Both shapes that clients read: `message`, and `payload`.
/// `request` is the `type` of what is answered, where there is one.
pub fn error(code: &str, message: &str, request: Option<&str>, id: Option<&str>) -> String {
    let mut json = error_head(code, message, request, 0);
    json.push(b'}');
    end(json, id)
}

/// As `error`, with the part of a list to which it applies: what of a `subscribe` was refused, while the rest holds.
pub fn error_about<S: AsRef<str>>(
    code: &str,
    message: &str,
    request: &str,
    (field, list): (&str, &[S]),
    id: Option<&str>,
) -> String {
    let mut json = error_head(code, message, Some(request), list_bytes(list));
    json.push(b',');
    strings_field(&mut json, field, list);
    json.push(b'}');
    end(json, id)
}

fn error_head(code: &str, message: &str, request: Option<&str>, room: usize) -> Vec<u8> {
    let mut json = buffer(2 * message.len() + code.len() + request.map_or(0, str::len) + room);
    json.extend_from_slice(br#"{"type":"error","message":"#);
    string(&mut json, message);
    json.extend_from_slice(br#","payload":{"code":"#);
    string(&mut json, code);
    json.extend_from_slice(br#","message":"#);
    string(&mut json, message);
    if let Some(request) = request {
        json.extend_from_slice(br#","request":"#);
        string(&mut json, request);
    }
    json
}

fn list_reply<S: AsRef<str>>(head: &[u8], field: &str, list: &[S], id: Option<&str>) -> String {
    let mut json = buffer(field.len() + list_bytes(list));
    json.extend_from_slice(head);
    strings_field(&mut json, field, list);
    json.push(b'}');
    end(json, id)
}

fn buffer(variable_bytes: usize) -> Vec<u8> {
    Vec::with_capacity(FIXED_BYTES + variable_bytes)
}

fn list_bytes<S: AsRef<str>>(list: &[S]) -> usize {
    list.iter().map(|item| item.as_ref().len() + r#""",""#.len()).sum()
}

fn strings_field<S: AsRef<str>>(json: &mut Vec<u8>, field: &str, list: &[S]) {
    string(json, field);
    json.extend_from_slice(b":[");
    for (index, item) in list.iter().enumerate() {
        if index > 0 {
            json.push(b',');
        }
        string(json, item.as_ref());
    }
    json.push(b']');
}

fn string(json: &mut Vec<u8>, text: &str) {
    sonic_rs::to_writer(json, text).expect("a string is JSON, and a vector takes every byte");
}

fn number(json: &mut Vec<u8>, number: u64) {
    display(json, number);
}

fn timestamp(json: &mut Vec<u8>, unix_ms: u64) {
    let moment = UNIX_EPOCH + Duration::from_millis(unix_ms.min(TIMESTAMP_MAX_MS));
    display(json, humantime::format_rfc3339_millis(moment));
}

fn display(json: &mut Vec<u8>, value: impl Display) {
    write!(json, "{value}").expect("a vector takes every byte");
}

/// Closes the message, after the `id` of the request.
fn end(mut json: Vec<u8>, id: Option<&str>) -> String {
    if let Some(id) = id {
        json.extend_from_slice(br#","id":"#);
        json.extend_from_slice(id.as_bytes());
    }
    json.push(b'}');
    String::from_utf8(json).expect("it is made of text")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sonic_rs::{JsonContainerTrait, JsonValueTrait, Value};

    use super::*;
    use crate::protocol::request::Request;
    use crate::protocol::request::RequestError;

    #[test]
    fn connected_is_the_message_of_the_documents() {
        assert_eq!(
            connected("U", "S", "N", 30_000),
            r#"{"type":"connected","userId":"U","message":"Connected to WebSocket Gateway","payload":{"user_id":"U","session_id":"S","server_id":"N","heartbeat_interval":30000}}"#
        );
    }

    #[test]
    fn auth_is_answered_with_user_and_session() {
        assert_eq!(
            auth_success("U", "S", Some("7")),
            r#"{"type":"auth.success","payload":{"user_id":"U","session_id":"S"},"id":7}"#
        );
    }

    #[test]
    fn ping_is_answered_with_the_time_and_the_id() {
        assert_eq!(pong(1_761_566_400_007, None), r#"{"type":"pong","timestamp":"2025-10-27T12:00:00.007Z"}"#);
        assert_eq!(pong(0, Some(r#""a\"b""#)), r#"{"type":"pong","timestamp":"1970-01-01T00:00:00.000Z","id":"a\"b"}"#);
        assert!(pong(u64::MAX, None).contains("9999-12-31T23:59:59.999Z"));
    }

    #[test]
    fn a_list_comes_back_in_the_field_it_was_named_in() {
        assert_eq!(
            subscribed("conversation_ids", &["c1", "c2"], Some("1")),
            r#"{"type":"subscribed","payload":{"conversation_ids":["c1","c2"]},"id":1}"#
        );
        assert_eq!(
            unsubscribed::<String>("channels", &[], None),
            r#"{"type":"unsubscribed","payload":{"channels":[]}}"#
        );
    }

    #[test]
    fn an_error_carries_both_shapes() {
        assert_eq!(
            error("not_subscribed", "Join first", Some("typing"), Some("3")),
            r#"{"type":"error","message":"Join first","payload":{"code":"not_subscribed","message":"Join first","request":"typing"},"id":3}"#
        );
        assert_eq!(
            error_about("not_allowed", "No", "subscribe", ("channels", &["a"]), None),
            r#"{"type":"error","message":"No","payload":{"code":"not_allowed","message":"No","request":"subscribe","channels":["a"]}}"#
        );
        let problem = RequestError::NoType;
        assert_eq!(
            error(problem.code(), &problem.to_string(), None, None),
            r#"{"type":"error","message":"the message has no type: a string that is not empty is expected","payload":{"code":"missing_type","message":"the message has no type: a string that is not empty is expected"}}"#
        );
    }

    #[test]
    fn clocks_are_told_in_the_units_of_the_documents() {
        assert_eq!(heartbeat(1_761_566_400_007), r#"{"type":"heartbeat","payload":{"timestamp":1761566400007}}"#);
        assert_eq!(
            token_expiring(30, 1_761_566_400),
            r#"{"type":"token_expiring","payload":{"expires_in":30,"expires_at":1761566400}}"#
        );
    }

    fn parsed(json: &str) -> Value {
        sonic_rs::from_str(json).unwrap()
    }

    proptest! {
        #[test]
        fn every_text_comes_back_as_it_was(user in any::<String>(), channel in any::<String>()) {
            let connected = parsed(&connected(&user, &user, &user, 1));
            prop_assert_eq!(connected["userId"].as_str(), Some(user.as_str()));
            prop_assert_eq!(connected["payload"]["server_id"].as_str(), Some(user.as_str()));
            let subscribed = parsed(&subscribed("channels", &[&channel, &user], None));
            let list = subscribed["payload"]["channels"].as_array().unwrap();
            prop_assert_eq!(list[0].as_str(), Some(channel.as_str()));
            prop_assert_eq!(list[1].as_str(), Some(user.as_str()));
            let error = parsed(&error_about(&user, &channel, &user, ("x", &[&channel]), None));
            prop_assert_eq!(error["payload"]["x"][0].as_str(), Some(channel.as_str()));
            prop_assert_eq!(error["message"].as_str(), Some(channel.as_str()));
        }

        #[test]
        fn an_id_that_was_taken_can_be_returned(id in "\"?\\PC{0,20}\"?") {
            let message = format!(r#"{{"type":"ping","id":{id}}}"#);
            if let Ok(Request { id: Some(id), .. }) = Request::parse(&message) {
                let pong = pong(0, Some(id));
                prop_assert_eq!(Request::parse(&pong).unwrap().id, Some(id));
            }
        }
    }
}
