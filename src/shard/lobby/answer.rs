//! What a client is told that does not become a connection: a refusal with its reason, or a page.
//!
//! Made by the [`handshake`](super::handshake), and by the [`transfer`](super::transfer) of a client for which there is
//! no room.

use std::io;

use monoio::io::AsyncWriteRentExt;
use monoio::net::TcpStream;

use crate::shard::io::Backend;
use crate::shard::lobby::Lobby;
use crate::ws::handshake::{Refusal, refusal_response};

/// A whole HTTP response.
pub struct Answer {
    bytes: Vec<u8>,
    refusal: Option<Refusal>,
}

impl Answer {
    pub fn page(bytes: Vec<u8>) -> Self {
        Self { bytes, refusal: None }
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        Self { bytes: refusal_response(&refusal), refusal: Some(refusal) }
    }
}

impl<B: Backend> Lobby<B> {
    /// Says no, or shows a page. Whoever does not take it in time goes without.
    pub(super) async fn tell(&self, stream: TcpStream, answer: Answer) {
        answer.refusal.inspect(|refusal| self.own_counters.refused.count(refusal.label()));
        let deadline = self.shared.rules.lobby.handshake_deadline;
        let _ = monoio::time::timeout(deadline, say(stream, answer.bytes)).await;
    }
}

async fn say(mut stream: TcpStream, bytes: Vec<u8>) -> io::Result<()> {
    stream.write_all(bytes).await.0?;
    Ok(())
}
