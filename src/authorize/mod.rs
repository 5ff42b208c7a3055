//! Who decides who may join what, where tokens and configuration leave it open: a database, or a service.
//!
//! ```text
//!  shard: Authorizer::ask ──► a bounded queue ──► the task `authorize`: cache, budget, then whoever decides
//!    ▲                                                             │
//!    └── Command::Permit(Verdict) ◄── the shard's lane ◄───────────┘
//! ```
//!
//! [`start`] is called once, by [`crate::gateway`]. Every question gets exactly one verdict, within `authorize.timeout`
//! of when it was asked: what waits in the queue for longer is not asked any more, and is answered all the same.
//!
//! Invariant: only an answer that says so opens a channel. Nobody reached, nothing understood, no time left: not now.

mod budget;
mod cache;
pub mod decisions;
#[cfg(feature = "postgres")]
mod postgres;
mod service;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::time::{Instant, timeout_at};

use crate::channel::Pattern;
use crate::config::Config;
use crate::control::Control;
use crate::lane::{Authorizer, Bus, Failure, Permission, Question, Verdict};
use crate::service::Started;

use budget::Budget;
use cache::Cache;
use decisions::Decisions;

/// Questions that may wait. A shard has at most one of each connection under way.
const QUEUE_MAX: usize = 100_000;

/// Questions that are decided at the same time: many more than a database has connections would only wait there.
const AT_ONCE_MAX: usize = 256;

/// Whom the shards ask, and what is counted of that.
pub type Authorization = (Arc<dyn Authorizer>, Arc<Decisions>);

/// Starts whoever decides, if the configuration names somebody, and adds its state to the others'.
///
/// # Errors
///
/// When its thread cannot be had, or the settings name nobody who could exist.
pub fn start(
    config: &Config,
    started: &mut Started,
    bus: &Bus,
    control: &Control,
) -> io::Result<Option<Authorization>> {
    let wish = &config.authorize;
    if !wish.is_on() {
        return Ok(None);
    }
    let oracle = oracle(config, started)?;
    let (sender, questions) = mpsc::channel(QUEUE_MAX);
    let decisions = Arc::<Decisions>::default();
    let decider = Decider {
        oracle,
        decisions: decisions.clone(),
        cache: Cache::new(wish.cache, wish.cache_entries),
        budget: Budget::new(at_once(config)),
        timeout: wish.timeout,
    };
    let bus = bus.clone();
    control.run_apart("authorize", async move |stop| {
        let serving = async { tokio::join!(decider.serve(questions, bus), decider.oracle.keep_looking()) };
        stop.run_until_cancelled(serving).await;
    })?;
    let patterns = wish.channels.clone().into();
    Ok(Some((Arc::new(Asker { sender, patterns, decisions: decisions.clone() }), decisions)))
}

fn oracle(config: &Config, started: &mut Started) -> io::Result<Oracle> {
    if let Some(name) = &config.authorize.service {
        let queue = started.queue(name).ok_or_else(|| io::Error::other(format!("the service {name} is local")))?;
        return Ok(Oracle::Service(service::Asked::new(queue, config.authorize.timeout)));
    }
    #[cfg(feature = "postgres")]
    if let (Some(sql), Some(dsn)) = (&config.authorize.sql, &config.postgres.dsn) {
        let status = Arc::new(crate::service::ServiceStatus::new(crate::config::AUTHORIZE, "postgres", AT_ONCE_MAX));
        started.statuses.push(status.clone());
        let patience = config.authorize.timeout;
        let database = postgres::Database::open(&config.postgres, dsn, sql, patience, status)?;
        return Ok(Oracle::Postgres(Box::new(database)));
    }
    Err(io::Error::other("authorize.sql needs PostgreSQL"))
}

/// Questions of one user that are decided at the same time: never all that a database has connections for, but where
/// that is one alone.
fn at_once(config: &Config) -> usize {
    let connections = if config.authorize.service.is_some() { AT_ONCE_MAX } else { config.postgres.pool };
    (connections / 4).max(1)
}

/// A question that waits.
struct Waiting {
    question: Question,
    since: Instant,
}

/// The shards' end.
struct Asker {
    sender: mpsc::Sender<Waiting>,
    patterns: Box<[Pattern]>,
    decisions: Arc<Decisions>,
}

impl Authorizer for Asker {
    fn concerns(&self, channel: &str) -> bool {
        self.patterns.iter().any(|pattern| pattern.matches(channel))
    }

    fn ask(&self, question: Question) -> Result<(), Failure> {
        let channels = question.channels.len();
        self.sender.try_send(Waiting { question, since: Instant::now() }).map_err(|error| {
            self.decisions.count(Permission::Unavailable, channels);
            match error {
                TrySendError::Full(_) => Failure::Full,
                TrySendError::Closed(_) => Failure::Away,
            }
        })
    }
}

/// Whoever decides.
enum Oracle {
    #[cfg(feature = "postgres")]
    Postgres(Box<postgres::Database>),
    Service(service::Asked),
}

impl Oracle {
    /// Keeps its state true. Ends only where somebody else does that.
    async fn keep_looking(&self) {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(database) => database.keep_looking().await,
            // The service looks after itself.
            Self::Service(_) => {}
        }
    }

    /// `None`: it is away and was not asked.
    async fn decide(&self, user_id: &str, channel: &str) -> Option<Permission> {
        match self {
            #[cfg(feature = "postgres")]
            Self::Postgres(database) => database.decide(user_id, channel).await,
            Self::Service(service) => service.decide(user_id, channel).await,
        }
    }
}

/// What the task works with.
struct Decider {
    oracle: Oracle,
    decisions: Arc<Decisions>,
    cache: Cache,
    budget: Budget,
    timeout: Duration,
}

impl Decider {
    async fn serve(&self, mut questions: mpsc::Receiver<Waiting>, bus: Bus) {
        let mut under_way = FuturesUnordered::new();
        loop {
            tokio::select! {
                question = questions.recv(), if under_way.len() < AT_ONCE_MAX => match question {
                    Some(question) => under_way.push(self.decide(question)),
                    None => return,
                },
                Some(verdict) = under_way.next() => drop(bus.permit(verdict).put()),
            }
        }
    }

    /// One channel after the other: a client that asks for many waits for itself.
    async fn decide(&self, Waiting { question, since }: Waiting) -> Verdict {
        let Question { from, ticket, user_id, channels } = question;
        let deadline = since + self.timeout;
        let mut permissions: Vec<(Box<str>, Permission)> = Vec::with_capacity(channels.len());
        let deciding = async {
            for channel in &channels {
                permissions.push((channel.clone(), self.permission(&user_id, channel, deadline).await));
            }
        };
        // What is not decided in time is not in the verdict, and unknown is not granted.
        let _ = timeout_at(deadline, deciding).await;
        permissions.iter().for_each(|(_, permission)| self.decisions.count(*permission, 1));
        self.decisions.count(Permission::Unavailable, channels.len() - permissions.len());
        Verdict { to: from, ticket, permissions }
    }

    async fn permission(&self, user_id: &str, channel: &str, deadline: Instant) -> Permission {
        if let Some(permission) = self.cache.get(user_id, channel) {
            return permission;
        }
        let now = Instant::now();
        if now >= deadline || !self.budget.spend(user_id, now) {
            return Permission::Unavailable;
        }
        let Some(_turn) = self.budget.turn(user_id, now).await else { return Permission::Unavailable };
        let Some(permission) = self.oracle.decide(user_id, channel).await else {
            // Whoever tried all the time while it was away is heard when it is back.
            self.budget.give_back(user_id);
            return Permission::Unavailable;
        };
        self.cache.put(user_id, channel, permission);
        permission
    }
}

#[cfg(test)]
mod tests;
