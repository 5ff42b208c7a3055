//! One thread: opens its share of the connections, keeps them, sends and receives through them.
//!
//! The coordinator (`fleet`) gives [`Order`]s and reads [`tally::Gauges`]; a worker shares nothing else. The loop is in
//! [`turn`], opening in [`opening`], what a client says in [`talk`], scheduled messages in [`traffic`].

mod day;
mod ledger;
mod opening;
mod receipts;
mod talk;
pub mod tally;
pub mod traffic;
mod turn;

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender};
use ringway::lane::bell::Bell;
use ringway::shard::io::uring::Uring;
use ringway::shard::io::{Capacity, Shape, Slot};

use crate::addresses::Addresses;
use crate::client::cast::{Cast, Troupe};
use crate::client::connection::Connection;
use crate::limits::Trouble;
use crate::publish::under_way::UnderWay;
use crate::sockets::Sockets;

use day::Books;
use ledger::Ledger;
use opening::Opening;
use tally::{Gauges, Tally, Totals};
use traffic::Traffic;

/// What a worker is told.
pub enum Order {
    /// Opens every connection that is not open, and opens again what ends before it is held.
    Open(Ramp),
    /// Closes all held connections but those that stay.
    Drop,
    /// Follows the sequences of these streams from these numbers on.
    Follow {
        stream: usize,
        next: u32,
    },
    /// Notes who has which of these messages, and says when it is ready to.
    KeepBooks {
        under_way: Arc<UnderWay>,
        ready: Sender<Infallible>,
    },
    /// Sends this beside what is sent already.
    Send(traffic::Plan),
    /// Sends what is planned to its end, and drops `done` when the gauges show all of it.
    Finish {
        done: Sender<Infallible>,
    },
    /// Forgets all plans: what still comes is no answer to them.
    Hush,
    /// Gives away what was counted and starts anew.
    Report(Sender<Tally>),
    End,
}

/// How fast connections are opened.
#[derive(Clone, Copy, Debug)]
pub struct Ramp {
    /// Connects per second of this worker; `None`: as fast as handshakes complete.
    pub per_s: Option<f64>,
    /// Handshakes under way at once.
    pub in_progress_max: u32,
}

/// What a worker is given.
pub struct Assignment {
    /// Number of the first connection, and how many there are.
    pub first: u32,
    pub count: u32,
    /// Connections that one ring takes.
    pub per_ring: u32,
    pub cast: Arc<Cast>,
    pub target: SocketAddr,
    /// None: the kernel chooses.
    pub addresses: Option<Addresses>,
    /// Connections are closed by a reset instead of an orderly end.
    pub closes_by_reset: bool,
    pub buffers: Shape,
    pub orders: Receiver<Order>,
    pub gauges: Arc<Gauges>,
    pub bell: Bell,
}

pub struct Worker {
    assignment: Assignment,
    sockets: Sockets,
    connections: Vec<Connection>,
    /// Beginnings of frames. Rare, so beside the connections.
    partials: HashMap<Slot, Vec<u8>>,
    /// The input that is being read; kept for its allocation.
    input: Vec<u8>,
    opening: Opening,
    traffic: Traffic,
    /// Of a closed loop of publications.
    ledger: Option<Ledger>,
    /// Of what clients say to each other.
    books: Option<Books>,
    tally: Tally,
    /// Totals of what was given away in reports.
    reported: Totals,
    held: u64,
    ended: bool,
}

impl Worker {
    /// Makes the first ring. Runs on the worker's thread, because a ring belongs to the thread that made it.
    pub fn new(assignment: Assignment) -> Result<Self, Trouble> {
        let capacity = Capacity { slots: assignment.count as usize, per_ring: assignment.per_ring as usize };
        let io = Uring::with_buffers(capacity, &assignment.bell, assignment.buffers)
            .map_err(|error| Trouble::ring(&error, assignment.count))?;
        let books = match assignment.cast.troupe {
            Troupe::Day(day) => Some(Books::open(day, assignment.first, assignment.count)),
            _ => None,
        };
        Ok(Self {
            sockets: Sockets::new(io, assignment.bell.clone())?,
            connections: vec![Connection::default(); assignment.count as usize],
            partials: HashMap::new(),
            input: Vec::new(),
            opening: Opening::default(),
            traffic: Traffic::default(),
            ledger: None,
            books,
            tally: Tally::default(),
            reported: Totals::default(),
            held: 0,
            ended: false,
            assignment,
        })
    }

    /// The number of the connection in `slot` among all of the run.
    fn number(&self, slot: Slot) -> u32 {
        self.assignment.first + slot
    }
}
