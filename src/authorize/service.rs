//! A service that decides: it is asked as for any message, and opens a channel with `"allowed": true` alone.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::lane::{Content, Failure, Permission};
use crate::service::Queue;

/// The `type` of the question.
const KIND: &str = "authorize";

pub struct Asked {
    queue: Arc<Queue>,
    timeout: Duration,
    kind: Arc<str>,
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    user_id: &'a str,
    channel: &'a str,
}

#[derive(Deserialize)]
struct Answer {
    allowed: bool,
}

impl Asked {
    pub fn new(queue: Arc<Queue>, timeout: Duration) -> Self {
        Self { queue, timeout, kind: KIND.into() }
    }

    /// `None`: it is away.
    pub async fn decide(&self, user_id: &str, channel: &str) -> Option<Permission> {
        let body = serde_json::to_string(&Body { kind: KIND, user_id, channel }).expect("texts");
        let content = Content {
            user_id: user_id.into(),
            channel: Some(channel.into()),
            key: Some(user_id.into()),
            ..Content::of_gateway(self.kind.clone(), &body, self.timeout)
        };
        Some(match self.queue.ask_for_text(content).await {
            Ok(Some(text)) => permission(&text),
            // That it has the question is no answer.
            Ok(None) | Err(Failure::Refused) => Permission::Denied,
            Err(Failure::Away) => return None,
            Err(Failure::Full | Failure::Late | Failure::Broken) => Permission::Unavailable,
        })
    }
}

fn permission(answer: &str) -> Permission {
    // A list would do as well for serde.
    if !answer.trim_start().starts_with('{') {
        return Permission::Denied;
    }
    match serde_json::from_str(answer) {
        Ok(Answer { allowed: true }) => Permission::Granted,
        Ok(Answer { allowed: false }) | Err(_) => Permission::Denied,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_true_opens() {
        for (answer, is_granted) in [
            (r#"{"allowed":true}"#, true),
            (r#"{"type":"authorized","allowed":true}"#, true),
            (r#"{"type":"authorized","allowed":false}"#, false),
            (r#"{"allowed":"true"}"#, false),
            (r#"{"allowed":1}"#, false),
            (r#"{"allowed":true,"allowed":true}"#, false),
            (r#"[true]"#, false),
            (r#"{"allowed":true} {"allowed":true}"#, false),
            ("{}", false),
            ("true", false),
            ("", false),
        ] {
            assert_eq!(permission(answer) == Permission::Granted, is_granted, "{answer}");
        }
    }
}
