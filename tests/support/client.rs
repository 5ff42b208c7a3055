//! A client as its users have it: tungstenite over a plain socket. It answers pings while it is read.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use sonic_rs::Value;
use tungstenite::protocol::Role;
use tungstenite::{Error, Message, WebSocket};

use super::gateway::Gateway;
use super::http::{self, Response};
use super::tokens::token;
use super::wait::DEADLINE;
use super::wire;

/// How long one read may wait before the deadline is looked at again.
const READ_TIMEOUT: Duration = Duration::from_millis(50);

/// The kernel's hash chooses the shard; this many connections all on one of two would be a miracle.
const CONNECTS_MAX: usize = 64;

/// What a read brought.
#[derive(Debug)]
pub enum Event {
    Text(String),
    Ping,
    Pong,
    /// The gateway's close frame; None when it carried no code.
    Closed(Option<u16>),
    /// The connection ended without a close frame.
    Gone,
}

pub struct Client {
    socket: WebSocket<TcpStream>,
}

impl Client {
    /// Connects with a token in the Authorization header and reads the `connected` message.
    #[track_caller]
    pub fn connect(gateway: &Gateway, token: &str) -> Client {
        Client::connect_at(gateway, "/ws", token)
    }

    /// The same with a target such as `/ws?userType=driver`.
    #[track_caller]
    pub fn connect_at(gateway: &Gateway, target: &str, token: &str) -> Client {
        let bearer = format!("Bearer {token}");
        let (mut client, _) = Client::upgrade(gateway, target, &[("Authorization", &bearer)])
            .unwrap_or_else(|refusal| panic!("refused: {refusal:?}"));
        client.expect_type("connected");
        client
    }

    /// The user `first`, and another one on another shard.
    #[track_caller]
    pub fn two_on_different_shards(gateway: &Gateway) -> (Client, Client) {
        let first = Client::connect(gateway, &token("first"));
        let shard = gateway.admin().connection_of("first").shard;
        for attempt in 0..CONNECTS_MAX {
            let user = format!("second{attempt}");
            let client = Client::connect(gateway, &token(&user));
            if gateway.admin().connection_of(&user).shard != shard {
                return (first, client);
            }
        }
        panic!("{CONNECTS_MAX} connections were all put on shard {shard}");
    }

    /// Upgrades with these headers and nothing more; Err is the refusal. Reads no message.
    #[track_caller]
    pub fn upgrade(gateway: &Gateway, target: &str, headers: &[(&str, &str)]) -> Result<(Client, Response), Response> {
        let mut stream = http::open(gateway.public);
        let mut response = http::upgrade(&mut stream, target, headers)?;
        stream.set_read_timeout(Some(READ_TIMEOUT)).expect("the timeout is not zero");
        let rest = std::mem::take(&mut response.rest);
        let socket = WebSocket::from_partially_read(stream, rest, Role::Client, None);
        Ok((Client { socket }, response))
    }

    /// Reads never wait from here on: for clients that are read in turn.
    pub fn set_nonblocking(&mut self) {
        self.socket.get_ref().set_nonblocking(true).expect("a TCP socket");
    }

    #[track_caller]
    pub fn send(&mut self, text: &str) {
        self.socket.send(Message::text(text)).unwrap_or_else(|error| panic!("cannot send: {error}"));
    }

    /// One turn: what has come, or None when nothing has.
    pub fn poll(&mut self) -> Option<Event> {
        match self.socket.read() {
            Ok(Message::Text(text)) => Some(Event::Text(text.as_str().to_owned())),
            Ok(Message::Ping(_)) => Some(Event::Ping),
            Ok(Message::Pong(_)) => Some(Event::Pong),
            Ok(Message::Close(frame)) => {
                // The echo is queued; whether it still arrives is the gateway's concern.
                let _ = self.socket.flush();
                Some(Event::Closed(frame.map(|frame| frame.code.into())))
            }
            Ok(Message::Binary(_) | Message::Frame(_)) => panic!("the gateway sends text only"),
            Err(Error::Io(error)) if would_block(&error) => None,
            Err(_) => Some(Event::Gone),
        }
    }

    /// The next event, within the deadline.
    #[track_caller]
    pub fn next(&mut self) -> Event {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(event) = self.poll() {
                return event;
            }
            assert!(Instant::now() < deadline, "nothing came within {DEADLINE:?}");
        }
    }

    /// The next text message; pings and pongs are passed over.
    #[track_caller]
    pub fn next_text(&mut self) -> String {
        loop {
            match self.next() {
                Event::Text(text) => return text,
                Event::Ping | Event::Pong => {}
                ended => panic!("a text message was expected, and came {ended:?}"),
            }
        }
    }

    #[track_caller]
    pub fn next_json(&mut self) -> Value {
        wire::json(&self.next_text())
    }

    /// The next message, which must be of this type.
    #[track_caller]
    pub fn expect_type(&mut self, kind: &str) -> Value {
        let text = self.next_text();
        let message = wire::json(&text);
        assert_eq!(wire::kind(&message), kind, "in {text}");
        message
    }

    /// The next message of this type, passing over whatever comes before it.
    #[track_caller]
    pub fn await_type(&mut self, kind: &str) -> Value {
        loop {
            let message = self.next_json();
            if wire::kind(&message) == kind {
                return message;
            }
        }
    }

    /// The code of the close frame, passing over whatever comes before it.
    #[track_caller]
    pub fn expect_close(&mut self) -> u16 {
        loop {
            match self.next() {
                Event::Closed(code) => return code.expect("the gateway's close frames carry a code"),
                Event::Gone => panic!("the connection ended without a close frame"),
                Event::Text(_) | Event::Ping | Event::Pong => {}
            }
        }
    }

    /// Subscribes and reads the answer.
    #[track_caller]
    pub fn subscribe(&mut self, channels: &[&str]) {
        let list = sonic_rs::to_string(channels).expect("strings are JSON");
        self.send(&format!(r#"{{"type":"subscribe","payload":{{"channels":{list}}}}}"#));
        let answer = self.expect_type("subscribed");
        assert_eq!(wire::strings(&answer, &["payload", "channels"]), channels, "in {answer:?}");
    }

    /// A round trip, which proves that the connection stands and that everything sent before it was handled.
    #[track_caller]
    pub fn ping(&mut self) {
        self.send(r#"{"type":"ping"}"#);
        self.expect_type("pong");
    }

    /// Closes as a well-behaved client does, and waits until the gateway has ended the connection.
    #[track_caller]
    pub fn close(mut self) {
        self.socket.close(None).expect("an open connection can be closed");
        while !matches!(self.next(), Event::Gone) {}
    }
}

fn would_block(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
}
