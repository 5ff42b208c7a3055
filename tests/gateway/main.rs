//! The promises of docs/PROTOCOL.md, kept by the real binary, one file per promise.
//!
//! One test program, because linking is the slow part. Run one promise with `cargo test --test gateway slow_consumers`.

#[path = "../support/mod.rs"]
mod support;

#[cfg(feature = "grpc")]
mod admin_grpc;
mod admin_port;
mod asymmetric_tokens;
mod auth_message;
mod authorize;
mod batch_delay;
mod bench;
mod client_library;
mod configuration;
mod dashboard;
#[cfg(all(feature = "grpc", feature = "nats", feature = "rabbitmq", feature = "postgres"))]
mod deployments;
mod development_mode;
mod documented_integrations;
mod echo;
mod echo_conformance;
mod events;
mod flood_report;
mod full_shards;
mod getting_started;
mod grafana;
mod grants;
mod heartbeats;
mod hostile_routes;
mod interest;
mod jwks;
mod kernel_memory;
mod latency;
mod message_limits;
mod messages;
mod nothing_left_behind;
mod notifications;
mod order;
mod overflow;
mod overload;
mod ports;
mod presence;
mod protocol_conformance;
mod proxied;
mod proxies;
mod publishing;
mod quotas;
mod redis_cluster;
mod redis_restart;
mod redis_servers;
mod refusals;
mod restarts;
mod revocation;
mod routes;
mod seccomp;
#[cfg(feature = "grpc")]
mod service_grpc;
mod service_http;
mod service_memory;
#[cfg(feature = "nats")]
mod service_nats;
#[cfg(feature = "rabbitmq")]
mod service_rabbitmq;
mod service_redis;
mod service_redis_outages;
mod sessions;
mod shutdown;
mod silent_crowds;
mod slow_consumers;
mod slow_handshakes;
#[cfg(feature = "nats")]
mod source_nats;
#[cfg(feature = "rabbitmq")]
mod source_rabbitmq;
mod stuck_shard;
mod test_client;
mod token_expiry;
mod tokens;
mod tracking;
mod typing;
mod user_types;
mod vocabularies;
mod vocabulary_floods;
