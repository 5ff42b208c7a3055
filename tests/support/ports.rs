//! Free ports for what the tests start. Called by `gateway` and `redis`.
//!
//! The gateway binds every port once per shard with SO_REUSEPORT, so two of them on one port would not fail but mix:
//! no port is handed out twice by one test process.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Mutex;

static HANDED_OUT: Mutex<Option<HashSet<u16>>> = Mutex::new(None);

/// An address on 127.0.0.1 that nothing listens on and that no other test of this process was given.
pub fn free() -> SocketAddr {
    let mut guard = HANDED_OUT.lock().expect("no test panics while it picks a port");
    let handed_out = guard.get_or_insert_with(HashSet::new);
    loop {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        if handed_out.insert(address.port()) {
            return address;
        }
    }
}
