//! HTTP/1.1 by hand, over a socket that stays: upgrade requests and the answers to them. Called by `client`, `raw` and
//! the tests of handshakes. Not for the admin port: that one is asked by a client library.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use tungstenite::handshake::derive_accept_key;

use super::wait::DEADLINE;
use super::wire;

/// The key of RFC 6455's example; nothing depends on its being random.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// What an upgrade takes.
pub const UPGRADE_HEADERS: [(&str, &str); 5] = [
    ("Host", "gateway.test"),
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", KEY),
];

/// A head longer than this is not an answer of ours.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// What a server answered.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: String,
    /// What followed the head of a 101: the first frames.
    pub rest: Vec<u8>,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// A refusal has this status, and its body is JSON with a sentence for a person.
    #[track_caller]
    pub fn assert_refusal(&self, what: &str, status: u16) {
        assert_eq!(self.status, status, "{what}: {self:?}");
        let kind = self.header("Content-Type").unwrap_or("");
        assert!(kind.starts_with("application/json"), "{self:?}");
        let body = wire::json(&self.body);
        for field in ["code", "message"] {
            assert!(!wire::string(&body, &["error", field]).is_empty(), "{what}: no {field} in {self:?}");
        }
    }
}

/// A connected socket that gives up reading after the deadline.
pub fn open(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap_or_else(|error| panic!("{address} refuses: {error}"));
    stream.set_nodelay(true).expect("a TCP socket");
    stream.set_read_timeout(Some(DEADLINE)).expect("the deadline is not zero");
    stream.set_write_timeout(Some(DEADLINE)).expect("the deadline is not zero");
    stream
}

/// A complete upgrade request for `target`, with more header lines.
pub fn upgrade_request(target: &str, headers: &[(&str, &str)]) -> String {
    request("GET", target, &[&UPGRADE_HEADERS, headers].concat())
}

/// A request without a body.
pub fn request(method: &str, target: &str, headers: &[(&str, &str)]) -> String {
    let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    format!("{method} {target} HTTP/1.1\r\n{lines}\r\n")
}

/// Sends one request on a fresh connection and reads the answer.
#[track_caller]
pub fn exchange(address: SocketAddr, request: &str) -> Response {
    try_exchange(address, request).expect("the server answers")
}

/// The same with a server that may refuse the connection.
pub fn try_exchange(address: SocketAddr, request: &str) -> io::Result<Response> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.write_all(request.as_bytes())?;
    read_response(&mut stream)
}

/// Asks for an upgrade; Err is the refusal. The accept key is checked.
#[track_caller]
pub fn upgrade(stream: &mut TcpStream, target: &str, headers: &[(&str, &str)]) -> Result<Response, Response> {
    stream.write_all(upgrade_request(target, headers).as_bytes()).expect("the server reads");
    let response = read_response(stream).expect("the server answers the upgrade");
    if response.status != 101 {
        return Err(response);
    }
    assert_eq!(response.header("Sec-WebSocket-Accept"), Some(derive_accept_key(KEY.as_bytes()).as_str()));
    Ok(response)
}

/// Reads one answer: to its Content-Length, or to the end of the connection when it has none.
pub fn read_response(stream: &mut TcpStream) -> io::Result<Response> {
    let mut received = Vec::new();
    let head_bytes = loop {
        if let Some(end) = received.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break end + 4;
        }
        if received.len() > HEAD_BYTES_MAX || read_more(stream, &mut received)? == 0 {
            let seen = String::from_utf8_lossy(&received).into_owned();
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("no HTTP head in {seen:?}")));
        }
    };
    let mut rest = received.split_off(head_bytes);
    let (status, headers) = parse_head(&received)?;
    let mut response = Response { status, headers, body: String::new(), rest: Vec::new() };
    if status == 101 {
        response.rest = rest;
        return Ok(response);
    }
    let length = response.header("Content-Length").and_then(|value| value.parse::<usize>().ok());
    while length.is_none_or(|length| rest.len() < length) && read_more(stream, &mut rest)? > 0 {}
    response.body = String::from_utf8_lossy(&rest).into_owned();
    Ok(response)
}

fn parse_head(head: &[u8]) -> io::Result<(u16, Vec<(String, String)>)> {
    let mut slots = [httparse::EMPTY_HEADER; 64];
    let mut parsed = httparse::Response::new(&mut slots);
    parsed.parse(head).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let headers = parsed.headers.iter().map(|header| (header.name.to_owned(), text(header.value))).collect();
    Ok((parsed.code.unwrap_or(0), headers))
}

fn read_more(stream: &mut TcpStream, into: &mut Vec<u8>) -> io::Result<usize> {
    let mut chunk = [0; 4096];
    let count = stream.read(&mut chunk)?;
    into.extend_from_slice(&chunk[..count]);
    Ok(count)
}
