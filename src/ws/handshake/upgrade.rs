//! What makes a request a WebSocket upgrade (RFC 6455 section 4.2.1), and the answer that opens the connection.
//!
//! The lobby checks a request it has decided to serve, and sends the answer once origin, token and limits are settled.

use super::refusal::Refusal;
use super::request::Request;
use tungstenite::handshake::derive_accept_key;

/// Characters of base64 that 16 bytes make, padding included.
const KEY_CHARS: usize = 24;

/// A request that is a valid upgrade. Owned, so that it outlives the receive buffer while a token is being verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upgrade {
    key: [u8; KEY_CHARS],
}

impl Upgrade {
    /// Checks everything the standard demands of an upgrade, and nothing else.
    pub fn check(request: &Request<'_>) -> Result<Upgrade, Refusal> {
        require(request.method == "GET", Refusal::MethodNotAllowed)?;
        require(request.is_http_1_1, Refusal::HttpVersion)?;
        require(only(request, "Host").is_some(), Refusal::BadHost)?;
        require(request.lists("Upgrade", "websocket"), Refusal::UpgradeMissing)?;
        require(request.lists("Connection", "upgrade"), Refusal::ConnectionNotUpgrade)?;
        require(only(request, "Sec-WebSocket-Version") == Some("13"), Refusal::WebSocketVersion)?;
        let key = only(request, "Sec-WebSocket-Key").and_then(parse_key).ok_or(Refusal::BadKey)?;
        Ok(Upgrade { key })
    }
}

/// The answer `101 Switching Protocols`, naming the subprotocol that was chosen from the client's offer, if any.
pub fn accept_response(upgrade: &Upgrade, subprotocol: Option<&str>) -> Vec<u8> {
    const HEAD: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                          Sec-WebSocket-Accept: ";
    const SUBPROTOCOL: &[u8] = b"\r\nSec-WebSocket-Protocol: ";
    const END: &[u8] = b"\r\n\r\n";
    let accept_key = derive_accept_key(&upgrade.key);
    let (label, subprotocol) = subprotocol.map_or((&[][..], ""), |subprotocol| (SUBPROTOCOL, subprotocol));
    [HEAD, accept_key.as_bytes(), label, subprotocol.as_bytes(), END].concat()
}

fn require(holds: bool, refusal: Refusal) -> Result<(), Refusal> {
    if holds { Ok(()) } else { Err(refusal) }
}

/// The value of a header that must stand exactly once.
fn only<'a>(request: &Request<'a>, name: &str) -> Option<&'a str> {
    let mut values = request.headers(name);
    values.next().filter(|_| values.next().is_none())
}

/// The key, if it is base64 of 16 bytes. Its value is only ever hashed as it stands, so it is not decoded.
fn parse_key(key: &str) -> Option<[u8; KEY_CHARS]> {
    let key: [u8; KEY_CHARS] = key.as_bytes().try_into().ok()?;
    let digits = key.strip_suffix(b"==")?;
    digits.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/')).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ws::handshake::read_request;
    use std::io::{Cursor, Read, Write};

    const HEAD: &str = "GET /ws HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

    fn check(head: &str) -> Result<Upgrade, Refusal> {
        Upgrade::check(&read_request(head.as_bytes()).unwrap().unwrap())
    }

    /// The verdict on the sample request with one part replaced.
    #[track_caller]
    fn check_with(part: &str, replacement: &str) -> Result<Upgrade, Refusal> {
        assert!(HEAD.contains(part));
        check(&HEAD.replace(part, replacement))
    }

    #[test]
    fn the_sample_of_the_standard_is_answered_as_it_says() {
        let answer = accept_response(&check(HEAD).unwrap(), None);
        assert_eq!(
            String::from_utf8(answer).unwrap(),
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
        );
    }

    #[test]
    fn the_chosen_subprotocol_is_named() {
        let answer = String::from_utf8(accept_response(&check(HEAD).unwrap(), Some("ringway.v1"))).unwrap();
        assert!(answer.ends_with("xOo=\r\nSec-WebSocket-Protocol: ringway.v1\r\n\r\n"), "{answer}");
    }

    #[test]
    fn each_missing_part_is_refused_with_its_reason() {
        for (part, refusal) in [
            ("Host: server.example.com\r\n", Refusal::BadHost),
            ("Upgrade: websocket\r\n", Refusal::UpgradeMissing),
            ("Connection: Upgrade\r\n", Refusal::ConnectionNotUpgrade),
            ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", Refusal::BadKey),
            ("Sec-WebSocket-Version: 13\r\n", Refusal::WebSocketVersion),
        ] {
            assert_eq!(check_with(part, ""), Err(refusal), "without {part}");
        }
    }

    #[test]
    fn only_get_over_http_1_1_upgrades() {
        assert_eq!(check_with("GET", "POST"), Err(Refusal::MethodNotAllowed));
        assert_eq!(check_with("GET", "get"), Err(Refusal::MethodNotAllowed));
        assert_eq!(check_with("HTTP/1.1", "HTTP/1.0"), Err(Refusal::HttpVersion));
    }

    #[test]
    fn upgrade_and_connection_are_lists_in_any_case() {
        assert!(check_with("Upgrade: websocket", "upgrade: h2c, WebSocket").is_ok());
        assert!(check_with("Connection: Upgrade", "connection: keep-alive,upgrade").is_ok());
        assert!(check_with("Connection: Upgrade", "Connection: keep-alive\r\nConnection: UPGRADE").is_ok());
        assert_eq!(check_with("Upgrade: websocket", "Upgrade: websockets"), Err(Refusal::UpgradeMissing));
        assert_eq!(check_with("Connection: Upgrade", "Connection: keep-alive"), Err(Refusal::ConnectionNotUpgrade));
    }

    #[test]
    fn another_version_is_told_which_one_is_spoken() {
        for version in ["8", "013", "13, 8", "12\r\nSec-WebSocket-Version: 13"] {
            assert_eq!(check_with("Version: 13", &format!("Version: {version}")), Err(Refusal::WebSocketVersion));
        }
    }

    #[test]
    fn a_key_is_base64_of_16_bytes_and_stands_once() {
        let key = "dGhlIHNhbXBsZSBub25jZQ==";
        for bad in [
            "",
            "dGhlIHNhbXBsZSBub25jZQ",
            "dGhlIHNhbXBsZSBub25jZQAA",
            "dGhlIHNhbXBsZSBub25-ZQ==",
            "c2hvcnQ=",
            "dGhlIHNhbXBsZSBub25jZQ====",
        ] {
            assert_eq!(check_with(key, bad), Err(Refusal::BadKey), "{bad}");
        }
        let twice = format!("{key}\r\nSec-WebSocket-Key: {key}");
        assert_eq!(check_with(key, &twice), Err(Refusal::BadKey));
    }

    #[test]
    fn a_second_host_is_refused() {
        assert_eq!(check_with("Host: server.example.com", "Host: a\r\nHost: b"), Err(Refusal::BadHost));
    }

    /// A connection whose far end is this module: answers the request that was written to it.
    #[derive(Default)]
    struct Server {
        received: Vec<u8>,
        answer: Cursor<Vec<u8>>,
    }

    impl Write for Server {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.received.extend_from_slice(bytes);
            if let Some(request) = read_request(&self.received).unwrap() {
                let upgrade = Upgrade::check(&request).unwrap();
                self.answer = Cursor::new(accept_response(&upgrade, request.subprotocols().next()));
            }
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Read for Server {
        fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
            self.answer.read(bytes)
        }
    }

    #[test]
    fn a_tungstenite_client_is_let_in_and_accepts_the_answer() {
        let request = tungstenite::ClientRequestBuilder::new("ws://localhost/ws?token=t".parse().unwrap())
            .with_sub_protocol("ringway.v1");
        let (client, response) = tungstenite::client(request, Server::default()).unwrap();
        assert_eq!(response.headers()["Sec-WebSocket-Protocol"], "ringway.v1");
        let request = read_request(&client.get_ref().received).unwrap().unwrap();
        assert_eq!((request.path, request.query), ("/ws", Some("token=t")));
    }
}
