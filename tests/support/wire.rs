//! Reading the gateway's JSON messages, and the close codes by the names of docs/PROTOCOL.md.

use sonic_rs::{JsonContainerTrait, JsonValueTrait, Value};

pub const CLOSE_NORMAL: u16 = 1000;
pub const CLOSE_GOING_AWAY: u16 = 1001;
pub const CLOSE_PROTOCOL: u16 = 1002;
pub const CLOSE_UNSUPPORTED: u16 = 1003;
pub const CLOSE_INVALID_UTF8: u16 = 1007;
pub const CLOSE_TOO_BIG: u16 = 1009;
pub const CLOSE_TRY_AGAIN_LATER: u16 = 1013;
pub const CLOSE_REPLACED: u16 = 4000;
pub const CLOSE_IDLE: u16 = 4001;
pub const CLOSE_TOO_SLOW: u16 = 4002;
pub const CLOSE_TOO_MANY_MESSAGES: u16 = 4003;
pub const CLOSE_DISCONNECTED: u16 = 4004;
pub const CLOSE_NO_AUTHENTICATION: u16 = 4500;
pub const CLOSE_TOKEN_INVALID: u16 = 4501;
pub const CLOSE_TOKEN_EXPIRED: u16 = 4502;

/// Parses one JSON document.
#[track_caller]
pub fn json(text: &str) -> Value {
    sonic_rs::from_str(text).unwrap_or_else(|error| panic!("not JSON ({error}): {text}"))
}

/// The string at `path`, or "" when there is none.
pub fn string<'a>(value: &'a Value, path: &[&str]) -> &'a str {
    at(value, path).and_then(|found| found.as_str()).unwrap_or("")
}

/// The unsigned number at `path`.
pub fn number(value: &Value, path: &[&str]) -> Option<u64> {
    at(value, path).and_then(|found| found.as_u64())
}

/// The strings of the list at `path`, or none.
pub fn strings(value: &Value, path: &[&str]) -> Vec<String> {
    let list = at(value, path).and_then(|found| found.as_array());
    list.map(|list| list.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()).unwrap_or_default()
}

/// The value at `path`.
pub fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |inner, key| inner.get(*key))
}

/// The message that brings a token.
pub fn auth(token: &str) -> String {
    format!(r#"{{"type":"auth","payload":{{"token":"{token}"}}}}"#)
}

/// A message's `type`.
pub fn kind(value: &Value) -> &str {
    string(value, &["type"])
}
