//! Who listens to what: channel names and patterns, the subscription table of one shard, which shards have subscribers,
//! who is online where, and who is writing.
//!
//! Sans-IO: nothing here knows sockets, and the time comes as an argument. `Table` and `Typing` belong to one shard and
//! are neither shared nor locked. Two structures all shards share: `Interest`, touched when a channel gains its first
//! or loses its last subscriber on a shard and once per published message, and `Presence`, touched when somebody joins
//! or leaves one of the channels that it is kept of.

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
