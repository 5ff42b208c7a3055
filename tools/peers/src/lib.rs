//! Two reference servers as people write them, to be measured beside Ringway: `peer-axum` (axum and
//! tokio-tungstenite) and `peer-fastwebsockets` (fastwebsockets over hyper). Started by `tools/bench` and by hand.
//!
//! Both are the shape found in tutorials and in production: tokio's multi-threaded runtime, one task per connection, a
//! `tokio::sync::broadcast` per channel. They share everything in this library (wire, channels, admin port, sockets)
//! and differ only in who speaks WebSocket, so a difference between their figures is a difference between the
//! libraries. They speak just enough of Ringway's wire for the same client to measure all three; tokens, limits,
//! heartbeats and other shards are left out, in the peers' favour.

pub mod admin;
pub mod channels;
pub mod options;
pub mod wire;
