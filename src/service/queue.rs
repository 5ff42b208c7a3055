//! The queue before a backend: the shards put calls in and never wait, the backend's task takes them out.
//!
//! Bounded in number and bytes, what the backend's task has taken and not answered yet included. What finds no room, or
//! a backend that is known to be away, is refused at once. Every [`Job`] is answered exactly once: one that is dropped
//! without, as when the task breaks off, is told as failed.

use tokio::sync::{mpsc, oneshot};

use std::borrow::Borrow;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::clock::now_us;
use crate::lane::{Answer, Bus, Call, ConnectionId, Content, Failure, Fate, Outcome, Part, Response, Service, Ticket};

use super::ServiceStatus;
use super::status::Waiting;

/// Bytes that may wait for one backend, beside the bound in number.
pub(super) const BYTES_MAX: usize = 64 << 20;

/// What a job costs beside its texts.
const JOB_BYTES: usize = 256;

/// Which call it is, of which connection.
pub type CallId = (ConnectionId, Ticket);

/// Calls that nobody awaits any more. Of the notices that come while nobody looks a few are kept: one that is lost
/// costs the backend its work until the call's next part or its deadline.
type Forgotten = OnceLock<mpsc::Sender<CallId>>;
const FORGOTTEN_MAX: usize = 4096;

/// The shards' end.
pub struct Queue {
    /// Bounded by what `status` counts.
    sender: mpsc::UnboundedSender<Job>,
    forgotten: Arc<Forgotten>,
    bus: Bus,
    status: Arc<ServiceStatus>,
}

/// The backend's end.
pub struct Jobs {
    receiver: mpsc::UnboundedReceiver<Job>,
    forgotten: Arc<Forgotten>,
    pub status: Arc<ServiceStatus>,
}

/// One message on its way to a backend, and the way back.
pub struct Job {
    pub content: Content,
    back: Option<Back>,
    waiting: Waiting,
}

enum Back {
    Client {
        bus: Bus,
        to: ConnectionId,
        ticket: Ticket,
    },
    /// Somebody in this process.
    Asker {
        sender: oneshot::Sender<Result<Option<Box<str>>, Failure>>,
        /// Whether any text is an answer to him, and not only what a client could be sent.
        reads_all: bool,
    },
}

impl Queue {
    /// A queue for as many calls as `status` says, of which the backend's task takes the other end.
    pub fn new(bus: Bus, status: Arc<ServiceStatus>) -> (Self, Jobs) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let forgotten = Arc::<Forgotten>::default();
        let jobs = Jobs { receiver, forgotten: forgotten.clone(), status: status.clone() };
        (Self { sender, forgotten, bus, status }, jobs)
    }

    /// Asks the service on behalf of the gateway itself. What comes back is its answer, or nothing when it has taken
    /// the message.
    ///
    /// # Errors
    ///
    /// Why the service has not done what it was asked.
    pub async fn ask(&self, content: Content) -> Result<Option<Box<str>>, Failure> {
        self.ask_as(content, false).await
    }

    /// The same for who reads whatever text comes back: it need not be a message.
    ///
    /// # Errors
    ///
    /// Why the service has not done what it was asked.
    pub async fn ask_for_text(&self, content: Content) -> Result<Option<Box<str>>, Failure> {
        self.ask_as(content, true).await
    }

    async fn ask_as(&self, content: Content, reads_all: bool) -> Result<Option<Box<str>>, Failure> {
        let (sender, receiver) = oneshot::channel();
        self.put(content, Back::Asker { sender, reads_all })?;
        receiver.await.unwrap_or(Err(Failure::Away))
    }

    fn put(&self, content: Content, back: Back) -> Result<(), Failure> {
        if !self.status.takes_calls() {
            return Err(Failure::Away);
        }
        let bytes = JOB_BYTES + content.body.len();
        let waiting = self.status.enter(bytes, BYTES_MAX).ok_or(Failure::Full)?;
        let job = Job { content, back: Some(back), waiting };
        self.sender.send(job).map_err(|refused| {
            refused.0.unanswered();
            Failure::Away
        })
    }
}

impl Service for Queue {
    fn call(&self, Call { from, ticket, content }: Call) -> Result<(), Failure> {
        self.put(content, Back::Client { bus: self.bus.clone(), to: from, ticket })
    }

    fn forget(&self, to: ConnectionId, ticket: Ticket) {
        if let Some(forgotten) = self.forgotten.get() {
            let _ = forgotten.try_send((to, ticket));
        }
    }
}

impl Jobs {
    /// The next one. `None` when the shards have gone.
    pub async fn next(&mut self) -> Option<Job> {
        self.receiver.recv().await
    }

    /// The next one if it is there.
    pub fn try_next(&mut self) -> Option<Job> {
        self.receiver.try_recv().ok()
    }

    /// From now on those are told that nobody awaits any more. For who can stop a backend; asked for once.
    pub fn forgotten(&self) -> mpsc::Receiver<CallId> {
        let (sender, receiver) = mpsc::channel(FORGOTTEN_MAX);
        drop(self.forgotten.set(sender));
        receiver
    }

    /// Answers all that wait: the backend is away.
    pub fn refuse(&mut self, failure: Failure) {
        while let Ok(job) = self.receiver.try_recv() {
            job.fail(failure);
        }
    }

    /// As many as are there, `max` at most, and one at least; waits for it. Empty when the shards have gone.
    pub async fn several(&mut self, max: usize) -> Vec<Job> {
        let mut jobs = Vec::new();
        self.receiver.recv_many(&mut jobs, max).await;
        jobs
    }
}

impl Job {
    /// Which call it is, when a client waits.
    pub fn id(&self) -> Option<CallId> {
        match &self.back {
            Some(Back::Client { to, ticket, .. }) => Some((*to, *ticket)),
            _ => None,
        }
    }

    /// Whether any text is an answer, as none of it goes to a client.
    pub fn reads_all(&self) -> bool {
        matches!(self.back, Some(Back::Asker { reads_all: true, .. }))
    }

    /// What is left of the time in which somebody waits for the answer.
    pub fn time_left(&self) -> Duration {
        Duration::from_micros(self.content.deadline_us.saturating_sub(now_us()))
    }

    /// The backend has the message.
    pub fn taken(mut self) {
        self.answer_with(Part::Taken, Ok(None));
    }

    /// The backend answers with a message for the client.
    pub fn answer(mut self, text: &str) {
        self.answer_with(Part::message(text), Ok(Some(text.into())));
    }

    /// The backend does not do it.
    pub fn fail(mut self, failure: Failure) {
        self.answer_with(Part::Failed(failure), Err(failure));
    }

    /// Nobody waits for an answer any more.
    pub fn unanswered(mut self) {
        self.waiting.untimed();
        self.back = None;
    }

    /// A part of the answer, of which others follow: see [`super::stream`]. False when it is the last one that anybody
    /// wants: who asks for the gateway itself has one answer.
    pub(super) fn part(&mut self, text: &str, fate: Answer<Fate>) -> Result<bool, Failure> {
        let Some(Back::Client { bus, to, ticket }) = &self.back else {
            self.answer_with(Part::Taken, Ok(Some(text.into())));
            return Ok(false);
        };
        let response = Response { to: *to, ticket: *ticket, part: Part::more(text), fate: Some(fate) };
        let Outcome { lost, .. } = bus.respond(response).put();
        if lost > 0 { Err(Failure::Full) } else { Ok(true) }
    }

    fn answer_with(&mut self, part: Part, result: Result<Option<Box<str>>, Failure>) {
        let Some(back) = self.back.take() else { return };
        if matches!(result, Err(Failure::Away | Failure::Full)) {
            self.waiting.untimed();
        }
        match back {
            Back::Client { bus, to, ticket } => {
                // Waits while the lane of the client's shard is full, and so does whatever the backend says meanwhile.
                bus.respond(Response { to, ticket, part, fate: None }).put();
            }
            // Whoever asked does not wait any more.
            Back::Asker { sender, .. } => drop(sender.send(result)),
        }
    }
}

impl Borrow<Content> for Job {
    fn borrow(&self) -> &Content {
        &self.content
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.answer_with(Part::Failed(Failure::Away), Err(Failure::Away));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::Policies;
    use crate::lane::{Command, LaneEnd};

    fn queue(length: usize) -> (Queue, Jobs, LaneEnd) {
        let (bus, mut ends) = Bus::open(1, Arc::default(), Policies::default(), Duration::ZERO).expect("a lane");
        let status = Arc::new(ServiceStatus::new("chat", "redis", length));
        status.link.connected();
        let (queue, jobs) = Queue::new(bus, status);
        (queue, jobs, ends.remove(0))
    }

    fn content(bytes: usize) -> Content {
        Content {
            kind: "chat".into(),
            user_id: "ana".into(),
            session_id: "s".into(),
            body: "x".repeat(bytes).into(),
            deadline_us: u64::MAX,
            ..Content::default()
        }
    }

    fn call(ticket: u64, bytes: usize) -> Call {
        let from = ConnectionId { shard: 0, slot: 1, generation: 2 };
        Call { from, ticket: Ticket(ticket), content: content(bytes) }
    }

    fn next(jobs: &mut Jobs) -> Job {
        jobs.receiver.try_recv().expect("a job")
    }

    fn told(end: &LaneEnd) -> (Ticket, Result<(), Failure>) {
        let Command::Respond(response) = end.take().expect("an answer").command else { panic!("no answer") };
        let Response { ticket, part, .. } = response;
        (ticket, if let Part::Failed(failure) = part { Err(failure) } else { Ok(()) })
    }

    #[test]
    fn what_finds_no_room_is_refused_and_room_comes_back() {
        let (queue, mut jobs, end) = queue(2);
        assert_eq!(queue.call(call(1, 10)), Ok(()));
        assert_eq!(queue.call(call(2, 10)), Ok(()));
        assert_eq!(queue.call(call(3, 10)), Err(Failure::Full));
        let taken_out = next(&mut jobs);
        assert_eq!(queue.call(call(3, 10)), Err(Failure::Full), "what the backend has not answered takes its room");
        taken_out.taken();
        assert_eq!(told(&end), (Ticket(1), Ok(())));
        assert_eq!(queue.call(call(4, BYTES_MAX)), Err(Failure::Full));
        assert_eq!(queue.call(call(5, 10)), Ok(()));
        assert_eq!((jobs.status.waiting(), jobs.status.latency().histogram().len()), (2, 1));
    }

    #[test]
    fn nothing_waits_for_who_is_away() {
        let (queue, jobs, _end) = queue(2);
        jobs.status.link.disconnected("gone".into());
        assert_eq!(queue.call(call(1, 10)), Err(Failure::Away));
        jobs.status.link.connected();
        drop(jobs);
        assert_eq!(queue.call(call(2, 10)), Err(Failure::Away));
    }

    #[test]
    fn some_are_let_in_to_see_whether_it_is_back() {
        let (queue, jobs, _end) = queue(3);
        jobs.status.link.disconnected("broken".into());
        jobs.status.let_in(true);
        assert_eq!(queue.call(call(1, 10)), Ok(()));
        jobs.status.let_in(false);
        assert_eq!(queue.call(call(2, 10)), Err(Failure::Away));
        assert_eq!(jobs.status.waiting(), 1);
    }

    #[test]
    fn every_job_is_answered_once_also_one_that_is_dropped() {
        let (queue, mut jobs, end) = queue(3);
        (1..=3).for_each(|ticket| queue.call(call(ticket, 10)).expect("room"));
        next(&mut jobs).answer("{}");
        next(&mut jobs).fail(Failure::Refused);
        let status = jobs.status.clone();
        drop(jobs);
        assert_eq!(status.latency().histogram().len(), 2, "what nobody has looked at says nothing of the backend");
        let answers = [told(&end), told(&end), told(&end)];
        assert_eq!(answers.map(|(ticket, _)| ticket), [1, 2, 3].map(Ticket));
        assert_eq!(answers.map(|(_, result)| result), [Ok(()), Err(Failure::Refused), Err(Failure::Away)]);
        assert!(end.is_empty());
    }

    #[test]
    fn who_listens_hears_of_calls_that_nobody_awaits() {
        let (queue, mut jobs, end) = queue(2);
        queue.call(call(1, 10)).expect("room");
        let id = next(&mut jobs).id().expect("a client's");
        queue.forget(id.0, id.1);
        assert_eq!(told(&end), (Ticket(1), Err(Failure::Away)));
        let mut forgotten = jobs.forgotten();
        assert!(forgotten.try_recv().is_err(), "nobody has listened yet");
        queue.call(call(2, 10)).expect("room");
        queue.forget(id.0, Ticket(2));
        assert_eq!(forgotten.try_recv(), Ok((id.0, Ticket(2))));
        next(&mut jobs).unanswered();
        assert!(end.is_empty());
        assert_eq!(jobs.status.waiting(), 0);
    }

    #[test]
    fn the_gateway_itself_asks_as_well() {
        let (queue, mut jobs, end) = queue(1);
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let (asked, ()) = runtime.block_on(async {
            tokio::join!(queue.ask(content(10)), async { jobs.next().await.expect("a job").answer("yes") })
        });
        assert_eq!(asked, Ok(Some("yes".into())));
        assert!(end.is_empty());
    }
}
