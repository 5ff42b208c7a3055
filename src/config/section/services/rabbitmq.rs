//! A service that is an exchange of RabbitMQ.

use serde::{Deserialize, Serialize};
use toml::Table;

use crate::config::section::entry::Entry;
use crate::config::section::rabbitmq::is_name;
use crate::config::value::Subject;

/// The keys of `kind = "rabbitmq"`. None must be set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RabbitMqService {
    /// Where to publish to; `rabbitmq.exchange` without it. A durable topic exchange, made where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exchange: Option<String>,
    /// By what the exchange decides who gets a message. `{rabbitmq.prefix}.{channel}` without it, which comes back
    /// through the source, to all nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub routing_key: Option<Subject>,
    /// Whether a message that no queue gets is an error.
    pub mandatory: bool,
    /// Whether durable queues keep it on disk.
    pub persistent: bool,
}

impl Default for RabbitMqService {
    fn default() -> Self {
        Self { exchange: None, routing_key: None, mandatory: false, persistent: true }
    }
}

impl RabbitMqService {
    pub(super) fn read(entry: &mut Entry<'_>, keys: Table) -> Option<Self> {
        let read: Self = entry.read(keys)?;
        if let Some(name) = read.exchange.as_ref().filter(|name| !is_name(name)) {
            entry.problem("exchange", format_args!("`{name}` is no name such as `ws`"));
            return None;
        }
        if let Some(key) = read.routing_key.as_ref().filter(|key| !key.texts().all(is_part_of_key)) {
            entry.problem("routing_key", format_args!("`{key}` is no routing key such as `ws.{{channel}}`"));
            return None;
        }
        Some(read)
    }
}

/// `*` and `#` are for those who bind queues: in a key they would stand for themselves.
fn is_part_of_key(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_graphic() && !"*#".contains(c))
}
