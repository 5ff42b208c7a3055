//! One shard's thread: pins itself, builds floor and lobby, and turns the loop.
//!
//! While there is work the loop only looks at the floor's own ring, and gives the lobby a turn every few milliseconds; when
//! nothing is left both sleep in monoio on one eventfd, which the lanes and the floor's ring ring.

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

use crate::channel::{Interest, Table};
use crate::clock::{Now, now_us};
use crate::lane::LaneEnd;
use crate::metrics::{Counters, Latency, Timed};

use crate::lane::bell::Bell;
use crate::shard::floor::Floor;
use crate::shard::io::Capacity;
use crate::shard::io::uring::Uring;
use crate::shard::lobby::Lobby;
use crate::shard::lobby::addresses::Addresses;
use crate::shard::lobby::gate::Gate;
use crate::shard::lobby::transfer::{Transfer, Transfers};
use crate::shard::profiles::Profiles;
use crate::shard::quotas::Quotas;
use crate::shard::rules::Rules;
use crate::shard::state::ShardState;

/// After so long the lobby gets a turn although the floor is still busy. A turn of the floor lasts about a millisecond at most.
const LOBBY_TURN_EVERY_US: u64 = 2000;

/// Entries of monoio's ring: handshakes under way, not connections.
const LOBBY_ENTRIES: u32 = 1024;

/// Everything a shard is given.
pub struct Seat {
    pub shard: usize,
    /// The core to be pinned to; none: wherever the scheduler likes.
    pub core: Option<CoreId>,
    pub listener: TcpListener,
    pub capacity: Capacity,
    pub lane: LaneEnd,
    pub rules: Arc<Rules>,
    /// Of all shards; this one writes to its own.
    pub counters: Arc<[Arc<Counters>]>,
    pub interest: Arc<Interest>,
    pub addresses: Arc<Addresses>,
    pub quotas: Arc<Quotas>,
    pub transfers: Arc<Transfers>,
    /// Clients that other shards have no room for.
    pub arriving: Receiver<Box<Transfer>>,
}

/// Starts the shard and waits until it listens. The thread ends when it has been drained.
pub fn start(seat: Seat) -> io::Result<JoinHandle<()>> {
    let (tell, told) = mpsc::sync_channel(1);
    let thread = std::thread::Builder::new().name(format!("shard-{}", seat.shard));
    let thread = thread.spawn(move || live(seat, &tell))?;
    match told.recv() {
        Ok(Ok(())) => Ok(thread),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(io::Error::other("the shard ended while it started")),
    }
}

fn live(seat: Seat, tell: &mpsc::SyncSender<io::Result<()>>) {
    if let Some(core) = seat.core
        && !core_affinity::set_for_current(core)
    {
        tracing::warn!(shard = seat.shard, core = core.id, "could not be pinned to its core");
    }
    let mut builder = io_uring_of_monoio();
    builder.setup_single_issuer().setup_coop_taskrun().setup_defer_taskrun();
    let runtime = monoio::RuntimeBuilder::<monoio::IoUringDriver>::new()
        .uring_builder(builder)
        .with_entries(LOBBY_ENTRIES)
        .enable_timer()
        .build();
    match runtime {
        Ok(mut runtime) => runtime.block_on(async {
            match open(seat) {
                Ok((lobby, listener)) => {
                    let _ = tell.send(Ok(()));
                    monoio::spawn(lobby.clone().receive_clients(listener));
                    turn_until_done(&lobby).await;
                }
                Err(error) => drop(tell.send(Err(error))),
            }
        }),
        Err(error) => drop(tell.send(Err(error))),
    }
}

/// The builder type of the io-uring version that monoio uses, which is older than the floor's.
fn io_uring_of_monoio() -> monoio_io_uring::Builder {
    monoio_io_uring::IoUring::builder()
}

fn open(seat: Seat) -> io::Result<(Rc<Lobby>, monoio::net::TcpListener)> {
    let Seat {
        shard, listener, capacity, lane, rules, counters, interest, addresses, quotas, transfers, arriving, ..
    } = seat;
    let bell = lane.bell.clone();
    let uring = Uring::new(capacity, &bell)?;
    let capacity = capacity.slots;
    let state = ShardState {
        shard,
        now: Now::read(),
        judge_from: 0,
        rules: rules.clone(),
        counters: counters[shard].clone(),
        latency: Latency::default(),
        table: Table::new(shard, interest, capacity),
        profiles: Profiles::default(),
        sessions: 0,
        shares: quotas.shares(),
        echoes: 0,
    };
    let lobby = Lobby {
        gate: Gate::new(bell.clone(), rules.lobby.handshakes_max, rules.lobby.handshakes_of_address_max),
        floor: Rc::new(RefCell::new(Floor::new(uring, capacity, state, lane))),
        bell,
        rules,
        addresses,
        quotas,
        shard,
        capacity,
        transfers,
        arriving,
        own_counters: counters[shard].clone(),
        counters,
        buffers: RefCell::default(),
    };
    Ok((Rc::new(lobby), monoio::net::TcpListener::from_std(listener)?))
}

async fn turn_until_done(lobby: &Lobby) {
    let ear = Ear::new(&lobby.bell).expect("an eventfd can be duplicated");
    loop {
        let busy = serve_open(&mut lobby.floor.borrow_mut());
        lobby.gate.refill();
        lobby.receive_transfers();
        lobby.own_counters.turned_at_us.set(now_us() as i64);
        if lobby.is_done() {
            return;
        }
        lobby.bell.doze();
        if busy || lobby.has_transfers() || !lobby.floor.borrow_mut().doze() {
            // The wait below ends at once, but monoio gets its turn in it.
            lobby.bell.ring();
        }
        ear.listen().await;
        lobby.bell.rouse();
        lobby.floor.borrow_mut().rouse();
    }
}

/// Turns the floor until it has nothing to do, or it is the lobby's turn again. False when there is nothing to do.
fn serve_open(floor: &mut Floor<Uring>) -> bool {
    let mut now = Now::read();
    let until_us = now.us + LOBBY_TURN_EVERY_US;
    while now.us < until_us {
        if !floor.turn(now) {
            return false;
        }
        // The end of one turn is the beginning of the next.
        let ended = Now::read();
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
        // SAFETY: a fresh duplicate, owned by nobody else. monoio has no type for a descriptor that is only polled; of a
        // stream nothing but `readable` is used here, and that is a poll request, which suits an eventfd.
        let stream = unsafe { std::net::TcpStream::from_raw_fd(eventfd.into_raw_fd()) };
        Ok(Self(TcpStream::from_std(stream)?))
    }

    async fn listen(&self) {
        // Fails only when the ring is gone.
        let _ = self.0.readable(false).await;
    }
}
