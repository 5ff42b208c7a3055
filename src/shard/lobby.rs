//! The slow half of a shard: accepting, reading the HTTP request, deciding, and handing the socket over to the floor.
//!
//! Async code on monoio, ordinary descriptors. One handshake is one short task with a deadline; what becomes of a request is
//! decided in [`super::admission`]. An accepted upgrade leaves nothing behind here: the floor sends the 101.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use monoio::buf::IoBufMut;
use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::{TcpListener, TcpStream};

use crate::clock::Now;
use crate::metrics::latency::Stopwatch;
use crate::metrics::{Counters, Timed};
use crate::ws::handshake::{HEAD_BYTES_MAX, Refusal, read_request, refusal_response};

use super::addresses::Addresses;
use super::admission::{Decision, decide};
use super::bell::Bell;
use super::floor::Floor;
use super::gate::{Gate, Pass};
use super::io::uring::Uring;
use super::rules::Rules;

/// Room for a usual request head; a longer one makes its buffer grow up to the limit.
const HEAD_BYTES_USUAL: usize = 1024;

/// Read buffers kept for the next handshakes.
const BUFFERS_KEPT: usize = 16;

/// How long to wait when the process has no descriptor left for one more client.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);

pub struct Lobby {
    pub floor: Rc<RefCell<Floor<Uring>>>,
    pub gate: Gate,
    pub bell: Bell,
    pub rules: Arc<Rules>,
    pub addresses: Arc<Addresses>,
    /// Of all shards: for the public health page and the limit of the whole process.
    pub counters: Arc<[Arc<Counters>]>,
    pub own_counters: Arc<Counters>,
    pub buffers: RefCell<Vec<Vec<u8>>>,
}

impl Lobby {
    /// Lets clients in for as long as the shard lives.
    pub async fn receive_clients(self: Rc<Self>, listener: TcpListener) {
        loop {
            let pass = self.gate.open(|| self.bell.wake()).await;
            match listener.accept().await {
                Ok((stream, address)) => {
                    self.gate.spend();
                    self.own_counters.accepted.add(1);
                    monoio::spawn(self.clone().handshake(stream, address, pass));
                }
                // The client has gone already, or there is no descriptor for it: both pass.
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    monoio::time::sleep(EXHAUSTED_PAUSE).await;
                }
            }
        }
    }

    /// Drained, and so are the others: until then somebody has to tell those who come that we go.
    pub fn is_done(&self) -> bool {
        self.floor.borrow().is_done() && self.open_connections() == 0
    }

    async fn handshake(self: Rc<Self>, mut stream: TcpStream, address: SocketAddr, _pass: Pass) {
        let watch = Stopwatch::start();
        let mut buffer = self.buffers.borrow_mut().pop().unwrap_or_else(|| Vec::with_capacity(HEAD_BYTES_USUAL));
        let deadline = self.rules.handshake_deadline;
        let answer = match monoio::time::timeout(deadline, read_head(&mut stream, &mut buffer)).await {
            Ok(Ok(true)) => self.answer(stream, address, &buffer, watch),
            Ok(Ok(false)) => Some((stream, Refusal::HeadTooLarge.into())),
            // The client went away before it had asked for anything.
            Ok(Err(_)) => None,
            Err(_) => Some((stream, Refusal::DeadlineExceeded.into())),
        };
        self.keep(buffer);
        if let Some((stream, Answer { bytes, refusal })) = answer {
            refusal.inspect(|refusal| self.own_counters.refused.count(refusal.label()));
            // Whoever does not take the answer in time goes without.
            let _ = monoio::time::timeout(deadline, say(stream, bytes)).await;
        }
    }

    /// Acts on a complete request head. What is returned is still to be sent; an upgrade is with the floor.
    fn answer(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        received: &[u8],
        watch: Stopwatch,
    ) -> Option<(TcpStream, Answer)> {
        let now = Now::read();
        let request = match read_request(received) {
            Ok(Some(request)) => request,
            Ok(None) => return Some((stream, Refusal::Malformed.into())),
            Err(bad) => return Some((stream, Refusal::from(bad).into())),
        };
        let mut floor = self.floor.borrow_mut();
        let full = floor.is_full() || self.open_connections() >= self.rules.connections_max as u64;
        let decision = if floor.is_draining() && request.path == self.rules.path {
            Decision::Refuse(Refusal::Draining { retry_after_s: 1 })
        } else {
            decide(&request, address.ip(), &self.rules, &self.addresses, full, now, floor.latency())
        };
        match decision {
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
                match floor.adopt(socket, arrival, now) {
                    Ok(_) => floor.latency().record(Timed::Handshake, watch.us()),
                    Err(error) => tracing::warn!(%error, "a socket could not be registered with the ring"),
                }
                self.bell.wake();
                None
            }
        }
    }

    fn open_connections(&self) -> u64 {
        self.counters.iter().map(|c| c.connections.get() as u64).sum()
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

/// Reads until the head is complete. False when it is longer than allowed.
async fn read_head(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<bool> {
    loop {
        let filled = buffer.len();
        if filled == buffer.capacity() {
            if filled > HEAD_BYTES_MAX {
                return Ok(false);
            }
            buffer.reserve(filled.max(HEAD_BYTES_USUAL));
        }
        let (read, slice) = stream.read(std::mem::take(buffer).slice_mut(filled..)).await;
        *buffer = slice.into_inner();
        if read? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if head_ends(buffer, filled) {
            return Ok(true);
        }
        if buffer.len() > HEAD_BYTES_MAX {
            return Ok(false);
        }
    }
}

/// Whether an empty line ends in what was read beyond `filled`.
fn head_ends(buffer: &[u8], filled: usize) -> bool {
    buffer[filled.saturating_sub(3)..].windows(4).any(|w| w == b"\r\n\r\n")
}

async fn say(mut stream: TcpStream, bytes: Vec<u8>) -> io::Result<()> {
    stream.write_all(bytes).await.0?;
    Ok(())
}
