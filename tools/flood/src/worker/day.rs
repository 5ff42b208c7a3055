//! The books of the ride-hailing day: of every connection, what it has heard last from each of those whom it hears.
//!
//! Of positions only the latest counts: one may be skipped for a later one, but an older one must not come any more.
//! Chats come once each, in the order in which their sender said them. Typing begins and ends by turns.

use ringway::shard::io::Slot;

use super::tally::{Tally, record};
use crate::client::connection::Sequence;
use crate::client::day::{Day, VOICES};
use crate::client::heard::{Foreign, Heard, Mark, What};

pub(super) struct Books {
    pub day: Day,
    /// Number of the connection in slot 0.
    first: u32,
    /// Per slot: how many others must hear what it says.
    pub audiences: Vec<u32>,
    pages: Vec<Page>,
}

/// What one connection has heard, by voice.
#[derive(Clone, Copy)]
struct Page {
    sequences: [Sequence; VOICES],
    is_typing: [bool; VOICES],
}

impl Page {
    fn blank() -> Self {
        Self { sequences: [Sequence::from(1); VOICES], is_typing: [false; VOICES] }
    }
}

impl Books {
    pub fn open(day: Day, first: u32, count: u32) -> Self {
        let audiences = (first..first + count).map(|i| day.audience(i)).collect();
        Self { day, first, audiences, pages: vec![Page::blank(); count as usize] }
    }

    /// Everybody counts from 1 again.
    pub fn begin(&mut self) {
        self.pages.fill(Page::blank());
    }

    /// The connection in `slot` has heard something.
    pub fn receive(&mut self, slot: Slot, heard: Result<Heard, Foreign>, now: u64, tally: &mut Tally) {
        tally.receipts += 1;
        let listener = self.first + slot;
        let Some(Heard { sender, what }) = heard.ok().filter(|heard| self.day.hears(listener, heard.sender)) else {
            return tally.count_foreign();
        };
        let (page, voice) = (&mut self.pages[slot as usize], self.day.voice(sender));
        match what {
            What::Position(mark) => {
                match page.sequences[voice].receive_latest(mark.number) {
                    Some(skipped) => tally.superseded += u64::from(skipped),
                    None => tally.count_stale(),
                }
                note_latency(mark, now, tally);
            }
            What::Chat(mark) => {
                tally.count_receipt(page.sequences[voice].receive(mark.number));
                note_latency(mark, now, tally);
            }
            What::Typing { .. } if listener == sender => tally.count_foreign(),
            What::Typing { is_typing } => {
                if std::mem::replace(&mut page.is_typing[voice], is_typing) == is_typing {
                    tally.duplicated += 1;
                }
            }
        }
    }
}

fn note_latency(mark: Mark, now: u64, tally: &mut Tally) {
    record(&mut tally.latency, now.saturating_sub(mark.intended_us));
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Day =
        Day { connections: 40, drivers: 1, followers: 4, neighbours: 2, chatters: 2, vanishing: 0, slow: 0 };

    /// What connection `listener` makes of what it hears.
    fn tally_of(listener: u32, heard: &[(u32, What)]) -> Tally {
        let (mut books, mut tally) = (Books::open(DAY, 0, 40), Tally::default());
        for &(sender, what) in heard {
            books.receive(listener, Ok(Heard { sender, what }), 100, &mut tally);
        }
        tally
    }

    fn mark(number: u32) -> Mark {
        Mark { number, intended_us: 90 }
    }

    #[test]
    fn of_positions_the_latest_counts_and_an_older_one_is_an_error() {
        let position = |sender, number| (sender, What::Position(mark(number)));
        // Connection 6 watches the circle in which vendors 0, 10, 20 and 30 are.
        let tally = tally_of(6, &[position(0, 1), position(10, 2), position(0, 4), position(30, 1)]);
        assert_eq!((tally.receipts, tally.superseded, tally.duplicated, tally.out_of_order), (4, 3, 0, 0));
        let tally = tally_of(6, &[position(0, 2), position(0, 1), position(0, 2)]);
        assert_eq!((tally.unique(), tally.superseded, tally.out_of_order), (1, 1, 2));
        // Connection 2 follows vendor 0 alone.
        assert_eq!(tally_of(2, &[position(10, 1)]).errors["foreign_message"], 1);
    }

    #[test]
    fn chats_come_once_and_in_order_per_speaker() {
        let chat = |sender, number| (sender, What::Chat(mark(number)));
        let tally = tally_of(9, &[chat(8, 1), chat(18, 1), chat(8, 3), chat(8, 2), chat(18, 1)]);
        assert_eq!((tally.receipts, tally.unique(), tally.out_of_order, tally.duplicated), (5, 4, 1, 1));
        assert_eq!(tally.latency.max(), 10);
    }

    #[test]
    fn typing_begins_and_ends_by_turns_and_is_not_told_to_who_types() {
        let typing = |sender, is_typing| (sender, What::Typing { is_typing });
        let tally = tally_of(9, &[typing(8, true), typing(18, true), typing(8, false), typing(8, false)]);
        assert_eq!((tally.receipts, tally.unique()), (4, 3));
        assert_eq!(tally_of(8, &[typing(8, true)]).unique(), 0);
    }
}
