//! What a shard does with the commands from its lane, and what it says of itself when asked.

use crate::bus::Command;

use super::connection::Phase;
use super::floor::Floor;
use super::id::ConnectionId;
use super::inspect::{ConnectionInfo, ShardLatency, TypeCount};
use super::io::{Io, Slot};
use crate::channel::name;
use crate::clock::TICK_MS;

impl<I: Io> Floor<I> {
    pub(super) fn obey(&mut self, command: Command) {
        match command {
            Command::Publish(publication) => self.publish(publication),
            Command::Disconnect { user, code, answer } => self.disconnect(&user, code, answer),
            Command::Connections { limit, user, answer } => {
                self.search_connections(limit, user.as_deref(), answer);
            }
            Command::Channels { prefix, limit, answer } => {
                self.search_channels(prefix, limit, answer);
            }
            Command::Kinds { answer } => answer(self.room.table.memberships_by_kind().to_vec()),
            Command::Latency { answer } => answer(self.timed()),
            Command::Types { answer } => answer(self.describe_types()),
            Command::Drain { over } => self.start_draining(over),
        }
    }

    pub(super) fn describe_one(&self, slot: Slot) -> ConnectionInfo {
        let (connection, room) = (&self.wire.connections[slot as usize], &self.room);
        let id = ConnectionId { shard: room.shard as u16, slot, generation: connection.generation };
        let open = connection.phase == Phase::Open;
        let user_channel = open.then(|| room.table.name(connection.user_channel));
        let age_s = u64::from(room.now.tick() - connection.connected_at) * u64::from(TICK_MS) / 1000;
        ConnectionInfo {
            shard: room.shard,
            slot,
            session_id: room.rules.session_id(id).to_string(),
            user_id: user_channel.and_then(|name| name.strip_prefix(name::USER_PREFIX)).map(Into::into),
            user_type: room.profiles.user_type(connection.profile).map(Into::into),
            platform: room.profiles.platform(connection.profile).map(Into::into),
            device_id: connection.details.as_ref().and_then(|d| d.device_id.as_deref()).map(Into::into),
            connected_at: room.now.unix_s() - age_s,
            expires_at: open.then_some(connection.expires_at.into()),
            channels: room.table.channels_of(slot).map(Into::into).collect(),
            outbox_bytes: connection.outbox.as_ref().map_or(0, |o| o.bytes()),
        }
    }

    fn timed(&self) -> ShardLatency {
        let latency = self.room.latency.clone().with_deliveries(self.wire.io.deliveries());
        ShardLatency { shard: self.room.shard, latency }
    }

    fn describe_types(&self) -> Vec<TypeCount> {
        let types = self.room.profiles.types();
        types.map(|(user_type, sessions)| TypeCount { user_type: user_type.into(), sessions }).collect()
    }
}
