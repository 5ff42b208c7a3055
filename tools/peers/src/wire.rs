//! The part of Ringway's messages that the peers speak: `connected`, `ping`, `subscribe`. Called by both servers for
//! every message of a client.
//!
//! What is not understood is answered with an `error` message; nothing a client sends ends the process.

use std::borrow::Cow;
use std::fmt::Write;
use std::time::SystemTime;

use serde::Deserialize;

use crate::channels::{Channels, Subscriptions};

/// The first message of every session.
pub fn connected(session_id: u64, server_id: &str) -> String {
    format!(
        r#"{{"type":"connected","userId":"anyone","message":"Connected to {server_id}","payload":{{"user_id":"anyone","session_id":"{session_id}","server_id":"{server_id}","heartbeat_interval":30000}}}}"#
    )
}

/// Does what the message asks for and returns the answer.
pub fn answer<M>(message: &[u8], channels: &Channels<M>, subscriptions: &mut Subscriptions<M>) -> String
where
    M: Clone + Send + 'static,
{
    match Request::parse(message) {
        Request::Ping => pong(),
        Request::Subscribe(names) => {
            for name in &names {
                subscriptions.insert(name.clone(), channels.subscribe(name));
            }
            subscribed(&names)
        }
        Request::Unknown => unknown(),
    }
}

/// What a client asked for.
#[derive(Debug, PartialEq, Eq)]
enum Request {
    Ping,
    Subscribe(Vec<String>),
    Unknown,
}

/// A client's message; the fields may stand beside `type` or in `payload`.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(default)]
    channels: Vec<String>,
    payload: Option<Payload>,
}

#[derive(Deserialize)]
struct Payload {
    #[serde(default)]
    channels: Vec<String>,
}

impl Request {
    fn parse(message: &[u8]) -> Request {
        let Ok(envelope) = serde_json::from_slice::<Envelope>(message) else {
            return Request::Unknown;
        };
        match envelope.kind.as_ref() {
            "ping" => Request::Ping,
            "subscribe" => Request::Subscribe(envelope.payload.map_or(envelope.channels, |payload| payload.channels)),
            _ => Request::Unknown,
        }
    }
}

fn pong() -> String {
    let mut json = String::with_capacity(64);
    json.push_str(r#"{"type":"pong","timestamp":""#);
    // A String takes whatever is written to it.
    let _ = write!(json, "{}", humantime::format_rfc3339_millis(SystemTime::now()));
    json.push_str(r#""}"#);
    json
}

fn subscribed(channels: &[String]) -> String {
    let channels = serde_json::json!(channels);
    format!(r#"{{"type":"subscribed","payload":{{"channels":{channels}}}}}"#)
}

fn unknown() -> String {
    r#"{"type":"error","message":"not understood","payload":{"code":"unknown_type","message":"not understood"}}"#.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_beside_the_type_and_in_the_payload() {
        let wanted = Request::Subscribe(vec!["conv:c1".into(), "clan:7".into()]);
        assert_eq!(Request::parse(br#"{"type":"subscribe","channels":["conv:c1","clan:7"]}"#), wanted);
        assert_eq!(Request::parse(br#"{"type":"subscribe","payload":{"channels":["conv:c1","clan:7"]}}"#), wanted);
    }

    #[test]
    fn what_is_not_understood_is_unknown() {
        for message in ["", "[]", "{}", r#"{"type":7}"#, r#"{"type":"dance"}"#, "\u{0}"] {
            assert_eq!(Request::parse(message.as_bytes()), Request::Unknown, "{message:?}");
        }
    }

    #[test]
    fn answers_are_json_with_their_type() {
        let answers = [connected(7, "peer"), pong(), subscribed(&["a\"b".into()]), unknown()];
        let kinds = answers.map(|json| {
            let value: serde_json::Value = serde_json::from_str(&json).expect(&json);
            value["type"].as_str().map(str::to_owned).expect(&json)
        });
        assert_eq!(kinds, ["connected", "pong", "subscribed", "error"]);
    }
}
