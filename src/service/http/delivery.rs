//! Brings a message to the backend: one request, and further ones while that makes sense and there is time; and looks
//! after a backend that is away, until it is back.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Uri;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tower_service::Service;
use tracing::{info, warn};

use crate::broker::http::{Client, Connector, client, exchange};
use crate::clock::{Now, now_us};
use crate::config::{HttpService, UrlTemplate};
use crate::control::Backoff;
use crate::lane::Failure;
use crate::service::{Job, ServiceStatus};

use super::breaker::{Breaker, Failed, User};
use super::post::{Letter, Post};
use super::verdict::{Again, Done, Says, Trouble, judge, late};

/// Of an answer. It goes to one client, whose outbox takes less by default.
const ANSWER_BYTES_MAX: usize = 256 << 10;

/// For a connection that is only to show whether the backend is there, with its handshake.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);

pub struct Delivery {
    post: Post,
    client: Client,
    connector: Connector,
    /// Scheme, host and port.
    origin: Box<str>,
    attempt_timeout: Duration,
    retries: u32,
    pause: Duration,
    breaker: Mutex<Breaker>,
    /// Of users, to tell them apart.
    hasher: RandomState,
    /// When it last answered anything.
    heard_us: AtomicU64,
    opened: Notify,
    status: Arc<ServiceStatus>,
}

impl Delivery {
    pub fn new(url: UrlTemplate, service: &HttpService, connector: Connector, status: Arc<ServiceStatus>) -> Self {
        Self {
            origin: url.origin().into(),
            post: Post::new(url, service),
            client: client(connector.clone(), service.concurrency),
            connector,
            attempt_timeout: service.attempt_timeout,
            retries: service.retries,
            pause: service.breaker_pause,
            breaker: Mutex::new(Breaker::new(service.breaker_failures)),
            hasher: RandomState::new(),
            heard_us: AtomicU64::new(0),
            opened: Notify::new(),
            status,
        }
    }

    /// Brings one message, within the time in which somebody waits for its answer.
    pub async fn bring(&self, job: &Job) -> Result<Done, Failure> {
        let Some(letter) = self.post.letter(&job.content) else { return Err(Failure::Refused) };
        let (mut backoff, mut retries_left) = (Backoff::default(), self.retries);
        let user = self.hasher.hash_one(&job.content.user_id);
        loop {
            let time_left = job.time_left();
            if time_left.is_zero() {
                return Err(Failure::Late);
            }
            if !self.with_breaker(|breaker| breaker.let_out(user)) {
                return Err(Failure::Away);
            }
            let at_most = time_left.min(self.attempt_timeout);
            let result = self.attempt(&letter, at_most, job.reads_all()).await;
            self.note(&result, user);
            let trouble = match result {
                Ok(done) => return Ok(done),
                Err(trouble) => trouble,
            };
            self.status.tell_failed(&trouble.why);
            let delay = match trouble.again {
                Again::No => return Err(trouble.failure),
                Again::Soon => backoff.delay(),
                Again::After(least) => least.max(backoff.delay()),
            };
            if retries_left == 0 || delay >= job.time_left() {
                return Err(trouble.failure);
            }
            retries_left -= 1;
            sleep(delay).await;
        }
    }

    async fn attempt(&self, letter: &Letter, at_most: Duration, reads_all: bool) -> Result<Done, Trouble> {
        let request = letter.request(Now::read().unix_s());
        let Ok(answer) = timeout(at_most, exchange(&self.client, request, ANSWER_BYTES_MAX)).await else {
            return Err(late(at_most));
        };
        let answer = answer?;
        self.heard_us.store(now_us(), Relaxed);
        judge(answer, reads_all)
    }

    /// Notes what became of a message of this user.
    fn note(&self, result: &Result<Done, Trouble>, user: User) {
        let Err(Trouble { says, why, .. }) = result else { return self.note_work() };
        let how = match says {
            Says::Works => return self.note_work(),
            // The backend may answer others.
            Says::Late if self.silent() < self.attempt_timeout => return,
            Says::Late | Says::Broken => Failed::Broken(user),
            Says::Unreached => Failed::Unreached,
        };
        if self.with_breaker(|breaker| breaker.failed(how)) {
            self.tell_away(why);
            self.opened.notify_one();
        }
    }

    fn note_work(&self) {
        if self.with_breaker(Breaker::worked) {
            self.tell_connected();
        }
    }

    /// For how long it has answered nothing.
    fn silent(&self) -> Duration {
        Duration::from_micros(now_us().saturating_sub(self.heard_us.load(Relaxed)))
    }

    /// Looks again and again whether a backend that is away is back, for ever.
    pub async fn watch(&self) {
        loop {
            while !self.with_breaker(|breaker| breaker.is_closed()) {
                self.look().await;
                // Not all nodes at once.
                sleep(self.pause.mul_f64(0.75 + fastrand::f64() / 2.0)).await;
            }
            self.opened.notified().await;
            sleep(self.pause.mul_f64(0.75 + fastrand::f64() / 2.0)).await;
        }
    }

    /// Whether a connection can be had.
    async fn look(&self) {
        match self.connect().await {
            Ok(()) => {
                if self.with_breaker(Breaker::reached) {
                    self.tell_connected();
                }
            }
            Err(why) => {
                self.with_breaker(Breaker::not_reached);
                self.tell_away(&why);
            }
        }
    }

    async fn connect(&self) -> Result<(), String> {
        let mut connector = self.connector.clone();
        let uri: Uri = self.origin.parse().map_err(|error: http::uri::InvalidUri| error.to_string())?;
        match timeout(PROBE_TIMEOUT, connector.call(uri)).await {
            Ok(connected) => connected.map(drop).map_err(|error| error.to_string()),
            Err(_) => Err(format!("no connection within {PROBE_TIMEOUT:?}")),
        }
    }

    fn tell_connected(&self) {
        if self.status.link.connected() {
            info!(service = self.status.name(), backend = %self.origin, "connected");
        }
    }

    fn tell_away(&self, why: &str) {
        if self.status.link.disconnected(why.into()) {
            let service = self.status.name();
            warn!(service, backend = %self.origin, why, "the backend is away, trying until it is back");
        }
    }

    fn with_breaker<T>(&self, use_it: impl FnOnce(&mut Breaker) -> T) -> T {
        let mut breaker = self.breaker.lock().unwrap_or_else(PoisonError::into_inner);
        let result = use_it(&mut breaker);
        self.status.let_in(breaker.is_half_open());
        result
    }
}
