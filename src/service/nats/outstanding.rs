//! What was sent through one connection and has no answer yet, by the number of the answer. Sans-IO.
//!
//! Invariant: every job that is put in is taken out once: answered, refused, late, or left when the connection ends.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::service::Job;

/// What one answer settles.
pub enum Waiting {
    /// A message that somebody replies to, or a stream confirms.
    One(Sent),
    /// Messages that the server has when it answers.
    Batch { sent: Vec<Sent>, since: Instant },
}

pub struct Sent {
    pub subject: String,
    pub job: Job,
}

#[derive(Default)]
pub struct Outstanding {
    waiting: BTreeMap<u64, Waiting>,
    /// Of all numbers the highest that was given; none is given twice.
    last: u64,
    jobs: usize,
}

impl Outstanding {
    /// How many jobs wait.
    pub fn jobs(&self) -> usize {
        self.jobs
    }

    /// How many answers are to come.
    pub fn answers(&self) -> usize {
        self.waiting.len()
    }

    /// The number of the answer to what is put in next.
    pub fn next(&self) -> u64 {
        self.last + 1
    }

    pub fn put(&mut self, waiting: Waiting) {
        self.last += 1;
        self.jobs += waiting.jobs();
        self.waiting.insert(self.last, waiting);
    }

    /// Whether the answer of this number is the server's.
    pub fn is_batch(&self, number: u64) -> bool {
        matches!(self.waiting.get(&number), Some(Waiting::Batch { .. }))
    }

    /// Whether an answer of the server's is to come.
    pub fn has_batch(&self) -> bool {
        self.waiting.values().any(|waiting| matches!(waiting, Waiting::Batch { .. }))
    }

    /// What an answer settles; nothing, when it is late or the second one.
    pub fn take(&mut self, number: u64) -> Option<Waiting> {
        let waiting = self.waiting.remove(&number)?;
        self.jobs -= waiting.jobs();
        Some(waiting)
    }

    /// The oldest job that was sent to a subject.
    pub fn take_sent_to(&mut self, subject: &str) -> Option<Job> {
        for (number, waiting) in &mut self.waiting {
            match waiting {
                Waiting::Batch { sent, .. } => {
                    if let Some(at) = sent.iter().position(|sent| sent.subject == subject) {
                        self.jobs -= 1;
                        return Some(sent.remove(at).job);
                    }
                }
                Waiting::One(sent) if sent.subject == subject => {
                    let number = *number;
                    return self.take(number).and_then(|waiting| waiting.into_jobs().next());
                }
                Waiting::One(_) => {}
            }
        }
        None
    }

    /// Those whose answer nobody waits for any more. What is in a batch is told when the server answers.
    pub fn take_late(&mut self) -> Vec<Job> {
        let is_late = |waiting: &Waiting| matches!(waiting, Waiting::One(sent) if sent.job.time_left().is_zero());
        let late = self.waiting.iter().filter(|(_, waiting)| is_late(waiting));
        let late: Vec<u64> = late.map(|(number, _)| *number).collect();
        late.into_iter().filter_map(|number| self.take(number)).flat_map(Waiting::into_jobs).collect()
    }

    /// Whether the server owes an answer for longer than this.
    pub fn is_overdue(&self, after: Duration) -> bool {
        self.waiting.values().any(|waiting| matches!(waiting, Waiting::Batch { since, .. } if since.elapsed() > after))
    }

    /// All that is left.
    pub fn take_all(&mut self) -> impl Iterator<Item = Job> {
        self.jobs = 0;
        std::mem::take(&mut self.waiting).into_values().flat_map(Waiting::into_jobs)
    }
}

impl Waiting {
    fn jobs(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Batch { sent, .. } => sent.len(),
        }
    }

    pub fn into_jobs(self) -> impl Iterator<Item = Job> {
        let sent = match self {
            Self::One(sent) => vec![sent],
            Self::Batch { sent, .. } => sent,
        };
        sent.into_iter().map(|sent| sent.job)
    }
}
