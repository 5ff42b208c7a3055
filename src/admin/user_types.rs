//! Sessions by user type: the shards are asked at most once a second, however many pages look.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use crate::clock::now_us;
use crate::lane::Query;
use crate::lane::report::TypeCount;

use super::{State, aside};

/// Pages ask once a second, a little early or late.
const FRESH_FOR: Duration = Duration::from_millis(900);

#[derive(Default)]
pub struct UserTypes(Mutex<Option<Counted>>);

/// What the shards said.
#[derive(Clone)]
pub struct Counted {
    at_us: u64,
    /// Over all shards, the most frequent first.
    pub by_type: Arc<[TypeCount]>,
    /// Whether all of them did.
    pub whole: bool,
}

impl UserTypes {
    /// Not older than a second.
    pub async fn read(&self, state: &State) -> Counted {
        // Held while asking, so that whoever comes meanwhile takes the same answer.
        let mut kept = self.0.lock().await;
        match &*kept {
            Some(counted) if now_us().saturating_sub(counted.at_us) < FRESH_FOR.as_micros() as u64 => counted.clone(),
            _ => kept.insert(count(state).await).clone(),
        }
    }
}

async fn count(state: &State) -> Counted {
    let ask = state.shards.ask(|bus, answer| bus.ask_all(|| Query::Types { answer: answer.clone() }));
    let answers = ask.await;
    let whole = answers.as_ref().is_ok_and(|answers| answers.note().is_none());
    let counts = answers.map(|answers| answers.values).unwrap_or_default();
    let by_type = aside(move || summed(counts.into_iter().flatten())).await.unwrap_or_default();
    Counted { at_us: now_us(), by_type, whole }
}

fn summed(counts: impl Iterator<Item = TypeCount>) -> Arc<[TypeCount]> {
    let mut sums: HashMap<Box<str>, usize> = HashMap::new();
    for count in counts {
        *sums.entry(count.user_type).or_default() += count.sessions;
    }
    let mut merged: Vec<_> = sums.into_iter().map(|(user_type, sessions)| TypeCount { user_type, sessions }).collect();
    merged.sort_unstable_by(|a, b| b.sessions.cmp(&a.sessions).then_with(|| a.user_type.cmp(&b.user_type)));
    merged.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_merged_and_the_most_frequent_comes_first() {
        let count = |user_type: &str, sessions| TypeCount { user_type: user_type.into(), sessions };
        let merged = summed([count("rider", 2), count("driver", 2), count("rider", 1), count("admin", 2)].into_iter());
        let merged: Vec<_> = merged.iter().map(|c| (&*c.user_type, c.sessions)).collect();
        assert_eq!(merged, [("rider", 3), ("admin", 2), ("driver", 2)]);
    }
}
