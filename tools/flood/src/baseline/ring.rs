//! One ring and its thread: sends every broadcast to every slot (those of one turn joined), or every
//! payload back to where it came from.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::mpsc;

use bytes::{Bytes, BytesMut};
use core_affinity::CoreId;
use crossbeam_channel::{Receiver, Sender, unbounded};
use ringway::clock::now_us;
use ringway::lane::bell::Bell;
use ringway::lane::frame::{Frame, LocalFrame};
use ringway::shard::io::uring::Uring;
use ringway::shard::io::{Backend, Capacity, Chunk, Event, Io, Slot};
use ringway::ws::frame::{Opcode, encode_text};
use ringway::ws::header::Header;
use ringway::ws::mask;

use super::Mode;
use crate::sockets::{SLEEP_MAX, Sockets};

pub(super) enum Command {
    Open {
        socket: OwnedFd,
        response: Vec<u8>,
    },
    /// Sent to everybody; `done` is dropped when that is queued.
    Broadcast {
        bytes: Bytes,
        done: Sender<Infallible>,
    },
}

#[derive(Clone)]
pub(super) struct Lane {
    sender: Sender<Command>,
    bell: Bell,
}

impl Lane {
    pub fn put(&self, command: Command) {
        // The ring lives as long as the process.
        let _ = self.sender.send(command);
        self.bell.wake();
    }

    /// Without waking the ring: [`Lane::wake_all`] does, when all is there.
    pub fn put_quietly(&self, command: Command) {
        let _ = self.sender.send(command);
    }

    pub fn wake_all(lanes: &[Self]) {
        Bell::wake_all(lanes.iter().map(|lane| &lane.bell));
    }
}

struct Ring {
    mode: Mode,
    sockets: Sockets,
    commands: Receiver<Command>,
    open: Vec<Slot>,
    /// Where a slot stands in `open`.
    places: Vec<u32>,
    free: Vec<Slot>,
    used: Slot,
    partials: HashMap<Slot, Vec<u8>>,
    /// What has been taken from the lane to be sent to everybody, one frame behind the other.
    gathered: BytesMut,
    /// Dropped when that is queued.
    waiting: Vec<Sender<Infallible>>,
}

/// Starts a ring on a thread of its own and waits until it can serve.
pub(super) fn start(mode: Mode, capacity: Capacity, core: Option<CoreId>) -> io::Result<Lane> {
    let bell = Bell::new()?;
    let (sender, commands) = unbounded();
    let lane = Lane { sender, bell: bell.clone() };
    let (tell, told) = mpsc::sync_channel(1);
    std::thread::Builder::new().name("ring".into()).spawn(move || {
        core.map(core_affinity::set_for_current);
        match Ring::new(mode, capacity, commands, bell) {
            Ok(ring) => {
                let _ = tell.send(Ok(()));
                ring.run();
            }
            Err(error) => drop(tell.send(Err(error))),
        }
    })?;
    told.recv().unwrap_or_else(|_| Err(io::Error::other("the ring ended while it started")))?;
    Ok(lane)
}

impl Ring {
    fn new(mode: Mode, capacity: Capacity, commands: Receiver<Command>, bell: Bell) -> io::Result<Self> {
        Ok(Self {
            mode,
            sockets: Sockets::new(Uring::new(capacity, &bell)?, bell)?,
            commands,
            open: Vec::new(),
            places: Vec::new(),
            free: Vec::new(),
            used: 0,
            partials: HashMap::new(),
            gathered: BytesMut::new(),
            waiting: Vec::new(),
        })
    }

    fn run(mut self) {
        loop {
            let mut worked = false;
            while let Ok(command) = self.commands.try_recv() {
                self.obey(command);
                worked = true;
            }
            self.send_gathered();
            self.sockets.enter();
            while let Some(event) = self.sockets.next() {
                self.handle(event);
                worked = true;
            }
            if !worked {
                let Self { sockets, commands, .. } = &mut self;
                sockets.sleep(|| commands.is_empty().then_some(SLEEP_MAX));
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Open { socket, response } => {
                let slot = self.free.pop().unwrap_or_else(|| {
                    self.used += 1;
                    self.used - 1
                });
                // A full table refuses: the client sees its connection end.
                if self.sockets.io.open(slot, socket).is_err() {
                    return self.free.push(slot);
                }
                if self.places.len() <= slot as usize {
                    self.places.resize(slot as usize + 1, 0);
                }
                self.places[slot as usize] = self.open.len() as u32;
                self.open.push(slot);
                self.sockets.send(slot, &Frame::local(response.into(), now_us()));
            }
            Command::Broadcast { bytes, done } => {
                self.gathered.extend_from_slice(&bytes);
                self.waiting.push(done);
            }
        }
    }

    /// What is sent to everybody in one turn costs one send per connection.
    fn send_gathered(&mut self) {
        if self.gathered.is_empty() {
            return;
        }
        let frame = Frame::local(self.gathered.split().freeze(), now_us());
        for at in 0..self.open.len() {
            self.sockets.send(self.open[at], &frame);
        }
        self.waiting.clear();
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Received { slot, chunk } => self.receive(slot, chunk),
            Event::Ended { slot } => {
                let place = self.places[slot as usize];
                self.open.swap_remove(place as usize);
                if let Some(&moved) = self.open.get(place as usize) {
                    self.places[moved as usize] = place;
                }
                self.sockets.io.close(slot);
            }
            Event::Closed { slot } => {
                self.partials.remove(&slot);
                self.free.push(slot);
            }
            Event::Sent { .. } | Event::Tick | Event::Alarm => {}
        }
    }

    fn receive(&mut self, slot: Slot, chunk: Chunk) {
        if self.mode == Mode::Echo {
            let mut input = self.partials.remove(&slot).unwrap_or_default();
            if input.is_empty() {
                let (frames, rest) = echo(self.sockets.io.bytes(&chunk));
                self.answer(slot, frames, rest);
            } else {
                input.extend_from_slice(self.sockets.io.bytes(&chunk));
                let (frames, rest) = echo(&mut input);
                self.answer(slot, frames, rest);
            }
        }
        self.sockets.io.release(chunk, true);
    }

    fn answer(&mut self, slot: Slot, frames: Frames, rest: Option<Vec<u8>>) {
        if let Some(frame) = frames.first {
            self.sockets.send(slot, &frame);
        }
        for frame in frames.more {
            self.sockets.send(slot, &frame);
        }
        if let Some(rest) = rest {
            self.partials.insert(slot, rest);
        }
    }
}

/// What one chunk is answered with: one frame as a rule, which then needs no list.
#[derive(Default)]
struct Frames {
    first: Option<LocalFrame>,
    more: Vec<LocalFrame>,
}

/// The answers to all whole frames in `input`, and what is left of it.
fn echo(mut input: &mut [u8]) -> (Frames, Option<Vec<u8>>) {
    let mut frames = Frames::default();
    while let Ok(Some((header, header_bytes))) = Header::parse(input) {
        let end = header_bytes + header.payload_bytes as usize;
        if end > input.len() {
            break;
        }
        let (frame, rest) = input.split_at_mut(end);
        input = rest;
        if !matches!(header.opcode, Opcode::Text | Opcode::Binary) {
            continue;
        }
        let payload = &mut frame[header_bytes..];
        mask::apply(payload, header.mask, 0);
        let answer = Frame::local(encode_text(&String::from_utf8_lossy(payload)), 0);
        match frames.first {
            None => frames.first = Some(answer),
            Some(_) => frames.more.push(answer),
        }
    }
    let rest = (!input.is_empty()).then(|| input.to_vec());
    (frames, rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway::ws::frame::encode_masked;

    #[test]
    fn what_is_whole_comes_back_and_the_rest_waits() {
        let mut input = encode_masked(Opcode::Text, b"one", [1, 2, 3, 4]);
        input.extend(encode_masked(Opcode::Text, b"two", [5, 6, 7, 8]));
        let cut = encode_masked(Opcode::Text, b"three", [9, 9, 9, 9]);
        input.extend(&cut[..cut.len() - 1]);
        let (frames, rest) = echo(&mut input);
        let answers: Vec<Bytes> = frames.first.iter().chain(&frames.more).map(|frame| frame.bytes.clone()).collect();
        assert_eq!(answers, [encode_text("one"), encode_text("two")]);
        assert_eq!(rest.as_deref(), Some(&cut[..cut.len() - 1]));
    }
}
