//! What shards tell of their connections: who came and how they ended, who joined and left which channel. A queue each,
//! from the shard to whoever passes it on.
//!
//! ```text
//!  shard: Teller::tell ──► bounded queue of the shard, no bell ──► Hearer::hear, some times a second
//!            └── no room: its number is left out ───────────────────► Heard::Lost
//! ```
//!
//! A shard never waits: an event for which there is no room is lost, which whoever hears finds in the numbers. Nobody
//! is woken, so a shard pays for an event what the event itself costs; one whose teller is off pays for a look.
//!
//! Invariant: what a shard tells is heard in that order, so the events of one connection are.

use std::cell::Cell;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};
use serde::{Deserialize, Serialize};

use super::id::ConnectionId;

/// Events of one shard that may wait to be heard: what a storm brings within a second.
const WAITING_MAX: usize = 1 << 15;

/// The same in bytes.
const BYTES_MAX: u64 = 16 << 20;

/// Something that happened to a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub unix_ms: u64,
    pub from: ConnectionId,
    pub user_id: Box<str>,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The session has begun.
    Connected(Arrived),
    /// It has ended, and with it all of its subscriptions.
    Disconnected(Ended),
    Subscribed {
        channel: Box<str>,
    },
    Unsubscribed {
        channel: Box<str>,
    },
}

/// Who has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arrived {
    pub user_type: Option<Box<str>>,
    pub device_id: Option<Box<str>>,
    pub platform: Option<Box<str>>,
    /// Only where it is to be told.
    pub address: Option<IpAddr>,
}

/// How a session has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The close code; 1005 when the peer named none, 1006 when there was no close frame (RFC 6455 section 7.4.1).
    pub code: u16,
    /// As `/metrics` calls it.
    pub reason: &'static str,
    /// Since the upgrade.
    pub duration_ms: u64,
}

/// Kinds of events, as the configuration names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    Connected,
    Disconnected,
    Subscribed,
    Unsubscribed,
}

impl EventKind {
    pub const ALL: [Self; 4] = [Self::Connected, Self::Disconnected, Self::Subscribed, Self::Unsubscribed];

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl Event {
    /// What it takes in memory.
    fn bytes(&self) -> u64 {
        let length = |text: &Option<Box<str>>| text.as_ref().map_or(0, |text| text.len());
        let texts = match &self.what {
            What::Connected(who) => length(&who.user_type) + length(&who.device_id) + length(&who.platform),
            What::Subscribed { channel } | What::Unsubscribed { channel } => channel.len(),
            What::Disconnected(_) => 0,
        };
        (size_of::<Numbered>() + self.user_id.len() + texts) as u64
    }
}

/// A shard's end. The default tells nobody anything.
#[derive(Default)]
pub struct Teller(Option<On>);

struct On {
    kinds: u8,
    sender: Sender<Box<Numbered>>,
    ends: Arc<Ends>,
    /// Bytes of all that was put into the queue.
    put_bytes: Cell<u64>,
}

struct Numbered {
    /// Counts the events of the shard from 0, with those that are lost.
    number: u64,
    event: Event,
}

/// What the two ends know of each other. Each number is written by one of them alone.
#[derive(Default)]
struct Ends {
    /// Events that the shard has had to tell.
    told: AtomicU64,
    /// Bytes of all that was taken out of the queue.
    taken_bytes: AtomicU64,
}

/// The end of whoever passes on what one shard tells.
pub struct Hearer {
    receiver: Receiver<Box<Numbered>>,
    ends: Arc<Ends>,
    /// The number of the next one.
    next: u64,
}

/// What has been heard.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    Event(Event),
    /// So many are missing here.
    Lost(u64),
}

/// A teller for a shard that tells of these kinds of events, and the other end.
pub fn open(kinds: &[EventKind]) -> (Teller, Hearer) {
    let (sender, receiver) = bounded(WAITING_MAX);
    let ends = Arc::<Ends>::default();
    let kinds = kinds.iter().fold(0, |bits, kind| bits | kind.bit());
    let teller = Teller(Some(On { kinds, sender, ends: ends.clone(), put_bytes: Cell::default() }));
    (teller, Hearer { receiver, ends, next: 0 })
}

impl Teller {
    /// Tells of an event, if somebody wants to hear of its kind.
    pub fn tell(&self, kind: EventKind, event: impl FnOnce() -> Event) {
        if let Some(on) = self.0.as_ref().filter(|on| on.kinds & kind.bit() != 0) {
            on.tell(event());
        }
    }
}

impl On {
    fn tell(&self, event: Event) {
        let number = self.ends.told.load(Relaxed);
        let put_bytes = self.put_bytes.get() + event.bytes();
        let has_room = put_bytes - self.ends.taken_bytes.load(Relaxed) <= BYTES_MAX;
        if has_room && self.sender.try_send(Box::new(Numbered { number, event })).is_ok() {
            self.put_bytes.set(put_bytes);
        }
        // Behind the event itself: who sees this number finds the event in the queue, or knows that it is lost.
        self.ends.told.store(number + 1, Release);
    }
}

impl Hearer {
    /// Hands over what has been told since the last time. False when that was all there will ever be.
    pub fn hear(&mut self, mut each: impl FnMut(Heard)) -> bool {
        let mut told = self.ends.told.load(Acquire);
        let (mut bytes, mut goes_on) = (self.ends.taken_bytes.load(Relaxed), true);
        // A shard that goes on telling must not keep it here.
        for _ in 0..WAITING_MAX {
            match self.receiver.try_recv() {
                Ok(numbered) => {
                    let Numbered { number, event } = *numbered;
                    self.skip_to(number, &mut each);
                    self.next = number + 1;
                    bytes += event.bytes();
                    each(Heard::Event(event));
                    continue;
                }
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => {
                    told = self.ends.told.load(Acquire);
                    goes_on = false;
                }
            }
            self.skip_to(told, &mut each);
            break;
        }
        self.ends.taken_bytes.store(bytes, Relaxed);
        goes_on
    }

    fn skip_to(&mut self, number: u64, each: &mut impl FnMut(Heard)) {
        if number > self.next {
            each(Heard::Lost(number - self.next));
            self.next = number;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(n: u64, user_bytes: usize) -> Event {
        let from = ConnectionId { shard: 0, slot: 1, generation: 2 };
        Event { unix_ms: n, from, user_id: "x".repeat(user_bytes).into(), what: What::Connected(Arrived::default()) }
    }

    fn heard(hearer: &mut Hearer) -> (Vec<Heard>, bool) {
        let mut all = Vec::new();
        let goes_on = hearer.hear(|heard| all.push(heard));
        (all, goes_on)
    }

    #[test]
    fn what_is_told_is_heard_in_order_until_the_end() {
        let (teller, mut hearer) = open(&EventKind::ALL);
        (0..3).for_each(|n| teller.tell(EventKind::Connected, || event(n, 1)));
        assert_eq!(heard(&mut hearer), ((0..3).map(|n| Heard::Event(event(n, 1))).collect(), true));
        teller.tell(EventKind::Disconnected, || event(3, 1));
        drop(teller);
        assert_eq!(heard(&mut hearer), (vec![Heard::Event(event(3, 1))], false));
        assert_eq!(heard(&mut hearer), (vec![], false));
    }

    #[test]
    fn what_nobody_wants_to_hear_is_not_even_made() {
        let (teller, mut hearer) = open(&[EventKind::Disconnected]);
        teller.tell(EventKind::Connected, || unreachable!("not wanted"));
        Teller::default().tell(EventKind::Disconnected, || unreachable!("off"));
        assert_eq!(heard(&mut hearer), (vec![], true));
    }

    #[test]
    fn what_finds_no_room_is_missing_where_it_stood() {
        let (teller, mut hearer) = open(&EventKind::ALL);
        let tell = |n| teller.tell(EventKind::Connected, || event(n, 1));
        (0..WAITING_MAX as u64 + 7).for_each(tell);
        let (all, _) = heard(&mut hearer);
        assert_eq!(all.len(), WAITING_MAX);
        // The look that takes the last one may end there.
        tell(1000);
        let (rest, _) = heard(&mut hearer);
        assert_eq!(rest, [Heard::Lost(7), Heard::Event(event(1000, 1))]);
    }

    #[test]
    fn what_is_lost_last_is_told_as_well() {
        let (teller, mut hearer) = open(&EventKind::ALL);
        let large = BYTES_MAX as usize / 3;
        (0..5).for_each(|n| teller.tell(EventKind::Connected, || event(n, large)));
        let (all, _) = heard(&mut hearer);
        assert_eq!(all, [Heard::Event(event(0, large)), Heard::Event(event(1, large)), Heard::Lost(3)]);
        teller.tell(EventKind::Connected, || event(5, large));
        assert_eq!(heard(&mut hearer).0, [Heard::Event(event(5, large))], "there is room again");
        (6..9).for_each(|n| teller.tell(EventKind::Connected, || event(n, large)));
        drop(teller);
        let (all, goes_on) = heard(&mut hearer);
        assert_eq!((all.last(), goes_on), (Some(&Heard::Lost(1)), false));
    }

    #[test]
    fn across_threads_every_number_is_an_event_or_lost() {
        const EVENTS: u64 = 400_000;
        let (teller, mut hearer) = open(&EventKind::ALL);
        let shard = std::thread::spawn(move || {
            (0..EVENTS).for_each(|n| teller.tell(EventKind::Connected, || event(n, 1)));
        });
        let (mut next, mut goes_on) = (0, true);
        while goes_on {
            goes_on = hearer.hear(|heard| match heard {
                Heard::Event(event) => {
                    assert_eq!(event.unix_ms, next);
                    next += 1;
                }
                Heard::Lost(count) => next += count,
            });
        }
        assert_eq!(next, EVENTS);
        shard.join().expect("no panic");
    }
}
