//! The JSON messages of the wire: what clients ask (`request`) and what they are answered (`reply`, `presence`).
//!
//! Bytes in, bytes out: no I/O, no clock, no session. Which `type` leads to what is not known here; the shard decides
//! it from the words of a request. What backends publish never comes through here: it is delivered byte for byte.

pub mod presence;
pub mod reply;
pub mod request;
