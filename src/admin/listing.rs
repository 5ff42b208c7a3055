//! `GET /connections` and `GET /channels`: what the shards hold, asked of them and merged here.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State as Shared};
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use crate::bus::Command;
use crate::shard::inspect::{ChannelCount, ConnectionInfo};

use super::State;
use super::refusal::Refusal;
use super::shards::Answers;

const LIMIT: usize = 100;
const LIMIT_MAX: usize = 10_000;

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
) -> Result<Json<Connections>, Refusal> {
    let Query(WhichConnections { limit, user }) = query?;
    let limit = bounded(limit);
    let one_user = user.is_some();
    // Of one user there are few, and their number is only known by counting them.
    let asked = if one_user { LIMIT_MAX } else { limit };
    let ask = state.shards.ask(move |bus, answer| {
        bus.tell_all(|| Command::Connections { limit: asked, user: user.clone(), answer: answer.clone() })
    });
    let answers = ask.await?;
    let note = answers.note();
    let mut connections: Vec<_> = answers.values.into_iter().flatten().collect();
    connections.sort_unstable_by_key(|connection| (connection.shard, connection.slot));
    let total = if one_user { connections.len() } else { state.open_connections() as usize };
    connections.truncate(limit);
    Ok(Json(Connections { total, connections, note }))
}

pub async fn channels(
    Shared(state): Shared<Arc<State>>,
    query: Result<Query<WhichChannels>, QueryRejection>,
) -> Result<Json<Channels>, Refusal> {
    let Query(WhichChannels { limit, prefix }) = query?;
    let limit = bounded(limit);
    let answers = ask_channels(&state).await?;
    let note = answers.note();
    // A million users are a million channels: too many to be merged between two other requests.
    let merged = spawn_blocking(move || largest(answers.values, &prefix, limit)).await;
    let (total, channels) = merged.map_err(|_| Refusal::NoAnswer)?;
    Ok(Json(Channels { total, channels, note }))
}

/// Every channel of every shard.
pub async fn ask_channels(state: &State) -> Result<Answers<Vec<ChannelCount>>, Refusal> {
    let ask = state.shards.ask(|bus, answer| bus.tell_all(|| Command::Channels { answer: answer.clone() }));
    ask.await
}

fn bounded(limit: Option<usize>) -> usize {
    limit.unwrap_or(LIMIT).min(LIMIT_MAX)
}

/// How many channels have the prefix, and the largest of them; of the same size, by name.
fn largest(shards: Vec<Vec<ChannelCount>>, prefix: &str, limit: usize) -> (usize, Vec<ChannelLine>) {
    let mut merged: HashMap<Box<str>, usize> = HashMap::new();
    for channel in shards.into_iter().flatten().filter(|channel| channel.name.starts_with(prefix)) {
        *merged.entry(channel.name).or_default() += channel.subscribers;
    }
    let mut lines: Vec<_> = merged.into_iter().map(|(name, subscribers)| ChannelLine { name, subscribers }).collect();
    lines.sort_unstable_by(|a, b| b.subscribers.cmp(&a.subscribers).then_with(|| a.name.cmp(&b.name)));
    let total = lines.len();
    lines.truncate(limit);
    (total, lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_merged_by_name_and_the_largest_come_first() {
        let shard = |channels: &[(&str, usize)]| {
            channels.iter().map(|&(name, subscribers)| ChannelCount { name: name.into(), subscribers }).collect()
        };
        let shards =
            vec![shard(&[("conv:1", 2), ("conv:2", 4), ("user:1", 9)]), shard(&[("conv:1", 3), ("conv:0", 4)])];
        let (total, lines) = largest(shards, "conv:", 2);
        let line = |name: &str, subscribers| ChannelLine { name: name.into(), subscribers };
        assert_eq!((total, lines), (3, vec![line("conv:1", 5), line("conv:0", 4)]));
    }
}
