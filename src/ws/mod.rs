//! RFC 6455, server side, sans-IO: bytes in, events out; payloads in, bytes out.
//!
//! `handshake` turns a request head into an upgrade or a refusal, `decoder` turns received bytes into messages and
//! control events, `frame` turns payloads into bytes to send; `header`, `mask`, `close` and `violation` serve both.
//! Nothing in here reads a socket or a clock, knows JSON, tokens or channels, or panics because of what a peer sent.

pub mod close;
pub mod decoder;
pub mod frame;
pub mod handshake;
pub mod header;
pub mod mask;
mod pending;
mod text;
pub mod violation;
