//! Asks the server with one connection of its own whether it knows a type of message.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ringway::ws::frame::{Opcode, encode_masked};

use super::run::Run;
use crate::client::parser::contains;
use crate::limits::Trouble;

/// How long the server may take to say that it does not know a message.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Whether `message`, sent by connection 0's user, is not answered with `unknown_type`. A ping goes behind it, so that
/// an answer comes in either case.
pub(super) fn knows(run: &Run, message: &str) -> Result<bool, Trouble> {
    let unix_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let mut stream = TcpStream::connect(run.server.target)?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    stream.write_all(&run.cast.request(0, unix_s))?;
    let mut heard = Vec::new();
    listen(&mut stream, &mut heard, run.cast.greeting.as_bytes())?;
    for text in [message, r#"{"type":"ping"}"#] {
        stream.write_all(&encode_masked(Opcode::Text, text.as_bytes(), [1, 2, 3, 4]))?;
    }
    listen(&mut stream, &mut heard, br#""type":"pong""#)?;
    Ok(!contains(&heard, b"unknown_type"))
}

/// Reads until `awaited` has come, or for as long as the server may take.
fn listen(stream: &mut TcpStream, heard: &mut Vec<u8>, awaited: &[u8]) -> Result<(), Trouble> {
    let deadline = Instant::now() + ANSWER_WITHIN;
    let mut part = [0; 4096];
    while !contains(heard, awaited) && Instant::now() < deadline {
        match stream.read(&mut part) {
            Ok(0) => return Err(Trouble::new("the server ended a connection that asked what it knows")),
            Ok(read) => heard.extend_from_slice(&part[..read]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
