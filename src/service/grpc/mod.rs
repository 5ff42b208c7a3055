//! A service that is a backend which speaks gRPC, by one of the contracts of [`crate::proto`].
//!
//! ```text
//!  Jobs ──► Lines: one after the other of a key ──► a call, `concurrency` of them at most ──► the backend
//!                                                        │ one answer: Job::answer, Job::taken
//!                                                        └ a stream: Stream::part, and back pressure
//! ```
//!
//! [`connection`] makes the connection and tells when it is lost, [`contract`] says what is asked and what is made of
//! the answer, [`calling`] is one call. Here it is decided which call goes when.
//!
//! Invariants: of two messages with one key (or, without one, of one session) the second goes when the backend has
//! answered the first, or has begun to; a backend that hangs holds up the keys that it hangs on, and as many places. A
//! message is *taken* when the backend has said so; one whose answer is lost is told as failed, although the backend
//! may have done it, and is not sent again.

mod calling;
mod connection;
mod contract;
mod fields;
mod names;

use std::collections::HashMap;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tracing::{debug, info, warn};

use crate::clock::now_us;
use crate::config::GrpcService;
use crate::control::{Backoff, Control, Stop};
use crate::lane::Failure;

use super::lines::Lines;
use super::queue::CallId;
use super::stream::Flow;
use super::{Job, Jobs, ServiceStatus};

use calling::{Caller, Event, Waiting};
use connection::{CONNECT_TIMEOUT, Connection, Target};

/// Between two looks at who does not read what it was sent, while others wait for a place.
const STUCK_CHECK: Duration = Duration::from_millis(250);

/// A client that has taken nothing of its stream for so long makes room for others.
const STUCK_MAX: Duration = Duration::from_secs(1);

/// The longest pause between two attempts to connect, which cost a backend next to nothing.
const RETRY_MAX: Duration = Duration::from_secs(1);

/// For so long after a good connection was lost messages wait for another one, and are not refused.
const PATIENCE: Duration = Duration::from_secs(1);

/// Starts the service's task and returns at once.
///
/// # Errors
///
/// When its thread cannot be had, or the certificates that it is to believe cannot be read.
pub fn start(service: GrpcService, jobs: Jobs, control: &Control) -> io::Result<()> {
    let target = Arc::new(Target::new(&service)?);
    let work = Work {
        target,
        forgotten: jobs.forgotten(),
        status: jobs.status.clone(),
        lines: Lines::new(service.concurrency),
        running: FuturesUnordered::new(),
        flows: HashMap::new(),
        service,
    };
    control.run_apart(jobs.status.task_name(), async move |stop: Stop| {
        stop.run_until_cancelled(work.run(jobs)).await;
    })
}

/// What the task works with.
struct Work {
    target: Arc<Target>,
    service: GrpcService,
    status: Arc<ServiceStatus>,
    lines: Lines<Waiting>,
    running: FuturesUnordered<BoxFuture<'static, Event>>,
    /// Of the streams that wait or run, so that they can be ended.
    flows: HashMap<CallId, Arc<Flow>>,
    forgotten: mpsc::Receiver<CallId>,
}

impl Work {
    /// Connects, serves, and connects again.
    async fn run(mut self, mut jobs: Jobs) {
        let mut backoff = Backoff::default();
        let mut patient_until = Instant::now();
        loop {
            // Those who wait patiently are told when that is over, however long the backend would take.
            let patience = patient_until.saturating_duration_since(Instant::now());
            let (target, within) = (self.target.clone(), if patience.is_zero() { CONNECT_TIMEOUT } else { patience });
            let error = match self.meanwhile(&mut jobs, target.connect(within)).await {
                Ok(connection) => {
                    self.tell_connected();
                    let since = Instant::now();
                    let Some(error) = self.serve(connection, &mut jobs).await else { return };
                    if backoff.lived(since.elapsed()) {
                        // A backend that restarts, or moves on, is there again in a moment: nobody need hear of it.
                        info!(service = self.status.name(), backend = ?self.target, %error, "connecting again");
                        patient_until = Instant::now() + PATIENCE;
                        continue;
                    }
                    error
                }
                Err(error) => error,
            };
            let delay = backoff.delay().min(RETRY_MAX);
            if Instant::now() >= patient_until {
                self.tell_away(error, delay);
                // Those who came before it was known that the backend is away.
                self.refuse(&mut jobs);
            }
            self.meanwhile(&mut jobs, sleep(delay)).await;
        }
    }

    fn tell_connected(&self) {
        let link = &self.status.link;
        if link.is_connected() {
            // It had been lost, and nobody was told.
            link.reconnects.add(1);
        }
        if link.connected() {
            info!(service = self.status.name(), backend = ?self.target, "connected");
        }
    }

    fn tell_away(&self, error: String, delay: Duration) {
        let (service, backend) = (self.status.name(), &self.target);
        if self.status.link.disconnected(error.clone()) {
            warn!(service, ?backend, %error, "not connected to the backend, trying until it is back");
        } else {
            debug!(service, ?backend, %error, retry_in = ?delay, "still not connected to the backend");
        }
    }

    fn refuse(&mut self, jobs: &mut Jobs) {
        jobs.refuse(Failure::Away);
        for Waiting { job, .. } in self.lines.drain() {
            job.id().map(|call| self.flows.remove(&call));
            job.fail(Failure::Away);
        }
    }

    /// Calls that are under way go on while something else is waited for, and those that come find their lines.
    async fn meanwhile<T>(&mut self, jobs: &mut Jobs, awaited: impl Future<Output = T>) -> T {
        let mut awaited = pin!(awaited);
        loop {
            tokio::select! {
                // Of a call that is forgotten the job has been seen.
                biased;
                done = &mut awaited => return done,
                Some(job) = jobs.next() => self.put(job),
                Some(event) = self.running.next() => self.heard(event),
                Some(call) = self.forgotten.recv() => self.forget(call),
            }
        }
    }

    /// Until the connection is lost, and then why; or the shards have gone.
    async fn serve(&mut self, mut connection: Connection, jobs: &mut Jobs) -> Option<String> {
        let caller = Caller::new(self.target.clone(), connection.transport, &self.service, self.status.clone());
        let mut check = interval(STUCK_CHECK);
        check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            while let Some((place, waiting)) = self.lines.begin() {
                self.running.push(caller.call(place, waiting));
            }
            tokio::select! {
                // Jobs first, for the same reason. They end, as the queue is bounded.
                biased;
                job = jobs.next() => self.put(job?),
                lost = &mut connection.lost => return Some(lost.unwrap_or_default()),
                Some(event) = self.running.next() => self.heard(event),
                Some(call) = self.forgotten.recv() => self.forget(call),
                _ = check.tick(), if self.lines.are_full() => self.displace_who_is_stuck(),
            }
        }
    }

    fn put(&mut self, job: Job) {
        let flow = self.service.streaming.then(Arc::<Flow>::default);
        if let (Some(flow), Some(call)) = (&flow, job.id()) {
            self.flows.insert(call, flow.clone());
        }
        if let Err(Waiting { job, .. }) = self.lines.put(self.status.places_left(), Waiting { job, flow }) {
            job.id().map(|call| self.flows.remove(&call));
            job.fail(Failure::Full);
        }
    }

    fn heard(&mut self, event: Event) {
        match event {
            Event::Begun { line, answers } => {
                self.lines.release(line);
                self.running.push(answers);
            }
            Event::Ended { place, call } => {
                self.lines.end(place);
                call.map(|call| self.flows.remove(&call));
            }
            Event::Unsent { place, waiting } => self.lines.put_back(place, waiting),
        }
    }

    /// What a client has said stays said when it goes; only of a stream there is something to end.
    fn forget(&self, call: CallId) {
        self.flows.get(&call).inspect(|flow| flow.forget());
    }

    /// Others wait for a place: of the streams whose clients take nothing those that have been stuck for longest end,
    /// as many as are waited for.
    fn displace_who_is_stuck(&self) {
        let patience_us = u64::try_from(STUCK_MAX.as_micros()).unwrap_or(u64::MAX);
        let stuck = self.flows.values().filter_map(|flow| Some((flow.stuck_since_us()?, flow)));
        let mut stuck: Vec<_> = stuck.filter(|(since, _)| now_us().saturating_sub(*since) > patience_us).collect();
        stuck.sort_unstable_by_key(|(since, _)| *since);
        stuck.iter().take(self.lines.kept_waiting()).for_each(|(_, flow)| flow.displace());
    }
}
