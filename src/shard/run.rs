//! One shard's thread: pins itself, builds floor and lobby on a backend, and turns the loop.
//!
//! While there is work the loop only looks at the floor, and gives the lobby a turn every few milliseconds; when
//! nothing is left both sleep in the lobby's runtime on one eventfd, which the lanes and the floor's backend ring.

use std::cell::RefCell;
use std::io;
use std::net::TcpListener;
use std::os::fd::{FromRawFd, IntoRawFd};
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use core_affinity::CoreId;
use crossbeam_channel::Receiver;
use monoio::net::TcpStream;

use crate::channel::{Table, Typing};
use crate::clock::{Now, now_us};
use crate::lane::LaneEnd;
use crate::lane::bell::Bell;
use crate::lane::events::Teller;
use crate::metrics::{Latency, Timed};
use crate::shard::calls::Calls;
use crate::shard::floor::Floor;
use crate::shard::io::Backend;
use crate::shard::lobby::Lobby;
use crate::shard::lobby::shared::Shared;
use crate::shard::lobby::transfer::Transfer;
use crate::shard::nearby::Nearby;
use crate::shard::paused::Paused;
use crate::shard::pending::Pending;
use crate::shard::profiles::Profiles;
use crate::shard::state::ShardState;
use crate::shard::verification::Verified;

/// After so long the lobby gets a turn although the floor is still busy. A turn of the floor lasts about a millisecond
/// at most.
const LOBBY_TURN_EVERY_US: u64 = 2000;

/// A shard that is ready to start.
pub struct Shard {
    pub index: usize,
    /// The core to be pinned to; none: wherever the scheduler likes.
    pub core: Option<CoreId>,
    pub listener: TcpListener,
    pub lane: LaneEnd,
    /// Tells who comes and goes.
    pub events: Teller,
    /// Clients that other shards have no room for.
    pub arriving: Receiver<Box<Transfer>>,
    /// What becomes of tokens that are verified beside the shard.
    pub verified: Receiver<Verified>,
    pub shared: Arc<Shared>,
}

/// Tells once whether the shard listens.
type Tell = mpsc::SyncSender<io::Result<()>>;

/// Starts a shard on a backend and waits until it listens. The thread ends when it has been drained.
pub fn start<B: Backend>(shard: Shard) -> io::Result<JoinHandle<()>> {
    assert!(shard.index < shard.shared.counters.len() && shard.shared.capacity.slots > 0);
    let (tell, told) = mpsc::sync_channel(1);
    let thread = std::thread::Builder::new().name(format!("shard-{}", shard.index));
    let thread = thread.spawn(move || live::<B>(shard, &tell))?;
    match told.recv() {
        Ok(Ok(())) => Ok(thread),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(io::Error::other("the shard ended while it started")),
    }
}

fn live<B: Backend>(shard: Shard, tell: &Tell) {
    if let Some(core) = shard.core
        && !core_affinity::set_for_current(core)
    {
        tracing::warn!(shard = shard.index, core = core.id, "could not be pinned to its core");
    }
    if let Err(error) = B::run(serve::<B>(shard, tell)) {
        drop(tell.send(Err(error)));
    }
}

async fn serve<B: Backend>(shard: Shard, tell: &Tell) {
    match open::<B>(shard) {
        Ok((lobby, listener)) => {
            let _ = tell.send(Ok(()));
            monoio::spawn(lobby.clone().receive_clients(listener));
            turn_until_done(&lobby).await;
            // All has been told; the lobby lives on in tasks that nobody ends.
            lobby.floor.borrow_mut().state.events = Teller::default();
        }
        Err(error) => drop(tell.send(Err(error))),
    }
}

fn open<B: Backend>(shard: Shard) -> io::Result<(Rc<Lobby<B>>, monoio::net::TcpListener)> {
    let Shard { index, listener, lane, events, arriving, verified, shared, .. } = shard;
    let (bell, capacity) = (lane.bell.clone(), shared.capacity);
    let io = B::new(capacity, &bell)?;
    let (now, rules) = (Now::read(), &shared.rules);
    let state = ShardState {
        shard: index,
        now,
        judge_from: 0,
        rules: rules.clone(),
        counters: shared.counters[index].clone(),
        latency: Latency::default(),
        table: Table::new(index, shared.bus.interest().clone(), capacity.slots),
        typing: Typing::new(rules.typing_timeout_ticks, rules.typing_interval_ticks),
        profiles: Profiles::default(),
        nearby: Nearby::new(shared.grid_use.clone()),
        sessions: 0,
        shares: shared.quotas.shares(),
        presence: shared.presence.clone(),
        bus: shared.bus.clone(),
        seats: shared.seats.clone(),
        pending: Pending::new(now.tick()),
        calls: Calls::new(index, shared.rules.services.clone(), now.tick()),
        events,
        verification: shared.verification.clone(),
        paused: Paused::default(),
        notifications: shared.notifications.clone(),
        echoes: 0,
        scratch: String::new(),
    };
    let floor = RefCell::new(Floor::new(io, capacity.slots, state, lane));
    let lobby = Lobby::new(index, floor, bell, (arriving, verified), shared);
    Ok((Rc::new(lobby), monoio::net::TcpListener::from_std(listener)?))
}

async fn turn_until_done<B: Backend>(lobby: &Rc<Lobby<B>>) {
    let ear = Ear::new(&lobby.bell).expect("an eventfd can be duplicated");
    loop {
        let busy = serve_open(&mut lobby.floor.borrow_mut());
        lobby.begin_turn();
        lobby.own_counters.turned_at_us.set(now_us() as i64);
        if lobby.is_done() {
            return;
        }
        lobby.bell.doze();
        if busy || lobby.has_arrivals() || !lobby.floor.borrow_mut().doze() {
            // The wait below ends at once, but the lobby's tasks get their turn in it.
            lobby.bell.ring();
        }
        ear.listen().await;
        lobby.bell.rouse();
        lobby.floor.borrow_mut().rouse();
    }
}

/// Turns the floor until it has nothing to do, or it is the lobby's turn again. False when there is nothing to do.
fn serve_open<B: Backend>(floor: &mut Floor<B>) -> bool {
    let mut now = Now::read();
    let until_us = now.us + LOBBY_TURN_EVERY_US;
    while now.us < until_us {
        if !floor.turn(now) {
            return false;
        }
        // The end of one turn is the beginning of the next.
        let ended = Now::read();
        debug_assert!(ended.us >= now.us, "the clock does not go back");
        floor.latency().record(Timed::LoopTurn, ended.us - now.us);
        now = ended;
    }
    true
}

/// The bell's eventfd as monoio can wait for it.
struct Ear(TcpStream);

impl Ear {
    fn new(bell: &Bell) -> io::Result<Self> {
        let eventfd = bell.duplicate()?;
        // SAFETY: a fresh duplicate, owned by nobody else. monoio has no type for a descriptor that is only polled; of
        // a stream nothing but `readable` is used here, and that is a poll request, which suits an eventfd.
        let stream = unsafe { std::net::TcpStream::from_raw_fd(eventfd.into_raw_fd()) };
        Ok(Self(TcpStream::from_std(stream)?))
    }

    async fn listen(&self) {
        // Fails only when the runtime's driver is gone.
        let _ = self.0.readable(false).await;
    }
}
