//! One client connection, sans-IO: what it asks for, what it understands of the answers, what it remembers.
//!
//! Nothing in here reads a socket or a clock. The workers move the bytes.

pub mod cast;
pub mod connection;
pub mod day;
pub mod heard;
pub mod parser;
pub mod stamp;
pub mod upgrade;
