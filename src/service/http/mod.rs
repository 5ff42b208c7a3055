//! A service that is a web service: each message is one POST, and its answer the message's.
//!
//! ```text
//!  Jobs ─► by the hash of key or session ─► a line each of so many workers: one request at a time ─► keep-alive pool
//!                                            └── breaker: whether anything goes out ──► Link
//! ```
//!
//! So messages of one key, and of one client where the route names no key, go one after another; a request that hangs
//! holds up its own line alone. A message is *taken* when the backend has answered with 2xx. One whose answer is lost
//! is told as failed, although the backend may have it.

mod breaker;
mod delivery;
mod post;
mod verdict;

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::panic::resume_unwind;
use std::sync::Arc;

use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::task::{JoinSet, yield_now};

use crate::broker::http::connector;
use crate::config::HttpService;
use crate::control::{Control, Stop};
use crate::lane::{Content, Failure};

use super::{Job, Jobs};
use delivery::Delivery;
use verdict::Done;

/// Jobs put into the lines before the workers have their turn.
const JOBS_PER_TURN: usize = 64;

/// Starts the service's task and returns at once. So many messages may wait in its lines, each of which has its part.
///
/// # Errors
///
/// When its thread cannot be had, or there are no certificates in the file that is to have them.
pub fn start(service: &HttpService, waiting_max: usize, jobs: Jobs, control: &Control) -> io::Result<()> {
    let url = service.url.clone().ok_or_else(|| io::Error::other("the service has no url"))?;
    let connector = connector(service.ca_file.as_deref())?;
    let delivery = Arc::new(Delivery::new(url, service, connector, jobs.status.clone()));
    let lines = service.concurrency;
    control.run_apart(jobs.status.task_name(), async move |stop: Stop| {
        stop.run_until_cancelled(serve(delivery, jobs, lines, waiting_max.div_ceil(lines))).await;
    })
}

/// Until the shards have gone.
async fn serve(delivery: Arc<Delivery>, mut jobs: Jobs, lines: usize, places: usize) {
    let mut workers = JoinSet::new();
    let watched = delivery.clone();
    workers.spawn(async move { watched.watch().await });
    let lines: Vec<mpsc::Sender<Job>> = (0..lines)
        .map(|_| {
            let (line, of_worker) = mpsc::channel(places);
            workers.spawn(work(delivery.clone(), of_worker));
            line
        })
        .collect();
    let hasher = RandomState::new();
    loop {
        let several = tokio::select! {
            several = jobs.several(JOBS_PER_TURN) => several,
            Some(Err(error)) = workers.join_next() => resume_unwind(error.into_panic()),
        };
        if several.is_empty() {
            return;
        }
        for job in several {
            let line = hasher.hash_one(ordered_by(&job.content)) as usize % lines.len();
            if let Err(TrySendError::Full(job) | TrySendError::Closed(job)) = lines[line].try_send(job) {
                job.fail(Failure::Full);
            }
        }
        yield_now().await;
    }
}

/// Messages for which this is the same keep their order.
fn ordered_by(content: &Content) -> &str {
    content.key.as_deref().unwrap_or(&content.session_id)
}

async fn work(delivery: Arc<Delivery>, mut line: mpsc::Receiver<Job>) {
    while let Some(job) = line.recv().await {
        match delivery.bring(&job).await {
            Ok(Done::Taken) => job.taken(),
            Ok(Done::Answer(text)) => job.answer(&text),
            Err(failure) => job.fail(failure),
        }
    }
}
