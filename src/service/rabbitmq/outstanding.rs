//! Messages that RabbitMQ has been sent and has not confirmed yet.
//!
//! Each is answered when its confirm comes, in whatever order. Where a message must reach a queue (`mandatory`),
//! RabbitMQ sends those that reach none back before it confirms them, and the client library hands them out with the
//! confirm that comes next, which need not be theirs. There the answers wait until nothing is outstanding: by then all
//! that came back has been handed out, and each is known by its id.
//!
//! When the channel is closed all that it has not confirmed is [taken out](Outstanding::take_unconfirmed), to be sent
//! again or not. What is dropped is told as failed.

use std::collections::HashSet;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use lapin::types::ShortString;

use crate::lane::Failure;
use crate::service::Job;

/// Messages that wait for their confirms at once.
pub const MAX: usize = 1024;

/// What has become of a message.
pub struct Sent {
    pub job: Job,
    /// The message's.
    pub id: ShortString,
    pub outcome: lapin::Result<lapin::Confirmation>,
}

/// A message that the channel was closed over.
pub struct Unconfirmed {
    pub job: Job,
    pub id: ShortString,
    pub error: lapin::Error,
}

/// With its place in the order.
type Sending = Pin<Box<dyn Future<Output = (u64, Sent)>>>;

pub struct Outstanding {
    sending: FuturesUnordered<Sending>,
    /// The place of the next one.
    next: u64,
    mandatory: bool,
    /// Where they are mandatory: confirmed and not answered, as they may have come back.
    confirmed: Vec<(Job, ShortString)>,
    /// The ids of those that have.
    returned: HashSet<ShortString>,
    /// By their places.
    unconfirmed: Vec<(u64, Unconfirmed)>,
}

impl Outstanding {
    pub fn new(mandatory: bool) -> Self {
        Self {
            sending: FuturesUnordered::new(),
            next: 0,
            mandatory,
            confirmed: Vec::new(),
            returned: HashSet::new(),
            unconfirmed: Vec::new(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.sending.is_empty()
    }

    pub fn has_room(&self) -> bool {
        self.sending.len() < MAX && self.confirmed.is_empty()
    }

    /// Puts a message into the channel, behind those that were begun before.
    pub fn begin(&mut self, sending: impl Future<Output = Sent> + 'static) {
        let place = self.next;
        self.next += 1;
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
        let Some((place, sent)) = self.sending.next().await else { return std::future::pending().await };
        self.note(place, sent);
        match self.unconfirmed.first() {
            Some((_, Unconfirmed { error, .. })) => Err(error.clone()),
            None => Ok(()),
        }
    }

    /// What the channel that is closed has not confirmed, in the order in which it was sent.
    pub async fn take_unconfirmed(&mut self) -> Vec<Unconfirmed> {
        while let Some((place, sent)) = self.sending.next().await {
            self.note(place, sent);
        }
        let mut unconfirmed = std::mem::take(&mut self.unconfirmed);
        unconfirmed.sort_unstable_by_key(|(place, _)| *place);
        unconfirmed.into_iter().map(|(_, message)| message).collect()
    }

    fn note(&mut self, place: u64, Sent { job, id, outcome }: Sent) {
        match outcome {
            Ok(confirmation) => {
                let is_ack = confirmation.is_ack();
                let returned = confirmation.take_message();
                self.returned.extend(returned.and_then(|message| message.delivery.properties.message_id().clone()));
                if is_ack {
                    self.confirmed.push((job, id));
                } else {
                    // A queue would not have it, or is broken.
                    job.fail(Failure::Refused);
                }
            }
            Err(error) => self.unconfirmed.push((place, Unconfirmed { job, id, error })),
        }
        if !self.mandatory || self.sending.is_empty() {
            for (job, id) in self.confirmed.drain(..) {
                if self.returned.contains(&id) { job.fail(Failure::Refused) } else { job.taken() }
            }
            self.returned.clear();
        }
    }
}
