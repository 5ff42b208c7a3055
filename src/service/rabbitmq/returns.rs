//! Which of the messages that must reach a queue (`mandatory`) have come back. Sans-IO, kept by
//! [`outstanding`](super::outstanding).
//!
//! RabbitMQ sends one back that reaches none, and confirms it behind that. They come back in the order in which they
//! were sent, and so the client library hands them out, one with each confirm while there are any: what comes with a
//! confirm need not be its own message. But it tells how far they have been handed out: up to a message that came back,
//! and up to one that was confirmed when there was nothing to hand out. What was sent before that and has not come back
//! never will. So nobody waits for a message that is not confirmed.
//!
//! There is one more case: who was handed an earlier message, whose own may still be to come. RabbitMQ confirms
//! messages that it sends back at once, so that is known when all that were sent before are confirmed, or sooner.

use std::collections::{HashMap, HashSet};

use lapin::types::ShortString;

/// Messages are known by their place in the order in which they were sent.
#[derive(Default)]
pub struct Returns {
    /// By the ids of those that are not settled.
    places: HashMap<ShortString, u64>,
    /// Those that have come back and are not settled.
    back: HashSet<u64>,
    /// All that come back of those below this have been handed out.
    known_below: u64,
}

impl Returns {
    pub fn sent(&mut self, place: u64, id: ShortString) {
        self.places.insert(id, place);
    }

    /// A message was confirmed, and with it one was handed out.
    pub fn confirmed(&mut self, place: u64, with: Option<&ShortString>) {
        let known = match with {
            None => Some(place),
            Some(id) => self.places.get(id).copied(),
        };
        if let Some(known) = known {
            self.known_below = self.known_below.max(known + 1);
        }
        if with.is_some() {
            self.back.extend(known);
        }
    }

    /// Whether one that is confirmed has come back; `None` while that is not known. `unconfirmed` is the first place
    /// of all that are not confirmed.
    pub fn has_come_back(&self, place: u64, unconfirmed: Option<u64>) -> Option<bool> {
        let is_known = place < self.known_below || unconfirmed.is_none_or(|first| place < first);
        (is_known || self.back.contains(&place)).then(|| self.back.contains(&place))
    }

    /// It is settled.
    pub fn forget(&mut self, place: u64, id: &ShortString) {
        self.places.remove(id);
        self.back.remove(&place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(messages: u64) -> Returns {
        let mut returns = Returns::default();
        (0..messages).for_each(|place| returns.sent(place, place.to_string().into()));
        returns
    }

    #[test]
    fn nobody_waits_for_one_that_is_not_confirmed() {
        let mut returns = sent(3);
        returns.confirmed(1, None);
        returns.confirmed(2, Some(&"2".into()));
        assert_eq!([1, 2].map(|place| returns.has_come_back(place, Some(0))), [Some(false), Some(true)]);
    }

    #[test]
    fn what_came_back_may_be_handed_to_others() {
        // 1 and 3 have come back; all but 0 are confirmed, in any order.
        let mut returns = sent(4);
        returns.confirmed(3, Some(&"1".into()));
        assert_eq!([3, 1].map(|place| returns.has_come_back(place, Some(0))), [None, Some(true)]);
        returns.confirmed(2, Some(&"3".into()));
        assert_eq!([2, 3].map(|place| returns.has_come_back(place, Some(0))), [Some(false), Some(true)]);
        returns.confirmed(1, None);
        assert_eq!([1, 2, 3].map(|place| returns.has_come_back(place, Some(0))), [Some(true), Some(false), Some(true)]);
    }

    #[test]
    fn who_was_handed_an_earlier_one_waits_until_all_before_are_confirmed() {
        let mut returns = sent(3);
        returns.confirmed(2, Some(&"1".into()));
        assert_eq!(returns.has_come_back(2, Some(0)), None);
        returns.confirmed(0, None);
        assert_eq!(returns.has_come_back(2, Some(1)), None);
        assert_eq!(returns.has_come_back(2, None), Some(false));
    }

    #[test]
    fn nothing_is_kept_of_what_is_settled() {
        let mut returns = sent(2);
        returns.confirmed(0, Some(&"1".into()));
        (0..2).for_each(|place| returns.forget(place, &place.to_string().into()));
        assert!(returns.places.is_empty() && returns.back.is_empty());
    }
}
