//! Whether somebody may join channels: what a shard asks, and how it is answered. As with a [`super::call::Call`] no
//! shard waits; the message that asks to join does (`shard/pending.rs`).

use super::call::{Failure, Ticket};
use super::id::ConnectionId;

/// Who decides who may join what, beside tokens and configuration: a database, or a service.
pub trait Authorizer: Send + Sync {
    /// Whether it is to be asked for this channel. The same answer at all times.
    fn concerns(&self, channel: &str) -> bool;

    /// Takes a question, to be answered later by [`super::Bus::permit`]; or refuses it at once, and is then not to
    /// answer. Runs on a shard's thread and must not wait.
    ///
    /// # Errors
    ///
    /// Why the question is not taken.
    fn ask(&self, question: Question) -> Result<(), Failure>;
}

/// Whether a user may join these channels.
#[derive(Clone, Debug)]
pub struct Question {
    /// Who waits for the answer, and for which.
    pub from: ConnectionId,
    pub ticket: Ticket,
    pub user_id: Box<str>,
    pub channels: Vec<Box<str>>,
}

/// The answer, channel by channel.
#[derive(Clone, Debug)]
pub struct Verdict {
    pub to: ConnectionId,
    pub ticket: Ticket,
    pub permissions: Vec<(Box<str>, Permission)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    Granted,
    Denied,
    /// Nobody could be asked, or nobody has answered in time: not joined, and to be tried again.
    Unavailable,
}
