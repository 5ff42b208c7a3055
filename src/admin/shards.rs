//! Questions to the shards: posted through the lanes, from a blocking thread where one is full,
//! answers gathered under a deadline.
//!
//! Invariant: what waits for the shards is bounded, in number and in time. A shard that does not answer costs its part
//! of the answer and never the request.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};

use crate::lane::{Answer, Bus, Outcome, Posting};

use super::error::AdminError;

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
    posted: Outcome,
}

impl Shards {
    pub fn new(bus: Bus) -> Self {
        Self { bus, questions: Arc::new(Semaphore::new(QUESTIONS_MAX)) }
    }

    /// Gathers one answer from each shard that `post` reaches.
    pub async fn ask<T, P>(&self, post: P) -> Result<Answers<T>, AdminError>
    where
        T: Send + 'static,
        P: FnOnce(&Bus, Answer<T>) -> Posting,
    {
        self.gather(post, Instant::now() + ANSWER_DEADLINE).await
    }

    /// The same for a message that `post` publishes.
    pub async fn deliver<T, P>(&self, post: P) -> Result<Answers<T>, AdminError>
    where
        T: Send + 'static,
        P: FnOnce(&Bus, Answer<T>) -> Posting,
    {
        self.gather(post, Instant::now() + DELIVERY_DEADLINE).await
    }

    async fn gather<T, P>(&self, post: P, deadline: Instant) -> Result<Answers<T>, AdminError>
    where
        T: Send + 'static,
        P: FnOnce(&Bus, Answer<T>) -> Posting,
    {
        let permit = timeout_at(deadline, self.questions.clone().acquire_owned()).await;
        let Ok(Ok(permit)) = permit else { return Err(AdminError::Busy) };
        let values = Arc::new(Mutex::new(Vec::new()));
        // Never sent to: it is dropped with the last command that could answer, which wakes this task once for all.
        let (open, all_answered) = oneshot::channel::<Infallible>();
        let mut posting = post(&self.bus, tray(values.clone(), open));
        let has_room = posting.try_put();
        // Whoever is still posting when the time is over has not reached every shard.
        let mut posted = Outcome { taken: self.bus.shards(), lost: 0 };
        let gathering = async {
            let post_all = move || {
                let posted = posting.put();
                // Given back here and not when the deadline is over: it counts what waits for room in a lane.
                drop(permit);
                posted
            };
            let done = if has_room { Ok(post_all()) } else { spawn_blocking(post_all).await };
            posted = done.unwrap_or(posted);
            let _ = all_answered.await;
        };
        let _ = timeout_at(deadline, gathering).await;
        let values = std::mem::take(&mut *values.lock().expect("nothing panics while it adds a value"));
        match posted {
            Outcome { taken: 0, lost } if lost > 0 => Err(AdminError::NotTaken),
            Outcome { taken, .. } if taken > 0 && values.is_empty() => Err(AdminError::NoAnswer),
            posted => Ok(Answers { values, posted }),
        }
    }
}

/// Collects answers; holds `open` as long as one may come.
fn tray<T: Send + 'static>(values: Arc<Mutex<Vec<T>>>, open: oneshot::Sender<Infallible>) -> Answer<T> {
    Arc::new(move |value| {
        let _ = &open;
        values.lock().expect("nothing panics while it adds a value").push(value);
    })
}

impl<T> Answers<T> {
    /// Answers that were awaited in vain.
    pub fn missing(&self) -> usize {
        (self.posted.taken + self.posted.lost).saturating_sub(self.values.len())
    }

    /// A sentence for the reader when a part is missing.
    pub fn note(&self) -> Option<String> {
        let (answered, Outcome { taken, lost }) = (self.values.len(), self.posted);
        let asked = taken + lost;
        let partial = match lost {
            0 => format!("partial: {answered} of {asked} shards answered in time"),
            lost => {
                format!("partial: {answered} of {asked} shards answered in time, {lost} did not take it: see /readyz")
            }
        };
        (answered < asked).then_some(partial)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::Policies;
    use crate::lane::Query;
    use crate::lane::report::TypeCount;

    /// What two shards say of which none takes anything, and of which `said` have spoken already.
    async fn gathered(said: usize) -> Result<Answers<Vec<TypeCount>>, AdminError> {
        let lanes = Bus::open(2, Arc::default(), Policies::default(), Duration::ZERO);
        let (bus, _ends) = lanes.expect("lanes");
        let post = |bus: &Bus, answer: Answer<Vec<TypeCount>>| {
            (0..said).for_each(|_| answer(Vec::new()));
            bus.ask_all(|| Query::Types { answer: answer.clone() })
        };
        Shards::new(bus).gather(post, Instant::now() + Duration::from_millis(20)).await
    }

    #[tokio::test]
    async fn a_shard_that_does_not_answer_costs_its_part_of_the_answer() {
        let answers = gathered(1).await.expect("one has answered");
        assert_eq!(answers.values.len(), 1);
        assert_eq!(answers.note().as_deref(), Some("partial: 1 of 2 shards answered in time"));
    }

    #[tokio::test]
    async fn without_any_answer_there_is_an_error() {
        assert_eq!(gathered(0).await.err(), Some(AdminError::NoAnswer));
    }
}
