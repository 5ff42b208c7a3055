//! What is counted and timed, and how it is read. A shard writes its own [`Counters`] and nobody else does, so counting
//! is a plain load and store; the admin port reads them from outside at any time. Its [`Latency`] it keeps to itself,
//! and copies it for whoever asks through the lane.

pub mod counters;
pub mod export;
pub mod latency;
pub mod process;

pub use counters::{Counter, Counters, Family};
pub use latency::{Latency, SharedTimes, Timed, Times};
