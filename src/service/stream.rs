//! An answer in parts, of a backend that says more than one thing: what it says waits for the client that reads it.
//!
//! ```text
//!  backend ──► Stream::part, which waits for room in the window ──► lane ──► shard, until the client takes it
//!                               ▲                                              │
//!                               └───────────── Fate::Released ◄────────────────┘
//! ```
//!
//! Who streams asks the backend for the next part when this one has found room, so a slow client holds up its backend,
//! and nothing gathers in between. [`Flow`] is the other handle of the same stream, by which it is ended from outside.
//!
//! Invariant: of a stream no more than [`WINDOW_BYTES`] and [`STREAM_WINDOW`] parts are under way, or one larger part.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::clock::now_us;
use crate::lane::call::STREAM_WINDOW;
use crate::lane::{Failure, Fate};

use super::Job;

/// Bytes of one stream that may be under way: an eighth of what a shard holds for one connection, so that several
/// streams of a client that reads slowly find room there.
const WINDOW_BYTES: u32 = 32 << 10;

/// What a part takes of the window at least.
const PART_BYTES_MIN: u32 = WINDOW_BYTES / STREAM_WINDOW as u32;

/// A job that is answered in parts.
pub struct Stream {
    job: Job,
    flow: Arc<Flow>,
}

/// How a stream flows, and its end from outside.
pub struct Flow {
    /// Bytes.
    window: Semaphore,
    /// Nothing more is wanted.
    ended: CancellationToken,
    /// It had to make room, and the client is to hear of it.
    is_displaced: AtomicBool,
    /// Since when the client has been waited for; 0 while it is not.
    stuck_since_us: AtomicU64,
}

/// Nobody wants more of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended;

impl Flow {
    /// Nobody waits for the rest any more.
    pub fn forget(&self) {
        self.ended.cancel();
    }

    /// Others need its place.
    pub fn displace(&self) {
        self.is_displaced.store(true, Relaxed);
        self.ended.cancel();
    }

    /// Since when the client has not taken what there is; `None` while it does.
    pub fn stuck_since_us(&self) -> Option<u64> {
        Some(self.stuck_since_us.load(Relaxed)).filter(|since| *since > 0)
    }
}

impl Default for Flow {
    fn default() -> Self {
        Self {
            window: Semaphore::new(WINDOW_BYTES as usize),
            ended: CancellationToken::new(),
            is_displaced: AtomicBool::new(false),
            stuck_since_us: AtomicU64::new(0),
        }
    }
}

impl Stream {
    pub fn new(job: Job, flow: Arc<Flow>) -> Self {
        Self { job, flow }
    }

    /// It has not begun.
    pub fn into_job(self) -> Job {
        self.job
    }

    /// Whether any text is an answer, as none of it goes to a client.
    pub fn reads_all(&self) -> bool {
        self.job.reads_all()
    }

    /// Sends a part, once the client has taken enough of those before it.
    ///
    /// # Errors
    ///
    /// When nobody wants this one, or any after it.
    pub async fn part(&mut self, text: &str) -> Result<(), Ended> {
        let bytes = u32::try_from(text.len()).unwrap_or(u32::MAX).clamp(PART_BYTES_MIN, WINDOW_BYTES);
        self.await_room(bytes).await?;
        let flow = self.flow.clone();
        let fate = Arc::new(move |fate| match fate {
            Fate::Released => flow.window.add_permits(bytes as usize),
            Fate::Gone => flow.forget(),
        });
        match self.job.part(text, fate) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Ended),
            // The client has a gap: it gets no more.
            Err(_) => {
                self.flow.displace();
                Err(Ended)
            }
        }
    }

    async fn await_room(&self, bytes: u32) -> Result<(), Ended> {
        if self.flow.ended.is_cancelled() {
            return Err(Ended);
        }
        let flow = &self.flow;
        if let Ok(room) = flow.window.try_acquire_many(bytes) {
            room.forget();
            return Ok(());
        }
        flow.stuck_since_us.store(now_us().max(1), Relaxed);
        let room = flow.ended.run_until_cancelled(flow.window.acquire_many(bytes)).await;
        flow.stuck_since_us.store(0, Relaxed);
        match room {
            Some(Ok(room)) => {
                room.forget();
                Ok(())
            }
            _ => Err(Ended),
        }
    }

    /// Waits for what is to come, but not when nobody wants it.
    ///
    /// # Errors
    ///
    /// When nobody wants it.
    pub async fn unless_ended<T>(&self, coming: impl Future<Output = T>) -> Result<T, Ended> {
        self.flow.ended.run_until_cancelled(coming).await.ok_or(Ended)
    }

    /// That was all.
    pub fn taken(self) {
        self.job.taken();
    }

    /// There will be no more, for a reason.
    pub fn fail(self, failure: Failure) {
        self.job.fail(failure);
    }

    /// Nobody wants more of it.
    pub fn end(self) {
        if self.flow.is_displaced.load(Relaxed) {
            self.job.fail(Failure::Full);
        } else {
            self.job.unanswered();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::channel::Policies;
    use crate::lane::{Answer, Bus, Call, Command, ConnectionId, Content, LaneEnd, Part, Service, Ticket};
    use crate::service::ServiceStatus;
    use crate::service::queue::{Jobs, Queue};

    struct Desk {
        queue: Queue,
        jobs: Jobs,
        lane: LaneEnd,
    }

    impl Desk {
        fn new() -> Self {
            let lanes = Bus::open(1, Arc::default(), Policies::default(), std::time::Duration::ZERO);
            let (bus, mut ends) = lanes.expect("a lane");
            let status = Arc::new(ServiceStatus::new("desk", "grpc", 10));
            status.link.connected();
            let (queue, jobs) = Queue::new(bus, status);
            Self { queue, jobs, lane: ends.remove(0) }
        }

        fn stream(&mut self) -> (Stream, Arc<Flow>) {
            let from = ConnectionId { shard: 0, slot: 1, generation: 2 };
            self.queue.call(Call { from, ticket: Ticket(1), content: content() }).expect("room");
            let flow = Arc::<Flow>::default();
            (Stream::new(self.jobs.try_next().expect("a job"), flow.clone()), flow)
        }

        /// What has come for the shard.
        fn said(&self) -> Vec<(Part, Option<Answer<Fate>>)> {
            let next = || self.lane.take().map(|posted| posted.command);
            std::iter::from_fn(next)
                .map(|command| {
                    let Command::Respond(response) = command else { panic!("no answer") };
                    (response.part, response.fate)
                })
                .collect()
        }
    }

    fn content() -> Content {
        Content {
            kind: "ask".into(),
            user_id: "ana".into(),
            session_id: "s".into(),
            body: "{}".into(),
            deadline_us: u64::MAX,
            ..Content::default()
        }
    }

    fn tell(said: &[(Part, Option<Answer<Fate>>)], fate: Fate) {
        said.iter().for_each(|(_, told)| told.as_ref().expect("a part")(fate));
    }

    #[test]
    fn small_parts_go_until_the_window_is_full_and_on_when_the_client_takes_some() {
        let mut desk = Desk::new();
        let (mut stream, _) = desk.stream();
        let mut send = || stream.part("{}").now_or_never();
        (0..STREAM_WINDOW).for_each(|_| assert_eq!(send(), Some(Ok(()))));
        assert_eq!((send(), send()), (None, None));
        let said = desk.said();
        assert_eq!(said.len(), STREAM_WINDOW);
        assert!(said.iter().all(|(part, _)| matches!(part, Part::More(_))));
        tell(&said[..2], Fate::Released);
        assert_eq!((send(), send(), send()), (Some(Ok(())), Some(Ok(())), None));
    }

    #[test]
    fn large_parts_fill_the_window_with_their_bytes_and_one_that_is_larger_goes_alone() {
        let mut desk = Desk::new();
        let (mut stream, _) = desk.stream();
        let mut send = |bytes: u32| stream.part(&"x".repeat(bytes as usize)).now_or_never();
        assert_eq!((send(WINDOW_BYTES / 2), send(WINDOW_BYTES / 2), send(1)), (Some(Ok(())), Some(Ok(())), None));
        let said = desk.said();
        tell(&said[..1], Fate::Released);
        assert_eq!((send(WINDOW_BYTES * 3), send(1)), (None, Some(Ok(()))));
        tell(&said[1..], Fate::Released);
        tell(&desk.said(), Fate::Released);
        assert_eq!((send(WINDOW_BYTES * 3), send(1)), (Some(Ok(())), None));
    }

    #[test]
    fn whoever_waits_for_its_client_says_since_when_and_ends_with_it() {
        let mut desk = Desk::new();
        let (mut stream, flow) = desk.stream();
        let large = "x".repeat(WINDOW_BYTES as usize);
        assert_eq!(stream.part(&large).now_or_never(), Some(Ok(())));
        let mut waiting = Box::pin(stream.part(&large));
        assert_eq!(waiting.as_mut().now_or_never(), None);
        assert!(flow.stuck_since_us().is_some());
        tell(&desk.said(), Fate::Gone);
        assert_eq!(waiting.now_or_never(), Some(Err(Ended)));
        assert_eq!(stream.part("{}").now_or_never(), Some(Err(Ended)));
        assert_eq!(stream.unless_ended(std::future::pending::<()>()).now_or_never(), Some(Err(Ended)));
        stream.end();
        assert!(desk.said().is_empty(), "nobody is there to be told");
        assert_eq!(desk.jobs.status.waiting(), 0);
    }

    #[test]
    fn a_stream_that_made_room_is_told_so_and_one_that_nobody_awaits_is_not() {
        let mut desk = Desk::new();
        let (stream, flow) = desk.stream();
        flow.displace();
        assert_eq!(stream.unless_ended(std::future::pending::<()>()).now_or_never(), Some(Err(Ended)));
        stream.end();
        assert!(matches!(desk.said()[..], [(Part::Failed(Failure::Full), None)]));
        let (stream, flow) = desk.stream();
        flow.forget();
        stream.end();
        assert!(desk.said().is_empty());
        let (stream, _) = desk.stream();
        stream.taken();
        assert!(matches!(desk.said()[..], [(Part::Taken, None)]));
    }

    #[test]
    fn who_asks_for_the_gateway_itself_gets_the_first_part() {
        let Desk { queue, mut jobs, lane } = Desk::new();
        let mut asking = Box::pin(queue.ask(content()));
        assert_eq!(asking.as_mut().now_or_never(), None);
        let mut stream = Stream::new(jobs.try_next().expect("a job"), Arc::default());
        assert_eq!(stream.part("first").now_or_never(), Some(Err(Ended)));
        stream.end();
        assert_eq!(asking.now_or_never(), Some(Ok(Some("first".into()))));
        assert!(lane.is_empty());
    }
}
