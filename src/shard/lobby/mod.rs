//! The slow half of a shard: accepting, reading the HTTP request, deciding, and handing the socket over to the floor.
//!
//! Async code on monoio, ordinary descriptors, whatever the backend of the floor. Here clients are accepted, as fast as
//! the [`gate`] lets them; one [`handshake`] is one short task with a deadline; what becomes of a request is decided in
//! [`admission`]. An accepted upgrade leaves nothing behind here: the floor sends the 101.

pub mod addresses;
mod admission;
mod answer;
mod failures;
mod gate;
mod handshake;
mod heads;
mod peer;
mod permits;
pub mod shared;
pub mod transfer;
mod verified;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Receiver;
use monoio::net::TcpListener;

use crate::clock::Now;
use crate::lane::bell::Bell;
use crate::metrics::Counters;
use crate::shard::floor::Floor;
use crate::shard::io::Backend;
use crate::shard::lobby::failures::Failures;
use crate::shard::lobby::gate::Gate;
use crate::shard::lobby::handshake::HeadBuffers;
use crate::shard::lobby::peer::Peer;
use crate::shard::lobby::permits::Permits;
use crate::shard::lobby::shared::Shared;
use crate::shard::lobby::transfer::Transfer;
use crate::shard::lobby::verified::VerifiedTokens;
use crate::shard::verification::Verified;

/// How long to wait when the process has no descriptor left for one more client.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);

/// Seconds after which a client that found no room may try again.
const FULL_RETRY_AFTER_S: u32 = 5;

/// The same for one that comes while the node drains: behind the same name there may be another node.
const DRAINING_RETRY_AFTER_S: u32 = 1;

pub struct Lobby<B: Backend> {
    pub(in crate::shard) floor: RefCell<Floor<B>>,
    pub(in crate::shard) bell: Bell,
    pub(in crate::shard) own_counters: Arc<Counters>,
    shard: usize,
    shared: Arc<Shared>,
    gate: Gate,
    permits: Permits,
    arriving: Receiver<Box<Transfer>>,
    verified: VerifiedTokens,
    buffers: HeadBuffers,
}

impl<B: Backend> Lobby<B> {
    pub fn new(
        shard: usize,
        floor: RefCell<Floor<B>>,
        bell: Bell,
        (arriving, verified): (Receiver<Box<Transfer>>, Receiver<Verified>),
        shared: Arc<Shared>,
    ) -> Self {
        let rules = &shared.rules.lobby;
        Self {
            gate: Gate::new(bell.clone(), rules.handshakes_max, rules.handshakes_of_address_max),
            permits: Permits::new(bell.clone()),
            own_counters: shared.counters[shard].clone(),
            buffers: HeadBuffers::default(),
            floor,
            bell,
            shard,
            arriving,
            verified: VerifiedTokens::new(verified),
            shared,
        }
    }

    /// Lets clients in for as long as the shard lives.
    pub async fn receive_clients(self: Rc<Self>, listener: TcpListener) {
        let mut failures = Failures::default();
        loop {
            self.gate.open().await;
            match listener.accept().await {
                Ok((stream, address)) => {
                    self.own_counters.accepted.add(1);
                    let peer = Peer::greet(address.ip(), &self.shared, Now::read());
                    let pass = self.gate.enter(peer.counts_for(), peer.rank());
                    monoio::spawn(self.clone().handshake(stream, peer, pass));
                }
                // The client has gone already, or there is no descriptor for it: both pass.
                Err(error) => {
                    if let Some(count) = failures.count(Now::read()) {
                        tracing::warn!(%error, count, "connections could not be accepted");
                    }
                    monoio::time::sleep(EXHAUSTED_PAUSE).await;
                }
            }
        }
    }

    /// A new turn begins: more may be accepted and decided on, some of those come in whom other shards hand over, and
    /// some hear what has become of their tokens.
    pub fn begin_turn(self: &Rc<Self>) {
        self.gate.refill();
        self.permits.refill();
        self.receive_transfers();
        self.receive_verified();
    }

    /// Whether something has come for [`Lobby::begin_turn`].
    pub fn has_arrivals(&self) -> bool {
        !self.arriving.is_empty() || !self.verified.is_empty()
    }

    /// Drained, and so are the others: until then somebody has to tell those who come that we go.
    pub fn is_done(&self) -> bool {
        self.floor.borrow().is_done() && self.shared.open_connections() == 0
    }
}
