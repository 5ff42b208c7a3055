//! A service that is a web service: each message is one POST, and its answer the message's.
//!
//! ```text
//!  Jobs ──► Lines: one after the other of a key ──► a request, `concurrency` of them at most ──► keep-alive pool
//!                                                    └── breaker: whether anything goes out ──► Link
//! ```
//!
//! So messages of one key, and of one client where the route names no key, go one after another; a request that hangs
//! holds up its own key, and one place. A message is *taken* when the backend has answered with 2xx. One whose answer
//! is lost is told as failed, although the backend may have it.

mod breaker;
mod delivery;
mod post;
mod verdict;

use std::io;

use futures_util::stream::{FuturesUnordered, StreamExt};

use crate::broker::http::connector;
use crate::config::HttpService;
use crate::control::{Control, Stop};
use crate::lane::Failure;

use super::lines::{Lines, Place};
use super::{Job, Jobs};
use delivery::Delivery;
use verdict::Done;

/// Starts the service's task and returns at once.
///
/// # Errors
///
/// When its thread cannot be had, or there are no certificates in the file that is to have them.
pub fn start(service: &HttpService, jobs: Jobs, control: &Control) -> io::Result<()> {
    let url = service.url.clone().ok_or_else(|| io::Error::other("the service has no url"))?;
    let connector = connector(service.ca_file.as_deref())?;
    let delivery = Delivery::new(url, service, connector, jobs.status.clone());
    let concurrency = service.concurrency;
    control.run_apart(jobs.status.task_name(), async move |stop: Stop| {
        tokio::select! {
            () = stop.cancelled() => {}
            () = delivery.watch() => {}
            () = serve(&delivery, jobs, concurrency) => {}
        }
    })
}

/// Until the shards have gone.
async fn serve(delivery: &Delivery, mut jobs: Jobs, concurrency: usize) {
    // What waits in the lines is bounded by the queue: it has its place there until it is answered.
    let (mut lines, mut requests) = (Lines::new(concurrency), FuturesUnordered::new());
    loop {
        while let Some((place, job)) = lines.begin() {
            requests.push(bring(delivery, place, job));
        }
        // Neither first: those who are refused at once could come without end.
        tokio::select! {
            job = jobs.next() => {
                let Some(job) = job else { return };
                if let Err(job) = lines.put(jobs.status.places_left(), job) {
                    job.fail(Failure::Full);
                }
            }
            Some(place) = requests.next() => lines.end(place),
        }
    }
}

/// Brings one message, and tells who waits what came of it.
async fn bring(delivery: &Delivery, place: Place, job: Job) -> Place {
    match delivery.bring(&job).await {
        Ok(Done::Taken) => job.taken(),
        Ok(Done::Answer(text)) => job.answer(&text),
        Err(failure) => job.fail(failure),
    }
    place
}
