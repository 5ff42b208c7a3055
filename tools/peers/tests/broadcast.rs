//! Each peer, as the real binary: a client connects, subscribes and receives what is published.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tungstenite::{Message, WebSocket};

/// How long one answer may take before the test gives up.
const DEADLINE: Duration = Duration::from_secs(10);

#[test]
fn axum_delivers_what_is_published() {
    delivers_what_is_published(&Peer::start(env!("CARGO_BIN_EXE_peer-axum"), &[]));
}

#[test]
fn axum_with_small_buffers_delivers_what_is_published() {
    delivers_what_is_published(&Peer::start(env!("CARGO_BIN_EXE_peer-axum"), &["--read-buffer", "4096"]));
}

#[test]
fn fastwebsockets_delivers_what_is_published() {
    delivers_what_is_published(&Peer::start(env!("CARGO_BIN_EXE_peer-fastwebsockets"), &[]));
}

fn delivers_what_is_published(peer: &Peer) {
    let mut clients = [peer.connect(), peer.connect()];
    for client in &mut clients {
        assert_type(&next(client), "connected");
        send(client, r#"{"type":"subscribe","channels":["conv:c1"]}"#);
        assert_eq!(next(client), r#"{"type":"subscribed","payload":{"channels":["conv:c1"]}}"#);
    }
    assert_eq!(peer.get("/health"), r#"{"connections":2,"status":"ok"}"#);
    assert_eq!(peer.get("/readyz"), r#"{"ready":true}"#);

    for number in 0..10 {
        let message = format!(r#"{{"type":"message.new","number":{number}}}"#);
        assert_eq!(peer.publish("conv:c1", &message), r#"{"delivered":2}"#);
        for client in &mut clients {
            assert_eq!(next(client), message);
        }
    }
    assert_eq!(peer.publish("conv:c2", "{}"), r#"{"delivered":0}"#);

    for client in &mut clients {
        send(client, r#"{"type":"ping"}"#);
        assert_type(&next(client), "pong");
        client.send(Message::Ping(b"still there".as_slice().into())).expect("the connection stands");
        assert_eq!(client.read().expect("an answer"), Message::Pong(b"still there".as_slice().into()));
        send(client, "not JSON");
        assert_type(&next(client), "error");
    }
}

/// A server on free ports, stopped by its pid when dropped.
struct Peer {
    process: Child,
    clients: SocketAddr,
    admin: String,
}

impl Peer {
    fn start(binary: &str, arguments: &[&str]) -> Peer {
        let mut process = Command::new(binary)
            .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary was built for this test");
        let mut line = String::new();
        let stdout = process.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).expect("a line of text");
        let words: Vec<&str> = line.split_whitespace().collect();
        let ["listening", "on", clients, "admin", admin] = words[..] else {
            panic!("not the line with the addresses: {line:?}");
        };
        let clients = clients.trim_start_matches("ws://").trim_end_matches("/ws").parse().expect("an address");
        Peer { process, clients, admin: admin.to_owned() }
    }

    fn connect(&self) -> WebSocket<TcpStream> {
        let stream = TcpStream::connect(self.clients).expect("the port is bound");
        stream.set_read_timeout(Some(DEADLINE)).expect("it is not zero");
        let (client, _) = tungstenite::client(format!("ws://{}/ws?token=any", self.clients), stream).expect("upgrade");
        client
    }

    fn get(&self, path: &str) -> String {
        let mut response = ureq::get(format!("{}{path}", self.admin)).call().expect(path);
        response.body_mut().read_to_string().expect("text")
    }

    fn publish(&self, channel: &str, message: &str) -> String {
        let url = format!("{}/broadcast/channel/{channel}", self.admin);
        let mut response = ureq::post(url).send(message).expect("published");
        response.body_mut().read_to_string().expect("text")
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself, which the test has noticed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn send(client: &mut WebSocket<TcpStream>, message: &str) {
    client.send(Message::text(message)).expect("the connection stands");
}

fn next(client: &mut WebSocket<TcpStream>) -> String {
    client.read().expect("a message within the deadline").into_text().expect("text").as_str().to_owned()
}

fn assert_type(message: &str, kind: &str) {
    assert!(message.starts_with(&format!(r#"{{"type":"{kind}""#)), "{kind} was expected, and came {message}");
}
