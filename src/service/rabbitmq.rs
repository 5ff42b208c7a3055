//! A service that is an exchange of RabbitMQ. What is there goes out through one channel, in the order of the calls,
//! and a message is *taken* when RabbitMQ confirms it: it is in every queue that it belongs in, on disk where the queue
//! is durable. Up to [`outstanding::MAX`] wait for that at once.
//!
//! What was not confirmed when the connection was lost is told as failed, although RabbitMQ may have it. While RabbitMQ
//! takes nothing, as when it is low on memory, the service counts as away: nothing piles up before it.

mod message;
mod outstanding;

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use futures_util::{Stream, StreamExt};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{Channel, Event};
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use crate::broker::rabbitmq::{Broker, CONNECT_DEADLINE, Lost, Session, declare_exchange};
use crate::config::{RabbitMq, RabbitMqService};
use crate::control::{Backoff, Control, Stop};
use crate::lane::Failure;

use self::message::Addressing;
use self::outstanding::{Outstanding, Sent};
use super::{Job, Jobs, ServiceStatus, task_name};

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
    control.run_apart(task_name(&jobs), async move |stop: Stop| {
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
        let mut backoff = Backoff::default();
        let (service, address) = (self.status.name(), &self.broker.address);
        while let Err(lost) = self.connect_and_serve(&mut jobs, &mut backoff).await {
            let delay = backoff.delay();
            if self.status.link.disconnected(lost.to_string()) {
                warn!(service, rabbitmq = %address, error = %lost, "not connected to RabbitMQ, trying until it is back");
            } else {
                debug!(service, rabbitmq = %address, error = %lost, retry_in = ?delay, "still not connected to RabbitMQ");
            }
            // Those who came before it was known that RabbitMQ is away.
            jobs.refuse(Failure::Away);
            sleep(delay).await;
        }
    }

    /// Until the connection is lost, or the shards have gone.
    async fn connect_and_serve(&self, jobs: &mut Jobs, backoff: &mut Backoff) -> Result<(), Lost> {
        let session = self.broker.connect(&format!("ringway service {}", self.status.name())).await?;
        let events = session.connection.events_listener();
        let channel = timeout(CONNECT_DEADLINE, self.channel(&session)).await.map_err(|_| Lost::Silent)??;
        self.status.link.connected();
        info!(service = self.status.name(), rabbitmq = %self.broker.address, "connected");
        let since = Instant::now();
        let served = self.serve(&session, &channel, events, jobs).await;
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

    async fn serve(
        &self,
        session: &Session,
        channel: &Channel,
        events: impl Stream<Item = Event>,
        jobs: &mut Jobs,
    ) -> Result<(), Lost> {
        let mut events = pin!(events);
        let mut outstanding = Outstanding::new(self.options.mandatory);
        loop {
            tokio::select! {
                biased;
                event = events.next() => self.hear(event.ok_or(Lost::Ended)?, jobs)?,
                result = outstanding.settle(), if !outstanding.is_empty() => result?,
                job = jobs.next(), if outstanding.has_room() => match job {
                    Some(job) if session.connection.status().blocked() => job.fail(Failure::Away),
                    Some(job) => self.send(job, session, channel, &mut outstanding),
                    None => return Ok(()),
                },
            }
        }
    }

    fn hear(&self, event: Event, jobs: &mut Jobs) -> Result<(), Lost> {
        let (service, address) = (self.status.name(), &self.broker.address);
        match event {
            Event::Error(error) => return Err(error.into()),
            Event::ConnectionBlocked(reason) => {
                warn!(service, rabbitmq = %address, reason, "RabbitMQ takes nothing for now");
                self.status.link.disconnected(format!("RabbitMQ takes nothing for now: {reason}"));
                jobs.refuse(Failure::Away);
            }
            Event::ConnectionUnblocked => {
                info!(service, rabbitmq = %address, "RabbitMQ takes messages again");
                self.status.link.connected();
            }
            _ => {}
        }
        Ok(())
    }

    fn send(&self, job: Job, session: &Session, channel: &Channel, outstanding: &mut Outstanding) {
        if job.time_left().is_zero() {
            // It has been told already that nobody answered: it must not come about behind that.
            job.fail(Failure::Late);
            return;
        }
        let frame_max = session.connection.configuration().frame_max() as usize;
        let Some(address) = self.addressing.address(&job.content, frame_max) else {
            job.fail(Failure::Refused);
            return;
        };
        let (channel, exchange, options) = (channel.clone(), self.addressing.exchange.clone(), self.options);
        outstanding.begin(async move {
            let body = job.content.body.as_bytes();
            let published =
                channel.basic_publish(exchange, address.routing_key, options, body, address.properties).await;
            let outcome = match published {
                Ok(confirm) => confirm.await,
                Err(error) => Err(error),
            };
            Sent { job, id: address.id, outcome }
        });
    }
}
