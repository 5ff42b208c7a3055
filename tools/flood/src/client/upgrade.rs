//! The request that makes a connection a WebSocket, and the check of its answer.

use super::parser::contains;

/// The key of the example in RFC 6455 section 1.3: a benchmark needs no fresh one, and the answer is known.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &[u8] = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The bytes of a request.
pub fn request(host: &str, path: &str, token: Option<&str>) -> Vec<u8> {
    let authorization = token.map_or(String::new(), |token| format!("Authorization: Bearer {token}\r\n"));
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n{authorization}\r\n"
    )
    .into_bytes()
}

/// Whether the head of a 101 carries the answer to our key.
pub fn is_accepted(head: &[u8]) -> bool {
    contains(head, ACCEPT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway::ws::handshake::{Upgrade, accept_response, read_request};

    #[test]
    fn the_gateway_understands_the_request_and_its_answer_is_accepted() {
        let bytes = request("127.0.0.1:4000", "/ws?a=b", Some("T"));
        let request = read_request(&bytes).unwrap().unwrap();
        assert_eq!(request.head_len, bytes.len());
        let upgrade = Upgrade::check(&request).unwrap();
        assert!(is_accepted(&accept_response(&upgrade, None)));
    }

    #[test]
    fn an_answer_to_another_key_is_not_accepted() {
        assert!(!is_accepted(b"HTTP/1.1 101 x\r\nSec-WebSocket-Accept: AAAA\r\n\r\n"));
    }
}
