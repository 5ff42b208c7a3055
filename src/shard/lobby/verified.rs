//! What has become of tokens that were verified beside the shard: the lobby takes it out of the shard's mailbox, for
//! its own handshakes and for the floor.

use std::cell::RefCell;
use std::future::poll_fn;
use std::task::{Poll, Waker};

use crossbeam_channel::Receiver;
use slab::Slab;

use crate::clock::Now;
use crate::shard::io::Backend;
use crate::shard::lobby::Lobby;
use crate::shard::verification::{Asker, Verified};

/// Those taken in between two looks at the open connections: a session that begins takes some microseconds.
const PER_TURN: usize = 64;

/// The mailbox, and the handshakes that wait for something in it.
pub struct VerifiedTokens {
    mailbox: Receiver<Verified>,
    waiting: RefCell<Slab<Wait>>,
}

#[derive(Default)]
struct Wait {
    /// The handshake's task, once it waits.
    waker: Option<Waker>,
    verified: Option<Verified>,
}

impl VerifiedTokens {
    pub fn new(mailbox: Receiver<Verified>) -> Self {
        Self { mailbox, waiting: RefCell::default() }
    }

    pub fn is_empty(&self) -> bool {
        self.mailbox.is_empty()
    }

    fn tell(&self, place: usize, verified: Verified) {
        let mut waiting = self.waiting.borrow_mut();
        debug_assert!(waiting.contains(place), "who asked waits");
        if let Some(wait) = waiting.get_mut(place) {
            wait.verified = Some(verified);
            wait.waker.iter().for_each(Waker::wake_by_ref);
        }
    }

    /// Waits until it is known what has become of this place's token, and gives the place up.
    async fn told(&self, place: usize) -> Verified {
        poll_fn(|context| {
            let mut waiting = self.waiting.borrow_mut();
            let wait = &mut waiting[place];
            let Some(verified) = wait.verified.take() else {
                wait.waker = Some(context.waker().clone());
                return Poll::Pending;
            };
            waiting.remove(place);
            Poll::Ready(verified)
        })
        .await
    }
}

impl<B: Backend> Lobby<B> {
    /// Has a handshake's token verified beside the shard. To be awaited to its end: nobody else would take the answer.
    pub(super) async fn have_verified(&self, token: &str) -> Verified {
        let place = self.verified.waiting.borrow_mut().insert(Wait::default());
        self.shared.verification.ask(token, Asker::Handshake { shard: self.shard, place });
        self.verified.told(place).await
    }

    /// Hands on some of what has come.
    pub(super) fn receive_verified(&self) {
        for verified in self.verified.mailbox.try_iter().take(PER_TURN) {
            match verified.asker {
                Asker::Handshake { place, .. } => self.verified.tell(place, verified),
                Asker::Connection(_) => self.floor.borrow_mut().verified(verified, Now::read()),
            }
        }
    }
}
