//! A private NATS: a free port, a folder of its own. It can be killed and started again on its port, with what its
//! streams keep. And what speaks with it: a peer that writes the protocol itself, so that it sees every byte.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use sonic_rs::Value;
use tempfile::TempDir;

use super::ports;
use super::process::Process;
use super::wait::{DEADLINE, eventually_some};
use super::wire;

/// How long one read may wait before the deadline is looked at again.
const READ_TIMEOUT: Duration = Duration::from_millis(50);

pub struct Nats {
    process: Process,
    folder: TempDir,
    address: SocketAddr,
}

impl Nats {
    /// Starts a NATS with JetStream and returns once it answers.
    #[track_caller]
    pub fn start() -> Nats {
        let folder = tempfile::tempdir().expect("a temp dir");
        let lines = format!("jetstream {{ store_dir: {:?} }}", folder.path().join("store"));
        Nats::start_in(folder, &lines)
    }

    /// One without JetStream, and with these lines in its configuration.
    #[track_caller]
    pub fn start_with(lines: &str) -> Nats {
        Nats::start_in(tempfile::tempdir().expect("a temp dir"), lines)
    }

    #[track_caller]
    fn start_in(folder: TempDir, lines: &str) -> Nats {
        let address = ports::free();
        configure(&folder, address, lines);
        let process = launch(&folder, address);
        Nats { process, folder, address }
    }

    /// It goes on with these lines in its configuration instead, in a moment.
    #[track_caller]
    pub fn reload_with(&self, lines: &str) {
        configure(&self.folder, self.address, lines);
        self.process.signal("HUP");
    }

    /// For the key `nats.url`.
    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// The same for who connects as somebody.
    pub fn url_as(&self, who: &str) -> String {
        format!("nats://{who}@{}", self.address)
    }

    /// Ends it without a word, as a crash would.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again on the same port, after `kill`.
    #[track_caller]
    pub fn restart(&mut self) {
        self.process = launch(&self.folder, self.address);
    }

    /// It stands still from here on, its connections open.
    pub fn stop(&self) {
        self.process.signal("STOP");
    }

    /// It goes on, after `stop`.
    pub fn go_on(&self) {
        self.process.signal("CONT");
    }

    /// Connects, as whoever needs no password.
    #[track_caller]
    pub fn peer(&self) -> Peer {
        self.peer_as("{}")
    }

    /// The same with options such as `{"user":"u","pass":"p"}`.
    #[track_caller]
    pub fn peer_as(&self, options: &str) -> Peer {
        Peer::connect(self.address, options).expect("NATS listens")
    }
}

#[track_caller]
fn configure(folder: &TempDir, address: SocketAddr, lines: &str) {
    let text = format!("listen: \"{address}\"\n{lines}\n");
    std::fs::write(folder.path().join("nats.conf"), text).expect("the temp dir is writable");
}

fn launch(folder: &TempDir, address: SocketAddr) -> Process {
    let mut command = Command::new("/usr/sbin/nats-server");
    command.arg("-c").arg(folder.path().join("nats.conf"));
    let log = folder.path().join("nats.log");
    let mut process = Process::start(&mut command, &log);
    eventually_some("NATS answers", || {
        let ended = process.ended();
        assert!(ended.is_none(), "{}", std::fs::read_to_string(&log).unwrap_or_default());
        let mut greeting = [0; 5];
        let mut stream = TcpStream::connect(address).ok()?;
        stream.set_read_timeout(Some(READ_TIMEOUT)).ok()?;
        stream.read_exact(&mut greeting).ok()?;
        (&greeting == b"INFO ").then_some(())
    });
    process
}

/// A message as it comes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub subject: String,
    pub reply: Option<String>,
    /// Lines, without the first one.
    pub headers: Vec<String>,
    pub payload: String,
}

impl Message {
    /// The value behind `Name: `.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        wire::json(&self.payload)
    }
}

/// One connection to NATS.
pub struct Peer {
    stream: BufReader<TcpStream>,
    inboxes: usize,
    /// What has come while something else was waited for.
    kept: VecDeque<Message>,
}

/// What the server says.
enum Said {
    Message(Message),
    Pong,
}

impl Peer {
    fn connect(address: SocketAddr, options: &str) -> std::io::Result<Peer> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(READ_TIMEOUT))?;
        stream.set_nodelay(true)?;
        let mut peer = Peer { stream: BufReader::new(stream), inboxes: 0, kept: VecDeque::new() };
        let options = options.trim_matches(['{', '}']);
        let comma = if options.is_empty() { "" } else { "," };
        peer.write(&format!(
            "CONNECT {{\"verbose\":false,\"headers\":true,\"no_responders\":true{comma}{options}}}\r\n"
        ));
        peer.done();
        Ok(peer)
    }

    #[track_caller]
    pub fn subscribe(&mut self, subject: &str) {
        self.write(&format!("SUB {subject} 1\r\n"));
        self.done();
    }

    #[track_caller]
    pub fn publish(&mut self, subject: &str, payload: &str) {
        self.publish_bytes(subject, payload.as_bytes());
        self.done();
    }

    /// The same without waiting until the server has it.
    #[track_caller]
    pub fn publish_bytes(&mut self, subject: &str, payload: &[u8]) {
        let mut bytes = format!("PUB {subject} {}\r\n", payload.len()).into_bytes();
        bytes.extend_from_slice(payload);
        bytes.extend_from_slice(b"\r\n");
        self.write_bytes(&bytes);
    }

    /// With lines of headers, such as `Ringway-Channel: a`.
    #[track_caller]
    pub fn publish_with(&mut self, subject: &str, headers: &[&str], payload: &str) {
        let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
        let headers = format!("NATS/1.0\r\n{headers}\r\n");
        let (head, all) = (headers.len(), headers.len() + payload.len());
        self.write(&format!("HPUB {subject} {head} {all}\r\n{headers}{payload}\r\n"));
        self.done();
    }

    /// Lines of the protocol, as they are.
    #[track_caller]
    pub fn write_bytes(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).expect("NATS takes it");
    }

    /// Asks whoever listens to the subject, such as JetStream. Nobody is an answer with the header of that.
    #[track_caller]
    pub fn request(&mut self, subject: &str, payload: &str) -> Message {
        self.inboxes += 1;
        let inbox = format!("_INBOX.test{}.{}", std::process::id(), self.inboxes);
        self.write(&format!("SUB {inbox} 9\r\nPUB {subject} {inbox} {}\r\n{payload}\r\n", payload.len()));
        let answer = eventually_some("an answer", || {
            match self.hear()? {
                Said::Message(message) if message.subject == inbox => return Some(message),
                Said::Message(message) => self.kept.push_back(message),
                Said::Pong => {}
            }
            None
        });
        self.write("UNSUB 9\r\n");
        answer
    }

    /// The next message to what was subscribed, within the deadline.
    #[track_caller]
    pub fn next(&mut self) -> Message {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(message) = self.next_if_any() {
                return message;
            }
            assert!(Instant::now() < deadline, "no message within {DEADLINE:?}");
        }
    }

    /// The next message, if one comes in a moment.
    pub fn next_if_any(&mut self) -> Option<Message> {
        self.kept.pop_front().or_else(|| match self.hear()? {
            Said::Message(message) => Some(message),
            Said::Pong => None,
        })
    }

    /// Returns when the server has done all that was asked of it.
    #[track_caller]
    pub fn done(&mut self) {
        self.write("PING\r\n");
        eventually_some("a pong", || match self.hear()? {
            Said::Pong => Some(()),
            Said::Message(message) => {
                self.kept.push_back(message);
                None
            }
        });
    }

    #[track_caller]
    fn write(&mut self, text: &str) {
        self.write_bytes(text.as_bytes());
    }

    /// One thing that the server says, if it does in a moment.
    fn hear(&mut self) -> Option<Said> {
        // A line is looked for before it is taken, so that a moment that is over in the middle of one harms nothing.
        self.stream.fill_buf().ok().filter(|bytes| !bytes.is_empty())?;
        let line = String::from_utf8(self.bytes_until_line_end()).expect("UTF-8");
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["PING"] => self.write("PONG\r\n"),
            ["PONG"] => return Some(Said::Pong),
            ["MSG", subject, _, length] => return Some(self.message(subject, None, 0, length)),
            ["MSG", subject, _, reply, length] => return Some(self.message(subject, Some(reply), 0, length)),
            ["HMSG", subject, _, head, length] => return Some(self.message(subject, None, parsed(head), length)),
            ["HMSG", subject, _, reply, head, length] => {
                return Some(self.message(subject, Some(reply), parsed(head), length));
            }
            _ => {}
        }
        None
    }

    fn bytes_until_line_end(&mut self) -> Vec<u8> {
        let mut line = Vec::new();
        eventually_some("a line", || {
            // What was read before a time-out stays in the line.
            let read = self.stream.read_until(b'\n', &mut line);
            (read.is_ok() && line.ends_with(b"\n")).then_some(())
        });
        line
    }

    fn message(&mut self, subject: &str, reply: Option<&str>, head: usize, length: &str) -> Said {
        let length = parsed(length);
        let mut bytes = Vec::with_capacity(length + 2);
        eventually_some("the rest of a message", || {
            let missing = length + 2 - bytes.len();
            let _ = self.stream.by_ref().take(missing as u64).read_to_end(&mut bytes);
            (bytes.len() == length + 2).then_some(())
        });
        let text = String::from_utf8(bytes).expect("UTF-8");
        let headers = text[..head].split("\r\n").skip(1).filter(|line| !line.is_empty()).map(str::to_owned).collect();
        let payload = text[head..length].to_owned();
        Said::Message(Message { subject: subject.into(), reply: reply.map(str::to_owned), headers, payload })
    }
}

fn parsed(number: &str) -> usize {
    number.parse().expect("a number")
}
