//! Accepts connections, reads the upgrade request and hands the socket with its answer to the ring.

use std::io::{self, Read};
use std::net::{TcpListener, TcpStream};

use ringway::ws::handshake::{Upgrade, accept_response, read_request};

use super::ring::{Command, Lane};

pub(super) fn open(listener: TcpListener, lane: Lane) -> io::Result<()> {
    let door = std::thread::Builder::new().name("door".into());
    door.spawn(move || {
        for stream in listener.incoming().flatten() {
            if let Some((stream, response)) = upgrade(stream) {
                lane.put(Command::Open { socket: stream.into(), response });
            }
        }
    })?;
    Ok(())
}

fn upgrade(mut stream: TcpStream) -> Option<(TcpStream, Vec<u8>)> {
    let mut head = [0; 4096];
    let mut len = 0;
    loop {
        let read = stream.read(&mut head[len..]).ok().filter(|&read| read > 0)?;
        len += read;
        if let Some(request) = read_request(&head[..len]).ok()? {
            let upgrade = Upgrade::check(&request).ok()?;
            return Some((stream, accept_response(&upgrade, None)));
        }
    }
}
