//! What a shard says of itself when the admin port asks.

use crate::metrics::Latency;

/// One connection, as `GET /connections` shows it.
#[derive(Clone, Debug, serde::Serialize)]
pub struct ConnectionInfo {
    pub shard: usize,
    pub slot: u32,
    pub session_id: String,
    pub user_id: Option<String>,
    pub user_type: Option<String>,
    pub platform: Option<String>,
    pub device_id: Option<String>,
    /// Unix seconds.
    pub connected_at: u64,
    /// Unix seconds; none before authentication.
    pub expires_at: Option<u64>,
    pub channels: Vec<String>,
    /// Bytes that wait because the client reads too slowly.
    pub outbox_bytes: usize,
}

/// The channels that were asked for.
#[derive(Clone, Debug)]
pub struct ChannelList {
    /// All of them.
    pub total: usize,
    /// The largest of them, in no order.
    pub largest: Vec<ChannelCount>,
}

/// One channel of one shard.
#[derive(Clone, Debug)]
pub struct ChannelCount {
    pub name: Box<str>,
    pub subscribers: usize,
}

/// Sessions of one user type on one shard.
#[derive(Clone, Debug)]
pub struct TypeCount {
    pub user_type: Box<str>,
    pub sessions: usize,
}

/// What one shard has timed since its start.
#[derive(Clone, Debug)]
pub struct ShardLatency {
    pub shard: usize,
    pub latency: Latency,
}
