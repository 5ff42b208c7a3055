//! The handshakes of a lobby whose request head is still awaited, and which of them goes when another client needs the
//! place. Sans-IO; owned by the gate.
//!
//! Whoever cannot be let in anyway goes first, then the one that has been silent for longest, then the one that has
//! been at its head for longest. An honest client sends its head right behind the connect, so it is gone from here
//! before its turn comes, unless everybody is faster than it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::task::Waker;

/// Which of two goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// Its address has used up what it may.
    Unwelcome,
    /// Has sent nothing.
    Silent,
    /// Has sent a part of its head.
    Speaking,
}

/// Names one of them, and orders them: who goes first is smaller.
pub type Turn = (Rank, u64);

pub struct Heads {
    next: u64,
    /// Of one address; 0: no limit.
    of_address_max: usize,
    awaited: BTreeMap<Turn, Head>,
    by_address: BTreeSet<(IpAddr, Turn)>,
}

struct Head {
    address: Option<IpAddr>,
    /// The handshake's task, while it waits.
    waker: Option<Waker>,
}

impl Heads {
    pub fn new(of_address_max: usize) -> Self {
        Self { next: 0, of_address_max, awaited: BTreeMap::new(), by_address: BTreeSet::new() }
    }

    pub fn is_empty(&self) -> bool {
        self.awaited.is_empty()
    }

    pub fn enter(&mut self, address: Option<IpAddr>, rank: Rank) -> Turn {
        self.next += 1;
        let turn = (rank, self.next);
        self.put(turn, Head { address, waker: None });
        turn
    }

    /// It has begun to speak. Says under which name it goes on.
    pub fn heard(&mut self, turn: Turn) -> Turn {
        let (Rank::Silent, age) = turn else { return turn };
        let Some(head) = self.take(turn) else { return turn };
        let spoken = (Rank::Speaking, age);
        self.put(spoken, head);
        spoken
    }

    /// False when it had to make room already.
    pub fn leave(&mut self, turn: Turn) -> bool {
        self.take(turn).is_some()
    }

    /// Remembers whom to wake when it has to make room. False when it had to already.
    pub fn wait(&mut self, turn: Turn, waker: &Waker) -> bool {
        let Some(head) = self.awaited.get_mut(&turn) else { return false };
        if !head.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            head.waker = Some(waker.clone());
        }
        true
    }

    /// Lets one go. False when there is none.
    pub fn displace(&mut self) -> bool {
        self.awaited.first_key_value().map(|(turn, _)| *turn).is_some_and(|turn| self.end(turn))
    }

    /// Lets one of `address` go if it has as many as it may. False when it has fewer.
    pub fn displace_of(&mut self, address: Option<IpAddr>) -> bool {
        let (Some(address), Some(last)) = (address, self.of_address_max.checked_sub(1)) else { return false };
        let own = self.by_address.range((address, (Rank::Unwelcome, 0))..=(address, (Rank::Speaking, u64::MAX)));
        let first = own.clone().next().filter(|_| own.clone().nth(last).is_some()).map(|(_, turn)| *turn);
        first.is_some_and(|turn| self.end(turn))
    }

    fn end(&mut self, turn: Turn) -> bool {
        let Some(head) = self.take(turn) else { return false };
        if let Some(waker) = head.waker {
            waker.wake();
        }
        true
    }

    fn put(&mut self, turn: Turn, head: Head) {
        if let Some(address) = head.address {
            let is_new = self.by_address.insert((address, turn));
            debug_assert!(is_new);
        }
        let other = self.awaited.insert(turn, head);
        debug_assert!(other.is_none(), "a turn is one handshake's");
        debug_assert!(self.by_address.len() <= self.awaited.len());
    }

    fn take(&mut self, turn: Turn) -> Option<Head> {
        let head = self.awaited.remove(&turn)?;
        if let Some(address) = head.address {
            let was_known = self.by_address.remove(&(address, turn));
            debug_assert!(was_known);
        }
        Some(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([10, 0, 0, last]))
    }

    fn is_awaited(heads: &mut Heads, turn: Turn) -> bool {
        heads.wait(turn, Waker::noop())
    }

    #[test]
    fn unwelcome_then_silent_then_slow_each_by_age() {
        let mut heads = Heads::new(0);
        let mut turns: Vec<Turn> = (0..4).map(|_| heads.enter(address(1), Rank::Silent)).collect();
        turns[0] = heads.heard(turns[0]);
        turns[2] = heads.heard(turns[2]);
        turns.push(heads.enter(address(2), Rank::Unwelcome));
        for gone in [4, 1, 3, 0, 2] {
            assert!(is_awaited(&mut heads, turns[gone]));
            assert!(heads.displace());
            assert!(!is_awaited(&mut heads, turns[gone]));
            assert!(!heads.leave(turns[gone]));
        }
        assert!(heads.is_empty() && !heads.displace());
    }

    #[test]
    fn an_address_that_has_all_it_may_makes_room_for_itself() {
        for limit in 1..4 {
            let mut heads = Heads::new(limit);
            let other = heads.enter(address(9), Rank::Silent);
            let own: Vec<Turn> = (0..limit)
                .map(|_| {
                    assert!(!heads.displace_of(address(1)), "below the limit of {limit}");
                    heads.enter(address(1), Rank::Silent)
                })
                .collect();
            assert!(heads.displace_of(address(1)), "at the limit of {limit}");
            assert!(!is_awaited(&mut heads, own[0]) && is_awaited(&mut heads, other));
            assert!(!heads.displace_of(address(1)), "one has gone");
            assert!(!heads.displace_of(None));
        }
    }

    #[test]
    fn nothing_is_kept_of_those_that_have_gone() {
        let mut heads = Heads::new(2);
        let turn = heads.enter(address(1), Rank::Silent);
        let turn = heads.heard(turn);
        assert!(heads.leave(turn));
        assert!(heads.is_empty() && heads.by_address.is_empty());
    }
}
