//! The far end as a client sees it: masked frames out, and what came in read with an
//! independent parser (tungstenite's).

use std::io::Cursor;

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use crate::lane::ConnectionId;
use crate::shard::io::memory::Peer;
use crate::ws::close::CloseCode;
use crate::ws::frame::{Opcode, encode_masked};

/// The response head of every arrival here.
pub const HEAD: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\n\r\n";

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// One thing that the gateway said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    Head,
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>),
}

pub struct Client {
    pub peer: Peer,
    pub id: ConnectionId,
    received: Vec<u8>,
    greeted: bool,
}

impl Client {
    pub fn new(peer: Peer, id: ConnectionId) -> Self {
        Self { peer, id, received: Vec::new(), greeted: false }
    }

    pub fn say(&self, json: &str) {
        self.peer.write(&text(json));
    }

    pub fn say_frame(&self, opcode: Opcode, payload: &[u8]) {
        self.peer.write(&encode_masked(opcode, payload, MASK));
    }

    pub fn say_close(&self, code: u16) {
        self.say_frame(Opcode::Close, &code.to_be_bytes());
    }

    pub fn subscribe(&self, channel: &str) {
        self.say(&format!(r#"{{"type":"subscribe","channels":["{channel}"]}}"#));
    }

    pub fn authenticate(&self, token: &str) {
        self.say(&format!(r#"{{"type":"auth","token":"{token}"}}"#));
    }

    /// Everything that has come whole since the last time.
    pub fn heard(&mut self) -> Vec<Said> {
        self.received.extend(self.peer.take());
        let mut said = Vec::new();
        let mut at = 0;
        if !self.greeted && self.received.len() >= HEAD.len() {
            assert!(self.received.starts_with(HEAD), "the response comes before anything else");
            (self.greeted, at) = (true, HEAD.len());
            said.push(Said::Head);
        }
        while self.greeted
            && let Some((one, bytes)) = read_frame(&self.received[at..])
        {
            said.push(one);
            at += bytes;
        }
        self.received.drain(..at);
        said
    }

    /// The texts among what has come, and nothing else may have come.
    pub fn texts(&mut self) -> Vec<String> {
        let text = |said| match said {
            Said::Text(text) => text,
            other => panic!("not a text: {other:?}"),
        };
        self.heard().into_iter().map(text).collect()
    }

    /// The codes of the errors among what has come.
    pub fn errors(&mut self) -> Vec<String> {
        self.heard().iter().filter_map(Said::error_code).collect()
    }
}

impl Said {
    pub fn text(text: &str) -> Self {
        Self::Text(text.into())
    }

    pub fn into_text(self) -> Option<String> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    pub fn close(code: CloseCode) -> Self {
        Self::Close(Some(code.0))
    }

    pub fn error_code(&self) -> Option<String> {
        let Self::Text(text) = self else { return None };
        let rest = text.strip_prefix(r#"{"type":"error","#)?;
        let code = rest.split(r#""code":""#).nth(1)?;
        code.split('"').next().map(Into::into)
    }
}

/// One text message as a client sends it.
pub fn text(json: &str) -> Vec<u8> {
    encode_masked(Opcode::Text, json.as_bytes(), MASK)
}

/// The frame at the beginning of `bytes` with its length, when it is whole.
fn read_frame(bytes: &[u8]) -> Option<(Said, usize)> {
    let mut cursor = Cursor::new(bytes);
    let (header, payload_bytes) = FrameHeader::parse(&mut cursor).unwrap()?;
    assert!(header.is_final && header.mask.is_none(), "a server sends whole frames, unmasked");
    let start = cursor.position() as usize;
    let end = start + payload_bytes as usize;
    let payload = bytes.get(start..end)?.to_vec();
    let said = match header.opcode {
        OpCode::Data(Data::Text) => Said::Text(String::from_utf8(payload).unwrap()),
        OpCode::Data(Data::Binary) => Said::Binary(payload),
        OpCode::Control(Control::Ping) => Said::Ping(payload),
        OpCode::Control(Control::Pong) => Said::Pong(payload),
        OpCode::Control(Control::Close) => Said::Close(payload.first_chunk().map(|code| u16::from_be_bytes(*code))),
        other => panic!("a server does not send {other}"),
    };
    Some((said, end))
}
