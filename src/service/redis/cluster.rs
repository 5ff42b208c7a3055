//! Streams of a Redis Cluster: each server has a connection and pipelines of its own, one at a time, under way beside
//! those of the others. A server that is lost is tried again and again; what is for it is refused meanwhile, and the
//! others do not notice.
//!
//! Which server has a slot says the map, asked for at the start and again, never more than twice a second, while a
//! server that has slots is away or after one has sent something elsewhere. What goes in which order says [`Slots`].
//!
//! Nothing is said twice: of a message whose answer was lost nobody knows whether it is in the stream. What a server
//! answers with `MOVED` or `ASK` it has not taken, so that goes where it says.
//!
//! Invariant: of the room that the service has for messages, each server takes no more than its share.

use std::collections::{HashMap, HashSet};
use std::future::ready;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{FuturesUnordered, StreamExt};
use redis::{Pipeline, RedisError, RedisResult, Value, cmd};
use tokio::time::{interval, sleep};
use tracing::{debug, info, warn};

use crate::broker::redis::cluster::{Cluster, Map, Place, Redirect, redirect, slot_of};
use crate::broker::redis::{Connection, is_cluster_down};
use crate::lane::Failure;
use crate::service::queue::BYTES_MAX;
use crate::service::{Job, Jobs};

use super::command::Writer;
use super::server::Server;
use super::slots::{Sent, Slots};
use super::{PIPELINE_MAX, PULSE};

/// Between two looks at whose the slots are.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A message that is sent elsewhere so often belongs nowhere.
const REDIRECTS_MAX: u8 = 8;

/// A message that waits.
struct Waiting {
    job: Job,
    /// Of whose share it takes so much.
    share_of: Place,
    room: usize,
    redirects: u8,
}

/// What has happened.
enum Event {
    /// It is time to look whose the slots are.
    LookDue,
    Looked(RedisResult<Map>),
    Connected(Place, RedisResult<Connection>),
    /// To what was sent, which was nothing but a PING when it is empty.
    Answered(Place, Vec<Sent<Waiting>>, RedisResult<Vec<RedisResult<Value>>>),
}

/// The service's task.
struct Task {
    writer: Writer,
    cluster: Cluster,
    slots: Slots<Waiting>,
    servers: HashMap<Place, Server>,
    under_way: FuturesUnordered<BoxFuture<'static, Event>>,
    /// Whether somebody is asked whose the slots are, or about to be.
    is_looking: bool,
    /// Whether something has happened since that makes the answer old.
    is_outdated: bool,
}

/// Until the shards have gone.
pub async fn run(writer: Writer, cluster: Cluster, mut jobs: Jobs) {
    let (slots, servers, under_way) = (Slots::default(), HashMap::new(), FuturesUnordered::new());
    let mut task = Task { writer, cluster, slots, servers, under_way, is_looking: true, is_outdated: false };
    task.begin(ready(Event::LookDue).boxed());
    let mut pulse = interval(PULSE);
    loop {
        tokio::select! {
            some = jobs.several(PIPELINE_MAX) => {
                if some.is_empty() {
                    return;
                }
                some.into_iter().for_each(|job| task.put(job));
                // While all are refused at once the connections must have their turns.
                tokio::task::yield_now().await;
            }
            Some(event) = task.under_way.next() => task.take(event),
            _ = pulse.tick() => task.ping(),
        }
        task.send_what_waits();
    }
}

impl Task {
    fn begin(&mut self, what: BoxFuture<'static, Event>) {
        self.under_way.push(what);
    }

    fn put(&mut self, job: Job) {
        let Some(stream) = self.writer.stream(&job.content) else { return job.fail(Failure::Refused) };
        let slot = slot_of(&stream);
        let Some(place) = self.slots.map().owner(slot).cloned() else {
            self.look();
            return job.fail(Failure::Away);
        };
        let (share, room) = self.room(job.content.body.len());
        match self.servers.get_mut(&place).filter(|server| !server.is_away()) {
            None => job.fail(Failure::Away),
            Some(server) if server.room > 0 && server.room + room > share => job.fail(Failure::Full),
            Some(server) => {
                server.room += room;
                self.slots.put(slot, Waiting { job, share_of: place, room, redirects: 0 });
            }
        }
    }

    /// How much a server's share of the service's room is, and how much a message takes: a place, and for many bytes
    /// more of them.
    fn room(&self, bytes: usize) -> (usize, usize) {
        let places = self.writer.status.waiting_max();
        (places / self.servers.len().max(1), 1 + bytes / (BYTES_MAX / places).max(1))
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::LookDue => {
                self.is_outdated = false;
                let looking = self.cluster.look(self.who_may_be_asked());
                self.begin(looking.map(Event::Looked).boxed());
            }
            Event::Looked(map) => self.looked(map),
            Event::Connected(place, Ok(connection)) => self.connected(&place, connection),
            Event::Connected(place, Err(error)) => self.lost(&place, &error),
            Event::Answered(place, sent, answers) => self.answered(&place, sent, answers),
        }
    }

    /// All that are connected; those at work, of which one may stand still, behind the others.
    fn who_may_be_asked(&self) -> Vec<(Place, Connection)> {
        let (mut idle, mut at_work) = (vec![], vec![]);
        for (place, server) in &self.servers {
            if let Some((connection, is_at_work)) = server.connection() {
                if is_at_work { &mut at_work } else { &mut idle }.push((place.clone(), connection.clone()));
            }
        }
        idle.append(&mut at_work);
        idle
    }

    /// Asks whose the slots are, as soon as it may be asked.
    fn look(&mut self) {
        self.is_outdated = true;
        if !std::mem::replace(&mut self.is_looking, true) {
            self.begin(sleep(LOOK_EVERY).map(|()| Event::LookDue).boxed());
        }
    }

    fn looked(&mut self, map: RedisResult<Map>) {
        self.is_looking = false;
        match map {
            Ok(map) => {
                let servers = map.servers();
                self.slots.set_map(map);
                self.slots.drain_unowned().into_iter().for_each(|waiting| self.fail(waiting, Failure::Away));
                self.keep(&servers);
            }
            Err(error) => {
                self.tell(&error);
                self.is_outdated = true;
            }
        }
        if self.is_outdated || self.servers.values().any(Server::is_away) {
            self.look();
        }
    }

    /// From now on these, and no others.
    fn keep(&mut self, places: &HashSet<Place>) {
        self.servers.retain(|place, _| places.contains(place));
        for place in places {
            self.know(place);
        }
    }

    /// Connects to a server that is not known yet.
    fn know(&mut self, place: &Place) {
        if !self.servers.contains_key(place) {
            self.servers.insert(place.clone(), Server::new());
            self.connect(place, Duration::ZERO);
        }
    }

    fn connect(&self, place: &Place, delay: Duration) {
        let (place, connecting) = (place.clone(), self.cluster.connect(place));
        let connected = async move {
            sleep(delay).await;
            let connected = connecting.await;
            Event::Connected(place, connected)
        };
        self.under_way.push(connected.boxed());
    }

    fn connected(&mut self, place: &Place, connection: Connection) {
        // None: it has no slots any more.
        let Some(server) = self.servers.get_mut(place) else { return };
        let is_back = server.connected(connection);
        if self.writer.status.link.connected() {
            info!(service = self.writer.status.name(), redis = %self.writer.address, "connected");
        } else if is_back {
            info!(service = self.writer.status.name(), redis = %name(place), "connected to this server of the cluster");
        }
    }

    /// Until it is back, what is for it is refused; it may be that another one has its slots.
    fn lost(&mut self, place: &Place, error: &RedisError) {
        let Some(server) = self.servers.get_mut(place) else { return };
        let ((delay, is_news), service) = (server.lost(error), self.writer.status.name());
        if is_news {
            warn!(service, redis = %name(place), %error, "not connected to this server of the cluster, trying until it is back");
        } else {
            debug!(service, redis = %name(place), %error, retry_in = ?delay, "still not connected");
        }
        self.connect(place, delay);
        self.tell(error);
        self.look();
    }

    /// Whether there is anybody left who takes messages.
    fn tell(&self, error: &RedisError) {
        let link = &self.writer.status.link;
        if self.servers.values().any(|server| server.connection().is_some()) {
            link.troubled(error.to_string());
        } else if link.disconnected(error.to_string()) {
            let service = self.writer.status.name();
            warn!(service, redis = %self.writer.address, %error, "not connected to Redis, trying until it is back");
        }
    }

    /// To each connected server that has nothing to do what waits for it. What waits for one that is away is refused.
    fn send_what_waits(&mut self) {
        for place in self.slots.servers() {
            self.know(&place);
            let Some(server) = self.servers.get_mut(&place) else { continue };
            if server.is_away() {
                self.slots.drain(&place).into_iter().for_each(|waiting| self.fail(waiting, Failure::Away));
            } else if let Some(connection) = server.work() {
                self.send(place, connection);
            }
        }
    }

    /// One pipeline, of one message at least.
    fn send(&mut self, place: Place, mut connection: Connection) {
        let (mut commands, mut sent) = (Pipeline::new(), Vec::new());
        loop {
            let batch = self.slots.take(&place, PIPELINE_MAX);
            if batch.is_empty() {
                return self.at_rest(&place);
            }
            let slots = slots_of(&batch);
            for Sent { slot, job: waiting, is_ahead } in batch {
                let Waiting { job, share_of, room, redirects } = waiting;
                let Some((job, command)) = self.writer.write(job, &connection) else {
                    self.give_back(&share_of, room);
                    continue;
                };
                if is_ahead {
                    commands.add_command(cmd("ASKING")).ignore();
                }
                commands.add_command(command);
                sent.push(Sent { slot, job: Waiting { job, share_of, room, redirects }, is_ahead });
            }
            let under_way = slots_of(&sent);
            slots
                .into_iter()
                .filter(|slot| !under_way.contains(slot))
                .for_each(|slot| self.slots.settle(slot, vec![], None));
            if !sent.is_empty() {
                break;
            }
        }
        let answered = async move {
            let answers = connection.send(commands).await;
            Event::Answered(place, sent, answers)
        };
        self.begin(answered.boxed());
    }

    /// To who has said nothing for a while.
    fn ping(&mut self) {
        for (place, server) in &mut self.servers {
            if let Some(mut connection) = server.work_if_silent() {
                let place = place.clone();
                let pinged = async move { Event::Answered(place, vec![], connection.ping().await.map(|()| vec![])) };
                self.under_way.push(pinged.boxed());
            }
        }
    }

    fn answered(&mut self, place: &Place, sent: Vec<Sent<Waiting>>, answers: RedisResult<Vec<RedisResult<Value>>>) {
        self.at_rest(place);
        let mut elsewhere: HashMap<u16, (Vec<Waiting>, Option<Redirect>)> =
            slots_of(&sent).into_iter().map(|slot| (slot, (vec![], None))).collect();
        let mut lost = None;
        match answers {
            Err(error) => {
                sent.into_iter().for_each(|sent| self.fail(sent.job, Failure::Away));
                lost = Some(error);
            }
            Ok(answers) => {
                for (Sent { slot, job: waiting, .. }, answer) in sent.into_iter().zip(answers) {
                    match answer.as_ref().err().and_then(|error| redirect(error, place)) {
                        Some(to) => {
                            let not_taken = elsewhere.entry(slot).or_default();
                            not_taken.0.push(waiting);
                            // A slot that has moved says more than a key that has.
                            if !matches!(not_taken.1, Some(Redirect::Moved(_))) {
                                not_taken.1 = Some(to);
                            }
                        }
                        None => lost = self.settle(waiting, answer).or(lost),
                    }
                }
            }
        }
        for (slot, (not_taken, to)) in elsewhere {
            self.settle_slot(slot, not_taken, to);
        }
        if let Some(error) = lost {
            self.lost(place, &error);
        }
    }

    /// Why the server is of no use any more, if it is not.
    fn settle(&mut self, waiting: Waiting, answer: RedisResult<Value>) -> Option<RedisError> {
        self.give_back(&waiting.share_of, waiting.room);
        let error = self.writer.settle(waiting.job, answer).err()?;
        if is_cluster_down(&error) {
            // That is no fault of this server.
            self.writer.status.link.troubled(error.to_string());
            self.look();
            return None;
        }
        Some(error)
    }

    fn settle_slot(&mut self, slot: u16, not_taken: Vec<Waiting>, to: Option<Redirect>) {
        let (mut kept, mut is_moved) = (Vec::with_capacity(not_taken.len()), false);
        for mut waiting in not_taken {
            waiting.redirects += 1;
            is_moved = true;
            if waiting.redirects > REDIRECTS_MAX { self.fail(waiting, Failure::Away) } else { kept.push(waiting) }
        }
        if is_moved {
            self.look();
        }
        self.slots.settle(slot, kept, to);
    }

    /// It has nothing to do.
    fn at_rest(&mut self, place: &Place) {
        if let Some(server) = self.servers.get_mut(place) {
            server.rest();
        }
    }

    fn fail(&mut self, waiting: Waiting, why: Failure) {
        self.give_back(&waiting.share_of, waiting.room);
        waiting.job.fail(why);
    }

    fn give_back(&mut self, place: &Place, room: usize) {
        if let Some(server) = self.servers.get_mut(place) {
            server.room = server.room.saturating_sub(room);
        }
    }
}

fn slots_of(sent: &[Sent<Waiting>]) -> HashSet<u16> {
    sent.iter().map(|sent| sent.slot).collect()
}

/// For the log.
fn name(place: &Place) -> String {
    format!("{}:{}", place.0, place.1)
}
