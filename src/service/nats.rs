//! A service behind a subject of NATS. What is there goes out as one batch, in the order of the calls, and what comes
//! back settles it:
//!
//! | the service | a message has been taken when |
//! | --- | --- |
//! | publishes | the server has sent us back a message that was published behind its batch |
//! | `request` | whoever listens to the subject has replied to it |
//! | `jetstream` | the stream has confirmed it |
//!
//! All three are messages to one inbox of ours, by number. The client library has requests of its own, but keeps those
//! that are never answered, and what it calls flushing promises nothing of the server.
//!
//! A message that has no answer in its time says nothing of the connection. So we write to ourselves then, and if that
//! does not come back, we are not heard, or do not hear, and the connection is given up.
//!
//! Invariant: what waits for an answer is bounded ([`OUTSTANDING_MAX`]), and what the server may refuse without one by
//! what the library can tell of at once ([`REFUSALS_MAX`]): no echo comes without the refusals before it. What the
//! library holds is one batch.

mod message;
mod outstanding;

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::{Client, Message, PublishErrorKind, Subscriber};
use bytes::Bytes;
use futures_util::future::{Fuse, FusedFuture, FutureExt};
use tokio::time::{Interval, MissedTickBehavior, interval, sleep};
use tracing::{debug, info, warn};

use crate::broker::nats::{Connection, Lost, News, REFUSALS_MAX, RESPONSE_TIMEOUT, next};
use crate::config::{Config, Nats, NatsService, NatsUrl};
use crate::control::{Backoff, Control, Stop};
use crate::lane::Failure;

use super::{Job, Jobs, ServiceStatus};

use message::Settled;
use outstanding::{Outstanding, Sent, Waiting};

/// Messages of one batch.
const BATCH_MAX: usize = 64;

/// Messages that wait for what comes back.
const OUTSTANDING_MAX: usize = 4096;

/// Between two looks for messages that nobody waits for any more.
const SWEEP: Duration = Duration::from_millis(250);

/// Starts the service's task and returns at once.
///
/// # Errors
///
/// When its thread cannot be had, or the settings name no NATS.
pub fn start(config: &Config, service: NatsService, jobs: Jobs, control: &Control) -> io::Result<()> {
    let url = config.nats.url.clone().ok_or_else(|| io::Error::other("nats.url is not set"))?;
    let (settings, node, status) = (config.nats.clone(), config.server.id.clone(), jobs.status.clone());
    let work = Work { settings, url, node, service, status };
    control.run_apart(jobs.status.task_name(), async move |stop: Stop| {
        stop.run_until_cancelled(work.run(jobs)).await;
    })
}

/// What the task works with.
struct Work {
    settings: Nats,
    url: NatsUrl,
    /// `server.id`
    node: String,
    service: NatsService,
    status: Arc<ServiceStatus>,
}

impl Work {
    /// Connects, serves, and connects again.
    async fn run(self, mut jobs: Jobs) {
        let mut backoff = Backoff::default();
        loop {
            let lost = match Session::open(&self).await {
                Ok(session) => {
                    if self.status.link.connected() {
                        info!(service = self.status.name(), nats = %self.url, "connected");
                    }
                    let since = Instant::now();
                    let Err(lost) = session.serve(&mut jobs).await else { return };
                    backoff.lived(since.elapsed());
                    lost
                }
                Err(lost) => lost,
            };
            let delay = backoff.delay();
            if self.status.link.disconnected(lost.to_string()) {
                let service = self.status.name();
                warn!(service, nats = %self.url, error = %lost, "not connected to NATS, trying until it is back");
            } else {
                debug!(nats = %self.url, error = %lost, retry_in = ?delay, "still not connected to NATS");
            }
            // Those who came before it was known that NATS is away.
            jobs.refuse(Failure::Away);
            sleep(delay).await;
        }
    }
}

/// One connection, and what was sent through it and has no answer yet.
struct Session<'a> {
    work: &'a Work,
    connection: Connection,
    /// All answers come below it, each to its number.
    inbox: String,
    answers: Subscriber,
    outstanding: Outstanding,
    sweep: Interval,
}

/// What there is to do next.
enum Next {
    News(News),
    Answer(Result<Message, Lost>),
    Sweep,
    Flushed,
    Jobs(Vec<Job>),
}

impl<'a> Session<'a> {
    async fn open(work: &'a Work) -> Result<Self, Lost> {
        let name = format!("ringway {} {}", work.node, work.status.name());
        let mut connection = Connection::open(&work.settings, &work.url, &name).await?;
        let inbox = connection.client.new_inbox();
        let answers = connection.client.subscribe(format!("{inbox}.*")).await.map_err(Lost::from)?;
        connection.confirm().await?;
        let mut sweep = interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self { work, connection, inbox, answers, outstanding: Outstanding::default(), sweep })
    }

    /// Until the connection is lost, or the shards have gone.
    async fn serve(mut self, jobs: &mut Jobs) -> Result<(), Lost> {
        let mut flushed = pin!(Fuse::terminated());
        loop {
            let room = self.room();
            let next = tokio::select! {
                biased;
                news = self.connection.news() => Next::News(news),
                answer = next(&mut self.answers) => Next::Answer(answer),
                _ = self.sweep.tick() => Next::Sweep,
                () = &mut flushed, if !flushed.is_terminated() => Next::Flushed,
                batch = jobs.several(room), if room > 0 && flushed.is_terminated() => Next::Jobs(batch),
            };
            match next {
                Next::News(news) => self.hear(news)?,
                Next::Answer(answer) => self.settle(&answer?).await?,
                Next::Sweep => self.look_for_the_late().await?,
                Next::Flushed => {}
                Next::Jobs(batch) if batch.is_empty() => return Ok(()),
                Next::Jobs(batch) => {
                    self.send(batch).await?;
                    // No more is said before the kernel has this.
                    flushed.set(flush(self.connection.client.clone()).fuse());
                }
            }
        }
    }

    /// How many messages may go out.
    fn room(&self) -> usize {
        let left = if self.is_answered() {
            OUTSTANDING_MAX - self.outstanding.jobs()
        } else {
            // It may refuse the echoes as well.
            (REFUSALS_MAX - 1).saturating_sub(self.outstanding.jobs() + self.outstanding.answers())
        };
        left.min(BATCH_MAX)
    }

    async fn send(&mut self, batch: Vec<Job>) -> Result<(), Lost> {
        let mut sent = Vec::new();
        for job in batch {
            let content = &job.content;
            if job.time_left().is_zero() {
                job.fail(Failure::Late);
                continue;
            }
            let Some(subject) = message::subject(&self.work.service, content) else {
                job.fail(Failure::Refused);
                continue;
            };
            let (headers, body) = (message::headers(content), Bytes::copy_from_slice(content.body.as_bytes()));
            let client = &self.connection.client;
            let published = if self.is_answered() {
                let reply = self.answer_to(self.outstanding.next());
                client.publish_with_reply_and_headers(subject.clone(), reply, headers, body).await
            } else {
                client.publish_with_headers(subject.clone(), headers, body).await
            };
            match published {
                Ok(()) if self.is_answered() => self.outstanding.put(Waiting::One(Sent { subject, job })),
                Ok(()) => sent.push(Sent { subject, job }),
                Err(error) if error.kind() == PublishErrorKind::Send => return Err(Lost::from(error)),
                Err(error) => {
                    self.tell_refused(&error.to_string());
                    job.fail(Failure::Refused);
                }
            }
        }
        if sent.is_empty() { Ok(()) } else { self.echo(sent).await }
    }

    /// Writes to ourselves: when that is back, the server has all that was sent before.
    async fn echo(&mut self, sent: Vec<Sent>) -> Result<(), Lost> {
        let echo = self.answer_to(self.outstanding.next());
        self.outstanding.put(Waiting::Batch { sent, since: Instant::now() });
        self.connection.client.publish(echo, Bytes::new()).await.map_err(Lost::from)
    }

    /// Whether each message has an answer of its own.
    fn is_answered(&self) -> bool {
        self.work.service.request || self.work.service.jetstream
    }

    fn answer_to(&self, number: u64) -> String {
        format!("{}.{number}", self.inbox)
    }

    /// Whose answer comes to this subject.
    fn number(&self, subject: &str) -> Option<u64> {
        subject.strip_prefix(&self.inbox)?.strip_prefix('.')?.parse().ok()
    }

    async fn settle(&mut self, answer: &Message) -> Result<(), Lost> {
        let Some(number) = self.number(&answer.subject) else { return Ok(()) };
        let mut heard = Ok(());
        if self.outstanding.is_batch(number) {
            // What the server has refused of it.
            for news in self.connection.news_before().await {
                heard = heard.and(self.hear(news));
            }
        }
        match self.outstanding.take(number) {
            Some(Waiting::One(Sent { job, .. })) => self.settle_one(job, answer),
            Some(batch) => batch.into_jobs().for_each(Job::taken),
            // Late, or the second one.
            None => {}
        }
        heard
    }

    fn settle_one(&self, job: Job, answer: &Message) {
        match message::settle(&self.work.service, answer, job.reads_all()) {
            Settled::Taken => job.taken(),
            Settled::Answer(text) => job.answer(text),
            Settled::Failed(failure, why) => {
                self.tell_refused(&why);
                job.fail(failure);
            }
        }
    }

    fn hear(&mut self, news: News) -> Result<(), Lost> {
        match news {
            News::Lost(lost) => return Err(lost),
            News::Refused(words) => self.refuse(&words),
            // Answers that found no room: what they are to is late.
            News::Overrun => {}
        }
        Ok(())
    }

    /// The server has not done something, and says what by its subject: `Permissions Violation for Publish to "a.b"`.
    fn refuse(&mut self, words: &str) {
        self.tell_refused(words);
        let Some(subject) = message::quoted(words) else { return };
        match self.number(&subject) {
            // We may not write to ourselves. That is an answer as well.
            Some(number) if self.outstanding.is_batch(number) => {
                self.outstanding.take(number).into_iter().flat_map(Waiting::into_jobs).for_each(Job::taken);
            }
            Some(number) => {
                let jobs = self.outstanding.take(number).into_iter().flat_map(Waiting::into_jobs);
                jobs.for_each(|job| job.fail(Failure::Refused));
            }
            None => self.outstanding.take_sent_to(&subject).into_iter().for_each(|job| job.fail(Failure::Refused)),
        }
    }

    /// Gives up what nobody waits for any more; and the connection, if we hear no answer of the server's.
    async fn look_for_the_late(&mut self) -> Result<(), Lost> {
        let late = self.outstanding.take_late();
        if !late.is_empty() && !self.outstanding.has_batch() {
            self.echo(Vec::new()).await?;
        }
        late.into_iter().for_each(|job| job.fail(Failure::Late));
        if self.outstanding.is_overdue(RESPONSE_TIMEOUT) { Err(Lost::silent()) } else { Ok(()) }
    }

    fn tell_refused(&self, why: &str) {
        self.work.status.tell_failed(why);
    }
}

impl Drop for Session<'_> {
    /// Whether what is left was done is not known.
    fn drop(&mut self) {
        self.outstanding.take_all().for_each(|job| job.fail(Failure::Away));
    }
}

/// Returns when the kernel has all that was said before. A connection that is lost is news.
async fn flush(client: Client) {
    _ = client.flush().await;
}
