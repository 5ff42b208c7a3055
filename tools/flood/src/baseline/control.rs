//! The control port: `POST /broadcast/…` sends the body to every connection, any GET is answered with 200.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};

use bytes::Bytes;
use crossbeam_channel::bounded;
use ringway::ws::frame::encode_text;
use ringway::ws::handshake::read_request;

use super::ring::{Command, Lane};

pub(super) fn serve(listener: &TcpListener, lanes: &[Lane]) -> io::Result<()> {
    for stream in listener.incoming() {
        let (stream, lanes) = (stream?, lanes.to_vec());
        std::thread::Builder::new().name("control".into()).spawn(move || {
            // A caller that goes away or talks nonsense is no concern of the others.
            let _ = answer(stream, &lanes);
        })?;
    }
    Ok(())
}

fn answer(mut stream: TcpStream, lanes: &[Lane]) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut input = Vec::new();
    loop {
        // All whole requests at once: their broadcasts are sent in one turn.
        let (mut taken, mut answers) = (0, Vec::new());
        // As the gateway does, answers when everything is queued: a publisher that is
        // woken earlier takes part of a core.
        let (done, all_done) = bounded(0);
        while let Some((is_post, head_bytes, body_bytes)) = head(&input[taken..])? {
            let Some(body) = input.get(taken + head_bytes..taken + head_bytes + body_bytes) else { break };
            if is_post {
                let frame: Bytes = encode_text(&String::from_utf8_lossy(body));
                lanes
                    .iter()
                    .for_each(|lane| lane.put_quietly(Command::Broadcast { bytes: frame.clone(), done: done.clone() }));
            }
            taken += head_bytes + body_bytes;
            answers.extend_from_slice(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
        }
        if taken == 0 {
            more(&mut stream, &mut input)?;
            continue;
        }
        Lane::wake_all(lanes);
        drop(done);
        let _ = all_done.recv();
        input.drain(..taken);
        stream.write_all(&answers)?;
    }
}

fn head(input: &[u8]) -> io::Result<Option<(bool, usize, usize)>> {
    let bad = |_| io::Error::from(io::ErrorKind::InvalidData);
    let request = read_request(input).map_err(bad)?;
    Ok(request.map(|request| {
        let body_bytes = request.header("Content-Length").and_then(|length| length.parse().ok()).unwrap_or(0);
        (request.method == "POST", request.head_len, body_bytes)
    }))
}

fn more(stream: &mut TcpStream, input: &mut Vec<u8>) -> io::Result<()> {
    // Many requests at once, where they come at once.
    let mut part = [0; 64 << 10];
    match stream.read(&mut part)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        read => {
            input.extend_from_slice(&part[..read]);
            Ok(())
        }
    }
}
