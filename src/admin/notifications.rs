//! `GET /notifications/{id}`: what became of what was sent to users, and waiting until that is known.
//!
//! Who waits looks again and again: a look for one user costs next to nothing, one without a user goes through all that
//! is kept and is done aside, less often.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State as Shared};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until};

use crate::clock::{Now, TICK_MS};
use crate::notification::{Fate, Told};

use super::error::AdminError;
use super::{State, aside};

/// Requests that wait for one user at once; further ones are turned away, so that probes find a place.
pub const WAITS_MAX: usize = 64;

/// Those that wait without a user: each of their looks goes through all that is kept, under the locks that shards want.
pub const WAITS_FOR_ALL_MAX: usize = 2;

/// Longest time to wait for.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Between two looks for one user, and for all.
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_FOR_ALL: Duration = Duration::from_millis(250);

/// Users that are listed; the others are counted.
const LISTED_MAX: usize = 100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Which {
    user: Option<Box<str>>,
    /// Such as `20s`.
    wait: Option<Box<str>>,
}

#[derive(Serialize)]
pub struct Notifications {
    id: Box<str>,
    /// Users by what became of it.
    pending: usize,
    confirmed: usize,
    expired: usize,
    dropped: usize,
    /// Some of them.
    notifications: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    user_id: Box<str>,
    state: &'static str,
    /// How often it was handed to the user's sessions of that moment.
    attempts: u32,
    /// These are unix milliseconds.
    kept_at: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<u64>,
}

pub async fn told(
    Shared(state): Shared<Arc<State>>,
    id: Result<Path<Box<str>>, PathRejection>,
    query: Result<Query<Which>, QueryRejection>,
) -> Result<Json<Notifications>, AdminError> {
    let (Path(id), Query(Which { user, wait })) = (id?, query?);
    let wait = wait.map_or(Ok(Duration::ZERO), |text| duration(&text))?;
    let _place = match wait.is_zero() {
        true => None,
        false => Some(state.waits(user.is_some()).try_acquire().map_err(|_| AdminError::WaitsFull)?),
    };
    let told = settled(&state, &id, user, Instant::now() + wait).await?;
    if told.is_empty() {
        return Err(AdminError::NotificationUnknown);
    }
    Ok(Json(Notifications::new(id, &told, Now::read())))
}

fn duration(text: &str) -> Result<Duration, AdminError> {
    humantime::parse_duration(text).ok().filter(|time| *time <= WAIT_MAX).ok_or(AdminError::BadQuery)
}

impl State {
    /// The places of those who wait, for one user or for all.
    fn waits(&self, for_one: bool) -> &Semaphore {
        if for_one { &self.waits_for_one } else { &self.waits_for_all }
    }
}

/// What is known at the deadline, or before, once something is and nothing of it is pending.
async fn settled(state: &State, id: &str, user: Option<Box<str>>, deadline: Instant) -> Result<Vec<Told>, AdminError> {
    let pause = if user.is_some() { PAUSE } else { PAUSE_FOR_ALL };
    loop {
        let told = look(state, id, user.as_deref()).await?;
        let is_settled = !told.is_empty() && told.iter().all(|told| told.fate.is_some());
        if is_settled || Instant::now() >= deadline || state.is_draining() {
            return Ok(told);
        }
        sleep_until(deadline.min(Instant::now() + pause)).await;
    }
}

async fn look(state: &State, id: &str, user: Option<&str>) -> Result<Vec<Told>, AdminError> {
    let notifications = state.context.inlet.notifications.clone();
    if user.is_some() {
        return Ok(notifications.told(id, user));
    }
    let id: Box<str> = id.into();
    aside(move || notifications.told(&id, None)).await
}

impl Notifications {
    fn new(id: Box<str>, told: &[Told], now: Now) -> Self {
        let count = |fate| told.iter().filter(|told| told.fate == fate).count();
        Self {
            id,
            pending: count(None),
            confirmed: count(Some(Fate::Confirmed)),
            expired: count(Some(Fate::Expired)),
            dropped: count(Some(Fate::Dropped)),
            notifications: told.iter().take(LISTED_MAX).map(|told| Line::new(told, now)).collect(),
        }
    }
}

impl Line {
    fn new(told: &Told, now: Now) -> Self {
        let ends_at = unix_ms(told.ends_at, now);
        let (expires_at, ended_at) = if told.fate.is_none() { (Some(ends_at), None) } else { (None, Some(ends_at)) };
        let state = match told.fate {
            None => "pending",
            Some(Fate::Confirmed) => "confirmed",
            Some(Fate::Expired) => "expired",
            Some(Fate::Dropped) => "dropped",
        };
        let kept_at = unix_ms(told.kept_at, now);
        Self { user_id: (*told.user).into(), state, attempts: told.attempts, kept_at, expires_at, ended_at }
    }
}

fn unix_ms(tick: u32, now: Now) -> u64 {
    let ms_from_now = (i64::from(tick) - i64::from(now.tick())) * i64::from(TICK_MS);
    now.unix_ms.saturating_add_signed(ms_from_now)
}
