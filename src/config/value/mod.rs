//! How one value is written in the configuration, and what it is once it has been read. Used by the sections; nothing
//! here knows keys.
//!
//! A type is a file of its own; where the type is another's (a duration, an address) the file is a serde `with` module.

pub mod address;
pub mod duration;
mod endpoint;
mod jwks_url;
pub mod list;
mod nats_url;
mod pin;
mod public_key;
mod rabbitmq_url;
mod redis_url;
mod secret;
mod subject;
pub mod text;
mod url_template;

pub use endpoint::Endpoint;
pub use jwks_url::JwksUrl;
pub use nats_url::{Identity, NatsUrl};
pub use pin::Pin;
pub use public_key::PublicKeys;
pub use rabbitmq_url::RabbitMqUrl;
pub use redis_url::RedisUrl;
pub use secret::{MASK, Secret};
pub use subject::{Subject, Value as SubjectValue};
pub use url_template::UrlTemplate;
