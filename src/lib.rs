//! Ringway: a WebSocket gateway for Linux, one io_uring loop per core.
//!
//! The binary is `src/main.rs`; this library exists so that the tests, the benchmarks and `tools/flood` build on the
//! same pieces. Dependencies point one way: `ws`, `protocol`, `auth` and `channel` do no I/O and know nothing of
//! `shard`; `shard` knows nothing of `admin` and `ingress`, which reach it only through the lanes in `bus`.

pub mod admin;
pub mod auth;
pub mod bus;
pub mod channel;
pub mod cli;
pub mod clock;
pub mod config;
pub mod doctor;
pub mod doctor_command;
pub mod gateway;
pub mod ingress;
pub mod limits;
pub mod listeners;
pub mod logging;
pub mod metrics;
pub mod pinning;
pub mod protocol;
pub mod shard;
pub mod token_command;
pub mod welcome;
pub mod ws;
