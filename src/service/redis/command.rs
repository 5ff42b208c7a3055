//! From a job to the command for Redis, and from what Redis answers to what its client is told.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::{Cmd, RedisError, RedisResult, cmd};
use tracing::warn;

use crate::broker::redis::{Connection, is_full, is_lost};
use crate::config::{Body, RedisService, Subject};
use crate::lane::{Content, Failure};
use crate::service::envelope::envelope;
use crate::service::{Job, ServiceStatus};

/// A Redis that is full is told of again when it was not for so long.
const TOLD_AGAIN: Duration = Duration::from_secs(60);

/// What a service's task works with.
pub struct Writer {
    /// For the log.
    pub address: String,
    service: RedisService,
    pub status: Arc<ServiceStatus>,
    /// When it last said that it takes nothing.
    full_at: Cell<Option<Instant>>,
}

impl Writer {
    pub fn new(service: RedisService, status: Arc<ServiceStatus>, address: &str) -> Self {
        Self { address: address.to_owned(), service, status, full_at: Cell::default() }
    }

    /// The command for a job; none for one that cannot have any, or not any more: it is answered.
    pub fn write(&self, job: Job, connection: &Connection) -> Option<(Job, Cmd)> {
        if job.time_left().is_zero() {
            // Its client has been told so: it must not come about behind that.
            job.fail(Failure::Late);
            return None;
        }
        let command = self.command(&job.content).filter(|command| connection.takes(command));
        if command.is_none() {
            job.fail(Failure::Refused);
            return None;
        }
        command.map(|command| (job, command))
    }

    /// What its client is told.
    ///
    /// # Errors
    ///
    /// When nobody has done it, or nobody knows: the server may be of no use any more.
    pub fn settle(&self, job: Job, answer: RedisResult<redis::Value>) -> RedisResult<()> {
        match answer {
            Ok(_) => job.taken(),
            Err(error) if is_lost(&error) => {
                job.fail(Failure::Away);
                return Err(error);
            }
            Err(error) if is_full(&error) => {
                self.tell_full(&error);
                job.fail(Failure::Away);
            }
            Err(error) => {
                self.status.tell_failed(&error.to_string());
                job.fail(Failure::Refused);
            }
        }
        Ok(())
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

    /// The name of its stream; none when the message lacks what it is named by.
    pub fn stream(&self, content: &Content) -> Option<String> {
        fill(self.service.stream.as_ref()?, content)
    }

    /// `None` when the message lacks what its channel or stream is named by.
    fn command(&self, content: &Content) -> Option<Cmd> {
        if let Some(subject) = &self.service.publish {
            let mut publish = cmd("PUBLISH");
            publish.arg(fill(subject, content)?);
            match self.service.body {
                Body::Message => publish.arg(&*content.body),
                Body::Envelope => publish.arg(envelope(content)),
            };
            return Some(publish);
        }
        let mut add = cmd("XADD");
        add.arg(self.stream(content)?);
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

fn fill(subject: &Subject, content: &Content) -> Option<String> {
    subject.fill(content, |name, _, value| name.push_str(value))
}
