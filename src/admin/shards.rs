//! Questions to the shards: posted through the lanes from a blocking thread, answers gathered under a deadline.
//!
//! Invariant: what waits for the shards is bounded, in number and in time. A shard that does not answer costs its part of
//! the answer and never the request.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::sync::mpsc::unbounded_channel;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};

use crate::bus::{Answer, Bus};

use super::refusal::Refusal;

/// For posting and answering together. A shard that works answers within a turn of its loop.
const ANSWER_DEADLINE: Duration = Duration::from_secs(3);

/// The same for a message: a shard answers when it has queued the last frame, and a million frames are some seconds of
/// work for two cores.
const DELIVERY_DEADLINE: Duration = Duration::from_secs(30);

/// Questions under way at once; each may hold a message of some size.
const QUESTIONS_MAX: usize = 64;

pub struct Shards {
    bus: Bus,
    questions: Arc<Semaphore>,
}

/// What the shards said.
pub struct Answers<T> {
    pub values: Vec<T>,
    asked: usize,
}

impl Shards {
    pub fn new(bus: Bus) -> Self {
        Self { bus, questions: Arc::new(Semaphore::new(QUESTIONS_MAX)) }
    }

    /// Gathers one answer from each shard that `post` reaches; `post` returns their number.
    pub async fn ask<T, P>(&self, post: P) -> Result<Answers<T>, Refusal>
    where
        T: Send + 'static,
        P: FnOnce(&Bus, Answer<T>) -> usize + Send + 'static,
    {
        self.gather(post, Instant::now() + ANSWER_DEADLINE).await
    }

    /// The same for a message that `post` publishes.
    pub async fn deliver<P>(&self, post: P) -> Result<Answers<usize>, Refusal>
    where
        P: FnOnce(&Bus, Answer<usize>) -> usize + Send + 'static,
    {
        self.gather(post, Instant::now() + DELIVERY_DEADLINE).await
    }

    async fn gather<T, P>(&self, post: P, deadline: Instant) -> Result<Answers<T>, Refusal>
    where
        T: Send + 'static,
        P: FnOnce(&Bus, Answer<T>) -> usize + Send + 'static,
    {
        let permit = timeout_at(deadline, self.questions.clone().acquire_owned()).await;
        let Ok(Ok(permit)) = permit else { return Err(Refusal::Busy) };
        let (sender, mut receiver) = unbounded_channel();
        let bus = self.bus.clone();
        let posting = spawn_blocking(move || {
            let asked = post(&bus, Arc::new(move |value| drop(sender.send(value))));
            // Given back here and not when the deadline is over: it counts what really waits in a lane.
            drop(permit);
            asked
        });
        let mut values = Vec::new();
        let gathering = async {
            // Ends when every command that could answer is gone.
            while let Some(value) = receiver.recv().await {
                values.push(value);
            }
            posting.await
        };
        // Whoever is still posting has not reached every shard.
        let asked = match timeout_at(deadline, gathering).await {
            Ok(Ok(asked)) => asked,
            _ => self.bus.shards(),
        };
        if values.is_empty() && asked > 0 { Err(Refusal::NoAnswer) } else { Ok(Answers { values, asked }) }
    }
}

impl<T> Answers<T> {
    /// A sentence for the reader when a part is missing.
    pub fn note(&self) -> Option<String> {
        let (answered, asked) = (self.values.len(), self.asked);
        (answered < asked).then(|| format!("partial: {answered} of {asked} shards answered in time"))
    }
}
