//! Messages that RabbitMQ has been sent and has not confirmed yet.
//!
//! Each is answered when its confirm comes, in whatever order; where messages must reach a queue, also when it is known
//! whether it has [come back](super::returns). One that nobody waits for any more is told so and gives its place to
//! another; what comes of it then is ignored, but it is counted until it is confirmed.
//!
//! When the channel is closed all that it has not confirmed is [taken out](Outstanding::take_unconfirmed), to be sent
//! again or not. What is dropped is told as failed.
//!
//! Invariant: there are no more than [`MAX`] that somebody waits for, and as many that nobody does.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use lapin::Confirmation;
use lapin::types::ShortString;

use crate::lane::Failure;
use crate::service::Job;

use super::returns::Returns;

/// Messages that wait for their confirms at once.
pub const MAX: usize = 1024;

/// Messages that are too late, of which some say nothing of the others. RabbitMQ holds back whoever has more than this
/// not confirmed for one quorum queue, and more than 400 for one of another kind, and reads nothing more of him.
const HELD_BACK: usize = 32;

/// RabbitMQ does not hold back who gets a confirm in this time.
const STANDSTILL: Duration = Duration::from_secs(5);

/// A message that the channel was closed over.
pub struct Unconfirmed {
    /// None when it was told as late.
    pub job: Option<Job>,
    pub id: ShortString,
    pub key: ShortString,
    pub error: lapin::Error,
}

/// One that was sent.
struct Message {
    /// Until it is told as late.
    job: Option<Job>,
    id: ShortString,
    key: ShortString,
    /// Why it will not be confirmed.
    error: Option<lapin::Error>,
}

/// With its place in the order.
type Sending = Pin<Box<dyn Future<Output = (u64, lapin::Result<Confirmation>)>>>;

pub struct Outstanding {
    sending: FuturesUnordered<Sending>,
    /// The place of the next one.
    next: u64,
    /// By their places.
    unconfirmed: BTreeMap<u64, Message>,
    /// Confirmed, and not known whether they have come back.
    confirmed: BTreeMap<u64, Message>,
    /// Where messages must reach a queue.
    returns: Option<Returns>,
    /// Those that nobody waits for.
    late: usize,
    /// When something was confirmed, or the first of them was sent.
    heard: Instant,
}

impl Outstanding {
    pub fn new(mandatory: bool) -> Self {
        Self {
            sending: FuturesUnordered::new(),
            next: 0,
            unconfirmed: BTreeMap::new(),
            confirmed: BTreeMap::new(),
            returns: mandatory.then(Returns::default),
            late: 0,
            heard: Instant::now(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.sending.is_empty()
    }

    pub fn has_room(&self) -> bool {
        self.unconfirmed.len() + self.confirmed.len() - self.late < MAX
    }

    /// Puts a message into the channel, behind those that were begun before.
    pub fn begin(
        &mut self,
        job: Job,
        id: ShortString,
        key: ShortString,
        sending: impl Future<Output = lapin::Result<Confirmation>> + 'static,
    ) {
        let place = self.next;
        self.next += 1;
        if self.unconfirmed.is_empty() {
            self.heard = Instant::now();
        }
        if let Some(returns) = &mut self.returns {
            returns.sent(place, id.clone());
        }
        self.unconfirmed.insert(place, Message { job: Some(job), id, key, error: None });
        let mut sending: Sending = Box::pin(async move { (place, sending.await) });
        // Its first step is what puts it there, and must not wait for its turn among the others. Whatever comes of it
        // is seen when it is polled with them.
        match sending.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(sent) => self.sending.push(Box::pin(std::future::ready(sent))),
            Poll::Pending => self.sending.push(sending),
        }
    }

    /// Waits for the next confirm and answers whoever can be answered by it. Waits for ever when nothing is
    /// outstanding.
    ///
    /// # Errors
    ///
    /// When the channel is closed.
    pub async fn settle(&mut self) -> lapin::Result<()> {
        let Some((place, outcome)) = self.sending.next().await else { return std::future::pending().await };
        let mut closed = self.note(place, outcome);
        // What was confirmed before is here as well, and with it what had come back.
        while let Some(Some((place, outcome))) = self.sending.next().now_or_never() {
            closed = closed.and(self.note(place, outcome));
        }
        self.answer_confirmed();
        closed
    }

    /// What the channel that is closed has not confirmed, in the order in which it was sent.
    pub async fn take_unconfirmed(&mut self) -> Vec<Unconfirmed> {
        while let Some((place, outcome)) = self.sending.next().await {
            let _ = self.note(place, outcome);
        }
        let unconfirmed = std::mem::take(&mut self.unconfirmed).into_iter();
        let unconfirmed = unconfirmed.filter_map(|(place, message)| {
            self.forget(place, &message);
            let Message { job, id, key, error } = message;
            error.map(|error| Unconfirmed { job, id, key, error })
        });
        let unconfirmed = unconfirmed.collect();
        self.answer_confirmed();
        unconfirmed
    }

    /// Tells those that nobody waits for any more.
    pub fn give_up_late(&mut self) {
        for message in self.unconfirmed.values_mut().chain(self.confirmed.values_mut()) {
            if let Some(job) = message.job.take_if(|job| job.time_left().is_zero()) {
                job.fail(Failure::Late);
                self.late += 1;
            }
        }
    }

    /// Whether RabbitMQ holds the channel back, for all that may be seen: then nothing will be confirmed before whoever
    /// is behind a queue goes on. Or there are too many that are too late.
    pub fn is_held_back(&self) -> bool {
        self.late > MAX || self.late > HELD_BACK && self.heard.elapsed() > STANDSTILL
    }

    /// It takes messages again, after it did not.
    pub fn goes_on(&mut self) {
        self.heard = Instant::now();
    }

    fn note(&mut self, place: u64, outcome: lapin::Result<Confirmation>) -> lapin::Result<()> {
        let confirmation = match outcome {
            Ok(confirmation) => confirmation,
            Err(error) => {
                let message = self.unconfirmed.get_mut(&place);
                message.into_iter().for_each(|message| message.error = Some(error.clone()));
                return Err(error);
            }
        };
        self.heard = Instant::now();
        let is_ack = confirmation.is_ack();
        let returned = confirmation.take_message();
        if let Some(returns) = &mut self.returns {
            let returned = returned.as_ref().and_then(|message| message.delivery.properties.message_id().as_ref());
            returns.confirmed(place, returned);
        }
        let Some(message) = self.unconfirmed.remove(&place) else { return Ok(()) };
        match is_ack {
            true if self.returns.is_some() => _ = self.confirmed.insert(place, message),
            true => self.settle_one(place, message, Job::taken),
            // A queue would not have it, or is broken.
            false => self.settle_one(place, message, |job| job.fail(Failure::Refused)),
        }
        Ok(())
    }

    /// Those of which is known whether they have come back.
    fn answer_confirmed(&mut self) {
        let Some(returns) = &self.returns else { return };
        let unconfirmed = self.unconfirmed.first_key_value().map(|(place, _)| *place);
        let known = self.confirmed.keys();
        let known = known.filter_map(|place| Some((*place, returns.has_come_back(*place, unconfirmed)?)));
        for (place, has_come_back) in known.collect::<Vec<_>>() {
            let Some(message) = self.confirmed.remove(&place) else { continue };
            let told = |job: Job| if has_come_back { job.fail(Failure::Refused) } else { job.taken() };
            self.settle_one(place, message, told);
        }
    }

    fn settle_one(&mut self, place: u64, message: Message, tell: impl FnOnce(Job)) {
        self.forget(place, &message);
        if let Some(job) = message.job {
            tell(job);
        }
    }

    fn forget(&mut self, place: u64, message: &Message) {
        self.late -= usize::from(message.job.is_none());
        if let Some(returns) = &mut self.returns {
            returns.forget(place, &message.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::sync::Arc;

    use super::*;
    use crate::channel::Policies;
    use crate::lane::{Bus, Call, Command, ConnectionId, Content, LaneEnd, Part, Service, Ticket};
    use crate::service::{Jobs, Queue, ServiceStatus};

    fn queue() -> (Queue, Jobs, LaneEnd) {
        let (bus, mut ends) = Bus::open(1, Arc::default(), Policies::default(), Duration::ZERO).expect("a lane");
        let status = Arc::new(ServiceStatus::new("chat", "rabbitmq", 10_000));
        status.link.connected();
        let (queue, jobs) = Queue::new(bus, status);
        (queue, jobs, ends.remove(0))
    }

    /// One that nobody waits for at once.
    fn late_job((queue, jobs, _): &mut (Queue, Jobs, LaneEnd)) -> Job {
        let from = ConnectionId { shard: 0, slot: 1, generation: 2 };
        queue.call(Call { from, ticket: Ticket(1), content: Content::default() }).expect("room");
        jobs.try_next().expect("a job")
    }

    fn told(end: &LaneEnd) -> Vec<Failure> {
        let taken = std::iter::from_fn(|| end.take());
        let failure = taken.map(|taken| match taken.command {
            Command::Respond(response) => match response.part {
                Part::Failed(failure) => failure,
                _ => panic!("no failure"),
            },
            _ => panic!("no answer"),
        });
        failure.collect()
    }

    #[test]
    fn who_is_late_gives_the_place_back_within_bounds() {
        let (mut queue, mut outstanding) = (queue(), Outstanding::new(false));
        for round in 0..=2 {
            for n in 0..MAX {
                assert!(outstanding.has_room(), "{round} {n}");
                outstanding.begin(late_job(&mut queue), n.to_string().into(), "key".into(), pending());
                if n % 64 == 63 {
                    outstanding.give_up_late();
                    assert_eq!(told(&queue.2), [Failure::Late; 64]);
                }
                assert_eq!(outstanding.is_held_back(), outstanding.late > MAX);
            }
        }
        assert!(outstanding.is_held_back());
    }

    #[tokio::test]
    async fn what_is_confirmed_too_late_is_ignored_and_counts_no_more() {
        let (mut queue, mut outstanding) = (queue(), Outstanding::new(true));
        let confirm = ready(Ok(Confirmation::Ack(None)));
        outstanding.begin(late_job(&mut queue), "a".into(), "key".into(), confirm);
        outstanding.give_up_late();
        assert_eq!((told(&queue.2), outstanding.late), (vec![Failure::Late], 1));
        outstanding.settle().await.expect("a confirm");
        assert!(told(&queue.2).is_empty() && outstanding.is_empty() && outstanding.unconfirmed.is_empty());
        assert_eq!(outstanding.late, 0);
    }
}
