//! How a client becomes a connection of the floor: what the lobby hands over, and what is made of it.

use std::io;

use crate::auth::Identity;
use crate::clock::Now;
use crate::lane::ConnectionId;
use crate::lane::frame::Frame;
use crate::metrics::latency::Stopwatch;
use crate::shard::connection::{Connection, Details};
use crate::shard::floor::Floor;
use crate::shard::io::{Io, Slot};
use crate::shard::quotas::Held;
use crate::shard::session::Session;
use crate::ws::close::CloseCode;
use crate::ws::frame::encode_text;

/// A client whose upgrade was accepted.
pub struct Arrival {
    /// The response head, sent before anything else.
    pub response: Vec<u8>,
    /// What came behind the request head.
    pub rest: Vec<u8>,
    /// From the token of the request; without it the session begins with an `auth` message.
    pub identity: Option<Identity>,
    pub details: Option<Box<Details>>,
    /// Its parts of the limits per address and per user.
    pub held: Held,
    /// Through the echo endpoint: no session begins.
    pub echo: bool,
}

impl<I: Io> Floor<I> {
    /// Takes a client in. The floor must not be full. The response and the greeting leave as one send.
    pub fn adopt(&mut self, socket: I::Socket, arrival: Arrival, now: Now) -> io::Result<ConnectionId> {
        debug_assert!(!self.is_full());
        self.state.now = now;
        self.generation = self.generation.wrapping_add(1);
        let connection = match arrival.echo {
            true => Connection::echo(self.generation, now),
            false => Connection::new(self.generation, now, arrival.details),
        };
        let slot = self.wire.connections.insert(connection) as Slot;
        debug_assert!((slot as usize) < self.capacity, "the slab uses its lowest free slots");
        self.slots_used = self.slots_used.max(slot + 1);
        if let Err(error) = self.wire.io.open(slot, socket) {
            self.wire.connections.remove(slot as usize);
            return Err(error);
        }
        self.state.counters.upgraded.add(1);
        self.state.echoes += usize::from(arrival.echo);
        // At once, not at the end of the turn: the limit of the whole process is read from it.
        self.state.counters.connections.set(self.wire.connections.len() as i64);
        self.state.counters.unauthenticated.add(i64::from(!arrival.echo));
        self.state.shares.put(slot, arrival.held);
        let mut first = arrival.response;
        if let Some(identity) = arrival.identity {
            let connection = &mut self.wire.connections[slot as usize];
            let mut session = Session { state: &mut self.state, slot, effects: &mut self.effects };
            // The lobby has checked the user type already.
            if session.admit(connection, identity) {
                first.extend_from_slice(&encode_text(&session.greeting(connection)));
                session.hand_out_kept(connection);
            }
        }
        self.wire.send(slot, Frame::local(first.into(), now.us));
        let (before, watch) = (self.state.counters.messages_received.get(), Stopwatch::start());
        if !arrival.rest.is_empty() {
            let mut rest = arrival.rest;
            self.read(slot, &mut rest);
        }
        self.effects.rearm = true;
        self.carry_out(slot);
        self.time_messages(before, watch);
        if self.is_draining() {
            // The sweep may have passed this slot already.
            self.close(slot, CloseCode::GOING_AWAY);
        }
        self.keep_ticking();
        Ok(self.state.id(slot, &self.wire.connections[slot as usize]))
    }
}
