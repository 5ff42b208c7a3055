//! The way into the shards: one lane per shard, and the interest that says which of them to use.
//!
//! Sources and the admin port publish here, and wait for room. Whoever may not wait, as code that runs on a shard, has
//! [`Bus::try_publish`]. A message is encoded once; each shard that has subscribers gets one command with clones of
//! the frame and the channel's name, and of filter and answer where there are any: an atomic count each. A message for
//! one connection goes to its shard alone ([`Bus::addressed`]). Lanes are bounded: a source waits when one is full,
//! which slows the broker down instead of losing what was accepted. But one shard must not keep the others waiting for
//! ever: after `server.lane_patience` its message is counted as lost, its lane is stuck, and nobody waits for it until
//! it takes something.
//!
//! Invariant: a source that blocks in [`Posting::put`] posts nothing else meanwhile, so per source and lane the order
//! holds.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::channel::interest::SHARDS_MAX;
use crate::channel::{Interest, Overflow, Policies, ShardSet, name};
use crate::clock;
use crate::ws::frame::encode_text;

use super::authorization::Verdict;
use super::bell::Bell;
use super::call::Response;
use super::command::{Addressed, Command, Draft, Filter, Posted, Publication};
use super::frame::{Channel, Frame};
use super::id::ConnectionId;
use super::query::{Answer, Query};
use super::queue::{Lane, LaneEnd, Refused, Vacancies};

/// A wait for room is so many short ones, each of which counts for no more than its part: when the whole process was
/// stopped and goes on, its shards get time to take something before they are said to be stuck.
const WAITS: u32 = 10;

/// Everybody's handle for reaching the shards.
#[derive(Clone)]
pub struct Bus(Arc<Inner>);

struct Inner {
    lanes: Box<[Lane]>,
    vacancies: Arc<Vacancies>,
    interest: Arc<Interest>,
    policies: Policies,
    /// How long a message may wait, for all lanes together.
    patience: Duration,
}

/// What became of commands, each for one shard. A shard that has ended counts nowhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Those that are in their lanes.
    pub taken: usize,
    /// Those that their shards will never see: the lanes stayed full.
    pub lost: usize,
}

impl Bus {
    /// Lanes for so many shards. `patience` is how long a source waits for room in them.
    ///
    /// # Errors
    ///
    /// When there are no descriptors for the bells.
    ///
    /// # Panics
    ///
    /// With no shard, or more than [`SHARDS_MAX`].
    pub fn open(
        shards: usize,
        interest: Arc<Interest>,
        policies: Policies,
        patience: Duration,
    ) -> io::Result<(Self, Vec<LaneEnd>)> {
        assert!((1..=SHARDS_MAX).contains(&shards), "{shards} shards");
        let vacancies = Arc::<Vacancies>::default();
        let lanes: Vec<_> = (0..shards).map(|_| Lane::new(vacancies.clone())).collect::<io::Result<_>>()?;
        let (lanes, ends): (Vec<_>, Vec<_>) = lanes.into_iter().unzip();
        Ok((Self(Arc::new(Inner { lanes: lanes.into(), vacancies, interest, policies, patience })), ends))
    }

    pub fn shards(&self) -> usize {
        self.0.lanes.len()
    }

    /// By shard.
    pub fn lanes(&self) -> &[Lane] {
        &self.0.lanes
    }

    /// Says in the log which lanes are not stuck any more. Called every now and then, as the shards do not wait for the
    /// log.
    pub fn tell_who_recovered(&self) {
        for (shard, lane) in self.0.lanes.iter().enumerate() {
            if let Some(lost) = lane.take_recovery() {
                tracing::info!(shard, lost, "the shard takes messages again");
            }
        }
    }

    /// Publishes `text`, as it is, as one text message.
    ///
    /// Must not be called on a shard's thread: it waits for room in the lanes.
    pub fn publish(&self, channel: &str, text: &str) -> Outcome {
        self.publication(channel, text, None, None).put()
    }

    /// Publishes without waiting, for a shard's own thread: what finds a full lane is lost there, and counted as that.
    /// The caller's own shard finds the message in its lane when it turns next; awake as it is, nobody rings for it.
    pub fn try_publish(&self, draft: Draft<'_>) -> Outcome {
        let (hash, listening) = self.listening(draft.channel);
        let shards = draft.near.map_or(listening, |(_, near)| listening.union(near));
        if shards.is_empty() {
            return Outcome::default();
        }
        let publication = self.written_out(draft, hash);
        self.put_or_lose(shards, || Posted::now(Command::Publish(publication.clone())))
    }

    /// The same for who may wait, to be put by him.
    pub fn post(&self, draft: Draft<'_>) -> Posting {
        let (hash, shards) = self.listening(draft.channel);
        let publication = self.written_out(draft, hash);
        self.posting(shards, || Command::Publish(publication.clone()))
    }

    /// Which shards have subscribers of what.
    pub fn interest(&self) -> &Arc<Interest> {
        &self.0.interest
    }

    /// The hash by which a channel is spoken of.
    pub fn hash(&self, channel: &str) -> u64 {
        self.0.interest.hash(channel)
    }

    /// Publishes with a filter and an answer from every shard visited, to be put by the caller.
    pub fn publication(
        &self,
        channel: &str,
        text: &str,
        filter: Option<Filter>,
        answer: Option<Answer<usize>>,
    ) -> Posting {
        let (hash, shards) = self.listening(channel);
        if shards.is_empty() {
            return Posting { bus: self.clone(), waiting: Vec::new(), outcome: Outcome::default() };
        }
        let draft = Draft { filter: filter.map(Arc::new), ..Draft::new(channel, encode_text(text)) };
        let publication = Publication { answer, ..self.written_out(draft, hash) };
        self.posting(shards, || Command::Publish(publication.clone()))
    }

    /// A channel's hash, and the shards that have subscribers of it.
    fn listening(&self, channel: &str) -> (u64, ShardSet) {
        let hash = self.hash(channel);
        let shards = match channel {
            name::ALL => ShardSet::first(self.shards()),
            _ => self.0.interest.shards(hash),
        };
        (hash, shards)
    }

    /// What a draft becomes, for the channel with this hash.
    pub fn written_out(&self, draft: Draft<'_>, hash: u64) -> Publication {
        let Draft { channel, bytes, filter, overflow, key, except, near } = draft;
        let policy = self.0.policies.of(channel);
        Publication {
            channel: Channel { name: channel.into(), hash },
            frame: Frame { bytes, arrived_us: clock::now_us() },
            filter,
            answer: None,
            batch_delay_us: policy.batch_delay_us,
            overflow: if policy.overflow == Overflow::default() { overflow } else { policy.overflow },
            key: key.unwrap_or(hash),
            except,
            near: near.map(|(near, _)| Arc::new(near)),
        }
    }

    fn put_or_lose(&self, shards: ShardSet, posted: impl Fn() -> Posted) -> Outcome {
        let (lanes, mut taken, mut lost) = (self.lanes(), ShardSet::default(), 0);
        for shard in shards.iter() {
            match lanes[shard].offer(posted()) {
                Ok(()) => taken.insert(shard),
                Err(Refused::Full(posted)) => {
                    lanes[shard].lose(&posted.command);
                    lost += 1;
                }
                Err(Refused::Ended) => {}
            }
        }
        Bell::wake_all(taken.iter().map(|shard| &lanes[shard].bell));
        Outcome { taken: taken.len(), lost }
    }

    /// A message of `text`, as it is, for one connection, from any thread.
    pub fn addressed(&self, to: ConnectionId, text: &str, answer: Option<Answer<usize>>) -> Posting {
        let frame = Frame { bytes: encode_text(text), arrived_us: clock::now_us() };
        self.to_shard_of(to, Command::Send(Addressed { to, frame, answer }))
    }

    /// What a service says to a call. The parts of one answer are put one after the other.
    pub fn respond(&self, response: Response) -> Posting {
        self.to_shard_of(response.to, Command::Respond(response))
    }

    /// What an authorizer says to a question.
    pub fn permit(&self, verdict: Verdict) -> Posting {
        self.to_shard_of(verdict.to, Command::Permit(verdict))
    }

    /// A command for the shard of a connection; for nobody, when there is no such shard.
    fn to_shard_of(&self, to: ConnectionId, command: Command) -> Posting {
        let shard = usize::from(to.shard);
        let waiting = if shard < self.shards() { vec![(shard, Posted::now(command))] } else { Vec::new() };
        Posting { bus: self.clone(), waiting, outcome: Outcome::default() }
    }

    /// A posting to which others are appended.
    pub fn nothing(&self) -> Posting {
        Posting { bus: self.clone(), waiting: Vec::new(), outcome: Outcome::default() }
    }

    /// A question to every shard.
    pub fn ask_all(&self, query: impl Fn() -> Query) -> Posting {
        self.to_all(|| Command::Ask(query()))
    }

    /// A command for every shard.
    pub fn to_all(&self, command: impl Fn() -> Command) -> Posting {
        self.posting(ShardSet::first(self.shards()), command)
    }

    fn posting(&self, shards: ShardSet, command: impl Fn() -> Command) -> Posting {
        let waiting = shards.iter().map(|shard| (shard, Posted::now(command()))).collect();
        Posting { bus: self.clone(), waiting, outcome: Outcome::default() }
    }
}

/// Commands on their way into lanes.
#[must_use = "nothing is posted before it is put"]
pub struct Posting {
    bus: Bus,
    /// By shard.
    waiting: Vec<(usize, Posted)>,
    outcome: Outcome,
}

impl Posting {
    /// Puts what finds room at once; nobody waits for a lane that is stuck. False when some other lane is full: the
    /// rest waits for [`Posting::put`].
    pub fn try_put(&mut self) -> bool {
        let lanes = &self.bus.0.lanes;
        let (mut taken, mut full) = (ShardSet::default(), ShardSet::default());
        let mut left = Vec::new();
        for (shard, posted) in self.waiting.drain(..) {
            // Nothing overtakes what has found its lane full.
            let offered = if full.contains(shard) { Err(Refused::Full(posted)) } else { lanes[shard].offer(posted) };
            match offered {
                Ok(()) => {
                    taken.insert(shard);
                    self.outcome.taken += 1;
                }
                Err(Refused::Full(posted)) if lanes[shard].is_stuck() => {
                    lanes[shard].lose(&posted.command);
                    self.outcome.lost += 1;
                }
                Err(Refused::Full(posted)) => {
                    full.insert(shard);
                    left.push((shard, posted));
                }
                Err(Refused::Ended) => {}
            }
        }
        // Only now: a shard that wakes may take this core away.
        Bell::wake_all(taken.iter().map(|shard| &lanes[shard].bell));
        self.waiting = left;
        self.waiting.is_empty()
    }

    /// Has others go along, behind these.
    pub fn append(&mut self, others: Posting) {
        debug_assert!(others.outcome == Outcome::default(), "nothing of them is on its way");
        self.waiting.extend(others.waiting);
    }

    /// Puts the rest, and waits for room where a lane is full, but not for longer than the bus has patience.
    pub fn put(mut self) -> Outcome {
        if !self.try_put() && !self.wait_and_put() {
            self.give_up();
        }
        debug_assert!(self.waiting.is_empty(), "nothing is left behind");
        self.outcome
    }

    /// False when the patience is over and some lane is still full.
    fn wait_and_put(&mut self) -> bool {
        let bus = self.bus.clone();
        let Inner { lanes, vacancies, patience, .. } = &*bus.0;
        let (mut left, part) = (*patience, *patience / WAITS);
        loop {
            let seen = vacancies.times();
            self.waiting.iter().for_each(|(shard, _)| lanes[*shard].await_room());
            if self.try_put() || left.is_zero() {
                return self.waiting.is_empty();
            }
            let (began, at_most) = (Instant::now(), part.min(left));
            vacancies.wait(seen, at_most);
            left = left.saturating_sub(began.elapsed().min(at_most).max(Duration::from_micros(1)));
        }
    }

    fn give_up(&mut self) {
        for (shard, posted) in self.waiting.drain(..) {
            let lane = &self.bus.0.lanes[shard];
            if lane.declare_stuck() {
                let (waited, waiting, bytes) = (self.bus.0.patience, lane.waiting(), lane.bytes());
                tracing::warn!(
                    shard,
                    ?waited,
                    waiting,
                    bytes,
                    "the shard takes nothing: its messages are lost until it does"
                );
            }
            lane.lose(&posted.command);
            self.outcome.lost += 1;
        }
    }
}
