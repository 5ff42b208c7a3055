//! Tells the participants of channels who has come and who has gone.
//!
//! A few times a second it takes what has changed from [`Presence`] and publishes it, so that what came and went
//! between two rounds is never told. Who has come or gone is not told of himself. A round publishes no more than a
//! bounded number of deliveries; the rest waits, and goes on being compared until it is its turn, so that a night in
//! which everybody reconnects costs no more than another one. Runs on a thread of its own, since a full lane holds it
//! up.

mod export;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use crate::channel::Presence;
use crate::channel::name::USER_PREFIX;
use crate::channel::presence::{Change, Changes};
use crate::clock::Now;
use crate::control::{Control, Stop};
use crate::lane::{Bus, Draft, Except};
use crate::protocol::presence::{Status, User, What, update_json};
use crate::ws::frame::encode_text;

pub use export::Online;

const ROUND: Duration = Duration::from_millis(250);

/// Deliveries of one round, all channels together.
const DELIVERIES_PER_ROUND: usize = 50_000;

/// What the number of users of a large channel counts for at most, so that it does not hold up the small ones. How
/// often it is told depends on its size already.
const DELIVERIES_PER_COUNT: usize = 10_000;

/// Begins to tell who comes and goes, where that is known, and returns the counter of what is told.
///
/// # Errors
///
/// When the thread cannot be had.
pub fn start(presence: &Arc<Presence>, bus: &Bus, control: &Control) -> io::Result<Arc<AtomicU64>> {
    let updates = Arc::<AtomicU64>::default();
    if presence.is_on() {
        let announcer = Announcer { presence: presence.clone(), bus: bus.clone(), updates: updates.clone(), stripe: 0 };
        control.run_apart("presence", |stop| announcer.announce(stop))?;
    }
    Ok(updates)
}

struct Announcer {
    presence: Arc<Presence>,
    bus: Bus,
    updates: Arc<AtomicU64>,
    /// Where the next round begins.
    stripe: usize,
}

impl Announcer {
    /// Until it is told to stop.
    async fn announce(mut self, stop: Stop) {
        let mut rounds = interval(ROUND);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(rounds.tick()).await.is_some() {
            self.round(Now::read().tick(), &stop);
        }
    }

    fn round(&mut self, now: u32, stop: &Stop) {
        let stripes = self.presence.stripes();
        for stripe in 0..stripes {
            while self.presence.expire(stripe, now) && !stop.is_cancelled() {}
        }
        let (mut left, mut told) = (DELIVERIES_PER_ROUND, Vec::new());
        for _ in 0..stripes {
            if left == 0 || stop.is_cancelled() {
                return;
            }
            self.presence.take(self.stripe, now, &mut told);
            self.stripe = (self.stripe + 1) % stripes;
            for changes in told.drain(..) {
                left = left.saturating_sub(deliveries(&changes));
                self.tell(&changes);
            }
        }
    }

    fn tell(&self, told: &Changes) {
        // A single user has nobody who could be told of him.
        let is_alone = told.online <= 1;
        for change in &told.changes {
            let (what, except) = match change {
                Change::Online(_) if is_alone => continue,
                Change::Online(user) => (one(user, Status::Online), self.except(user)),
                Change::Offline(user) => (one(user, Status::Offline), self.except(user)),
                Change::Count(count) => (What::Count { count: *count }, Except::Nobody),
            };
            let frame = encode_text(&update_json(&told.channel, what));
            self.bus.post(Draft { except, ..Draft::new(&told.channel, frame) }).put();
            self.updates.fetch_add(1, Relaxed);
        }
    }

    fn except(&self, user: &str) -> Except {
        Except::User(self.bus.hash(&format!("{USER_PREFIX}{user}")))
    }
}

fn one(user_id: &str, status: Status) -> What<'_> {
    What::One(User { user_id, status })
}

fn deliveries(told: &Changes) -> usize {
    told.changes.len() * told.online.clamp(1, DELIVERIES_PER_COUNT)
}
