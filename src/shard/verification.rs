//! Tokens whose check takes long, beside the shards. A signature of a public key takes 20 to 300 µs: a storm of them
//! would be in the way of everybody whose messages lie behind them, and one whose key is not known yet may have to wait
//! until the issuer has been asked.
//!
//! ```text
//!  lobby, floor ──► Verification::ask ──► one queue ──► a few threads ──► the shard's mailbox ──► Lobby::begin_turn
//!                                             ▲              │ unknown key
//!                                             └── again ── KeyFinder ── refuse ──► the mailbox
//! ```
//!
//! The queues have no bound of their own: who asks has one question under way for each handshake, or for each
//! connection within the bound of [`crate::shard::paused`].
//!
//! Invariant: every question is answered exactly once, whatever becomes of it.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread;

use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::auth::{Identity, TokenError, Verifier};
use crate::clock::{Now, now_us};
use crate::lane::ConnectionId;
use crate::lane::bell::Bell;

/// Threads that verify. As many as shards, as a storm of connects costs a shard about as much as one of these; but what
/// they do besides is little, so that more than some never have enough to do.
const THREADS_MAX: usize = 16;

/// Asks for tokens to be verified. Clones are the same.
#[derive(Clone)]
pub struct Verification {
    questions: Sender<Unverified>,
    mailboxes: Arc<[Mailbox]>,
}

/// The way back to one shard.
struct Mailbox {
    verified: Sender<Verified>,
    bell: Bell,
}

/// Who waits for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// A handshake, by its place among those of the shard that wait.
    Handshake { shard: usize, place: usize },
    /// An `auth` message of a connection.
    Connection(ConnectionId),
}

/// What has become of a token.
#[derive(Debug)]
pub struct Verified {
    pub asker: Asker,
    /// That of the revocations when it was verified: while they have the same, it holds.
    pub epoch: u64,
    pub identity: Result<Identity, TokenError>,
    /// From the question to the answer.
    pub us: u64,
}

/// A token on its way. Dropped without an answer, it is answered all the same: its key is not known.
pub struct Unverified {
    token: Box<str>,
    asker: Asker,
    asked_us: u64,
    /// The issuer has been asked for its key.
    has_waited: bool,
    is_answered: bool,
    verification: Verification,
}

/// Who may come to know keys that are not known yet.
pub trait KeyFinder: Send + Sync {
    /// Takes a question whose token names an unknown key, to put it [again](Unverified::again) when there are other
    /// keys, or to [refuse](Unverified::refuse) it, soon. Must not wait.
    fn look_for_key(&self, question: Unverified);
}

impl Verification {
    /// Starts the threads, if there are keys whose checks take long. With the end at which each shard, whose bell is
    /// given, takes what has become of its tokens.
    ///
    /// # Errors
    ///
    /// When a thread cannot be had.
    pub fn start(
        verifier: &Arc<Verifier>,
        finder: Option<&Arc<dyn KeyFinder>>,
        bells: impl Iterator<Item = Bell>,
    ) -> io::Result<(Self, Vec<Receiver<Verified>>)> {
        let (questions, queue) = unbounded();
        let (mailboxes, ends) = bells
            .map(|bell| {
                let (verified, end) = unbounded();
                (Mailbox { verified, bell }, end)
            })
            .unzip::<_, _, Vec<_>, Vec<_>>();
        let threads = if verifier.has_slow_keys() { ends.len().min(THREADS_MAX) } else { 0 };
        for n in 0..threads {
            let (queue, verifier, finder) = (queue.clone(), verifier.clone(), finder.cloned());
            thread::Builder::new().name(format!("verifier-{n}")).spawn(move || work(&queue, &verifier, finder))?;
        }
        Ok((Self { questions, mailboxes: mailboxes.into() }, ends))
    }

    /// Has a token verified. The answer comes into the mailbox of the asker's shard.
    pub fn ask(&self, token: &str, asker: Asker) {
        let verification = self.clone();
        let (has_waited, is_answered, asked_us) = (false, false, now_us());
        self.put(Unverified { token: token.into(), asker, asked_us, has_waited, is_answered, verification });
    }

    /// Tokens that wait to be verified.
    pub fn waiting(&self) -> usize {
        self.questions.len()
    }

    fn put(&self, question: Unverified) {
        // When no thread is left, the question is dropped with the error, and answered by that.
        drop(self.questions.send(question));
    }
}

/// One thread, until nobody can ask any more.
fn work(queue: &Receiver<Unverified>, verifier: &Verifier, finder: Option<Arc<dyn KeyFinder>>) {
    while let Ok(question) = queue.recv() {
        let epoch = verifier.revocations().epoch();
        let identity = verifier.verify(&question.token, Now::read().unix_s());
        match &finder {
            Some(finder) if identity == Err(TokenError::UnknownKey) && !question.has_waited => {
                finder.look_for_key(question);
            }
            _ => question.answer(epoch, identity),
        }
    }
}

impl Unverified {
    /// The keys may be others now: looks once more.
    pub fn again(mut self) {
        self.has_waited = true;
        let verification = self.verification.clone();
        verification.put(self);
    }

    /// Its key is not to be had, for this reason.
    pub fn refuse(self, why: TokenError) {
        self.answer(0, Err(why));
    }

    fn answer(mut self, epoch: u64, identity: Result<Identity, TokenError>) {
        self.tell(epoch, identity);
    }

    fn tell(&mut self, epoch: u64, identity: Result<Identity, TokenError>) {
        self.is_answered = true;
        let us = now_us().saturating_sub(self.asked_us);
        if let Some(mailbox) = self.verification.mailboxes.get(self.asker.shard()) {
            // Fails when the shard has ended: nobody waits there any more.
            drop(mailbox.verified.send(Verified { asker: self.asker, epoch, identity, us }));
            mailbox.bell.wake();
        }
    }
}

impl fmt::Debug for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verification").field("waiting", &self.waiting()).finish_non_exhaustive()
    }
}

impl Drop for Unverified {
    fn drop(&mut self) {
        if !self.is_answered {
            self.tell(0, Err(TokenError::UnknownKey));
        }
    }
}

impl Asker {
    fn shard(self) -> usize {
        match self {
            Self::Handshake { shard, .. } => shard,
            Self::Connection(id) => id.shard.into(),
        }
    }
}
