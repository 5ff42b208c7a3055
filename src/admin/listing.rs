//! `GET /connections` and `GET /channels`: what the shards hold, asked of them and merged here.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State as Shared};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tokio::sync::SemaphorePermit;
use tokio::time::timeout;

use crate::lane;
use crate::lane::report::{ChannelList, ConnectionInfo};

use super::error::AdminError;
use super::{State, aside};

/// Listings under way at once; further ones wait. From a large node the answer to one can take a hundred megabytes.
pub const LISTINGS_MAX: usize = 2;

const LISTING_DEADLINE: Duration = Duration::from_secs(3);

const LIMIT: usize = 100;
const LIMIT_MAX: usize = 10_000;

/// Channels that a shard names. While none has more, what is merged from them is exact.
const CHANNELS_PER_SHARD: usize = LIMIT_MAX;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WhichConnections {
    limit: Option<usize>,
    user: Option<Box<str>>,
}

#[derive(Serialize)]
pub struct Connections {
    /// Open ones, or those of the user who was asked for; as many as `limit` says are listed.
    total: usize,
    connections: Vec<ConnectionInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WhichChannels {
    limit: Option<usize>,
    #[serde(default)]
    prefix: String,
}

#[derive(Serialize)]
pub struct Channels {
    /// All with the prefix; the `limit` largest are listed.
    total: usize,
    channels: Vec<ChannelLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct ChannelLine {
    name: Box<str>,
    subscribers: usize,
}

pub async fn connections(
    Shared(state): Shared<Arc<State>>,
    query: Result<Query<WhichConnections>, QueryRejection>,
) -> Result<Response, AdminError> {
    let Query(WhichConnections { limit, user }) = query?;
    let limit = bounded(limit);
    let one_user = user.is_some();
    let _turn = turn(&state).await?;
    // Of one user there are few, and their number is only known by counting them.
    let asked = if one_user { LIMIT_MAX } else { limit };
    let ask = state.shards.ask(move |bus, answer| {
        bus.ask_all(|| lane::Query::Connections { limit: asked, user: user.clone(), answer: answer.clone() })
    });
    let answers = ask.await?;
    let note = answers.note();
    let open = (!one_user).then(|| state.open_connections() as usize);
    let list = move || {
        let mut connections: Vec<_> = answers.values.into_iter().flatten().collect();
        connections.sort_unstable_by_key(|connection| (connection.shard, connection.slot));
        let total = open.unwrap_or(connections.len());
        connections.truncate(limit);
        Json(Connections { total, connections, note }).into_response()
    };
    aside(list).await
}

pub async fn channels(
    Shared(state): Shared<Arc<State>>,
    query: Result<Query<WhichChannels>, QueryRejection>,
) -> Result<Response, AdminError> {
    let Query(WhichChannels { limit, prefix }) = query?;
    let limit = bounded(limit);
    let prefix: Arc<str> = prefix.into();
    let _turn = turn(&state).await?;
    let ask = state.shards.ask(move |bus, answer| {
        bus.ask_all(|| lane::Query::Channels {
            prefix: prefix.clone(),
            limit: CHANNELS_PER_SHARD,
            answer: answer.clone(),
        })
    });
    let answers = ask.await?;
    let list = move || {
        let note = answers.note().or_else(|| estimate(&answers.values));
        let (total, channels) = merge(answers.values, limit);
        Json(Channels { total, channels, note }).into_response()
    };
    aside(list).await
}

async fn turn(state: &State) -> Result<SemaphorePermit<'_>, AdminError> {
    match timeout(LISTING_DEADLINE, state.listings.acquire()).await {
        Ok(Ok(permit)) => Ok(permit),
        _ => Err(AdminError::Busy),
    }
}

fn bounded(limit: Option<usize>) -> usize {
    limit.unwrap_or(LIMIT).min(LIMIT_MAX)
}

/// A sentence for the reader when shards have left channels out.
fn estimate(shards: &[ChannelList]) -> Option<String> {
    shards.iter().any(|list| list.total > list.largest.len()).then(|| {
        format!(
            "estimate: a shard names its {CHANNELS_PER_SHARD} largest channels; beyond them a channel counts once per shard"
        )
    })
}

/// How many channels there are, and the largest of them; of the same size, by name.
fn merge(shards: Vec<ChannelList>, limit: usize) -> (usize, Vec<ChannelLine>) {
    let unnamed: usize = shards.iter().map(|list| list.total - list.largest.len()).sum();
    let mut merged: HashMap<Box<str>, usize> = HashMap::new();
    for channel in shards.into_iter().flat_map(|list| list.largest) {
        *merged.entry(channel.name).or_default() += channel.subscribers;
    }
    let mut lines: Vec<_> = merged.into_iter().map(|(name, subscribers)| ChannelLine { name, subscribers }).collect();
    lines.sort_unstable_by(|a, b| b.subscribers.cmp(&a.subscribers).then_with(|| a.name.cmp(&b.name)));
    let total = lines.len() + unnamed;
    lines.truncate(limit);
    (total, lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::report::ChannelCount;

    fn list(total: usize, channels: &[(&str, usize)]) -> ChannelList {
        let count = |&(name, subscribers): &(&str, usize)| ChannelCount { name: name.into(), subscribers };
        ChannelList { total, largest: channels.iter().map(count).collect() }
    }

    #[test]
    fn channels_are_merged_by_name_and_the_largest_come_first() {
        let shards = vec![list(2, &[("conv:1", 2), ("conv:2", 4)]), list(2, &[("conv:1", 3), ("conv:0", 4)])];
        assert_eq!(estimate(&shards), None);
        let (total, lines) = merge(shards, 2);
        let line = |name: &str, subscribers| ChannelLine { name: name.into(), subscribers };
        assert_eq!((total, lines), (3, vec![line("conv:1", 5), line("conv:0", 4)]));
    }

    #[test]
    fn channels_that_a_shard_does_not_name_are_counted_and_the_answer_says_so() {
        let shards = vec![list(7, &[("conv:1", 2)]), list(1, &[("conv:1", 3)])];
        assert!(estimate(&shards).is_some_and(|note| note.starts_with("estimate: ")));
        assert_eq!(merge(shards, 5).0, 7);
    }
}
