//! How a broker is reached: from the settings to a client of it. Used by the sources (`ingress`) and by the services
//! (`service`), each of which has connections of its own, and how far what speaks HTTP/2 reads ahead ([`http2`]).

pub mod causes;
#[cfg(any(feature = "http", feature = "jwks"))]
pub mod http;
#[cfg(feature = "grpc")]
pub mod http2;
#[cfg(feature = "nats")]
pub mod nats;
#[cfg(feature = "rabbitmq")]
pub mod rabbitmq;
#[cfg(feature = "redis")]
pub mod redis;
pub mod subject;
#[cfg(feature = "tls")]
pub mod tls;
