//! The books of a closed loop: which message each member of each channel has, and which of them
//! all members of this worker have.

use std::sync::Arc;

use crate::client::connection::{Receipt, Sequence};
use crate::client::stamp::Stamp;
use crate::publish::under_way::{PLACES, UnderWay};

pub(super) struct Ledger {
    under_way: Arc<UnderWay>,
    /// Neighbouring channels that each connection is in.
    each: u32,
    /// Of slot `s`: those from `s * each` on.
    sequences: Vec<Sequence>,
    /// Per channel: members among this worker's connections.
    members: Vec<u32>,
    /// Per place of a message: members that have it.
    received: Vec<u32>,
    /// Messages that all members here have got since the publisher was told.
    has_news: bool,
}

impl Ledger {
    /// `first_channels`: of every slot, the first of its channels; `None` where nobody listens.
    pub fn open(
        under_way: Arc<UnderWay>,
        each: u32,
        first_channels: impl ExactSizeIterator<Item = Option<u32>>,
    ) -> Self {
        let channels = under_way.channels();
        let mut members = vec![0; channels as usize];
        let slots = first_channels.len();
        for first in first_channels.flatten() {
            (0..each).for_each(|place| members[((first + place) % channels) as usize] += 1);
        }
        for (channel, _) in members.iter().enumerate().filter(|(_, members)| **members > 0) {
            under_way.join(channel as u32);
        }
        Self {
            each,
            sequences: vec![Sequence::from(1); slots * each as usize],
            members,
            received: vec![0; PLACES],
            has_news: false,
            under_way,
        }
    }

    /// A message has reached the connection in `slot`, whose first channel is `first`. `None`
    /// when it is in no such channel.
    #[inline]
    pub fn receive(&mut self, slot: u32, first: u32, stamp: Stamp) -> Option<Receipt> {
        let channel = u32::from(stamp.stream);
        let channels = self.members.len() as u32;
        let place = if channel >= first { channel - first } else { channel + channels - first };
        if channel >= channels || place >= self.each || stamp.number == 0 {
            return None;
        }
        let receipt = self.sequences[(slot * self.each + place) as usize].receive(stamp.number);
        if receipt != Receipt::Duplicate {
            self.count(channel, stamp.number);
        }
        Some(receipt)
    }

    #[inline]
    fn count(&mut self, channel: u32, number: u32) {
        let place = self.under_way.place(channel, number);
        self.received[place] += 1;
        if self.received[place] == self.members[channel as usize] {
            self.received[place] = 0;
            self.under_way.received(place);
            self.has_news = true;
        }
    }

    /// Tells the publisher what has become complete. Once per turn.
    pub fn tell(&mut self) {
        if std::mem::take(&mut self.has_news) {
            self.under_way.tell();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(channel: u16, number: u32) -> Stamp {
        Stamp { stream: channel, number, intended_us: 0 }
    }

    #[test]
    fn a_message_is_complete_when_all_members_have_it_once() {
        let under_way = Arc::new(UnderWay::new(3).unwrap());
        // Slot 0 is in channels 0 and 1, slot 1 in 2 and 0, slot 2 nowhere.
        let mut ledger = Ledger::open(under_way.clone(), 2, [Some(0), Some(2), None].into_iter());
        assert!((0..3).all(|k| under_way.put(k)));
        assert_eq!(ledger.receive(0, 0, stamp(0, 1)), Some(Receipt::InOrder));
        assert_eq!(ledger.receive(0, 0, stamp(0, 1)), Some(Receipt::Duplicate));
        assert_eq!(under_way.complete(), 0);
        assert_eq!(ledger.receive(1, 2, stamp(0, 1)), Some(Receipt::InOrder));
        assert_eq!(under_way.complete(), 1);
        assert_eq!(ledger.receive(1, 2, stamp(2, 1)), Some(Receipt::InOrder));
        assert_eq!(under_way.complete(), 2);
        for foreign in [stamp(1, 1), stamp(3, 1), stamp(2, 0), stamp(9_999, 1)] {
            assert_eq!(ledger.receive(1, 2, foreign), None);
        }
    }
}
