//! Clients of the gateway, many for one thread: who waits, waits in the kernel, and takes no core from who is measured.

use std::io::{ErrorKind, Read};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::support::gateway::Gateway;
use crate::support::raw::{Raw, TEXT, frame};
use crate::support::tokens::token;

/// Longer than anything here pauses. What has not come by then is lost.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Client {
    raw: Raw,
    /// What came of a frame that has not come whole.
    held: Vec<u8>,
}

/// Some clients, with the buffer that they read into.
pub struct Clients {
    pub list: Vec<Client>,
    buffer: Vec<u8>,
}

impl Clients {
    pub fn connect(gateway: &Gateway, count: usize) -> Clients {
        Self::new((0..count).map(|n| Raw::connect(gateway, "/ws", &token(&format!("u{n}")))))
    }

    /// All of them in one channel, or in the next ones in turn.
    pub fn subscribe(gateway: &Gateway, count: usize, channels: &[String]) -> Clients {
        Self::new((0..count).map(|n| {
            let mut raw = Raw::connect(gateway, "/ws", &token(&format!("u{n}")));
            let channel = &channels[n % channels.len()];
            raw.write(&frame(TEXT, format!(r#"{{"type":"subscribe","channels":["{channel}"]}}"#).as_bytes()));
            assert!(raw.next_text().contains(r#""subscribed""#));
            raw
        }))
    }

    fn new(connections: impl Iterator<Item = Raw>) -> Clients {
        let list = connections.map(|raw| {
            raw.stream.set_nonblocking(true).expect("a TCP socket");
            Client { raw, held: vec![] }
        });
        Clients { list: list.collect(), buffer: vec![0; 1 << 18] }
    }

    /// Waits until something comes, and shows each message with whose it is.
    pub fn hear(&mut self, mut each: impl FnMut(usize, &[u8])) {
        assert!(self.hear_within(PATIENCE, &mut each), "nothing has come for {PATIENCE:?}: messages are lost");
    }

    /// The same for so long at most; false when nothing came.
    pub fn hear_within(&mut self, patience: Duration, mut each: impl FnMut(usize, &[u8])) -> bool {
        let ready: Vec<usize> = {
            let mut polled: Vec<PollFd> =
                self.list.iter().map(|client| PollFd::new(&client.raw.stream, PollFlags::IN)).collect();
            let patience = Timespec { tv_sec: patience.as_secs() as i64, tv_nsec: patience.subsec_nanos().into() };
            poll(&mut polled, Some(&patience)).expect("sockets");
            polled.iter().enumerate().filter(|(_, fd)| !fd.revents().is_empty()).map(|(n, _)| n).collect()
        };
        for &n in &ready {
            self.list[n].take(&mut self.buffer, |payload| each(n, payload));
        }
        !ready.is_empty()
    }
}

impl Client {
    /// Little enough to find room in the socket.
    pub fn write(&mut self, bytes: &[u8]) {
        self.raw.write(bytes);
    }

    fn take(&mut self, buffer: &mut [u8], mut each: impl FnMut(&[u8])) {
        match self.raw.stream.read(buffer) {
            Ok(0) => panic!("the gateway has closed a connection"),
            Ok(read) => self.held.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) => panic!("{error}"),
        }
        let mut rest = &self.held[..];
        while let Some((payload, behind)) = text(rest) {
            each(payload);
            rest = behind;
        }
        let taken = self.held.len() - rest.len();
        self.held.drain(..taken);
    }
}

/// The first message, if it is there whole, and what is behind it.
fn text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    const WHOLE_TEXT: u8 = 0x80 | TEXT;
    let (length, rest) = match bytes {
        [WHOLE_TEXT, 126, high, low, rest @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), rest),
        [WHOLE_TEXT, 126, ..] | [WHOLE_TEXT] | [] => return None,
        [WHOLE_TEXT, length @ ..126, rest @ ..] => (usize::from(*length), rest),
        other => panic!("no short text: {:?}", &other[..other.len().min(16)]),
    };
    rest.split_at_checked(length)
}
