//! What each user may ask of whoever decides: how often, and how much at the same time. So one user's questions, many
//! or slow, leave room for the others'.
//!
//! Used by the task alone, which runs on one thread. Holds who has asked in the last minute.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Questions of one user at once, several full reconnects, and then one each [`EVERY`].
const BURST: u32 = 600;
const EVERY: Duration = Duration::from_millis(100);

/// Until who has asked for all of it may ask for as much again.
const WINDOW: Duration = EVERY.saturating_mul(BURST);

pub struct Budget {
    at_once: usize,
    users: RefCell<Users>,
}

struct Users {
    by_id: HashMap<Box<str>, User>,
    swept: Instant,
}

struct User {
    /// When he may ask for all of it again. Each question puts it off.
    rested_at: Instant,
    /// For what is under way.
    turns: Arc<Semaphore>,
}

impl Budget {
    /// Of each user so many questions may be under way.
    pub fn new(at_once: usize) -> Self {
        Self { at_once, users: RefCell::new(Users { by_id: HashMap::new(), swept: Instant::now() }) }
    }

    /// False when the user has asked as often as he may.
    pub fn spend(&self, user_id: &str, now: Instant) -> bool {
        let mut users = self.users.borrow_mut();
        users.sweep(now);
        let user = users.user(user_id, now, self.at_once);
        let rested_at = user.rested_at.max(now) + EVERY;
        let is_left = rested_at <= now + WINDOW;
        if is_left {
            user.rested_at = rested_at;
        }
        is_left
    }

    /// Nobody was asked after all.
    pub fn give_back(&self, user_id: &str) {
        if let Some(user) = self.users.borrow_mut().by_id.get_mut(user_id) {
            user.rested_at -= EVERY;
        }
    }

    /// Waits until the user has fewer questions under way than he may, and holds that place. None when there is none
    /// to be had, ever.
    pub async fn turn(&self, user_id: &str, now: Instant) -> Option<OwnedSemaphorePermit> {
        let turns = self.users.borrow_mut().user(user_id, now, self.at_once).turns.clone();
        turns.acquire_owned().await.ok()
    }
}

impl Users {
    fn user(&mut self, user_id: &str, now: Instant, at_once: usize) -> &mut User {
        if !self.by_id.contains_key(user_id) {
            let user = User { rested_at: now, turns: Arc::new(Semaphore::new(at_once)) };
            self.by_id.insert(user_id.into(), user);
        }
        self.by_id.get_mut(user_id).expect("it was put in")
    }

    /// Forgets who has nothing under way and has not asked for a while.
    fn sweep(&mut self, now: Instant) {
        if now.duration_since(self.swept) >= WINDOW {
            self.swept = now;
            self.by_id.retain(|_, user| user.rested_at > now || Arc::strong_count(&user.turns) > 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn nobody_asks_for_ever_and_everybody_soon_again() {
        let (budget, now) = (Budget::new(1), Instant::now());
        assert!((0..BURST).all(|_| budget.spend("ana", now)));
        assert!(!budget.spend("ana", now) && budget.spend("bob", now));
        let later = now + EVERY * 3;
        assert_eq!((0..9).filter(|_| budget.spend("ana", later)).count(), 3);
        budget.give_back("ana");
        assert!(budget.spend("ana", later) && !budget.spend("ana", later));
        assert_eq!((0..BURST + 9).filter(|_| budget.spend("ana", later + WINDOW)).count(), BURST as usize);
    }

    #[test]
    fn of_each_user_some_are_under_way() {
        let (budget, now) = (Budget::new(2), Instant::now());
        let turn = |user| budget.turn(user, now).now_or_never().flatten();
        let held = [turn("ana"), turn("ana")];
        assert!(held.iter().all(Option::is_some) && turn("ana").is_none() && turn("bob").is_some());
        drop(held);
        assert!(turn("ana").is_some());
    }

    #[test]
    fn who_has_not_asked_for_a_while_and_has_nothing_under_way_is_forgotten() {
        let (budget, now) = (Budget::new(2), Instant::now());
        let held = budget.turn("ana", now).now_or_never().flatten();
        assert!(budget.spend("bob", now) && budget.spend("eve", now + WINDOW));
        let known = || budget.users.borrow().by_id.len();
        assert!(held.is_some() && known() == 2, "bob is forgotten");
        drop(held);
        assert!(budget.spend("eve", now + WINDOW * 2) && known() == 1);
    }
}
