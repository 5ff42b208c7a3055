//! The ports: the public one, bound once per shard, and the admin port; given back when the process ends, by whatever
//! way.
//!
//! Called by the gateway alone. A shard's accept holds its listener inside the shard's ring, and the kernel
//! takes rings apart some milliseconds after the process is gone. Until then a listening socket would keep the
//! port from the next gateway, so [`Listeners`] ends the listening itself; what is killed cannot, and a gateway that
//! is still draining has both ports, so binding tries again for a moment.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

/// How long a port may still be taken by a gateway that has just ended.
const BIND_PATIENCE: Duration = Duration::from_secs(1);

const BIND_PAUSE: Duration = Duration::from_millis(5);

/// What the sockets inherit that are accepted.
#[derive(Clone, Copy, Debug)]
pub struct Inherited {
    /// Connections per listener that the kernel keeps until they are accepted.
    pub backlog: u32,
    /// Bytes that the kernel takes for a connection beyond what is on its way; 0: as many as it likes.
    pub unsent_bytes: u32,
    /// How long a peer may leave what was sent to it unacknowledged, or its window closed;
    /// zero: as long as the kernel likes.
    pub user_timeout: Duration,
}

/// One listening socket per shard. Nobody listens any more when this is dropped, whoever else holds the sockets.
pub struct Listeners(Vec<Socket>);

impl Listeners {
    /// One listener per shard on the same address: the kernel spreads new connections over
    /// them by a hash of the addresses.
    ///
    /// # Errors
    ///
    /// When the address cannot be had, or is in use for longer than a second.
    pub fn bind(address: SocketAddr, inherited: Inherited, count: usize) -> io::Result<Self> {
        patiently(address, || Self::try_bind(address, inherited, count))
    }

    fn try_bind(address: SocketAddr, inherited: Inherited, count: usize) -> io::Result<Self> {
        // Sharing a port would also succeed with a gateway that runs already, and halve its clients: this one does not.
        bound(address, inherited, false)?;
        let first = bound(address, inherited, true)?;
        let address = first.local_addr()?.as_socket().unwrap_or(address);
        let others = (1..count).map(|_| bound(address, inherited, true));
        let listeners = Self(std::iter::once(Ok(first)).chain(others).collect::<io::Result<_>>()?);
        for listener in &listeners.0 {
            listener.listen(i32::try_from(inherited.backlog).unwrap_or(i32::MAX))?;
        }
        Ok(listeners)
    }

    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0[0].local_addr()?.as_socket().ok_or_else(|| io::Error::other("the public port is no internet address"))
    }

    /// A handle of each for the shards.
    pub fn share(&self) -> io::Result<Vec<TcpListener>> {
        self.0.iter().map(|listener| listener.try_clone().map(TcpListener::from)).collect()
    }

    /// Nobody listens any more.
    pub fn close(&self) {
        for listener in &self.0 {
            // It may be closed already.
            let _ = listener.shutdown(std::net::Shutdown::Both);
        }
    }
}

/// The admin port's listener, which no shard shares. It takes connections from now on, whenever they are served.
///
/// # Errors
///
/// When the address cannot be had, or is in use for longer than a second.
pub fn bind_admin(address: SocketAddr) -> io::Result<TcpListener> {
    patiently(address, || TcpListener::bind(address))
}

/// Tries again for a second while the address is in use. The error names the address.
fn patiently<T>(address: SocketAddr, mut bind: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let deadline = Instant::now() + BIND_PATIENCE;
    loop {
        match bind() {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline => {
                thread::sleep(BIND_PAUSE);
            }
            Err(error) => {
                return Err(io::Error::new(error.kind(), format!("cannot listen on {address}: {error}")));
            }
            Ok(bound) => return Ok(bound),
        }
    }
}

/// Binds two sockets to one port of the address, as two shards do, and lets go of them.
///
/// # Errors
///
/// When the address cannot be had, or its ports cannot be shared.
pub fn try_sharing(address: IpAddr) -> io::Result<()> {
    let plain = Inherited { backlog: 0, unsent_bytes: 0, user_timeout: Duration::ZERO };
    let first = bound(SocketAddr::new(address, 0), plain, true)?;
    let taken = first.local_addr()?.as_socket().unwrap_or(SocketAddr::new(address, 0));
    bound(taken, plain, true).map(drop)
}

impl Drop for Listeners {
    fn drop(&mut self) {
        self.close();
    }
}

fn bound(address: SocketAddr, inherited: Inherited, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    // A frame is a whole message, and waiting for more to send would only delay it.
    socket.set_tcp_nodelay(true)?;
    if inherited.unsent_bytes > 0 {
        socket.set_tcp_notsent_lowat(inherited.unsent_bytes)?;
    }
    if !inherited.user_timeout.is_zero() {
        socket.set_tcp_user_timeout(Some(inherited.user_timeout))?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loopback(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    const INHERITED: Inherited = Inherited { backlog: 16, unsent_bytes: 20_000, user_timeout: Duration::from_secs(7) };

    #[test]
    fn what_is_accepted_has_the_settings_of_its_listener() {
        let listeners = Listeners::bind(loopback(0), INHERITED, 1).expect("a free port");
        let _client = std::net::TcpStream::connect(listeners.address().expect("bound")).expect("it listens");
        let (accepted, _) = listeners.0[0].accept().expect("a client has come");
        assert_eq!(accepted.tcp_notsent_lowat().expect("a TCP socket"), INHERITED.unsent_bytes);
        assert_eq!(accepted.tcp_user_timeout().expect("a TCP socket"), Some(INHERITED.user_timeout));
        assert!(accepted.tcp_nodelay().expect("a TCP socket"));
    }

    #[test]
    fn a_port_is_free_at_once_although_somebody_still_holds_the_sockets() {
        let first = Listeners::bind(loopback(0), INHERITED, 3).expect("a free port");
        let (address, held) = (first.address().expect("bound"), first.share().expect("descriptors"));
        drop(first);
        assert!(Listeners::try_bind(address, INHERITED, 3).is_ok());
        drop(held);
    }

    #[test]
    fn a_port_is_shared_on_this_kernel_and_a_foreign_address_is_refused() {
        try_sharing(IpAddr::from([127, 0, 0, 1])).expect("loopback can be shared");
        // 192.0.2.0/24 is set apart for documentation (RFC 5737): no host has it.
        assert!(try_sharing(IpAddr::from([192, 0, 2, 1])).is_err());
    }

    #[test]
    fn a_port_in_use_is_waited_for_but_not_for_ever() {
        let first = Listeners::bind(loopback(0), INHERITED, 1).expect("a free port");
        let address = first.address().expect("bound");
        let refused = Listeners::bind(address, INHERITED, 1).err().expect("two gateways do not share a port");
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
        assert!(refused.to_string().starts_with(&format!("cannot listen on {address}: ")), "{refused}");

        let late = thread::spawn(move || Listeners::bind(address, INHERITED, 1).map(drop));
        drop(first);
        assert!(late.join().expect("no panic").is_ok());
    }

    #[test]
    fn the_admin_port_in_use_is_named() {
        let first = bind_admin(loopback(0)).expect("a free port");
        let address = first.local_addr().expect("bound");
        let refused = bind_admin(address).expect_err("it is in use");
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
        assert!(refused.to_string().starts_with(&format!("cannot listen on {address}: ")), "{refused}");
    }

    #[test]
    fn only_an_address_in_use_is_tried_again() {
        let tries_before = |failures: Vec<io::ErrorKind>| {
            let (mut failures, mut tries) = (failures.into_iter(), 0);
            let bound = patiently(loopback(1), || {
                tries += 1;
                failures.next().map_or(Ok(()), |kind| Err(kind.into()))
            });
            (tries, bound.is_ok())
        };
        assert_eq!(tries_before(vec![io::ErrorKind::AddrInUse; 2]), (3, true));
        assert_eq!(tries_before(vec![io::ErrorKind::AddrNotAvailable]), (1, false));
    }
}
