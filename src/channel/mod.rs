//! Who listens to what: channel names, the subscription table of one shard, and which shards have subscribers.
//!
//! Sans-IO: nothing here knows sockets, clocks or threads. `Table` belongs to one shard and is neither shared nor
//! locked; `Interest` is the one structure that all shards and sources share, touched only when a channel gains its
//! first or loses its last subscriber on a shard, and once per published message.

pub mod interest;
pub mod name;
pub mod overflow;
pub mod pattern;
pub mod policy;
pub mod presence;
pub mod table;
pub mod typing;

pub use interest::{Interest, ShardSet};
pub use overflow::Overflow;
pub use pattern::Pattern;
pub use policy::Policies;
pub use presence::Presence;
pub use table::Table;
pub use typing::Typing;
