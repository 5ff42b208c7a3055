//! The name of one connection, by which it is reached from any thread. A slot is used again, a generation is not, so an
//! id that outlives its connection finds nobody instead of somebody else.

/// Names one connection of the process, for as long as it is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId {
    pub shard: u16,
    /// The connection's place on its shard.
    pub slot: u32,
    /// Counts the connections of the shard since start.
    pub generation: u32,
}
