//! A relay between the gateway and a server: TCP, on a port of its own. It can let its connections lead nowhere, as a
//! path that drops everything would: they stay open, what is said over them is acknowledged, and nobody gets it. New
//! ones are relayed as before.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use super::ports;
use super::wait::PAUSE;

pub struct Relay {
    pub address: SocketAddr,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

struct State {
    server: SocketAddr,
    /// Both ends of every connection.
    open: Mutex<Vec<TcpStream>>,
    accepted: AtomicUsize,
    /// Connections below this number lead nowhere.
    nowhere_below: AtomicUsize,
    is_over: AtomicBool,
}

impl Relay {
    pub fn start(server: SocketAddr) -> Relay {
        let address = ports::free();
        let listener = TcpListener::bind(address).expect("the port is free");
        listener.set_nonblocking(true).expect("a listener");
        let state = Arc::new(State {
            server,
            open: Mutex::default(),
            accepted: AtomicUsize::new(0),
            nowhere_below: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
        });
        let of_thread = state.clone();
        let thread = thread::spawn(move || of_thread.accept(&listener));
        Relay { address, state, thread: Some(thread) }
    }

    /// Connections so far.
    pub fn accepted(&self) -> usize {
        self.state.accepted.load(SeqCst)
    }

    /// From now on the connections that are there lead nowhere.
    pub fn lose_connections(&self) {
        self.state.nowhere_below.store(self.accepted(), SeqCst);
    }
}

impl State {
    fn accept(self: Arc<Self>, listener: &TcpListener) {
        let mut pumps = Vec::new();
        while !self.is_over.load(SeqCst) {
            match listener.accept() {
                Ok((client, _)) => pumps.extend(self.relay(client)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(PAUSE),
                Err(error) => panic!("cannot accept: {error}"),
            }
        }
        self.open.lock().expect("nothing panics over it").iter().for_each(|end| _ = end.shutdown(Shutdown::Both));
        pumps.into_iter().for_each(|pump: JoinHandle<()>| pump.join().expect("it does not panic"));
    }

    fn relay(self: &Arc<Self>, client: TcpStream) -> Vec<JoinHandle<()>> {
        client.set_nonblocking(false).expect("a TCP socket");
        let number = self.accepted.fetch_add(1, SeqCst);
        let Ok(server) = TcpStream::connect(self.server) else { return vec![] };
        let copy = |end: &TcpStream| end.try_clone().expect("a file is to be had");
        self.open.lock().expect("nothing panics over it").extend([copy(&client), copy(&server)]);
        let pump = |from: TcpStream, to: TcpStream| {
            let state = self.clone();
            thread::spawn(move || state.pump(number, from, to))
        };
        vec![pump(copy(&client), copy(&server)), pump(server, client)]
    }

    fn pump(&self, number: usize, mut from: TcpStream, mut to: TcpStream) {
        let mut bytes = [0; 16 << 10];
        while let Ok(count) = from.read(&mut bytes) {
            let leads_nowhere = number < self.nowhere_below.load(SeqCst);
            if count == 0 {
                // An end is nothing that gets through either.
                if !leads_nowhere {
                    let _ = to.shutdown(Shutdown::Write);
                }
                return;
            }
            if !leads_nowhere && to.write_all(&bytes[..count]).is_err() {
                return;
            }
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.state.is_over.store(true, SeqCst);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
