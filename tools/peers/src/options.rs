//! What both servers are told on the command line, and the sockets that follow from it. Called by the two `main`s.

use std::net::SocketAddr;

use clap::Args;
use tokio::net::{TcpListener, TcpSocket};

/// More than the kernel allows anywhere: it takes its own limit (`net.core.somaxconn`) instead. A ramp would otherwise
/// measure tokio's default of 1024 waiting connections.
const BACKLOG: u32 = 65_535;

#[derive(Args)]
pub struct Addresses {
    /// Where clients connect; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:4000")]
    pub listen: SocketAddr,
    /// Where messages are published
    #[arg(long, default_value = "127.0.0.1:4001")]
    pub admin: SocketAddr,
}

/// The client listener and the admin listener.
pub struct Listeners {
    pub clients: TcpListener,
    pub admin: TcpListener,
}

impl Addresses {
    /// Binds both and prints one line with the addresses, which is what waits for the server can read.
    pub fn bind(&self) -> std::io::Result<Listeners> {
        let listeners = Listeners { clients: listen(self.listen)?, admin: listen(self.admin)? };
        println!(
            "listening on ws://{}/ws admin http://{}",
            listeners.clients.local_addr()?,
            listeners.admin.local_addr()?
        );
        Ok(listeners)
    }
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
