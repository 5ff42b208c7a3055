//! The events of a node that its service does not have yet: numbered, bounded, and cut into batches. Sans-IO.
//!
//! Invariants: numbers count every event of this process from 1, also those that are lost; a batch has consecutive
//! numbers; what is missing between two batches is told by the later one.

use std::collections::VecDeque;

/// Texts of one batch: what brokers usually take as one message.
const BATCH_BYTES_MAX: usize = 512 << 10;

/// What an event costs beside its text.
const EVENT_BYTES: usize = size_of::<Waiting>();

pub struct Bounds {
    /// Events that may wait.
    pub events: usize,
    /// Their bytes.
    pub bytes: usize,
    /// Events of one batch.
    pub batch: usize,
}

pub struct Backlog {
    bounds: Bounds,
    waiting: VecDeque<Waiting>,
    bytes: usize,
    /// The number of the next event.
    next: u64,
    /// The number that the next batch begins with, if nothing is missing.
    due: u64,
}

struct Waiting {
    number: u64,
    text: Box<str>,
}

/// What the service is told at once.
#[derive(Debug, PartialEq, Eq)]
pub struct Batch {
    /// The number of its first event; of the next one, when it has none.
    pub first: u64,
    /// Events that are missing right before it.
    pub lost: u64,
    /// A JSON object each.
    pub events: Vec<Box<str>>,
}

impl Backlog {
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, waiting: VecDeque::new(), bytes: 0, next: 1, due: 1 }
    }

    /// Adds an event, whose text is made with its number. Returns how many old ones went for it.
    pub fn push(&mut self, text: impl FnOnce(u64) -> String) -> u64 {
        let text: Box<str> = text(self.next).into();
        self.bytes += EVENT_BYTES + text.len();
        self.waiting.push_back(Waiting { number: self.next, text });
        self.next += 1;
        let mut lost = 0;
        while self.waiting.len() > self.bounds.events || self.bytes > self.bounds.bytes {
            self.pop();
            lost += 1;
        }
        lost
    }

    /// So many are missing here.
    pub fn skip(&mut self, lost: u64) {
        self.next += lost;
    }

    /// Takes the next batch, as large as it may be. Without events it says that some are missing, or nothing.
    pub fn cut(&mut self) -> Batch {
        let first = self.waiting.front().map_or(self.next, |waiting| waiting.number);
        let mut batch = Batch { first, lost: first - self.due, events: Vec::new() };
        let mut bytes = 0;
        self.due = first;
        while batch.events.len() < self.bounds.batch
            && bytes < BATCH_BYTES_MAX
            && self.waiting.front().is_some_and(|waiting| waiting.number == self.due)
            && let Some(Waiting { text, .. }) = self.pop()
        {
            bytes += text.len();
            batch.events.push(text);
            self.due += 1;
        }
        batch
    }

    /// Whether there is something to tell.
    pub fn has_news(&self) -> bool {
        self.next > self.due
    }

    /// Whether a batch would not become larger by waiting.
    pub fn fills_a_batch(&self) -> bool {
        self.waiting.len() >= self.bounds.batch || self.bytes >= BATCH_BYTES_MAX
    }

    /// Events that wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Their bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn pop(&mut self) -> Option<Waiting> {
        let waiting = self.waiting.pop_front()?;
        self.bytes -= EVENT_BYTES + waiting.text.len();
        // What was needed while the service was away is given back.
        if self.waiting.is_empty() {
            self.waiting.shrink_to(self.bounds.batch);
        }
        Some(waiting)
    }
}

impl Batch {
    /// `{"type":"connection_events","node":…,"epoch":…,"first":…,"lost":…,"events":[…]}`.
    pub fn text(&self, node: &str, epoch: &str) -> String {
        let node = serde_json::Value::from(node);
        let (Self { first, lost, .. }, events) = (self, self.events.join(","));
        format!(
            r#"{{"type":"connection_events","node":{node},"epoch":"{epoch}","first":{first},"lost":{lost},"events":[{events}]}}"#
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn backlog(events: usize, bytes: usize, batch: usize) -> Backlog {
        Backlog::new(Bounds { events, bytes, batch })
    }

    fn batch(first: u64, lost: u64, events: std::ops::Range<u64>) -> Batch {
        Batch { first, lost, events: events.map(|n| n.to_string().into()).collect() }
    }

    fn push(backlog: &mut Backlog) -> u64 {
        backlog.push(|number| number.to_string())
    }

    #[test]
    fn events_are_numbered_from_one_and_cut_into_batches() {
        let mut backlog = backlog(100, 1 << 20, 3);
        assert_eq!(backlog.cut(), batch(1, 0, 1..1), "a greeting");
        (0..7).for_each(|_| assert_eq!(push(&mut backlog), 0));
        assert!(backlog.fills_a_batch());
        let batches = [backlog.cut(), backlog.cut(), backlog.cut()];
        assert_eq!(batches, [batch(1, 0, 1..4), batch(4, 0, 4..7), batch(7, 0, 7..8)]);
        assert!(!backlog.has_news() && (backlog.len(), backlog.bytes()) == (0, 0));
    }

    #[test]
    fn what_is_missing_is_told_by_the_next_batch() {
        let mut backlog = backlog(2, 1 << 20, 100);
        assert_eq!((0..5).map(|_| push(&mut backlog)).sum::<u64>(), 3);
        assert_eq!(backlog.cut(), batch(4, 3, 4..6));
        push(&mut backlog);
        backlog.skip(10);
        push(&mut backlog);
        assert_eq!([backlog.cut(), backlog.cut()], [batch(6, 0, 6..7), batch(17, 10, 17..18)]);
        backlog.skip(2);
        assert!(backlog.has_news());
        assert_eq!(backlog.cut(), batch(20, 2, 20..20), "told although nothing follows");
        assert!(!backlog.has_news());
    }

    #[test]
    fn bytes_are_bounded_as_well_and_so_is_a_batch() {
        let text = "x".repeat(100 << 10);
        let mut backlog = backlog(100, 3 << 20, 100);
        let lost: u64 = (0..60).map(|_| backlog.push(|_| text.clone())).sum();
        assert!((28..=32).contains(&lost) && backlog.bytes() <= 3 << 20, "{lost}");
        assert_eq!(backlog.cut().events.len(), 6);
    }

    #[test]
    fn a_batch_is_one_json_object_whatever_the_node_is_called() {
        let text = batch(7, 2, 7..9).text("a\"b", "e");
        assert_eq!(text, r#"{"type":"connection_events","node":"a\"b","epoch":"e","first":7,"lost":2,"events":[7,8]}"#);
    }

    proptest! {
        #[test]
        fn every_number_is_in_one_batch_or_told_to_be_missing(steps in prop::collection::vec(0u64..6, 0..200)) {
            let mut backlog = backlog(7, 1 << 20, 3);
            let (mut next, mut pushed, mut dropped) = (1, 0, 0);
            let (mut seen, mut lost) = (0, 0);
            let take = |backlog: &mut Backlog, seen: &mut u64, lost: &mut u64, next: &mut u64| {
                let batch = backlog.cut();
                assert_eq!(batch.first, *next + batch.lost);
                *next = batch.first;
                for event in &batch.events {
                    assert_eq!(**event, next.to_string());
                    *next += 1;
                }
                *seen += batch.events.len() as u64;
                *lost += batch.lost;
            };
            for step in steps {
                match step {
                    0 => take(&mut backlog, &mut seen, &mut lost, &mut next),
                    1 => {
                        backlog.skip(2);
                        pushed += 2;
                        dropped += 2;
                    }
                    _ => {
                        dropped += push(&mut backlog);
                        pushed += 1;
                    }
                }
            }
            while backlog.has_news() {
                take(&mut backlog, &mut seen, &mut lost, &mut next);
            }
            prop_assert_eq!((seen + lost, lost, next), (pushed, dropped, pushed + 1));
        }
    }
}
