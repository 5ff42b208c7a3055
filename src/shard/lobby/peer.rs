//! Who has connected, and for whom it speaks: itself, or, when it is a trusted proxy, a client that it has yet to name.
//!
//! A client is counted once: when it connects, or, behind a proxy, when its request has named it.

use std::net::IpAddr;

use crate::clock::Now;
use crate::shard::lobby::addresses::customer;
use crate::shard::lobby::admission::Caller;
use crate::shard::lobby::heads::Rank;
use crate::shard::lobby::shared::Shared;
use crate::ws::handshake::{HeadReader, Request};

#[derive(Clone, Copy)]
pub struct Peer {
    address: IpAddr,
    /// Whether it may connect once more, or after how many seconds. None while it speaks for others.
    admitted: Option<Result<(), u32>>,
}

impl Peer {
    /// Somebody has connected from this address.
    pub fn greet(address: IpAddr, shared: &Shared, now: Now) -> Self {
        let is_proxy = shared.rules.lobby.proxies.trusts(address);
        let admitted = (!is_proxy).then(|| shared.addresses.admit(address, now));
        Self { address, admitted }
    }

    /// Whose share of the handshakes it takes. Nobody's: a proxy speaks for many.
    pub fn counts_for(&self) -> Option<IpAddr> {
        self.admitted.map(|_| customer(self.address))
    }

    pub fn rank(&self) -> Rank {
        if self.admitted.is_some_and(|admitted| admitted.is_err()) { Rank::Unwelcome } else { Rank::Silent }
    }

    /// Reads what it sends before the request, too, if it may send that.
    pub fn head_reader(&self, shared: &Shared) -> HeadReader {
        HeadReader::new(self.admitted.is_none() && shared.rules.lobby.proxies.proxy_protocol)
    }

    /// It has named its client before the request.
    pub fn names(&mut self, head: &HeadReader) {
        self.address = head.client().unwrap_or(self.address);
    }

    /// Who asks, now that the request may have named them.
    pub fn caller(&self, request: &Request<'_>, shared: &Shared, now: Now) -> Caller {
        let address = shared.rules.lobby.proxies.client(self.address, request);
        let admitted = self.admitted.unwrap_or_else(|| shared.addresses.admit(address, now));
        Caller { address, admitted }
    }
}
