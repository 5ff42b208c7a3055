//! A service behind a subject of NATS.

use serde::{Deserialize, Serialize};
use toml::Table;

use crate::config::section::entry::Entry;
use crate::config::section::nats::is_subject;
use crate::config::value::Subject;

/// The keys of `kind = "nats"`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NatsService {
    /// Where messages are published. `ws.{channel}` comes back through the source, to all nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<Subject>,
    /// Somebody there answers each message.
    pub request: bool,
    /// A stream there keeps each message, and confirms that.
    pub jetstream: bool,
}

impl NatsService {
    pub(super) fn read(entry: &mut Entry<'_>, keys: Table) -> Option<Self> {
        let read: Self = entry.read(keys)?;
        let Some(subject) = &read.subject else {
            entry.problem("subject", "must be set");
            return None;
        };
        if !is_subject(&subject.to_string()) {
            entry.problem("subject", format_args!("`{subject}` is no subject such as `orders.{{key}}`"));
        } else if read.request && read.jetstream {
            entry.problem("jetstream", "a message has one answer: from whom it is for, or from the stream");
        } else {
            return Some(read);
        }
        None
    }
}
