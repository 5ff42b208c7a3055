//! An event as the service gets it: one JSON object.

use std::net::IpAddr;

use serde::Serialize;

use crate::lane::events::{Arrived, Ended, Event, What};

#[derive(Serialize)]
struct Text<'a> {
    event: &'static str,
    seq: u64,
    /// Unix milliseconds.
    time: u64,
    user_id: &'a str,
    session_id: &'a str,
    #[serde(flatten)]
    more: More<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum More<'a> {
    Arrived {
        #[serde(skip_serializing_if = "Option::is_none")]
        user_type: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        device_id: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        platform: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        address: Option<IpAddr>,
    },
    Ended {
        code: u16,
        reason: &'static str,
        duration_ms: u64,
    },
    Channel {
        channel: &'a str,
    },
}

/// The event of this number, of a session that clients and operators know by this id.
pub fn text(event: &Event, number: u64, session_id: &str) -> String {
    let (name, more) = match &event.what {
        What::Connected(Arrived { user_type, device_id, platform, address }) => (
            "connected",
            More::Arrived {
                user_type: user_type.as_deref(),
                device_id: device_id.as_deref(),
                platform: platform.as_deref(),
                address: *address,
            },
        ),
        What::Disconnected(Ended { code, reason, duration_ms }) => {
            ("disconnected", More::Ended { code: *code, reason, duration_ms: *duration_ms })
        }
        What::Subscribed { channel } => ("subscribed", More::Channel { channel }),
        What::Unsubscribed { channel } => ("unsubscribed", More::Channel { channel }),
    };
    let text = Text { event: name, seq: number, time: event.unix_ms, user_id: &event.user_id, session_id, more };
    serde_json::to_string(&text).expect("texts and numbers")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::ConnectionId;

    fn written(what: What) -> String {
        let from = ConnectionId { shard: 0, slot: 1, generation: 2 };
        text(&Event { unix_ms: 1_700_000_000_123, from, user_id: "a\"n\u{e4}".into(), what }, 7, "s1")
    }

    #[test]
    fn every_kind_has_its_fields() {
        let head = r#""seq":7,"time":1700000000123,"user_id":"a\"nä","session_id":"s1""#;
        let all = Arrived {
            user_type: Some("driver".into()),
            device_id: Some("d\n1".into()),
            platform: Some("ios".into()),
            address: Some([192, 0, 2, 1].into()),
        };
        for (what, name, more) in [
            (What::Connected(Arrived::default()), "connected", ""),
            (
                What::Connected(all),
                "connected",
                r#","user_type":"driver","device_id":"d\n1","platform":"ios","address":"192.0.2.1""#,
            ),
            (
                What::Disconnected(Ended { code: 1001, reason: "going_away", duration_ms: 1500 }),
                "disconnected",
                r#","code":1001,"reason":"going_away","duration_ms":1500"#,
            ),
            (What::Subscribed { channel: "conv:c1".into() }, "subscribed", r#","channel":"conv:c1""#),
            (What::Unsubscribed { channel: "conv:c1".into() }, "unsubscribed", r#","channel":"conv:c1""#),
        ] {
            assert_eq!(written(what), format!(r#"{{"event":"{name}",{head}{more}}}"#));
        }
    }
}
