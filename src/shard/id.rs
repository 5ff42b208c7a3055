//! Names for one connection: by shard, slot and generation. A slot is reused, a generation is not, so an id that outlives
//! its connection finds nobody instead of somebody else.

use std::fmt;

use super::io::Slot;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionId {
    pub shard: u16,
    pub slot: Slot,
    /// Counts the connections of the shard since start.
    pub generation: u32,
}

/// The id as clients and operators see it: a UUID of version 8 (RFC 9562 section 5.8) made from the process's random start
/// value and the connection's id. Computed when it is shown, so it costs an idle connection nothing.
pub struct SessionId {
    /// 48 random bits, chosen at start.
    pub process: u64,
    pub connection: ConnectionId,
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ConnectionId { shard, slot, generation } = self.connection;
        // 48 bits process | version 8, 12 bits shard | variant 10, 30 bits slot | 32 bits generation
        write!(
            f,
            "{:08x}-{:04x}-8{:03x}-{:04x}-{:04x}{:08x}",
            self.process >> 16 & 0xffff_ffff,
            self.process & 0xffff,
            shard & 0xfff,
            0x8000 | slot >> 16 & 0x3fff,
            slot & 0xffff,
            generation,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_id_is_a_uuid_of_version_8() {
        let connection = ConnectionId { shard: 5, slot: 0x12345, generation: 7 };
        let shown = SessionId { process: 0xabcd_ef01_2345, connection }.to_string();
        assert_eq!(shown, "abcdef01-2345-8005-8001-234500000007");
    }
}
