//! `[rabbitmq]`: how RabbitMQ is reached, and the source that listens there.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::check::Check;
use crate::config::value::{RabbitMqUrl, Secret, duration};

/// Of everything that AMQP calls a short string: names of exchanges and queues, routing keys.
pub const NAME_BYTES_MAX: usize = 255;

/// RabbitMQ; off without a `url`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RabbitMq {
    pub url: Option<RabbitMqUrl>,
    /// Once loaded: this key, else the password of the URL.
    pub password: Option<Secret>,
    /// Certificates (PEM) of who may sign the broker's, beside those that the system trusts.
    pub tls_ca_file: Option<PathBuf>,
    /// A durable topic exchange, made where there is none.
    pub exchange: String,
    /// First word of every routing key: `ws` makes `ws.conv.c1` of `conv:c1`.
    pub prefix: String,
    /// Whether what is published to the exchange goes to clients.
    pub source: bool,
    /// The name of a durable queue, one for each node. Without one each connection has a queue that goes with it.
    pub queue: Option<String>,
    /// A durable queue is removed, with what waits there, when no node has listened for so long.
    #[serde(with = "duration")]
    pub queue_expires: Duration,
    /// What may wait in a queue; beyond it the oldest messages go.
    pub queue_bytes: usize,
    /// Messages that may be on their way to this node before it has taken them.
    pub prefetch: usize,
}

impl Default for RabbitMq {
    fn default() -> Self {
        Self {
            url: None,
            password: None,
            tls_ca_file: None,
            exchange: "ws".into(),
            prefix: "ws".into(),
            source: true,
            queue: None,
            queue_expires: Duration::from_secs(24 * 3600),
            queue_bytes: 64 << 20,
            prefetch: 256,
        }
    }
}

impl RabbitMq {
    pub(super) fn check(&self, check: &mut Check<'_>) {
        self.check_reach(check);
        check.readable("tls_ca_file", self.tls_ca_file.as_deref());
        for (key, name) in [("exchange", Some(&self.exchange)), ("queue", self.queue.as_ref())] {
            if let Some(name) = name.filter(|name| !is_name(name)) {
                check.problem(key, format_args!("`{name}` is no name such as `ws`"));
            }
        }
        // It becomes part of the key of a binding, where these signs have a meaning.
        let is_word = |c: char| c.is_ascii_graphic() && !"*#.".contains(c);
        if self.prefix.is_empty() || self.prefix.len() > 64 || !self.prefix.chars().all(is_word) {
            check.problem("prefix", format_args!("`{}` is no word such as `ws`", self.prefix));
        }
        check.time("queue_expires", self.queue_expires);
        check.number("queue_bytes", self.queue_bytes, 1 << 10..=64 << 30);
        check.number("prefetch", self.prefetch, 1..=10_000);
    }

    fn check_reach(&self, check: &mut Check<'_>) {
        let Some(url) = &self.url else {
            let has_no_effect = self.password.is_some() && !check.is_refused("url");
            if has_no_effect {
                check.warning("password", "has no effect: rabbitmq.url is not set");
            }
            return;
        };
        if !cfg!(feature = "rabbitmq") {
            check.problem("url", "this program was built without the feature rabbitmq");
        }
        if self.tls_ca_file.is_some() && !url.tls {
            check.warning("tls_ca_file", "has no effect: rabbitmq.url does not begin with amqps://");
        }
    }
}

/// Whether an exchange or a queue can have this name.
pub fn is_name(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.chars().all(is_plain)
}
