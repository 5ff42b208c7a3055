//! An issuer of tokens: a small HTTP server of its own on a free port, which publishes keys as it is told, and signs
//! tokens with them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::ports;
use super::wait::DEADLINE;

/// How the issuer answers.
#[derive(Clone)]
pub enum Manner {
    /// 200 with this body and these header lines.
    Says {
        body: Vec<u8>,
        headers: String,
    },
    Status(u16),
    /// Takes the request and says nothing until it is told otherwise.
    Silent,
    /// A byte now and then, for ever.
    Drips,
    /// 200 and blanks without end.
    Endless,
}

impl Manner {
    pub fn says(body: impl Into<Vec<u8>>) -> Manner {
        Manner::Says { body: body.into(), headers: String::new() }
    }
}

pub struct Issuer {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    manner: Mutex<Manner>,
    requests: AtomicUsize,
    heads: Mutex<Vec<String>>,
    stop: AtomicBool,
}

impl Issuer {
    /// One that publishes the key set of the tests.
    pub fn start() -> Issuer {
        Issuer::start_as(Manner::says(super::tokens::JWKS))
    }

    pub fn start_as(manner: Manner) -> Issuer {
        let shared = Shared {
            manner: Mutex::new(manner),
            requests: AtomicUsize::new(0),
            heads: Mutex::default(),
            stop: AtomicBool::new(false),
        };
        let mut issuer = Issuer { address: ports::free(), shared: Arc::new(shared), thread: None };
        issuer.return_again();
        issuer
    }

    /// For the key `auth.jwks_url`.
    pub fn url(&self) -> String {
        format!("http://{}/.well-known/jwks.json", self.address)
    }

    /// From now on it answers like this.
    pub fn behave(&self, manner: Manner) {
        *self.shared.manner.lock().expect("nobody panics with it") = manner;
    }

    /// How often it was asked.
    pub fn requests(&self) -> usize {
        self.shared.requests.load(Ordering::SeqCst)
    }

    /// What it was asked, with all headers.
    pub fn heads(&self) -> Vec<String> {
        self.shared.heads.lock().expect("nobody panics with it").clone()
    }

    /// It does not listen any more.
    pub fn go_away(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        // Wakes whoever accepts.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the issuer does not panic");
        }
    }

    /// It listens again, on the same port.
    pub fn return_again(&mut self) {
        let listener = super::wait::eventually_some("the port is free", || TcpListener::bind(self.address).ok());
        self.shared.stop.store(false, Ordering::SeqCst);
        let shared = self.shared.clone();
        self.thread = Some(std::thread::spawn(move || serve(&listener, &shared)));
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.go_away();
    }
}

fn serve(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.stop.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let shared = shared.clone();
        std::thread::spawn(move || answer(stream, &shared));
    }
}

/// One exchange, then the end of the connection. A failed write is a gateway that has heard enough.
fn answer(mut stream: TcpStream, shared: &Shared) {
    stream.set_read_timeout(Some(DEADLINE)).expect("not zero");
    stream.set_write_timeout(Some(DEADLINE)).expect("not zero");
    let Some(head) = read_head(&mut stream) else { return };
    shared.heads.lock().expect("nobody panics with it").push(head);
    shared.requests.fetch_add(1, Ordering::SeqCst);
    let manner = || shared.manner.lock().expect("nobody panics with it").clone();
    let until = Instant::now() + DEADLINE;
    let goes_on = || !shared.stop.load(Ordering::SeqCst) && Instant::now() < until;
    match manner() {
        Manner::Says { body, headers } => {
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{headers}Connection: close\r\n\r\n", body.len());
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
        }
        Manner::Status(status) => {
            let head = format!("HTTP/1.1 {status} As Told\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n");
            let _ = stream.write_all(head.as_bytes());
        }
        Manner::Silent => {
            while goes_on() && matches!(manner(), Manner::Silent) {
                std::thread::sleep(super::wait::PAUSE);
            }
            if let Manner::Says { body, .. } = manner() {
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
            }
        }
        Manner::Drips => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
            while goes_on() && stream.write_all(b" ").is_ok() {
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        Manner::Endless => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n");
            while goes_on() && stream.write_all(&[b' '; 65536]).is_ok() {}
        }
    }
}

fn read_head(stream: &mut TcpStream) -> Option<String> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() > 16 * 1024 || stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    String::from_utf8(head).ok()
}
