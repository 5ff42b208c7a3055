//! What a shard does with the commands from its lane. Small questions are answered here, large
//! ones by [`crate::shard::floor::inspect`].

use crate::lane::Command;

use crate::lane::report::{ShardLatency, TypeCount};
use crate::shard::floor::Floor;
use crate::shard::io::Io;

impl<I: Io> Floor<I> {
    pub(in crate::shard) fn obey(&mut self, command: Command) {
        match command {
            Command::Publish(publication) => self.publish(publication),
            Command::Disconnect { user, code, answer } => self.disconnect(&user, code, answer),
            Command::Connections { limit, user, answer } => {
                self.search_connections(limit, user.as_deref(), answer);
            }
            Command::Channels { prefix, limit, answer } => {
                self.search_channels(prefix, limit, answer);
            }
            Command::Kinds { answer } => answer(self.state.table.memberships_by_kind().to_vec()),
            Command::Latency { answer } => answer(self.timed()),
            Command::Types { answer } => answer(self.describe_types()),
            Command::Drain { over } => self.start_draining(over),
        }
    }

    fn timed(&self) -> ShardLatency {
        let latency = self.state.latency.clone().with_deliveries(self.wire.io.deliveries());
        ShardLatency { shard: self.state.shard, latency }
    }

    fn describe_types(&self) -> Vec<TypeCount> {
        let types = self.state.profiles.types();
        types.map(|(user_type, sessions)| TypeCount { user_type: user_type.into(), sessions }).collect()
    }
}
