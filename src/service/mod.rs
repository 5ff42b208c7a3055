//! What the gateway does by itself, beside shards: tasks of the control side that publish what nobody posted.
//!
//! A service finds what it has to say in a structure that the shards fill, and says it through the bus. Nothing here
//! knows connections.

pub mod presence;
