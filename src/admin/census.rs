//! How many subscriptions each service has: the channels of all shards, counted by kind.
//!
//! Every channel of every shard is looked at for that, so the count is kept for a moment: however many probes ask, the
//! shards are asked once in that time.

use std::time::Duration;

use serde::Serialize;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use crate::shard::inspect::ChannelCount;

use super::State;
use super::listing::ask_channels;
use super::refusal::Refusal;

const KEPT_FOR: Duration = Duration::from_secs(1);

#[derive(Default)]
pub struct Census(Mutex<Option<Count>>);

struct Count {
    taken_at: Instant,
    subscriptions: Subscriptions,
    note: Option<String>,
}

/// Subscriptions by the word before the colon of the channel's name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Subscriptions {
    conversations: usize,
    clans: usize,
    vendors: usize,
    users: usize,
    types: usize,
    notifications: usize,
    other: usize,
}

impl Census {
    /// The count, and a note when a shard is missing from it.
    pub async fn subscriptions(&self, state: &State) -> Result<(Subscriptions, Option<String>), Refusal> {
        // Held while asking, so that whoever comes meanwhile takes the same answer.
        let mut last = self.0.lock().await;
        if let Some(count) = last.as_ref().filter(|count| count.taken_at.elapsed() < KEPT_FOR) {
            return Ok((count.subscriptions, count.note.clone()));
        }
        let answers = ask_channels(state).await?;
        let note = answers.note();
        let counted = spawn_blocking(move || Subscriptions::of(answers.values.iter().flatten())).await;
        let subscriptions = counted.map_err(|_| Refusal::NoAnswer)?;
        *last = Some(Count { taken_at: Instant::now(), subscriptions, note: note.clone() });
        Ok((subscriptions, note))
    }
}

impl Subscriptions {
    fn of<'a>(channels: impl Iterator<Item = &'a ChannelCount>) -> Self {
        let mut counts = Self::default();
        for channel in channels {
            *counts.kind(&channel.name) += channel.subscribers;
        }
        counts
    }

    fn kind(&mut self, channel: &str) -> &mut usize {
        match channel.split_once(':').map_or(channel, |(kind, _)| kind) {
            "conv" => &mut self.conversations,
            "clan" => &mut self.clans,
            "vendor" => &mut self.vendors,
            "user" => &mut self.users,
            "type" => &mut self.types,
            "notifications" => &mut self.notifications,
            _ => &mut self.other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscriptions_are_counted_by_the_kind_of_their_channel() {
        let names = ["conv:1", "conv:2", "clan:1", "vendor:1", "user:1", "type:driver", "notifications", "room", "x:y"];
        let channels: Vec<_> = names.iter().map(|&name| ChannelCount { name: name.into(), subscribers: 2 }).collect();
        let expected =
            Subscriptions { conversations: 4, clans: 2, vendors: 2, users: 2, types: 2, notifications: 2, other: 4 };
        assert_eq!(Subscriptions::of(channels.iter()), expected);
    }
}
