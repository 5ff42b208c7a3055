//! A client that writes its frames byte by byte, so that it can write what RFC 6455 forbids. Called by the tests of
//! the wire.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};

use super::gateway::Gateway;
use super::http;
use super::wire;

pub const CONTINUATION: u8 = 0x0;
pub const TEXT: u8 = 0x1;
pub const BINARY: u8 = 0x2;
pub const CLOSE: u8 = 0x8;
pub const PING: u8 = 0x9;
pub const PONG: u8 = 0xA;

/// The bit that ends a message.
pub const FIN: u8 = 0x80;

/// Any mask is as good as another.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A complete masked frame.
pub fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    fragment(FIN | opcode, payload)
}

/// A masked frame whose first byte (FIN, reserved bits, opcode) is given.
pub fn fragment(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header(first, payload.len() as u64);
    bytes.extend_from_slice(&MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// A frame without the mask that clients owe.
pub fn unmasked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header(FIN | opcode, payload.len() as u64);
    bytes[1] &= 0x7f;
    bytes.extend_from_slice(payload);
    bytes
}

/// The header of a masked frame, up to and without the mask.
pub fn header(first: u8, length: u64) -> Vec<u8> {
    let mut bytes = vec![first];
    match length {
        0..126 => bytes.push(0x80 | length as u8),
        126..65_536 => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&(length as u16).to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&length.to_be_bytes());
        }
    }
    bytes
}

/// The payload of a close frame.
pub fn close_payload(code: u16, reason: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes(), reason].concat()
}

/// A frame as the gateway sent it.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    pub opcode: u8,
    pub payload: Vec<u8>,
}

impl Frame {
    /// The code of a close frame.
    #[track_caller]
    pub fn close_code(&self) -> u16 {
        assert_eq!(self.opcode, CLOSE, "not a close frame: {self:?}");
        u16::from_be_bytes([self.payload[0], self.payload[1]])
    }
}

/// An upgraded connection, read and written as bytes.
pub struct Raw {
    pub stream: TcpStream,
    received: Vec<u8>,
}

impl Raw {
    /// Upgrades with a token in the Authorization header and reads the `connected` message.
    #[track_caller]
    pub fn connect(gateway: &Gateway, target: &str, token: &str) -> Raw {
        let mut stream = http::open(gateway.public);
        let bearer = format!("Bearer {token}");
        let response = http::upgrade(&mut stream, target, &[("Authorization", &bearer)])
            .unwrap_or_else(|refusal| panic!("refused: {refusal:?}"));
        let mut raw = Raw { stream, received: response.rest };
        let frame = raw.read_frame().expect("the gateway greets");
        let text = String::from_utf8(frame.payload).expect("text is UTF-8");
        assert_eq!(wire::kind(&wire::json(&text)), "connected", "in {text}");
        raw
    }

    /// Upgrades on the echo endpoint, which greets nobody.
    #[track_caller]
    pub fn echo(gateway: &Gateway, target: &str) -> Raw {
        let mut stream = http::open(gateway.public);
        let response = http::upgrade(&mut stream, target, &[]).unwrap_or_else(|refusal| panic!("refused: {refusal:?}"));
        Raw { stream, received: response.rest }
    }

    #[track_caller]
    pub fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the gateway reads");
    }

    /// The next frame. Err when the connection ended or the deadline passed.
    pub fn read_frame(&mut self) -> io::Result<Frame> {
        let head = self.take(2)?;
        assert!(head[0] & FIN != 0, "the gateway does not fragment");
        assert!(head[0] & 0x70 == 0, "no extension was agreed on");
        assert!(head[1] & 0x80 == 0, "a server does not mask");
        let length = match head[1] {
            126 => self.take(2)?.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)),
            127 => self.take(8)?.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)),
            short => usize::from(short),
        };
        Ok(Frame { opcode: head[0] & 0x0f, payload: self.take(length)? })
    }

    /// The next frame that is not a ping.
    #[track_caller]
    pub fn next_frame(&mut self) -> Frame {
        loop {
            let frame = self.read_frame().expect("a frame comes");
            if frame.opcode != PING {
                return frame;
            }
        }
    }

    /// The next text message.
    #[track_caller]
    pub fn next_text(&mut self) -> String {
        let frame = self.next_frame();
        assert_eq!(frame.opcode, TEXT, "not a text message: {frame:?}");
        String::from_utf8(frame.payload).expect("text is UTF-8")
    }

    /// The code of the close frame, passing over whatever comes before it, and then the end of the connection.
    #[track_caller]
    pub fn expect_close(&mut self) -> u16 {
        let code = loop {
            let frame = self.read_frame().expect("a close frame comes");
            if frame.opcode == CLOSE {
                break frame.close_code();
            }
        };
        // Answering lets the gateway end at once; it may have ended already.
        let _ = self.stream.write_all(&frame(CLOSE, &close_payload(code, b"")));
        self.expect_end();
        code
    }

    /// The orderly end of the gateway's side of the stream, which comes by itself: nothing was answered.
    #[track_caller]
    pub fn expect_end_of_stream(&mut self) {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).expect("the stream ends in order and before the deadline");
        assert!(self.received.is_empty() && rest.is_empty(), "bytes behind the close frame");
    }

    /// The end of the connection: an orderly one or a reset.
    #[track_caller]
    pub fn expect_end(&mut self) {
        loop {
            match self.read_frame() {
                Ok(_) => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    panic!("the gateway keeps the connection open")
                }
                Err(_) => return,
            }
        }
    }

    /// Ends with a reset: the kernel sends one when a socket is closed that has unread bytes.
    #[track_caller]
    pub fn reset(mut self) {
        self.write(&frame(PING, b"an answer to leave unread"));
        self.stream.peek(&mut [0]).expect("the answer comes");
        drop(self.stream);
    }

    /// Says that no more will come, and reads no more.
    pub fn vanish(self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    fn take(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut chunk = [0; 16 * 1024];
        while self.received.len() < count {
            match self.stream.read(&mut chunk)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => self.received.extend_from_slice(&chunk[..read]),
            }
        }
        let rest = self.received.split_off(count);
        Ok(std::mem::replace(&mut self.received, rest))
    }
}
