//! What is counted, and how it is read. A shard writes its own [`Counters`] and nobody else does, so counting is a plain
//! load and store; the admin port reads them from outside at any time.

pub mod counters;
pub mod export;
pub mod process;

pub use counters::{Counter, Counters, Family};
