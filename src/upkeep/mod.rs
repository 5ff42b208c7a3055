//! What the gateway does for its users by itself, beside passing messages on: [tasks](crate::control) that look at what
//! the shards share and publish what follows from it.
//!
//! Started once, by [`crate::gateway`]. What may not live here: brokers, which are sources (`ingress/`), and
//! connections.

pub mod notifications;
pub mod presence;
