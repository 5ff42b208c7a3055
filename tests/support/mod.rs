//! What every integration test stands on: the real binary, a private Redis, and clients of three kinds.
//!
//! Owned by the tests, and used by the benchmark of kernel memory. The invariant: whatever is started here
//! listens on a free port of 127.0.0.1, is stopped by its pid when its value is dropped, and nothing waits
//! without a condition and a deadline.
//!
//! `gateway` starts the binary, `redis` a Redis, `nats` a NATS, `rabbitmq` a RabbitMQ, `http_backend` is a web service,
//! `grpc` a backend that speaks gRPC, `garbage` what is none, `issuer` publishes keys; `relay` is a path to a server
//! that can lead nowhere; `client` is tungstenite, `crowd` many of those at once, `raw` writes bytes that no library
//! would, `non_readers` are clients that read nothing, `clan` is who chats where a service is told; `frozen` is a
//! thread that stands still, `unread` a log that nobody reads; `browser` is Chromium; `blocks` reads the code out of
//! documents, `programs` runs it; `admin` asks the admin port, `wire` and `prometheus` read what is answered.

pub mod admin;
pub mod blocks;
pub mod browser;
pub mod clan;
pub mod client;
pub mod config;
pub mod crowd;
pub mod frozen;
#[cfg(feature = "grpc")]
pub mod garbage;
pub mod gateway;
#[cfg(feature = "grpc")]
pub mod grpc;
pub mod http;
pub mod http_backend;
pub mod issuer;
pub mod nats;
pub mod non_readers;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod programs;
pub mod prometheus;
#[cfg(feature = "rabbitmq")]
pub mod rabbitmq;
pub mod raw;
pub mod redis;
pub mod relay;
pub mod tokens;
pub mod unread;
pub mod wait;
pub mod wire;
