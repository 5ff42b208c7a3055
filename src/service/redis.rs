//! A service that is a channel or a stream of Redis. What is there goes out as one pipeline, in the order of the calls,
//! and while it is on its way the next one gathers: one round trip whatever the number. Streams of a Redis Cluster live
//! on several servers, each of which has pipelines of its own ([`cluster`]).
//!
//! A message is *taken* when Redis has answered its command: `PUBLISH` is at most once (subscribers that are away miss
//! it), `XADD` is in the stream. A pipeline whose answer is lost is told as failed, although Redis may have done it.
//!
//! A server that says of itself that it is of no use (a replica now, or still reading its data) is left like one that
//! does not answer, and so is one that the sentinels do not name any more, whatever it still confirms. One that is full
//! is kept: it may have room for the next message.

mod cluster;
mod command;
mod server;
mod slots;

use std::io;
use std::time::{Duration, Instant};

use redis::{Pipeline, RedisResult};
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use crate::broker::redis::cluster::Cluster;
use crate::broker::redis::{Connection, Server};
use crate::config::{Redis, RedisMode, RedisService};
use crate::control::{Backoff, Control, Stop};
use crate::lane::Failure;

use self::command::Writer;
use super::{Job, Jobs};

/// Commands of one pipeline.
const PIPELINE_MAX: usize = 256;

/// Between two looks at a connection on which nothing is said.
const PULSE: Duration = Duration::from_secs(1);

/// Starts the service's task and returns at once.
///
/// # Errors
///
/// When its thread cannot be had, or the settings name no Redis.
pub fn start(redis: &Redis, service: RedisService, jobs: Jobs, control: &Control) -> io::Result<()> {
    let name = jobs.status.task_name();
    if redis.mode == RedisMode::Cluster && service.stream.is_some() {
        let cluster = Cluster::of(redis)?;
        let writer = Writer::new(service, jobs.status.clone(), &cluster.address);
        return control.run_apart(name, async move |stop: Stop| {
            stop.run_until_cancelled(cluster::run(writer, cluster, jobs)).await;
        });
    }
    let server = Server::of(redis)?;
    let writer = Writer::new(service, jobs.status.clone(), &server.address);
    control.run_apart(name, async move |stop: Stop| {
        stop.run_until_cancelled(writer.run(server, jobs)).await;
    })
}

impl Writer {
    /// Connects, serves, and connects again.
    async fn run(self, mut server: Server, mut jobs: Jobs) {
        let mut backoff = Backoff::default();
        loop {
            let error = match server.connect().await {
                Ok(connection) => {
                    if self.status.link.connected() {
                        info!(service = self.status.name(), redis = %self.address, "connected");
                    }
                    let since = Instant::now();
                    let served = server.while_named(self.serve(connection, &mut jobs)).await;
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
        let (mut commands, mut sent) = (Pipeline::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
        for job in batch {
            if let Some((job, command)) = self.write(job, connection) {
                commands.add_command(command);
                sent.push(job);
            }
        }
        if sent.is_empty() {
            return Ok(());
        }
        let mut lost = Ok(());
        for (job, answer) in sent.into_iter().zip(connection.send(commands).await?) {
            lost = lost.and(self.settle(job, answer));
        }
        lost
    }
}
