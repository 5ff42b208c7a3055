//! Sources: brokers from which messages reach the shards. Each is a [task](crate::control) of the control side, decodes
//! nothing but the broker's envelope, and posts through the [`Inlet`].
//!
//! [`start`] is called once, by [`crate::gateway`], when the shards run. A source that cannot reach its broker is no
//! reason to stop: it tries again for ever, and its [`SourceStatus`] says so to `/readyz` and `/metrics`.
//!
//! What may not live here: anything that looks into a payload. Whether a user is to confirm it, [`crate::notification`]
//! says.

pub mod export;
pub mod inlet;
#[cfg(any(feature = "nats", feature = "rabbitmq", feature = "redis"))]
mod intake;
#[cfg(feature = "nats")]
pub mod nats;
#[cfg(feature = "rabbitmq")]
mod rabbitmq;
#[cfg(feature = "redis")]
pub mod redis;
pub mod status;

use std::io;
use std::sync::Arc;

use crate::config::Config;
use crate::control::Control;

pub use inlet::Inlet;
pub use status::SourceStatus;

/// Starts every source that is configured.
///
/// # Errors
///
/// When a thread cannot be had, or the settings name no broker that could exist.
#[allow(unused_mut, unused_variables, reason = "a build may have none of them")]
pub fn start(config: &Config, inlet: &Inlet, control: &Control) -> io::Result<Vec<Arc<SourceStatus>>> {
    let mut sources = Vec::new();
    #[cfg(feature = "redis")]
    if config.redis.url.is_some() && config.redis.source {
        sources.push(redis::start(&config.redis, inlet.clone(), control)?);
    }
    #[cfg(feature = "nats")]
    if let Some(url) = config.nats.url.as_ref().filter(|_| config.nats.source) {
        sources.push(nats::start(config, url, inlet.clone(), control)?);
    }
    #[cfg(feature = "rabbitmq")]
    if let (Some(url), true) = (&config.rabbitmq.url, config.rabbitmq.source) {
        sources.push(rabbitmq::start(&config.rabbitmq, url, inlet.clone(), control)?);
    }
    Ok(sources)
}
