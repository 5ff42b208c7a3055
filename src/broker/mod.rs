//! How a server outside is reached: from the settings to a client of a broker, or of a web server ([`http`]), and whose
//! certificates are believed on the way there ([`tls`]). Used by the sources (`ingress`), the services (`service`), the
//! issuer and who decides what may be joined (`authorize`), each of which has connections of its own.
//!
//! What may not live here: what is said to a server, and what its answers mean.

pub mod causes;
#[cfg(any(feature = "http", feature = "jwks"))]
pub mod http;
#[cfg(feature = "nats")]
pub mod nats;
#[cfg(feature = "rabbitmq")]
pub mod rabbitmq;
#[cfg(feature = "redis")]
pub mod redis;
pub mod subject;
#[cfg(feature = "tls")]
pub mod tls;
