//! Opens connections at the ordered pace, and again what ended before it was held.
//!
//! connect(2) does not wait; the request is handed to the ring at once, which sends it as
//! soon as the connection stands.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::socket::{setsockopt, sockopt::IpBindAddressNoPort};
use ringway::clock::now_us;
use ringway::lane::frame::Frame;
use ringway::shard::io::{Io, Slot};
use socket2::{Domain, Protocol, Socket, Type};

use super::{Assignment, Ramp, Worker};
use crate::client::connection::{After, Connection, Phase};
use crate::limits::Trouble;
use crate::schedule::Schedule;

/// Connects in one turn: what has been received meanwhile does not wait for longer.
const CONNECTS_PER_TURN: usize = 32;

/// Before a connection that was refused is tried again.
const RETRY_US: u64 = 200_000;

#[derive(Default)]
pub(super) struct Opening {
    ramp: Option<Ramp>,
    schedule: Option<Schedule>,
    started: u64,
    /// Slots to be opened, in their order.
    waiting: VecDeque<Slot>,
    /// Slots to be opened again, each from a time on.
    again: VecDeque<(u64, Slot)>,
    pub in_progress: u32,
}

impl Worker {
    pub(super) fn start_opening(&mut self, ramp: Ramp) {
        let is_free = |slot: &Slot| self.connections[*slot as usize].phase == Phase::Free;
        self.opening.waiting = (0..self.assignment.count).filter(is_free).collect();
        self.opening.again.clear();
        self.opening.ramp = Some(ramp);
        self.opening.schedule = ramp.per_s.map(|per_s| Schedule::new(now_us(), per_s));
        self.opening.started = 0;
    }

    pub(super) fn open_due(&mut self) -> bool {
        let mut worked = false;
        for _ in 0..CONNECTS_PER_TURN {
            let now = now_us();
            if self.opening.due_us(now).is_none_or(|due| due > now) {
                break;
            }
            let Some(slot) = self.opening.next(now) else { break };
            self.opening.started += 1;
            worked = true;
            if let Err(error) = self.open(slot, now) {
                self.give_up(Trouble::connecting(&error));
                break;
            }
        }
        worked
    }

    /// Nothing more is opened; the coordinator reads why.
    pub(super) fn give_up(&mut self, trouble: Trouble) {
        self.opening.ramp = None;
        // The first trouble is the one that is told.
        let _ = self.assignment.gauges.trouble.set(trouble);
    }

    fn open(&mut self, slot: Slot, now: u64) -> io::Result<()> {
        let number = self.number(slot);
        let socket = connect(&self.assignment, number)?;
        self.sockets.io.open(slot, socket)?;
        self.connections[slot as usize] =
            Connection { phase: Phase::Upgrading, since_us: now as u32, ..Connection::default() };
        self.opening.in_progress += 1;
        let unix_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
        let request = self.assignment.cast.request(number, unix_s);
        self.sockets.send(slot, &Frame::local(request.into(), now));
        Ok(())
    }
}

impl Opening {
    /// When the next connect may happen; `None` while nothing is to be opened or something else has to happen first.
    pub(super) fn due_us(&self, now: u64) -> Option<u64> {
        let Opening { ramp, schedule, started, waiting, again, in_progress, .. } = self;
        if *in_progress >= ramp.as_ref()?.in_progress_max {
            return None;
        }
        let at = match (waiting.is_empty(), again.front()) {
            (false, _) => now,
            (true, Some((due, _))) => *due,
            (true, None) => return None,
        };
        Some(schedule.map_or(at, |schedule| at.max(schedule.intended_us(*started))))
    }

    /// The slot that is opened next: one whose wait is over, else one that has not been tried.
    fn next(&mut self, now: u64) -> Option<Slot> {
        match self.again.front() {
            Some((due, _)) if *due <= now => self.again.pop_front().map(|(_, slot)| slot),
            _ => self.waiting.pop_front(),
        }
    }

    /// A slot may be used again.
    pub(super) fn freed(&mut self, slot: Slot, after: After) {
        match after {
            After::Nothing => {}
            After::Again => self.waiting.push_back(slot),
            After::Retry => self.again.push_back((now_us() + RETRY_US, slot)),
        }
    }
}

/// A socket on its way to the target.
fn connect(assignment: &Assignment, number: u32) -> io::Result<OwnedFd> {
    let stream = Type::STREAM.nonblocking().cloexec();
    let socket = Socket::new_raw(Domain::for_address(assignment.target), stream, Some(Protocol::TCP))?;
    if let Some(addresses) = assignment.addresses {
        // The port is chosen by connect(2), which knows the target and can use a port once per target.
        setsockopt(&socket, IpBindAddressNoPort, &true)?;
        socket.bind(&std::net::SocketAddr::new(addresses.of(number), 0).into())?;
    }
    if assignment.closes_by_reset {
        socket.set_linger(Some(Duration::ZERO))?;
    }
    match socket.connect(&assignment.target.into()) {
        Err(error) if error.raw_os_error() != Some(nix::libc::EINPROGRESS) => return Err(error),
        _ => {}
    }
    // On loopback a refusal is there already.
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    // The ring waits by itself only on sockets that would block.
    socket.set_nonblocking(false)?;
    Ok(socket.into())
}
