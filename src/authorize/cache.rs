//! What has been decided a while ago.
//!
//! Used by the task alone, which runs on one thread.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::lane::Permission;

/// A refusal holds for less long: whoever is let in meanwhile tries again soon.
const DENIED_MAX: Duration = Duration::from_secs(5);

/// Decisions by user and channel, the oldest of which go when there are too many.
pub struct Cache {
    time: Duration,
    entries_max: usize,
    held: RefCell<Held>,
}

#[derive(Default)]
struct Held {
    decisions: HashMap<Arc<str>, Decision>,
    /// In the order in which they came.
    order: VecDeque<Arc<str>>,
}

struct Decision {
    permission: Permission,
    until: Instant,
}

impl Cache {
    /// For `time`; for none, nothing is kept.
    pub fn new(time: Duration, entries_max: usize) -> Self {
        Self { time, entries_max, held: RefCell::default() }
    }

    pub fn get(&self, user_id: &str, channel: &str) -> Option<Permission> {
        let held = self.held.borrow();
        let decision = held.decisions.get(&*key(user_id, channel))?;
        (Instant::now() < decision.until).then_some(decision.permission)
    }

    /// Keeps a decision. That nobody could decide is none.
    pub fn put(&self, user_id: &str, channel: &str, permission: Permission) {
        let time = match permission {
            Permission::Granted => self.time,
            Permission::Denied => self.time.min(DENIED_MAX),
            Permission::Unavailable => return,
        };
        if time.is_zero() {
            return;
        }
        let key: Arc<str> = key(user_id, channel).into();
        let mut held = self.held.borrow_mut();
        let decision = Decision { permission, until: Instant::now() + time };
        if held.decisions.insert(key.clone(), decision).is_none() {
            held.order.push_back(key);
            if held.order.len() > self.entries_max
                && let Some(oldest) = held.order.pop_front()
            {
                held.decisions.remove(&oldest);
            }
        }
    }
}

/// No user id has control characters.
fn key(user_id: &str, channel: &str) -> String {
    [user_id, "\n", channel].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_holds_for_its_user_and_channel() {
        let cache = Cache::new(Duration::from_secs(600), 10);
        cache.put("ana", "conv:1", Permission::Granted);
        cache.put("ana", "conv:2", Permission::Denied);
        cache.put("ana", "conv:3", Permission::Unavailable);
        let known = |user, channel| cache.get(user, channel);
        assert_eq!(known("ana", "conv:1"), Some(Permission::Granted));
        assert_eq!(known("ana", "conv:2"), Some(Permission::Denied));
        assert_eq!((known("ana", "conv:3"), known("bob", "conv:1")), (None, None));
        cache.put("ana", "conv:1", Permission::Denied);
        assert_eq!(known("ana", "conv:1"), Some(Permission::Denied));
    }

    #[test]
    fn the_oldest_make_room_and_without_time_nothing_is_kept() {
        let cache = Cache::new(Duration::from_secs(600), 2);
        for channel in ["conv:1", "conv:2", "conv:3"] {
            cache.put("ana", channel, Permission::Granted);
        }
        assert_eq!(["conv:1", "conv:2", "conv:3"].map(|name| cache.get("ana", name).is_some()), [false, true, true]);
        assert_eq!(cache.held.borrow().decisions.len(), 2);
        let none = Cache::new(Duration::ZERO, 2);
        none.put("ana", "conv:1", Permission::Granted);
        assert_eq!(none.get("ana", "conv:1"), None);
    }
}
