//! The task that follows the issuer's keys, and the tokens that wait for a key meanwhile.
//!
//! ```text
//!            ┌──────────────── due, or a token names an unknown key ────────────────┐
//!            │                                                                      ▼
//!   idle: what holds, holds ◄── keys: replaced as a whole, who waits is asked again ── fetching: who comes waits, 2 s
//!            ▲                                                                      │
//!            └──── none: those that were there hold, who waits is refused ◄─────────┘
//! ```

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, info, warn};

use crate::auth::{IssuedKeys, TokenError};
use crate::clock::now_us;
use crate::config::{Auth, JwksUrl};
use crate::control::Control;
use crate::shard::verification::{KeyFinder, Unverified};

use super::fetch::{Answer, FetchError, Fetcher};
use super::pace::{BETWEEN_UNKNOWN, Pace};
use super::{Issuer, IssuerStatus};

/// How long a token waits for its key: a client that connects waits with it.
const PATIENCE: Duration = Duration::from_secs(2);

pub fn start(auth: &Auth, url: &JwksUrl, waiting_max: usize, control: &Control) -> io::Result<Issuer> {
    let fetcher = Fetcher::new(url, auth.jwks_bearer.as_ref())?;
    let (keys, status) = (IssuedKeys::default(), Arc::new(IssuerStatus::new(&url.shown())));
    // Half of them on the list, half at the door.
    let max = waiting_max.div_ceil(2);
    let (sender, questions) = mpsc::channel(max);
    let door = Arc::new(Door { sender, willing_from_us: AtomicU64::new(0), status: status.clone() });
    let pace = Pace::new(auth.jwks_refresh, Instant::now());
    let refresh = Refresh { fetcher, keys: keys.clone(), status: status.clone(), door: door.clone(), pace };
    let waiting = Waiting { questions, list: VecDeque::new(), max };
    control.run("issuer", async move |stop| {
        stop.run_until_cancelled(refresh.run(waiting)).await;
    });
    Ok(Issuer { keys, finder: door, status })
}

/// Where tokens with unknown keys come in.
struct Door {
    sender: mpsc::Sender<Waits>,
    /// Before this moment of [`crate::clock`] nobody is asked, so that a flood of such tokens goes no further than
    /// here.
    willing_from_us: AtomicU64,
    status: Arc<IssuerStatus>,
}

impl KeyFinder for Door {
    fn look_for_key(&self, question: Unverified) {
        if now_us() < self.willing_from_us.load(Relaxed) {
            return question.refuse(self.status.why_unknown());
        }
        let waits = Waits { until: Instant::now() + PATIENCE, question };
        if let Err(TrySendError::Full(Waits { question, .. }) | TrySendError::Closed(Waits { question, .. })) =
            self.sender.try_send(waits)
        {
            question.refuse(TokenError::KeysUnavailable);
        }
    }
}

struct Refresh {
    fetcher: Fetcher,
    keys: IssuedKeys,
    status: Arc<IssuerStatus>,
    door: Arc<Door>,
    pace: Pace,
}

/// The tokens that wait for a key, in the order in which they came.
struct Waiting {
    questions: mpsc::Receiver<Waits>,
    /// At most `max`; the others are at the door, and their time passes there as well.
    list: VecDeque<Waits>,
    max: usize,
}

struct Waits {
    /// Then it has waited for long enough.
    until: Instant,
    question: Unverified,
}

impl Refresh {
    async fn run(mut self, mut waiting: Waiting) {
        loop {
            self.idle(&mut waiting).await;
            self.door.willing_from_us.store(0, Relaxed);
            self.status.fetches.add(1);
            let answer = waiting.while_waiting_for(self.fetcher.fetch()).await;
            let willing_in = self.pace.willing_from().saturating_duration_since(Instant::now());
            self.door.willing_from_us.store(now_us() + willing_in.as_micros() as u64, Relaxed);
            match answer {
                Ok(answer) => {
                    self.take(answer);
                    waiting.ask_again();
                }
                Err(error) => {
                    self.tell(&error);
                    waiting.refuse();
                }
            }
        }
    }

    /// Until there is a reason to ask.
    async fn idle(&mut self, waiting: &mut Waiting) {
        loop {
            tokio::select! {
                () = sleep_until(self.pace.due()) => return,
                Some(waits) = waiting.questions.recv() => {
                    if self.pace.asks_for_unknown(Instant::now()) {
                        return waiting.list.push_back(waits);
                    }
                    waits.question.refuse(self.status.why_unknown());
                }
            }
        }
    }

    fn take(&mut self, answer: Answer) {
        let Answer { keys, left_out, fresh_for } = answer;
        let (count, url) = (keys.len(), self.status.url());
        if self.status.link.connected() || count != self.status.keys() {
            info!(url, keys = count, "the issuer's keys are here");
            for key in left_out {
                info!(url, key = key.place, why = %key.why, "a key of the issuer is left out");
            }
        }
        self.keys.replace(keys);
        self.status.holds(count);
        self.pace.succeeded(fresh_for, Instant::now());
    }

    fn tell(&mut self, error: &FetchError) {
        self.status.failures.add(1);
        let retry_in = self.pace.failed(Instant::now());
        let (url, keys) = (self.status.url(), self.status.keys());
        if !self.status.link.disconnected(error.to_string()) {
            debug!(url, %error, ?retry_in, "still no keys from the issuer");
        } else if keys == 0 {
            warn!(url, %error, "no keys from the issuer, trying until there are: no token of it is accepted");
        } else {
            warn!(url, %error, keys, "no keys from the issuer, trying until it is back: those that it had hold");
        }
    }
}

impl Waiting {
    /// Takes in who comes while something is under way, and lets go who has waited for long enough.
    async fn while_waiting_for<T>(&mut self, fetching: impl Future<Output = T>) -> T {
        let mut fetching = std::pin::pin!(fetching);
        loop {
            let (first, has_room) = (self.list.front().map(|waits| waits.until), self.list.len() < self.max);
            tokio::select! {
                biased;
                done = &mut fetching => return done,
                () = sleep_until(first.unwrap_or_else(Instant::now)), if first.is_some() => self.let_go(),
                Some(waits) = self.questions.recv(), if has_room => self.list.push_back(waits),
            }
        }
    }

    fn let_go(&mut self) {
        let now = Instant::now();
        let over = self.list.iter().take_while(|waits| waits.until <= now).count();
        self.list.drain(..over).for_each(|waits| waits.question.refuse(TokenError::KeysUnavailable));
    }

    fn ask_again(&mut self) {
        self.all().into_iter().for_each(Unverified::again);
    }

    fn refuse(&mut self) {
        self.all().into_iter().for_each(|question| question.refuse(TokenError::KeysUnavailable));
    }

    /// Also those that came before the answer and were not taken in yet, as many as there may be.
    fn all(&mut self) -> Vec<Unverified> {
        let at_the_door = std::iter::from_fn(|| self.questions.try_recv().ok()).take(self.max);
        self.list.drain(..).chain(at_the_door).map(|waits| waits.question).collect()
    }
}

const _: () = assert!(PATIENCE.as_secs() < BETWEEN_UNKNOWN.as_secs(), "who waits is gone before the next flood");
