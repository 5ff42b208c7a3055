//! One handshake: from the accepted socket to the answer, or to the floor. A short task with a deadline.

use std::cell::RefCell;
use std::io;
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};
use std::rc::Rc;

use monoio::buf::IoBufMut;
use monoio::io::AsyncReadRent;
use monoio::net::TcpStream;
use monoio::time::Instant;

use crate::clock::Now;
use crate::metrics::Timed;
use crate::metrics::latency::Stopwatch;
use crate::shard::floor::Floor;
use crate::shard::io::Backend;
use crate::shard::lobby::admission::{Caller, Decision, House, decide};
use crate::shard::lobby::answer::Answer;
use crate::shard::lobby::gate::Pass;
use crate::shard::lobby::peer::Peer;
use crate::shard::lobby::transfer::{Transfer, adopt};
use crate::shard::lobby::{DRAINING_RETRY_AFTER_S, FULL_RETRY_AFTER_S, Lobby};
use crate::shard::verification::Verified;
use crate::ws::handshake::{Refusal, Request, read_request};

/// Room for a usual request head; a longer one makes its buffer grow up to the limit.
const HEAD_BYTES_USUAL: usize = 1024;

/// How often a token is verified for one handshake: again only when something was revoked meanwhile.
const VERIFICATIONS_MAX: usize = 3;

/// Read buffers kept for the next handshakes.
const BUFFERS_KEPT: usize = 16;

/// What is to be done after a look at a complete head.
enum Next {
    /// The client is with a floor, or has gone.
    Nothing,
    Tell(TcpStream, Answer),
    /// This token is to be verified, and then the head is looked at again.
    Verify(TcpStream, Box<str>),
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

impl<B: Backend> Lobby<B> {
    pub(super) async fn handshake(self: Rc<Self>, mut stream: TcpStream, mut peer: Peer, pass: Pass) {
        let watch = Stopwatch::start();
        let mut buffer = self.buffers.take();
        let answer = match self.read_head(&mut stream, &mut buffer, &mut peer, &pass).await {
            Ok(()) => {
                pass.head_is_complete();
                self.decide_in_turn(stream, peer, &buffer, watch).await
            }
            Err(NoHead::Refused(refusal)) => Some((stream, refusal.into())),
            Err(NoHead::Gone) => None,
        };
        self.buffers.keep(buffer);
        if let Some((stream, answer)) = answer {
            self.tell(stream, answer).await;
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
        let (accepted, rules) = (Instant::now(), &self.shared.rules.lobby);
        let mut deadline = accepted + rules.first_byte_deadline;
        let mut head = peer.head_reader(&self.shared);
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
                peer.names(&head);
                return Ok(());
            }
            pass.heard();
            deadline = accepted + rules.handshake_deadline;
        }
    }

    /// Acts on a complete request head when it is its turn, and once more when its token had to be verified beside the
    /// shard: whatever has changed meanwhile counts. What is returned is still to be sent.
    async fn decide_in_turn(
        &self,
        mut stream: TcpStream,
        peer: Peer,
        received: &[u8],
        watch: Stopwatch,
    ) -> Option<(TcpStream, Answer)> {
        let (mut caller, mut verified) = (None, None);
        for _ in 0..=VERIFICATIONS_MAX {
            let permit = self.permits.wait().await;
            let token = match self.answer(stream, peer, &mut caller, received, (watch, verified.take())) {
                Next::Nothing => return None,
                Next::Tell(stream, answer) => return Some((stream, answer)),
                Next::Verify(back, token) => {
                    stream = back;
                    token
                }
            };
            drop(permit);
            verified = Some(self.have_verified(&token).await);
        }
        Some((stream, Refusal::Full { retry_after_s: FULL_RETRY_AFTER_S }.into()))
    }

    /// Acts on a complete request head.
    fn answer(
        &self,
        stream: TcpStream,
        peer: Peer,
        caller: &mut Option<Caller>,
        received: &[u8],
        (watch, verified): (Stopwatch, Option<Verified>),
    ) -> Next {
        let now = Now::read();
        let request = match read_request(received) {
            Ok(Some(request)) => request,
            Ok(None) => return Next::Tell(stream, Refusal::Malformed.into()),
            Err(bad) => return Next::Tell(stream, Refusal::from(bad).into()),
        };
        let epoch = self.shared.rules.verifier.revocations().epoch();
        let caller = *caller.get_or_insert_with(|| peer.caller(&request, &self.shared, now));
        let mut floor = self.floor.borrow_mut();
        match self.decide(&mut floor, &request, caller, (verified, epoch), now) {
            Decision::Refuse(refusal) => Next::Tell(stream, refusal.into()),
            Decision::TokenRefused(error) => {
                self.own_counters.tokens_refused.count(error.name());
                Next::Tell(stream, Refusal::Token { code: error.name(), message: error.message() }.into())
            }
            Decision::Verify(token) => Next::Verify(stream, token),
            Decision::Tell(page) => Next::Tell(stream, Answer::page(page.render(self.shared.open_connections()))),
            Decision::Upgrade(mut arrival) => {
                arrival.rest = received[request.head_len..].to_vec();
                // SAFETY: the stream gives up its descriptor, which is open and owned by nobody else.
                let socket = unsafe { OwnedFd::from_raw_fd(stream.into_raw_fd()) };
                let transfer = Transfer { socket, arrival, watch, epoch };
                if floor.is_full() {
                    let sent_back = self.hand_over(Box::new(transfer));
                    return sent_back.map_or(Next::Nothing, |(stream, answer)| Next::Tell(stream, answer));
                }
                adopt(&mut floor, transfer, now);
                self.bell.wake();
                Next::Nothing
            }
        }
    }

    /// What becomes of a request, by the rules and by how full this shard and the process are. What was found of its
    /// token counts for as long as nothing was revoked since.
    fn decide(
        &self,
        floor: &mut Floor<B>,
        request: &Request<'_>,
        caller: Caller,
        (verified, epoch): (Option<Verified>, u64),
        now: Now,
    ) -> Decision {
        let (shared, rules) = (&self.shared, &self.shared.rules);
        verified.iter().for_each(|verified| floor.latency().record(Timed::Authentication, verified.us));
        let verified = verified.filter(|verified| verified.identity.is_err() || verified.epoch == epoch);
        if floor.is_draining() && rules.upgrades(request.path) {
            return Decision::Refuse(Refusal::Draining { retry_after_s: DRAINING_RETRY_AFTER_S });
        }
        // Each shard has its own few places for the echo, and hands nobody over to it.
        let is_echo = rules.is_echo(request.path);
        let house = House {
            rules,
            quotas: &shared.quotas,
            seats: &shared.seats,
            is_full: floor.is_full() && (is_echo || shared.roomiest_beside(self.shard).is_none())
                || shared.is_full()
                || is_echo && floor.echo_is_full(),
            is_full_of_strangers: shared.is_full_of_strangers(),
            verified: verified.as_ref().map(|verified| &verified.identity),
            now,
        };
        decide(request, &caller, &house, floor.latency())
    }
}

/// Read buffers that wait for the next handshakes.
#[derive(Default)]
pub struct HeadBuffers(RefCell<Vec<Vec<u8>>>);

impl HeadBuffers {
    fn take(&self) -> Vec<u8> {
        self.0.borrow_mut().pop().unwrap_or_else(|| Vec::with_capacity(HEAD_BYTES_USUAL))
    }

    fn keep(&self, mut buffer: Vec<u8>) {
        let mut kept = self.0.borrow_mut();
        // A read that was given up keeps its buffer: then this one is empty.
        if kept.len() < BUFFERS_KEPT && buffer.capacity() == HEAD_BYTES_USUAL {
            buffer.clear();
            kept.push(buffer);
        }
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
