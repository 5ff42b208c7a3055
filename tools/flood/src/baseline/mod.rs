//! The baseline: a bare server that sends the same bytes over the same number of sockets through the same io_uring
//! backend as the gateway and does nothing else. No token, no JSON, no channel, no timer. What it costs is the lower
//! bound.
//!
//! Started as a child process by the scenarios `baseline-fanout`, `baseline-saturate` and `baseline-echo`. Per shard a
//! `door` thread accepts and reads the request, and a `ring` thread serves; the `control` port takes what is to be sent
//! to everybody.

mod control;
mod door;
mod ring;

use std::io;
use std::net::{SocketAddr, TcpListener};

use clap::{Args, ValueEnum};
use socket2::{Domain, Socket, Type};

use crate::limits;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// What is posted to the control port goes to every connection.
    Fanout,
    /// The payload of every frame goes back.
    Echo,
}

#[derive(Args, Clone, Debug)]
pub struct BaselineArgs {
    #[arg(long, value_enum, default_value = "fanout")]
    pub mode: Mode,

    /// Where clients connect
    #[arg(long, default_value = "127.0.0.1:4000")]
    pub listen: SocketAddr,

    /// Where messages are posted, in the form of the gateway's admin port
    #[arg(long, default_value = "127.0.0.1:4001")]
    pub admin: SocketAddr,

    /// Rings, each with a thread of its own; 0: one per core
    #[arg(long, default_value_t = 0)]
    pub shards: usize,
}

/// Serves until the process is ended.
pub fn serve(args: &BaselineArgs) -> io::Result<()> {
    // As the gateway does: the memory of both is to be compared.
    ringway::host::limits::keep_pages_small();
    let open_files = limits::raise_open_files() as usize;
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let shards = ringway::host::limits::shards(args.shards);
    let capacity = ringway::host::limits::capacity(open_files, shards, 0);
    let mut lanes = Vec::new();
    for shard in 0..shards {
        let core = cores.get(shard % cores.len().max(1)).copied();
        let lane = ring::start(args.mode, capacity, core)?;
        door::open(listener(args.listen)?, lane.clone())?;
        lanes.push(lane);
    }
    control::serve(&TcpListener::bind(args.admin)?, &lanes)
}

/// A listener that shares its port with those of the other shards.
fn listener(address: SocketAddr) -> io::Result<TcpListener> {
    const BACKLOG: i32 = 4096;
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    // Inherited by what is accepted, as in the gateway.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
