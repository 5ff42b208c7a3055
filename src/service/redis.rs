//! A service that is a channel or a stream of Redis. What is there goes out as one pipeline, in the order of the calls,
//! and while it is on its way the next one gathers: one round trip whatever the number.
//!
//! A message is *taken* when Redis has answered its command: `PUBLISH` is at most once (subscribers that are away miss
//! it), `XADD` is in the stream. A pipeline whose answer is lost is told as failed, although Redis may have done it.
//!
//! A server that says of itself that it is of no use (a replica now, or still reading its data) is left like one that
//! does not answer, and so is one that the sentinels do not name any more, whatever it still confirms. One that is full
//! is kept: it may have room for the next message.

use std::cell::Cell;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::{Cmd, RedisError, RedisResult, cmd};
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use crate::broker::redis::{Commands, Connection, is_full, is_lost};
use crate::config::{Body, Redis, RedisService};
use crate::control::{Backoff, Control, Stop};
use crate::lane::{Content, Failure};

use super::envelope::envelope;
use super::{Job, Jobs, ServiceStatus};

/// Commands of one pipeline.
const PIPELINE_MAX: usize = 256;

/// Between two looks at a connection on which nothing is said.
const PULSE: Duration = Duration::from_secs(1);

/// A Redis that is full is told of again when it was not for so long.
const TOLD_AGAIN: Duration = Duration::from_secs(60);

/// Starts the service's task and returns at once.
///
/// # Errors
///
/// When its thread cannot be had, or the settings name no Redis.
pub fn start(redis: &Redis, service: RedisService, jobs: Jobs, control: &Control) -> io::Result<()> {
    let commands = Commands::of(redis)?;
    let work =
        Work { address: commands.address().to_owned(), service, status: jobs.status.clone(), full_at: Cell::default() };
    control.run_apart(jobs.status.task_name(), async move |stop: Stop| {
        stop.run_until_cancelled(work.run(commands, jobs)).await;
    })
}

/// A connection to a server that answers. One that is still reading its data, say, lets in and does nothing.
async fn connect(commands: &mut Commands) -> RedisResult<Connection> {
    let mut connection = commands.connect().await?;
    commands.while_named(connection.ping()).await??;
    Ok(connection)
}

/// What the task works with.
struct Work {
    /// For the log.
    address: String,
    service: RedisService,
    status: Arc<ServiceStatus>,
    /// When it last said that it takes nothing.
    full_at: Cell<Option<Instant>>,
}

impl Work {
    /// Connects, serves, and connects again.
    async fn run(self, mut commands: Commands, mut jobs: Jobs) {
        let mut backoff = Backoff::default();
        loop {
            let error = match connect(&mut commands).await {
                Ok(connection) => {
                    if self.status.link.connected() {
                        info!(service = self.status.name(), redis = %self.address, "connected");
                    }
                    let since = Instant::now();
                    let served = commands.while_named(self.serve(connection, &mut jobs)).await;
                    let Err(error) = served.and_then(|served| served) else { return };
                    backoff.lived(since.elapsed());
                    error
                }
                Err(error) => error,
            };
            let delay = backoff.delay();
            if self.status.link.disconnected(error.to_string()) {
                let service = self.status.name();
                warn!(service, redis = %self.address, %error, "not connected to Redis, trying until it is back");
            } else {
                debug!(redis = %self.address, %error, retry_in = ?delay, "still not connected to Redis");
            }
            // Those who came before it was known that Redis is away.
            jobs.refuse(Failure::Away);
            sleep(delay).await;
        }
    }

    /// Until the connection is lost, or the shards have gone.
    async fn serve(&self, mut connection: Connection, jobs: &mut Jobs) -> RedisResult<()> {
        loop {
            let Ok(batch) = timeout(PULSE, jobs.several(PIPELINE_MAX)).await else {
                connection.ping().await?;
                continue;
            };
            if batch.is_empty() {
                return Ok(());
            }
            self.send(&mut connection, batch).await?;
        }
    }

    /// One pipeline. A command that Redis refuses fails alone; a connection that is lost fails all that it had not
    /// done.
    async fn send(&self, connection: &mut Connection, batch: Vec<Job>) -> RedisResult<()> {
        let (mut commands, mut sent) = (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
        for job in batch {
            if job.time_left().is_zero() {
                // Its client has been told so: it must not come about behind that.
                job.fail(Failure::Late);
                continue;
            }
            match self.command(&job.content) {
                Some(command) => {
                    commands.push(command);
                    sent.push(job);
                }
                None => job.fail(Failure::Refused),
            }
        }
        if sent.is_empty() {
            return Ok(());
        }
        let mut lost = Ok(());
        for (job, answer) in sent.into_iter().zip(connection.send(commands).await?) {
            match answer {
                Ok(_) => job.taken(),
                Err(error) if is_lost(&error) => {
                    job.fail(Failure::Away);
                    if connection.is_ended_by(&error) {
                        lost = Err(error);
                    }
                }
                Err(error) if is_full(&error) => {
                    self.tell_full(&error);
                    job.fail(Failure::Away);
                }
                Err(error) => {
                    self.tell_refused(&error);
                    job.fail(Failure::Refused);
                }
            }
        }
        lost
    }

    /// Once for as long as it lasts.
    fn tell_full(&self, error: &RedisError) {
        let before = self.full_at.replace(Some(Instant::now()));
        if before.is_none_or(|at| at.elapsed() > TOLD_AGAIN) {
            let service = self.status.name();
            warn!(service, redis = %self.address, %error, "Redis takes nothing for now, messages are refused");
        }
        self.status.link.troubled(error.to_string());
    }

    fn tell_refused(&self, error: &RedisError) {
        debug!(service = self.status.name(), redis = %self.address, %error, "refused by Redis");
    }

    /// `None` when the message lacks what its channel or stream is named by.
    fn command(&self, content: &Content) -> Option<Cmd> {
        let write = |name: &mut String, _, value: &str| name.push_str(value);
        if let Some(subject) = &self.service.publish {
            let mut publish = cmd("PUBLISH");
            publish.arg(subject.fill(content, write)?);
            match self.service.body {
                Body::Message => publish.arg(&*content.body),
                Body::Envelope => publish.arg(envelope(content)),
            };
            return Some(publish);
        }
        let mut add = cmd("XADD");
        add.arg(self.service.stream.as_ref()?.fill(content, write)?);
        add.arg("MAXLEN").arg("~").arg(self.service.stream_max).arg("*");
        add.arg("type").arg(&*content.kind).arg("user_id").arg(&*content.user_id);
        add.arg("session_id").arg(&*content.session_id);
        let optional = [("user_type", &content.user_type), ("channel", &content.channel), ("key", &content.key)];
        for (name, value) in optional {
            if let Some(value) = value {
                add.arg(name).arg(&**value);
            }
        }
        add.arg("message").arg(&*content.body);
        Some(add)
    }
}
