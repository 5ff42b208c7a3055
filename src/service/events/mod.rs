//! Tells a service who connects, disconnects, subscribes and unsubscribes.
//!
//! ```text
//!  each shard: Teller ──► courier: number, text ──► backlog ──► one batch at a time ──► Queue::ask ──► the service
//!                         └── some times a second              └── again, until the service has taken it
//! ```
//!
//! The courier has a thread of its own and goes on hearing the shards while a batch is on its way. A service that is
//! away costs the oldest events beyond `events.buffer`, and is told how many; it never costs a shard anything. When the
//! shards have ended, what waits is sent at once.
//!
//! Started by [`crate::gateway`] once, where `events.service` is set; without it the shards' tellers are off.

mod backlog;
mod status;
mod text;

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use tokio::time::sleep;
use tracing::{info, warn};

use crate::clock::Now;
use crate::config::{Config, ServiceRule};
use crate::control::{Backoff, Control, Stop};
use crate::lane::events::{Heard, Hearer, Teller, open};
use crate::lane::{Content, Failure};
use crate::shard::id::SessionKey;

use super::Queue;
use backlog::{Backlog, Batch, Bounds};
use text::text;

pub use status::{EventsPage, EventsStatus};

/// The `type` of a batch.
const KIND: &str = "connection_events";

/// Between two looks at what the shards have told, at most: their queues hold what comes meanwhile.
const POLL: Duration = Duration::from_millis(50);

/// Between two attempts to send a batch, at most: a service that is back is told soon.
const RETRY_MAX: Duration = Duration::from_millis(500);

/// What is told, running.
pub struct Telling {
    /// For the shards.
    pub tellers: Vec<Teller>,
    /// For the admin port; `None` when nobody is told.
    pub status: Option<Arc<EventsStatus>>,
    pub end: End,
}

/// The end of what is told: comes some time after that of the shards.
pub struct End(Option<mpsc::Receiver<Infallible>>);

impl End {
    /// Waits until the service has been told everything, for so long at most.
    pub fn wait(&self, at_most: Duration) {
        if let Some(told) = &self.0
            && let Err(mpsc::RecvTimeoutError::Timeout) = told.recv_timeout(at_most)
        {
            warn!(waited = ?at_most, "events of connections are left that their service has not taken");
        }
    }
}

/// Begins to tell the service of `[events]`, whose queue this is; without one nobody is told.
///
/// # Errors
///
/// When the thread cannot be had.
pub fn start(
    config: &Config,
    queue: Option<Arc<Queue>>,
    shards: usize,
    session_key: &SessionKey,
    control: &Control,
) -> io::Result<Telling> {
    let settings = &config.events;
    let is_told = |rule: &&ServiceRule| settings.service.as_ref() == Some(&rule.common.name);
    let (Some(queue), Some(rule)) = (queue, config.services.iter().find(is_told)) else {
        let tellers = (0..shards).map(|_| Teller::default()).collect();
        return Ok(Telling { tellers, status: None, end: End(None) });
    };
    let status = Arc::new(EventsStatus::new(&rule.common.name));
    let (tellers, hearers) = (0..shards).map(|_| open(&settings.which)).unzip();
    let bounds = Bounds { events: settings.buffer, bytes: settings.buffer_bytes, batch: settings.batch_max };
    let courier = Courier {
        hearers,
        backlog: Backlog::new(bounds),
        session_key: session_key.clone(),
        queue,
        timeout: rule.common.timeout,
        node: config.server.id.as_str().into(),
        epoch: format!("{:013}-{:08x}", Now::read().unix_ms, fastrand::u32(..)),
        delay: settings.batch_delay,
        since: None,
        status: status.clone(),
    };
    let (done, told) = mpsc::channel();
    control.run_apart("events", async move |stop: Stop| {
        stop.run_until_cancelled(courier.work()).await;
        drop(done);
        stop.cancelled().await;
    })?;
    Ok(Telling { tellers, status: Some(status), end: End(Some(told)) })
}

struct Courier {
    /// Those whose shards go on.
    hearers: Vec<Hearer>,
    backlog: Backlog,
    session_key: SessionKey,
    queue: Arc<Queue>,
    timeout: Duration,
    /// The id of this node.
    node: Box<str>,
    /// Differs from that of every other start, and is greater as a text than that of an earlier one.
    epoch: String,
    /// How long an event waits for others.
    delay: Duration,
    /// When the first of those was heard that wait for the next batch.
    since: Option<Instant>,
    status: Arc<EventsStatus>,
}

impl Courier {
    /// Until the shards have ended and the service has been told everything.
    async fn work(mut self) {
        // Empty: a new epoch says that the sessions of the one before are gone.
        let mut batch = Some(self.backlog.cut());
        loop {
            if let Some(batch) = batch {
                self.bring(batch).await;
            }
            self.hear();
            let is_over = self.hearers.is_empty();
            if is_over && !self.backlog.has_news() {
                return;
            }
            batch = (is_over || self.is_due()).then(|| self.cut());
            if batch.is_none() {
                sleep(POLL.min(self.delay)).await;
            }
        }
    }

    /// Takes what the shards have told since the last time.
    fn hear(&mut self) {
        let Self { hearers, backlog, session_key, status, .. } = self;
        hearers.retain_mut(|hearer| {
            hearer.hear(|heard| match heard {
                Heard::Event(event) => {
                    let session_id = session_key.session(event.from).to_string();
                    status.lost.add(backlog.push(|number| text(&event, number, &session_id)));
                }
                Heard::Lost(count) => {
                    backlog.skip(count);
                    status.lost.add(count);
                }
            })
        });
        if self.backlog.has_news() {
            self.since.get_or_insert_with(Instant::now);
        }
    }

    fn is_due(&self) -> bool {
        self.backlog.fills_a_batch() || self.since.is_some_and(|since| since.elapsed() >= self.delay)
    }

    fn cut(&mut self) -> Batch {
        let batch = self.backlog.cut();
        self.since = self.backlog.has_news().then(Instant::now);
        batch
    }

    /// Sends a batch, again and again until the service has taken it.
    async fn bring(&mut self, batch: Batch) {
        let (text, mut backoff) = (batch.text(&self.node, &self.epoch), Backoff::default());
        loop {
            self.show(&batch, text.len());
            let (queue, content) = (self.queue.clone(), self.content(&text));
            match self.meanwhile(async move { queue.ask(content).await }).await {
                Ok(_) => break,
                Err(failure) => self.note_failure(failure),
            }
            self.meanwhile(sleep(backoff.delay().min(RETRY_MAX))).await;
            self.status.repeated.add(1);
        }
        if self.status.link.connected() {
            info!(service = self.status.service(), "the service is told who connects and disconnects");
        }
        self.status.sent.add(batch.events.len() as u64);
        self.show(&Batch { events: vec![], ..batch }, 0);
    }

    fn note_failure(&self, failure: Failure) {
        let why = match failure {
            Failure::Away => "it is away",
            Failure::Full => "it takes no more",
            Failure::Late => "it does not answer in time",
            Failure::Broken => "it fails with the batch",
            Failure::Refused => "it refuses the batch",
        };
        if self.status.link.disconnected(why.into()) {
            let service = self.status.service();
            warn!(service, why, "the service does not take the events of connections, which wait");
        }
    }

    /// Goes on hearing the shards while something takes its time.
    async fn meanwhile<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = sleep(POLL) => self.hear(),
            }
        }
    }

    fn content(&self, text: &str) -> Content {
        Content { key: Some(self.node.clone()), ..Content::of_gateway(KIND.into(), text, self.timeout) }
    }

    /// What waits, with the batch that is on its way.
    fn show(&self, batch: &Batch, bytes: usize) {
        self.status.waiting.set((self.backlog.len() + batch.events.len()) as i64);
        self.status.waiting_bytes.set((self.backlog.bytes() + bytes) as i64);
    }
}
