//! The slow half of a shard: accepting, reading the HTTP request, deciding, and handing the socket over to the floor.
//!
//! Async code on monoio, ordinary descriptors. One handshake is one short task with a deadline; what becomes of a
//! request is decided in [`crate::shard::lobby::admission`]. An accepted upgrade leaves nothing behind here: the floor sends the 101.

pub mod addresses;
mod admission;
pub(in crate::shard) mod gate;
mod heads;
pub mod transfer;

use std::cell::RefCell;
use std::io;
use std::net::IpAddr;
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Receiver;
use monoio::buf::IoBufMut;
use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::{TcpListener, TcpStream};
use monoio::time::Instant;

use crate::clock::{Now, ticks};
use crate::metrics::latency::Stopwatch;
use crate::metrics::{Counters, Timed};
use crate::ws::handshake::{HeadReader, Refusal, Request, read_request, refusal_response};

use crate::lane::bell::Bell;
use crate::shard::floor::Floor;
use crate::shard::io::uring::Uring;
use crate::shard::lobby::addresses::{Addresses, customer};
use crate::shard::lobby::admission::{Caller, Decision, FULL_RETRY_AFTER_S, House, decide};
use crate::shard::lobby::gate::{Gate, Pass};
use crate::shard::lobby::heads::Rank;
use crate::shard::lobby::transfer::{Transfer, Transfers};
use crate::shard::quotas::Quotas;
use crate::shard::rules::Rules;

/// Room for a usual request head; a longer one makes its buffer grow up to the limit.
const HEAD_BYTES_USUAL: usize = 1024;

/// Read buffers kept for the next handshakes.
const BUFFERS_KEPT: usize = 16;

/// How long to wait when the process has no descriptor left for one more client.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);

/// Clients taken in between two looks at the open connections whom other shards have checked already.
const TRANSFERS_PER_TURN: usize = 16;

/// How often failed accepts are logged at most, with their count.
const FAILURES_TOLD_EVERY: Duration = Duration::from_secs(10);

pub struct Lobby {
    pub floor: Rc<RefCell<Floor<Uring>>>,
    pub gate: Gate,
    pub bell: Bell,
    pub rules: Arc<Rules>,
    pub addresses: Arc<Addresses>,
    pub quotas: Arc<Quotas>,
    /// Of all shards: for the public health page and the limit of the whole process.
    pub counters: Arc<[Arc<Counters>]>,
    pub own_counters: Arc<Counters>,
    pub shard: usize,
    /// Connections that each shard takes.
    pub capacity: usize,
    pub transfers: Arc<Transfers>,
    pub arriving: Receiver<Box<Transfer>>,
    pub buffers: RefCell<Vec<Vec<u8>>>,
}

impl Lobby {
    /// Lets clients in for as long as the shard lives.
    pub async fn receive_clients(self: Rc<Self>, listener: TcpListener) {
        let mut failures = Failures::default();
        loop {
            self.gate.open().await;
            match listener.accept().await {
                Ok((stream, address)) => {
                    self.own_counters.accepted.add(1);
                    let peer = self.greet(address.ip());
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

    /// Drained, and so are the others: until then somebody has to tell those who come that we go.
    pub fn is_done(&self) -> bool {
        self.floor.borrow().is_done() && self.open_connections() == 0
    }

    /// Counts a connect, unless it is for somebody whom the peer has yet to name.
    fn greet(&self, address: IpAddr) -> Peer {
        let is_proxy = self.rules.lobby.proxies.trusts(address);
        let verdict = (!is_proxy).then(|| self.addresses.admit(address, Now::read()));
        Peer { address, verdict }
    }

    async fn handshake(self: Rc<Self>, mut stream: TcpStream, mut peer: Peer, pass: Pass) {
        let watch = Stopwatch::start();
        let mut buffer = self.buffers.borrow_mut().pop().unwrap_or_else(|| Vec::with_capacity(HEAD_BYTES_USUAL));
        let answer = match self.read_head(&mut stream, &mut buffer, &mut peer, &pass).await {
            Ok(()) => {
                pass.head_is_complete();
                let _ticket = self.gate.admit().await;
                self.answer(stream, peer, &buffer, watch)
            }
            Err(NoHead::Refused(refusal)) => Some((stream, refusal.into())),
            Err(NoHead::Gone) => None,
        };
        self.keep(buffer);
        if let Some((stream, Answer { bytes, refusal })) = answer {
            refusal.inspect(|refusal| self.own_counters.refused.count(refusal.label()));
            // Whoever does not take the answer in time goes without.
            let _ = monoio::time::timeout(self.rules.lobby.handshake_deadline, say(stream, bytes)).await;
        }
    }

    /// Reads until the head is complete, for as long as the client has the time and the place for it.
    async fn read_head(
        &self,
        stream: &mut TcpStream,
        buffer: &mut Vec<u8>,
        peer: &mut Peer,
        pass: &Pass,
    ) -> Result<(), NoHead> {
        let accepted = Instant::now();
        let mut deadline = accepted + self.rules.lobby.first_byte_deadline;
        let mut head = HeadReader::new(peer.is_proxy() && self.rules.lobby.proxies.proxy_protocol);
        loop {
            // A read that is given up keeps its buffer, and the socket is closed behind it:
            // nothing is lost that matters.
            let reading = pass.unless_displaced(read_more(stream, buffer));
            match monoio::time::timeout_at(deadline, reading).await {
                Err(_) => return Err(Refusal::DeadlineExceeded.into()),
                Ok(None) => return Err(Refusal::Displaced.into()),
                Ok(Some(Err(_) | Ok(0))) => return Err(NoHead::Gone),
                Ok(Some(Ok(_))) => {}
            }
            if head.read(buffer)? {
                peer.address = head.client().unwrap_or(peer.address);
                return Ok(());
            }
            pass.heard();
            deadline = accepted + self.rules.lobby.handshake_deadline;
        }
    }

    /// Acts on a complete request head. What is returned is still to be sent; an upgrade is with the floor.
    fn answer(&self, stream: TcpStream, peer: Peer, received: &[u8], watch: Stopwatch) -> Option<(TcpStream, Answer)> {
        let now = Now::read();
        let request = match read_request(received) {
            Ok(Some(request)) => request,
            Ok(None) => return Some((stream, Refusal::Malformed.into())),
            Err(bad) => return Some((stream, Refusal::from(bad).into())),
        };
        let mut floor = self.floor.borrow_mut();
        match self.decide(&mut floor, &request, peer, now) {
            Decision::Refuse(refusal) => Some((stream, refusal.into())),
            Decision::TokenRefused(error) => {
                self.own_counters.tokens_refused.count(error.name());
                Some((stream, Refusal::Token { code: error.name(), message: error.message() }.into()))
            }
            Decision::Tell(page) => {
                Some((stream, Answer { bytes: page.render(self.open_connections()), refusal: None }))
            }
            Decision::Upgrade(mut arrival) => {
                arrival.rest = received[request.head_len..].to_vec();
                // SAFETY: the stream gives up its descriptor, which is open and owned by nobody else.
                let socket = unsafe { OwnedFd::from_raw_fd(stream.into_raw_fd()) };
                let transfer = Transfer { socket, arrival, watch };
                if floor.is_full() {
                    return self.hand_over(Box::new(transfer));
                }
                adopt(&mut floor, transfer, now);
                self.bell.wake();
                None
            }
        }
    }

    /// What becomes of a request, by the rules and by how full this shard and the process are.
    fn decide(&self, floor: &mut Floor<Uring>, request: &Request<'_>, peer: Peer, now: Now) -> Decision {
        let client = self.rules.lobby.proxies.client(peer.address, request);
        let admitted = peer.verdict.unwrap_or_else(|| self.addresses.admit(client, now));
        if floor.is_draining() && self.rules.upgrades(request.path) {
            return Decision::Refuse(Refusal::Draining { retry_after_s: 1 });
        }
        // Each shard has its own few places for the echo, and hands nobody over to it.
        let is_echo = self.rules.is_echo(request.path);
        let house = House {
            rules: &self.rules,
            quotas: &self.quotas,
            is_full: floor.is_full() && (is_echo || self.roomiest_other().is_none())
                || self.open_connections() >= self.rules.connections_max as u64
                || is_echo && floor.echo_is_full(),
            is_full_of_strangers: self.is_full_of_strangers(),
            now,
        };
        decide(request, &Caller { address: client, admitted }, &house, floor.latency())
    }

    /// Gives a client to the shard with the most room. What is returned is still to be sent.
    fn hand_over(&self, transfer: Box<Transfer>) -> Option<(TcpStream, Answer)> {
        let sent = match self.roomiest_other() {
            Some(shard) => self.transfers.send(shard, transfer),
            None => Err(transfer),
        };
        match sent {
            Ok(()) => {
                self.own_counters.handed_over.add(1);
                None
            }
            Err(transfer) => {
                Some((ordinary(transfer.socket)?, Refusal::Full { retry_after_s: FULL_RETRY_AFTER_S }.into()))
            }
        }
    }

    /// The shard beside this one that has the fewest connections, if it takes one more.
    fn roomiest_other(&self) -> Option<usize> {
        let open = |shard: &usize| self.counters[*shard].connections.get() as usize;
        let others = (0..self.counters.len()).filter(|shard| *shard != self.shard);
        others.min_by_key(open).filter(|shard| open(shard) < self.capacity)
    }

    /// Whether clients wait whom other shards have handed over.
    pub fn has_transfers(&self) -> bool {
        !self.arriving.is_empty()
    }

    /// Takes in some of those whom other shards have handed over.
    pub fn receive_transfers(&self) {
        for transfer in self.arriving.try_iter().take(TRANSFERS_PER_TURN) {
            let mut floor = self.floor.borrow_mut();
            if !floor.is_full() && !floor.is_draining() {
                adopt(&mut floor, *transfer, Now::read());
                continue;
            }
            // What was true when it was sent is so no more.
            let refusal = match floor.is_draining() {
                true => Refusal::Draining { retry_after_s: 1 },
                false => Refusal::Full { retry_after_s: FULL_RETRY_AFTER_S },
            };
            self.own_counters.refused.count(refusal.label());
            if let Some(stream) = ordinary(transfer.socket) {
                let deadline = self.rules.lobby.handshake_deadline;
                monoio::spawn(monoio::time::timeout(deadline, say(stream, refusal_response(&refusal))));
            }
        }
    }

    fn open_connections(&self) -> u64 {
        self.counters.iter().map(|c| c.connections.get() as u64).sum()
    }

    fn is_full_of_strangers(&self) -> bool {
        let max = self.rules.lobby.unauthenticated_max as u64;
        max > 0 && self.counters.iter().map(|c| c.unauthenticated.get() as u64).sum::<u64>() >= max
    }

    fn keep(&self, mut buffer: Vec<u8>) {
        let mut buffers = self.buffers.borrow_mut();
        // A read that was given up keeps its buffer: then this one is empty.
        if buffers.len() < BUFFERS_KEPT && buffer.capacity() == HEAD_BYTES_USUAL {
            buffer.clear();
            buffers.push(buffer);
        }
    }
}

/// The floor takes a client, whose descriptor it closes.
fn adopt(floor: &mut Floor<Uring>, transfer: Transfer, now: Now) {
    let Transfer { socket, arrival, watch } = transfer;
    match floor.adopt(socket, arrival, now) {
        Ok(_) => floor.latency().record(Timed::Handshake, watch.us()),
        Err(error) => tracing::warn!(%error, "a socket could not be registered with the ring"),
    }
}

/// A socket as the lobby uses it. None when there is no memory for that: the client sees the end of the connection.
fn ordinary(socket: OwnedFd) -> Option<TcpStream> {
    TcpStream::from_std(socket.into()).ok()
}

/// A whole HTTP response.
struct Answer {
    bytes: Vec<u8>,
    refusal: Option<Refusal>,
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        Self { bytes: refusal_response(&refusal), refusal: Some(refusal) }
    }
}

/// Who has connected.
#[derive(Clone, Copy)]
struct Peer {
    address: IpAddr,
    /// Whether it may connect once more, or after how many seconds. None while it speaks for others.
    verdict: Option<Result<(), u32>>,
}

impl Peer {
    fn is_proxy(&self) -> bool {
        self.verdict.is_none()
    }

    /// Whose share of the handshakes it takes.
    fn counts_for(&self) -> Option<IpAddr> {
        (!self.is_proxy()).then(|| customer(self.address))
    }

    fn rank(&self) -> Rank {
        if self.verdict.is_some_and(|verdict| verdict.is_err()) { Rank::Unwelcome } else { Rank::Silent }
    }
}

/// Why there is no head to act on.
enum NoHead {
    Refused(Refusal),
    /// The client went away before it had asked for anything.
    Gone,
}

impl From<Refusal> for NoHead {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Failed accepts, which come in thousands when descriptors have run out.
#[derive(Default)]
struct Failures {
    count: u64,
    told_at: Option<u32>,
}

impl Failures {
    /// Counts one. Some, with how many there were since the last time, when it is time to tell.
    fn count(&mut self, now: Now) -> Option<u64> {
        self.count += 1;
        if self.told_at.is_some_and(|told| now.tick() - told < ticks(FAILURES_TOLD_EVERY)) {
            return None;
        }
        self.told_at = Some(now.tick());
        Some(std::mem::take(&mut self.count))
    }
}

/// Appends what has come. Zero at the end of the stream.
async fn read_more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<usize> {
    let filled = buffer.len();
    if filled == buffer.capacity() {
        buffer.reserve(filled.max(HEAD_BYTES_USUAL));
    }
    let (read, slice) = stream.read(std::mem::take(buffer).slice_mut(filled..)).await;
    *buffer = slice.into_inner();
    read
}

async fn say(mut stream: TcpStream, bytes: Vec<u8>) -> io::Result<()> {
    stream.write_all(bytes).await.0?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_accepts_are_told_once_per_while_with_their_count() {
        let mut failures = Failures::default();
        let told: Vec<u64> = (0..450).filter_map(|n| failures.count(Now { us: n * 50_000, unix_ms: 0 })).collect();
        assert_eq!(told, [1, 200, 200]);
    }
}
