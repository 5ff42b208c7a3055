//! A service that is an exchange of RabbitMQ. What is there goes out through one channel, in the order of the calls,
//! and a message is *taken* when RabbitMQ confirms it: it is in every queue that it belongs in, on disk where the queue
//! is durable. Up to [`outstanding::MAX`] wait for that at once.
//!
//! What was not confirmed when the connection was lost is told as failed, although RabbitMQ may have it. While RabbitMQ
//! takes nothing, as when it is low on memory, the service counts as away: nothing piles up before it. A queue that
//! stands still has RabbitMQ hold back all that comes through the connection sooner or later; so one on which nothing
//! is confirmed any more is given up for another.
//!
//! For a message that is too large RabbitMQ closes the channel, and says what it takes: from then on larger ones are
//! refused [before they go out](size), and all others are sent again, with their ids.
//!
//! For a message that we may not write RabbitMQ closes the channel and drops what came behind it. What came before it
//! and was not confirmed is sent again through another channel, as the messages that they were: with their ids, by
//! which whoever got one of them before knows it. The others are [doubtful]: whether we may write to their keys is
//! asked first, and so it is for all that comes from then on, so that no second message closes the channel.

mod asker;
mod doubtful;
mod keys;
mod message;
mod outstanding;
mod returns;
mod size;

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{Stream, StreamExt};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{Channel, Event};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tracing::{debug, info, warn};

use crate::broker::rabbitmq::{Broker, CONNECT_DEADLINE, Lost, Session, declare_exchange};
use crate::config::{RabbitMq, RabbitMqService};
use crate::control::{Backoff, Control, Stop};
use crate::lane::Failure;

use self::asker::{Answer, Asker, Question};
use self::doubtful::{Doubtful, Message};
use self::keys::{Keys, is_about, refusal};
use self::message::{Address, Addressing};
use self::outstanding::{Outstanding, Unconfirmed};
use super::{Job, Jobs, ServiceStatus};

/// Between two looks for messages that nobody waits for any more.
const SWEEP: Duration = Duration::from_millis(250);

/// Starts the service's task and returns at once.
///
/// # Errors
///
/// When its thread cannot be had, or the settings name no RabbitMQ that could exist.
pub fn start(settings: &RabbitMq, service: RabbitMqService, jobs: Jobs, control: &Control) -> io::Result<()> {
    let url = settings.url.as_ref().ok_or_else(|| io::Error::other("rabbitmq.url is not set"))?;
    let work = Work {
        broker: Broker::new(settings, url)?,
        options: BasicPublishOptions { mandatory: service.mandatory, ..BasicPublishOptions::default() },
        addressing: Addressing::new(settings, service)?,
        status: jobs.status.clone(),
    };
    control.run_apart(jobs.status.task_name(), async move |stop: Stop| {
        stop.run_until_cancelled(work.run(jobs)).await;
    })
}

/// What the task works with.
struct Work {
    broker: Broker,
    options: BasicPublishOptions,
    addressing: Addressing,
    status: Arc<ServiceStatus>,
}

impl Work {
    /// Connects, serves, and connects again.
    async fn run(self, mut jobs: Jobs) {
        let (mut backoff, mut kept) = (Backoff::default(), Kept::default());
        let (service, address) = (self.status.name(), &self.broker.address);
        while let Err(lost) = self.connect_and_serve(&mut jobs, &mut backoff, &mut kept).await {
            if kept.again.is_some() {
                info!(service, rabbitmq = %address, error = %lost, "connecting again");
                continue;
            }
            let delay = backoff.delay();
            if self.status.link.disconnected(lost.to_string()) {
                warn!(service, rabbitmq = %address, error = %lost, "not connected to RabbitMQ, trying until it is back");
            } else {
                debug!(service, rabbitmq = %address, error = %lost, retry_in = ?delay, "still not connected to RabbitMQ");
            }
            // Another one may take larger messages.
            kept.size_max = None;
            // Those who came before it was known that RabbitMQ is away.
            kept.doubtful = Doubtful::default();
            jobs.refuse(Failure::Away);
            sleep(delay).await;
        }
    }

    /// Until the connection is lost, or the shards have gone.
    async fn connect_and_serve(&self, jobs: &mut Jobs, backoff: &mut Backoff, kept: &mut Kept) -> Result<(), Lost> {
        // They are told if this fails.
        let again = kept.again.take();
        let session = self.broker.connect(&format!("ringway service {}", self.status.name())).await?;
        let events = session.connection.events_listener();
        let channel = timeout(CONNECT_DEADLINE, self.channel(&session)).await.map_err(|_| Lost::Silent)??;
        if again.is_some() {
            // It had been lost, and nobody was told.
            self.status.link.reconnects.add(1);
        }
        if self.status.link.connected() {
            info!(service = self.status.name(), rabbitmq = %self.broker.address, "connected");
        }
        let since = Instant::now();
        let outstanding = Outstanding::new(self.options.mandatory);
        let (to_ask, questions) = mpsc::channel(1);
        let (answers, answered) = mpsc::channel(1);
        let exchange = self.addressing.exchange.clone();
        let asker = Asker::new(&self.broker, &session.connection, exchange, self.status.name());
        kept.doubtful.forget_question();
        let mut publishing = Publishing { work: self, session: &session, channel, outstanding, kept, to_ask, answered };
        publishing.send_again(again.unwrap_or_default());
        let served = tokio::select! {
            served = publishing.serve(events, jobs) => served,
            () = asker.run(questions, answers) => Ok(()),
        };
        backoff.lived(since.elapsed());
        served
    }

    /// One that confirms, to an exchange that is there.
    async fn channel(&self, session: &Session) -> lapin::Result<Channel> {
        let channel = session.connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        declare_exchange(&channel, &self.addressing.exchange).await?;
        Ok(channel)
    }
}

/// What one connection leaves to the next.
#[derive(Default)]
struct Kept {
    keys: Keys,
    doubtful: Doubtful,
    /// The bytes of a message that RabbitMQ takes, where it has said so.
    size_max: Option<usize>,
    /// When the connection was lost over a message that was refused: what was not confirmed, to be sent again at once.
    again: Option<Vec<Unconfirmed>>,
}

/// One connection, and what was sent through it and is not confirmed.
struct Publishing<'a> {
    work: &'a Work,
    session: &'a Session,
    channel: Channel,
    outstanding: Outstanding,
    kept: &'a mut Kept,
    /// To the asker, one at a time.
    to_ask: mpsc::Sender<Question>,
    answered: mpsc::Receiver<Answer>,
}

impl Publishing<'_> {
    /// Until the connection is lost, or the shards have gone.
    async fn serve(mut self, events: impl Stream<Item = Event>, jobs: &mut Jobs) -> Result<(), Lost> {
        let mut events = pin!(events);
        let mut sweep = interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.ask();
            tokio::select! {
                biased;
                // First: RabbitMQ says why it closes a channel before the connection is lost over that.
                settled = self.outstanding.settle(), if !self.outstanding.is_empty() => if let Err(error) = settled {
                    self.open_again(error).await?;
                },
                event = events.next() => self.hear(event.ok_or(Lost::Ended)?, jobs)?,
                Some(answer) = self.answered.recv() => self.hear_answer(answer)?,
                _ = sweep.tick() => self.look_for_the_late()?,
                job = jobs.next(), if self.outstanding.has_room() => match job {
                    Some(job) => self.take(job),
                    None => return Ok(()),
                },
            }
        }
    }

    /// Tells those that nobody waits for any more; and gives up the connection, if it is held back.
    fn look_for_the_late(&mut self) -> Result<(), Lost> {
        self.outstanding.give_up_late();
        // Who takes nothing for now confirms nothing, and says when he goes on.
        let is_blocked = self.session.connection.status().blocked();
        if !is_blocked && self.outstanding.is_held_back() { Err(Lost::HeldBack) } else { Ok(()) }
    }

    fn hear(&mut self, event: Event, jobs: &mut Jobs) -> Result<(), Lost> {
        let Work { broker, status, .. } = self.work;
        let (service, address) = (status.name(), &broker.address);
        match event {
            // Its channel is closed, which those who wait for confirms know.
            Event::Error(error) if refusal(&error).is_some() || size::limit(&error).is_some() => {}
            Event::Error(error) => return Err(error.into()),
            Event::ConnectionBlocked(reason) => {
                warn!(service, rabbitmq = %address, reason, "RabbitMQ takes nothing for now");
                status.link.disconnected(format!("RabbitMQ takes nothing for now: {reason}"));
                jobs.refuse(Failure::Away);
            }
            Event::ConnectionUnblocked => {
                info!(service, rabbitmq = %address, "RabbitMQ takes messages again");
                status.link.connected();
                self.outstanding.goes_on();
            }
            _ => {}
        }
        Ok(())
    }

    /// The channel is closed. If that is for a message that is too large, all others go through another channel. If it
    /// is for one that we may not write, those do that came before it, and of the rest, which RabbitMQ has dropped, it
    /// is asked what may be written.
    async fn open_again(&mut self, error: lapin::Error) -> Result<(), Lost> {
        let unconfirmed = self.outstanding.take_unconfirmed();
        let mut unconfirmed = timeout(CONNECT_DEADLINE, unconfirmed).await.map_err(|_| Lost::Silent)?;
        if !self.learn_size(&unconfirmed) && !self.doubt(&mut unconfirmed) {
            // It would not be better with the next message.
            return Err(error.into());
        }
        let opening = timeout(CONNECT_DEADLINE, self.work.channel(self.session)).await;
        match opening.map_err(|_| Lost::Silent).and_then(|opened| Ok(opened?)) {
            Ok(channel) => {
                self.channel = channel;
                self.send_again(unconfirmed);
                Ok(())
            }
            // The client library still sends through the old channel what it has begun to, and RabbitMQ ends the
            // connection for that.
            Err(lost) => {
                self.kept.again = Some(unconfirmed);
                Err(lost)
            }
        }
    }

    /// Whether the channel was closed over a message that is too large: what is learned is what would not have been.
    /// Of those who wait for their confirms the ones behind may have found the channel closed, and not know why.
    fn learn_size(&mut self, unconfirmed: &[Unconfirmed]) -> bool {
        let Some(max) = unconfirmed.iter().find_map(|message| size::limit(&message.error)) else { return false };
        let is_news = self.kept.size_max.is_none_or(|known| max < known);
        if is_news {
            let service = self.work.status.name();
            warn!(service, bytes = max, "RabbitMQ takes no larger messages: clients that send them are refused");
            self.kept.size_max = Some(max);
        }
        is_news
    }

    /// Whether the channel was closed over a key that we may not write to. Then that one and those behind it are taken
    /// out, to be asked about.
    fn doubt(&mut self, unconfirmed: &mut Vec<Unconfirmed>) -> bool {
        let words = unconfirmed.iter().find_map(|message| refusal(&message.error)).map(str::to_owned);
        let Some(words) = words else { return false };
        // It need not be about a single key.
        let refused = unconfirmed.iter().position(|message| is_about(&words, message.key.as_str()));
        let Some(refused) = refused else { return false };
        self.work.status.tell_failed(&words);
        let dropped = unconfirmed.split_off(refused).into_iter();
        let dropped =
            dropped.filter_map(|Unconfirmed { job, id, key, .. }| Some(Message { job: job?, key, id: Some(id) }));
        let now = Instant::now();
        self.kept.doubtful.put_first(dropped.collect(), now);
        self.kept.keys.doubt(now);
        true
    }

    /// But for those that were told that they are too late.
    fn send_again(&mut self, unconfirmed: Vec<Unconfirmed>) {
        for Unconfirmed { job, id, .. } in unconfirmed {
            job.into_iter().for_each(|job| self.send(job, Some(id.clone())));
        }
    }

    /// A new message: into the channel, unless it is in doubt whether we may write to its key, or one of the same user
    /// waits for that.
    fn take(&mut self, job: Job) {
        // What has no key is told so when it is to be sent.
        let Some(key) = self.work.addressing.routing_key(&job.content) else { return self.send(job, None) };
        let now = Instant::now();
        match self.kept.keys.is_allowed(key.as_str(), now) {
            Some(false) => job.fail(Failure::Refused),
            Some(true) if !self.kept.doubtful.has(&job.content.user_id) => self.send(job, None),
            _ => self.kept.doubtful.push(Message { job, key, id: None }, now),
        }
    }

    /// Asks about those in doubt, unless something is asked already.
    fn ask(&mut self) {
        let Kept { keys, doubtful, .. } = &mut *self.kept;
        let now = Instant::now();
        if let Some(question) = doubtful.question(|key| keys.is_allowed(key, now) == Some(false)) {
            // There is room: nothing else is asked.
            let _ = self.to_ask.try_send(question);
        }
    }

    fn hear_answer(&mut self, answer: Answer) -> Result<(), Lost> {
        let refusal = match answer {
            Ok(refusal) => refusal,
            Err(lost) => {
                // Until they are too late, they are asked about again.
                self.work.status.link.troubled(format!("cannot ask for permissions: {lost}"));
                self.kept.doubtful.forget_question();
                return Ok(());
            }
        };
        let ended = || Lost::Refused(refusal.clone().unwrap_or_default());
        let now = Instant::now();
        let verdict = self.kept.doubtful.answered(refusal.as_deref(), now).ok_or_else(ended)?;
        for Message { job, key, id } in verdict.allowed {
            self.kept.keys.remember(key.as_str(), true, now);
            self.send(job, id);
        }
        if let Some(Message { job, key, .. }) = verdict.refused {
            self.kept.keys.remember(key.as_str(), false, now);
            self.work.status.tell_failed(refusal.as_deref().unwrap_or_default());
            job.fail(Failure::Refused);
        }
        Ok(())
    }

    /// Puts a message into the channel: a new one, or one that had an id.
    fn send(&mut self, job: Job, id: Option<ShortString>) {
        if self.session.connection.status().blocked() {
            job.fail(Failure::Away);
            return;
        }
        if job.time_left().is_zero() {
            // It has been told already that nobody answered: it must not come about behind that.
            job.fail(Failure::Late);
            return;
        }
        if self.kept.size_max.is_some_and(|max| job.content.body.len() > max) {
            job.fail(Failure::Refused);
            return;
        }
        let frame_max = self.session.connection.configuration().frame_max() as usize;
        let Some(address) = self.work.addressing.address(&job.content, frame_max, id) else {
            job.fail(Failure::Refused);
            return;
        };
        let Address { routing_key, properties, id } = address;
        let (channel, exchange) = (self.channel.clone(), self.work.addressing.exchange.clone());
        let (options, body, key) = (self.work.options, job.content.body.clone(), routing_key.clone());
        self.outstanding.begin(job, id, key, async move {
            let confirm = channel.basic_publish(exchange, routing_key, options, body.as_bytes(), properties).await?;
            // The client library has sent it.
            drop(body);
            confirm.await
        });
    }
}
