//! How many subscriptions each service has: the channels of all shards, counted by kind.
//!
//! The count is kept for a moment: however many probes ask, the shards are asked once in that time.

use std::time::Duration;

use serde::Serialize;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::channel::name::KINDS;
use crate::lane::Query;

use super::State;
use super::error::AdminError;

const KEPT_FOR: Duration = Duration::from_secs(1);

#[derive(Default)]
pub struct SubscriptionCache(Mutex<Option<Count>>);

struct Count {
    taken_at: Instant,
    subscriptions: Subscriptions,
    note: Option<String>,
}

/// Subscriptions by the word before the colon of the channel's name: [`KINDS`], in their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Subscriptions {
    conversations: usize,
    clans: usize,
    vendors: usize,
    users: usize,
    types: usize,
    notifications: usize,
    nearby: usize,
    other: usize,
}

impl SubscriptionCache {
    /// The count, and a note when a shard is missing from it.
    pub async fn read(&self, state: &State) -> Result<(Subscriptions, Option<String>), AdminError> {
        // Held while asking, so that whoever comes meanwhile takes the same answer.
        let mut last = self.0.lock().await;
        if let Some(count) = last.as_ref().filter(|count| count.taken_at.elapsed() < KEPT_FOR) {
            return Ok((count.subscriptions, count.note.clone()));
        }
        let ask = state.shards.ask(|bus, answer| bus.ask_all(|| Query::Kinds { answer: answer.clone() }));
        let answers = ask.await?;
        let note = answers.note();
        let subscriptions = Subscriptions::sum(&answers.values);
        *last = Some(Count { taken_at: Instant::now(), subscriptions, note: note.clone() });
        Ok((subscriptions, note))
    }
}

impl Subscriptions {
    fn sum(shards: &[Vec<usize>]) -> Self {
        let of = |kind: usize| shards.iter().filter_map(|counts| counts.get(kind)).sum();
        Self {
            conversations: of(0),
            clans: of(1),
            vendors: of(2),
            users: of(3),
            types: of(4),
            notifications: of(5),
            nearby: of(6),
            other: of(KINDS.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscriptions_are_summed_by_kind() {
        let shards = [vec![1, 2, 3, 4, 5, 6, 7, 8], vec![10, 0, 0, 0, 0, 0, 0, 80]];
        let expected = Subscriptions {
            conversations: 11,
            clans: 2,
            vendors: 3,
            users: 4,
            types: 5,
            notifications: 6,
            nearby: 7,
            other: 88,
        };
        assert_eq!(Subscriptions::sum(&shards), expected);
        assert_eq!(Subscriptions::sum(&[]), Subscriptions::default());
    }
}
