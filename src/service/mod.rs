//! Services outside: who takes the messages that routes forward. Each has a bounded [`queue`], which the shards fill
//! and never wait for, and a client of its broker or backend that empties it, on a thread of its own.
//!
//! [`start`] is called once, by [`crate::gateway`], before the shards. A backend that cannot be reached is no reason to
//! stop: calls are refused meanwhile, it is tried again for ever, and its [`ServiceStatus`] says so.
//!
//! What may not live here: what a message means, and who may say it; routes say that. Only the typed contracts of
//! `grpc` know words of messages, all of them in its `names.rs`.

#[cfg(any(feature = "grpc", feature = "http", feature = "nats"))]
mod answer;
#[cfg(any(feature = "http", feature = "redis"))]
mod envelope;
pub mod events;
pub mod export;
#[cfg(feature = "grpc")]
mod grpc;
#[cfg(feature = "http")]
mod http;
pub mod lines;
#[cfg(feature = "nats")]
mod nats;
pub mod queue;
#[cfg(feature = "rabbitmq")]
mod rabbitmq;
#[cfg(feature = "redis")]
mod redis;
pub mod status;
pub mod stream;

use std::io;
use std::sync::Arc;

use crate::config::{Backend, Config};
use crate::control::Control;
use crate::lane::{Bus, Remote, Services};

pub use queue::{Job, Jobs, Queue};
pub use status::ServiceStatus;

/// The services of the configuration, started.
pub struct Started {
    /// For the shards.
    pub services: Services,
    /// For the admin port.
    pub statuses: Vec<Arc<ServiceStatus>>,
    /// For the gateway itself, by the names of the services.
    queues: Vec<(Box<str>, Arc<Queue>)>,
}

impl Started {
    /// By which the gateway itself asks a service; none if it is local, or not there.
    pub fn queue(&self, name: &str) -> Option<Arc<Queue>> {
        self.queues.iter().find(|(known, _)| **known == *name).map(|(_, queue)| queue.clone())
    }
}

/// Starts every service that is configured, and returns at once; whether their backends are there shows in the status.
///
/// # Errors
///
/// When a thread cannot be had, or the settings name no backend that could exist.
#[allow(unused_variables, reason = "a build may have none of them")]
pub fn start(config: &Config, shards: usize, bus: &Bus, control: &Control) -> io::Result<Started> {
    let (mut list, mut statuses, mut queues) = (Vec::new(), Vec::new(), Vec::new());
    for rule in &config.all_services() {
        let name: Box<str> = rule.common.name.as_str().into();
        if rule.backend == Backend::Local {
            list.push((name, None));
            continue;
        }
        let status = Arc::new(ServiceStatus::new(&rule.common.name, rule.common.kind.name(), rule.common.queue));
        let (queue, jobs) = Queue::new(bus.clone(), status.clone());
        match &rule.backend {
            Backend::Local => {}
            #[cfg(feature = "redis")]
            Backend::Redis(service) => redis::start(&config.redis, service.clone(), jobs, control)?,
            #[cfg(feature = "grpc")]
            Backend::Grpc(service) => grpc::start(service.clone(), jobs, control)?,
            #[cfg(feature = "http")]
            Backend::Http(service) => http::start(service, jobs, control)?,
            #[cfg(feature = "nats")]
            Backend::Nats(service) => nats::start(config, service.clone(), jobs, control)?,
            #[cfg(feature = "rabbitmq")]
            Backend::RabbitMq(service) => rabbitmq::start(&config.rabbitmq, service.clone(), jobs, control)?,
            // The check of the configuration has said so already.
            #[allow(unreachable_patterns, reason = "with all features there is none")]
            _ => return Err(io::Error::other(format!("built without the feature {}", rule.common.kind.name()))),
        }
        let queue = Arc::new(queue);
        queues.push((name.clone(), queue.clone()));
        list.push((name, Some(Remote::new(queue, rule.common.timeout))));
        statuses.push(status);
    }
    Ok(Started { services: Services::new(shards, list), statuses, queues })
}
