//! Ringway: a WebSocket gateway for Linux, one io_uring loop per core.
//!
//! The binary is `src/main.rs`; this library exists so that the tests, the benchmarks and `tools/flood` build on the
//! same pieces. Dependencies point one way (`tests/directions.rs`): `ws`, `protocol`, `auth` and `channel` do no I/O
//! and know nothing of `shard`; `shard` knows nothing of `admin`, `ingress` and `service`. What these have for its
//! connections goes through `lane`.

pub mod admin;
pub mod auth;
pub mod authorize;
pub mod broker;
pub mod channel;
pub mod cli;
pub mod clock;
pub mod command;
pub mod config;
pub mod control;
pub mod gateway;
pub mod geo;
pub mod host;
#[cfg(feature = "grpc")]
pub mod http2;
pub mod ingress;
pub mod issuer;
pub mod lane;
pub mod logging;
pub mod metrics;
pub mod notification;
pub mod proc;
#[cfg(feature = "grpc")]
pub mod proto;
pub mod protocol;
pub mod route;
pub mod service;
pub mod shard;
pub mod upkeep;
pub mod ws;
