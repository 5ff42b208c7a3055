//! A service that is a backend which speaks gRPC.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use toml::Table;

use crate::config::section::entry::Entry;
use crate::config::value::{Endpoint, Secret, duration};
use crate::ws::frame::MESSAGE_BYTES_MAX;

/// Each has a window for what it reads ahead.
const CONCURRENCY: RangeInclusive<usize> = 1..=10_000;

const STREAM_TIMEOUTS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(24 * 3600);

const KEEP_ALIVES: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);

/// The keys of `kind = "grpc"`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GrpcService {
    pub address: Endpoint,
    pub contract: Contract,
    /// Whether it answers with a stream of messages.
    pub streaming: bool,
    /// Calls under way at once.
    pub concurrency: usize,
    /// Between two pings while calls are open; zero: none.
    #[serde(with = "duration")]
    pub keep_alive: Duration,
    /// The largest answer, in bytes.
    pub message_bytes: usize,
    /// The longest time of one stream.
    #[serde(with = "duration")]
    pub stream_timeout: Duration,
    /// PEM certificates of the authorities to believe, instead of those of the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_ca_file: Option<PathBuf>,
    /// Sent with every call.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "metadata")]
    pub metadata: BTreeMap<String, Secret>,
}

/// Which of the `.proto` files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Contract {
    /// Any message, as JSON.
    #[default]
    Relay,
    Location,
    Chat,
    Notification,
}

impl Default for GrpcService {
    fn default() -> Self {
        Self {
            // Never used: it has to be set.
            address: Endpoint { is_secure: false, host: String::new(), port: 0 },
            contract: Contract::Relay,
            streaming: false,
            concurrency: 256,
            keep_alive: Duration::from_secs(30),
            message_bytes: 1 << 20,
            stream_timeout: Duration::from_secs(300),
            tls_ca_file: None,
            metadata: BTreeMap::new(),
        }
    }
}

impl GrpcService {
    pub(super) fn read(entry: &mut Entry<'_>, keys: Table) -> Option<Self> {
        let has_address = keys.contains_key("address");
        let read: Self = entry.read(keys)?;
        let problem = if has_address { read.problem() } else { Some(("address", "must be set".to_owned())) };
        match problem {
            Some((key, message)) => {
                entry.problem(key, message);
                None
            }
            None => Some(read),
        }
    }

    /// What is sent with every call.
    pub fn headers(&self) -> HeaderMap {
        self.metadata.iter().filter_map(|(name, value)| header(name, value)).collect()
    }

    fn problem(&self) -> Option<(&'static str, String)> {
        let Self { concurrency, keep_alive, message_bytes, stream_timeout, .. } = self;
        let wrong_metadata = self.metadata.iter().find(|(name, value)| header(name, value).is_none());
        let unreadable = self.tls_ca_file.as_ref().and_then(|path| std::fs::File::open(path).err());
        if !CONCURRENCY.contains(concurrency) {
            Some(("concurrency", format!("{concurrency} is not between 1 and 10000")))
        } else if !keep_alive.is_zero() && !KEEP_ALIVES.contains(keep_alive) {
            Some(("keep_alive", format!("{keep_alive:?} is neither 0s nor between 1s and 1h")))
        } else if !(1..=MESSAGE_BYTES_MAX).contains(message_bytes) {
            Some(("message_bytes", format!("{message_bytes} is not between 1 and {MESSAGE_BYTES_MAX}")))
        } else if !STREAM_TIMEOUTS.contains(stream_timeout) {
            Some(("stream_timeout", format!("{stream_timeout:?} is not between 1s and 24h")))
        } else if let Some((name, _)) = wrong_metadata {
            Some(("metadata", format!("`{name}` is no name of metadata such as `x-api-key`, or its value is none")))
        } else if let Some(error) = unreadable {
            Some(("tls_ca_file", format!("cannot be read: {error}")))
        } else if self.tls_ca_file.is_some() && !self.address.is_secure {
            Some(("tls_ca_file", "has no effect: the address is not https".to_owned()))
        } else {
            None
        }
    }
}

/// Errors do not say what stands there.
fn metadata<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, Secret>, D::Error> {
    BTreeMap::deserialize(from).map_err(|_| D::Error::custom("expected a table of names, each with text in quotes"))
}

/// Names that gRPC has for itself, and those of values that are no text, are refused.
fn header(name: &str, value: &Secret) -> Option<(HeaderName, HeaderValue)> {
    let is_taken = name.starts_with("grpc-")
        || name.ends_with("-bin")
        || ["te", "content-type", "user-agent", "host", "connection"].contains(&name);
    let mut value = HeaderValue::from_str(value.expose()).ok().filter(|_| !is_taken)?;
    value.set_sensitive(true);
    Some((HeaderName::from_lowercase(name.as_bytes()).ok()?, value))
}
