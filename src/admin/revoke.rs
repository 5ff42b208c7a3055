//! `POST /disconnect/user/{id}` and `POST /revoke/…`: ends connections, and keeps out those who must not come back.
//!
//! What is revoked is written down first and the connections are closed then: a shard decides on a token and takes the
//! client in between two commands, so whoever was decided on before is there to be closed. A client that is just
//! being handed over to another shard is not: a new epoch of the revocations has it turned back there.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State as Shared};
use serde::{Deserialize, Serialize};

use crate::auth::is_name;
use crate::clock::Now;
use crate::lane::Command;
use crate::ws::close::CloseCode;

use super::State;
use super::error::AdminError;

/// Longest time for which a user can be sent away: what is longer is a matter for whoever issues the tokens.
const AWAY_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HowLong {
    /// Such as `10m`.
    r#for: Option<Box<str>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WhichTokensOfUser {
    /// Unix seconds; now, when it is not said.
    issued_before: Option<u64>,
    until: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WhichToken {
    until: u64,
    /// Whose connections are closed.
    user: Option<Box<str>>,
}

/// What came of it on this node.
#[derive(Serialize)]
pub struct Ended {
    /// Connections that are being closed.
    pub disconnected: usize,
    /// Unix seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

type Shares = Shared<Arc<State>>;
type PathOf = Result<Path<Box<str>>, PathRejection>;
type QueryOf<T> = Result<Query<T>, QueryRejection>;

pub async fn disconnect_user(
    Shared(state): Shares,
    id: PathOf,
    query: QueryOf<HowLong>,
) -> Result<Json<Ended>, AdminError> {
    let (Path(id), Query(HowLong { r#for })) = (id?, query?);
    let time = r#for.map(|text| humantime::parse_duration(&text).map_err(|_| AdminError::BadQuery)).transpose()?;
    disconnect(&state, id, time).await.map(Json)
}

/// Closes the connections of a user, and keeps him out for a time if there is one.
pub(super) async fn disconnect(state: &State, id: Box<str>, time: Option<Duration>) -> Result<Ended, AdminError> {
    let now = Now::read().unix_s();
    let until = time.map(|time| away(time).map(|time| now + time.as_secs())).transpose()?;
    if let Some(until) = until {
        state.context.revocations.send_away(named(&id)?, until, now)?;
    }
    state.end(Some(id), CloseCode::OPERATOR, until).await
}

pub async fn user(
    Shared(state): Shares,
    id: PathOf,
    query: QueryOf<WhichTokensOfUser>,
) -> Result<Json<Ended>, AdminError> {
    let (Path(id), Query(WhichTokensOfUser { issued_before, until })) = (id?, query?);
    let now = Now::read().unix_s();
    let before = issued_before.unwrap_or(now);
    state.context.revocations.revoke_issued_before(named(&id)?, before, to_come(until, now)?, now)?;
    state.end(Some(id), CloseCode::TOKEN_INVALID, Some(until)).await.map(Json)
}

pub async fn token(Shared(state): Shares, jti: PathOf, query: QueryOf<WhichToken>) -> Result<Json<Ended>, AdminError> {
    let (Path(jti), Query(WhichToken { until, user })) = (jti?, query?);
    let now = Now::read().unix_s();
    state.context.revocations.revoke_token(named(&jti)?, to_come(until, now)?, now)?;
    state.end(user, CloseCode::TOKEN_INVALID, Some(until)).await.map(Json)
}

/// At least a second, which is as fine as tokens count.
fn away(time: Duration) -> Result<Duration, AdminError> {
    if (Duration::from_secs(1)..=AWAY_MAX).contains(&time) { Ok(time) } else { Err(AdminError::BadQuery) }
}

fn to_come(until: u64, now: u64) -> Result<u64, AdminError> {
    if until > now { Ok(until) } else { Err(AdminError::BadQuery) }
}

fn named(id: &str) -> Result<&str, AdminError> {
    if is_name(id) { Ok(id) } else { Err(AdminError::BadName) }
}

impl State {
    async fn end(&self, user: Option<Box<str>>, code: CloseCode, until: Option<u64>) -> Result<Ended, AdminError> {
        self.context.revocations.begin_epoch();
        let Some(user) = user else { return Ok(Ended { disconnected: 0, until, note: None }) };
        let ask = self.shards.ask(move |bus, answer| {
            bus.to_all(|| Command::Disconnect { user: user.clone(), code, answer: answer.clone() })
        });
        let answers = ask.await?;
        Ok(Ended { disconnected: answers.values.iter().sum(), until, note: answers.note() })
    }
}
