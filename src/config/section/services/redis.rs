//! A service that is a channel or a stream of Redis.

use serde::{Deserialize, Serialize};
use toml::Table;

use crate::config::section::entry::Entry;
use crate::config::value::Subject;

/// The keys of `kind = "redis"`. One of `publish` and `stream` is set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RedisService {
    /// The channel to publish to. `ws:{channel}` comes back through the source, to all nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub publish: Option<Subject>,
    /// The stream to append to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<Subject>,
    /// Entries that a stream keeps, about; older ones go.
    pub stream_max: u64,
    /// What is published: the message alone, or with who says it.
    pub body: Body,
}

/// What a broker without headers is given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Body {
    /// The message alone, which is what clients can take.
    #[default]
    Message,
    /// An object with the message, its `type`, and the session's identity.
    Envelope,
}

impl Default for RedisService {
    fn default() -> Self {
        Self { publish: None, stream: None, stream_max: 100_000, body: Body::Message }
    }
}

impl RedisService {
    pub(super) fn read(entry: &mut Entry<'_>, keys: Table) -> Option<Self> {
        let read: Self = entry.read(keys)?;
        if read.publish.is_some() == read.stream.is_some() {
            entry.problem("publish", "one of publish and stream must be set");
            return None;
        }
        Some(read)
    }
}
