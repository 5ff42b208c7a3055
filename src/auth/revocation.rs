//! What is refused although its signature holds: tokens that were revoked, and users whom an operator has sent away for
//! a time. Written by the admin port, asked by the [`super::Verifier`] for every token.
//!
//! Bounded, and of this process: an entry ends by itself, nothing is written down. While there is no entry at all a
//! check is one load; else it is a look into one or two of [`PARTS`] maps under a lock of its own, which nobody holds
//! for longer than a walk through one part.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use super::TokenError;

/// Users and tokens that can be revoked at once, at some 300 bytes each when their ids are long. As many as a service
/// that signs off its whole day of users needs, and no memory worth naming.
pub const ENTRIES_MAX: usize = 65_536;

/// One part is walked through at each entry, to let go of those that have ended: some microseconds.
const PARTS: usize = 64;

/// Clones are the same.
#[derive(Clone, Default)]
pub struct Revocations(Arc<Inner>);

struct Inner {
    hasher: RandomState,
    epoch: AtomicU64,
    entries: AtomicUsize,
    parts: [RwLock<Part>; PARTS],
}

#[derive(Default)]
struct Part {
    users: HashMap<Box<str>, User>,
    /// Tokens by their `jti`, until a unix second.
    tokens: HashMap<Box<str>, u64>,
}

/// All in unix seconds; 0 is never.
#[derive(Clone, Copy, Default)]
struct User {
    sent_away_until: u64,
    /// Tokens issued before this moment do not count...
    issued_before: u64,
    /// ...until this one.
    revoked_until: u64,
}

/// No room: [`ENTRIES_MAX`] are in force.
#[derive(Debug, PartialEq, Eq)]
pub struct Full;

impl Revocations {
    /// Which decisions still hold: one of an earlier epoch, that nobody has acted on yet, is to be taken anew.
    pub fn epoch(&self) -> u64 {
        self.0.epoch.load(SeqCst)
    }

    /// Connections are about to be ended: called when what is to be refused from now on has been written down, and
    /// before the shards are told to close what they have.
    pub fn begin_epoch(&self) {
        self.0.epoch.fetch_add(1, SeqCst);
    }

    /// Whoever has a token of `user` is refused until then.
    pub fn send_away(&self, user: &str, until_unix_s: u64, now_unix_s: u64) -> Result<(), Full> {
        self.change_user(user, now_unix_s, |entry| entry.sent_away_until = until_unix_s)
    }

    /// Tokens of `user` that were issued before a moment, or do not say when, are refused until another.
    pub fn revoke_issued_before(
        &self,
        user: &str,
        before_unix_s: u64,
        until_unix_s: u64,
        now_unix_s: u64,
    ) -> Result<(), Full> {
        self.change_user(user, now_unix_s, |entry| {
            entry.issued_before = before_unix_s;
            entry.revoked_until = until_unix_s;
        })
    }

    /// The token of this `jti` is refused until then.
    pub fn revoke_token(&self, jti: &str, until_unix_s: u64, now_unix_s: u64) -> Result<(), Full> {
        self.change(jti, now_unix_s, |part| {
            part.tokens.insert(jti.into(), until_unix_s);
        })
    }

    /// Whether a token counts, as far as it goes by what was revoked.
    pub(super) fn check(
        &self,
        user: &str,
        jti: Option<&str>,
        issued_at: Option<f64>,
        now_unix_s: u64,
    ) -> Result<(), TokenError> {
        if self.0.entries.load(Relaxed) == 0 {
            return Ok(());
        }
        let is_revoked = |jti: &str| self.part(jti).tokens.get(jti).is_some_and(|until| *until > now_unix_s);
        let entry = self.part(user).users.get(user).copied().unwrap_or_default();
        if entry.sent_away_until > now_unix_s {
            return Err(TokenError::UserSentAway);
        }
        let is_old = || issued_at.is_none_or(|issued_at| issued_at < entry.issued_before as f64);
        if entry.revoked_until > now_unix_s && is_old() || jti.is_some_and(is_revoked) {
            return Err(TokenError::Revoked);
        }
        Ok(())
    }

    fn change_user(&self, user: &str, now_unix_s: u64, set: impl FnOnce(&mut User)) -> Result<(), Full> {
        self.change(user, now_unix_s, |part| {
            let mut entry = part.users.get(user).copied().unwrap_or_default();
            set(&mut entry);
            part.users.insert(user.into(), entry);
        })
    }

    fn change(&self, key: &str, now_unix_s: u64, set: impl FnOnce(&mut Part)) -> Result<(), Full> {
        let mut part = self.0.parts[self.part_of(key)].write().unwrap_or_else(PoisonError::into_inner);
        let before = part.entries();
        part.let_go(now_unix_s);
        let freed = before - part.entries();
        // Others may add to other parts meanwhile: the bound is kept to within their number.
        let is_full = self.0.entries.load(Relaxed) - freed >= ENTRIES_MAX;
        if !is_full || part.has(key) {
            set(&mut part);
        }
        let added = part.entries() + freed - before;
        self.0.entries.fetch_add(added, Relaxed);
        self.0.entries.fetch_sub(freed, Relaxed);
        if is_full && !part.has(key) { Err(Full) } else { Ok(()) }
    }

    fn part(&self, key: &str) -> RwLockReadGuard<'_, Part> {
        self.0.parts[self.part_of(key)].read().unwrap_or_else(PoisonError::into_inner)
    }

    fn part_of(&self, key: &str) -> usize {
        self.0.hasher.hash_one(key) as usize % PARTS
    }
}

impl Part {
    fn entries(&self) -> usize {
        self.users.len() + self.tokens.len()
    }

    fn has(&self, key: &str) -> bool {
        self.users.contains_key(key) || self.tokens.contains_key(key)
    }

    fn let_go(&mut self, now_unix_s: u64) {
        self.users.retain(|_, user| user.sent_away_until.max(user.revoked_until) > now_unix_s);
        self.tokens.retain(|_, until| *until > now_unix_s);
    }
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            epoch: AtomicU64::new(0),
            entries: AtomicUsize::new(0),
            parts: std::array::from_fn(|_| RwLock::default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    #[test]
    fn a_user_is_away_for_as_long_as_he_was_sent() {
        let revocations = Revocations::default();
        let check = |user, now| revocations.check(user, None, None, now);
        assert_eq!(check("ana", NOW), Ok(()));
        revocations.send_away("ana", NOW + 60, NOW).unwrap();
        assert_eq!(check("ana", NOW + 59), Err(TokenError::UserSentAway));
        assert_eq!((check("ana", NOW + 60), check("bob", NOW)), (Ok(()), Ok(())));
    }

    #[test]
    fn tokens_issued_before_are_refused_and_later_ones_are_not() {
        let revocations = Revocations::default();
        revocations.revoke_issued_before("ana", NOW, NOW + 3600, NOW).unwrap();
        let check = |issued_at, now| revocations.check("ana", Some("t1"), issued_at, now);
        assert_eq!(check(Some(NOW as f64 - 0.5), NOW), Err(TokenError::Revoked));
        assert_eq!(check(None, NOW), Err(TokenError::Revoked));
        assert_eq!(check(Some(NOW as f64), NOW), Ok(()));
        assert_eq!(check(None, NOW + 3600), Ok(()));
        // Both kinds hold beside each other.
        revocations.send_away("ana", NOW + 60, NOW).unwrap();
        assert_eq!(check(Some(NOW as f64), NOW), Err(TokenError::UserSentAway));
        assert_eq!(check(None, NOW + 60), Err(TokenError::Revoked));
    }

    #[test]
    fn a_token_is_revoked_by_its_id() {
        let revocations = Revocations::default();
        revocations.revoke_token("t1", NOW + 60, NOW).unwrap();
        let check = |jti, now| revocations.check("ana", jti, Some(1.0), now);
        assert_eq!(check(Some("t1"), NOW), Err(TokenError::Revoked));
        assert_eq!((check(Some("t2"), NOW), check(None, NOW), check(Some("t1"), NOW + 60)), (Ok(()), Ok(()), Ok(())));
    }

    #[test]
    fn entries_are_bounded_and_make_room_when_they_end() {
        let revocations = Revocations::default();
        for n in 0..ENTRIES_MAX {
            revocations.revoke_token(&n.to_string(), NOW + 60, NOW).unwrap();
        }
        assert_eq!(revocations.send_away("ana", NOW + 60, NOW), Err(Full));
        assert_eq!(revocations.revoke_token("7", NOW + 90, NOW), Ok(()), "what is there can be changed");
        let later = NOW + 60;
        for n in 0..1000 {
            revocations.send_away(&format!("u{n}"), later + 60, later).unwrap();
        }
        assert_eq!(revocations.0.entries.load(Relaxed), 1001, "the others were let go");
    }
}
