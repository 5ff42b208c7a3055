//! `POST /broadcast/…` and `POST /send/…`: what an operator or a backend without a broker sends.
//!
//! The body is the message, delivered byte for byte; it is not parsed, but for what a user is to confirm.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, State as Shared};
use serde::{Deserialize, Serialize};

use crate::channel::name;
use crate::lane::Filter;
use crate::shard::id::SessionId;

use super::State;
use super::error::AdminError;
use super::shards::Answers;

/// Of what all shards took and none has finished with. No error: whoever sent it again would have it delivered twice.
pub(super) const UNDER_WAY: &str = "no shard has handed it to everybody in time: it is under way";

/// Of what is kept although the shards did not take it.
pub(super) const LATER: &str = "no shard took it in time; it is kept and sent again";

/// Narrows the recipients. An unknown name is refused: a slip must not turn a message to few into one to all.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Recipients {
    user_type: Option<String>,
    platform: Option<String>,
}

/// What is sent to one session is not narrowed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

#[derive(Default, Serialize)]
pub struct Delivered {
    /// Connections of this node.
    pub delivered: usize,
    /// Of a notification with an `id` to a user: whether it is kept until it is confirmed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

type PathOf = Result<Path<String>, PathRejection>;
type QueryOf = Result<Query<Recipients>, QueryRejection>;
type BodyOf = Result<Bytes, BytesRejection>;
type Shares = Shared<Arc<State>>;

pub async fn to_user(state: Shares, id: PathOf, query: QueryOf, body: BodyOf) -> Result<Json<Delivered>, AdminError> {
    let Path(id) = id?;
    publish(&state, of_user(&id), query, body).await
}

pub async fn to_channel(
    state: Shares,
    name: PathOf,
    query: QueryOf,
    body: BodyOf,
) -> Result<Json<Delivered>, AdminError> {
    let Path(name) = name?;
    publish(&state, name, query, body).await
}

pub async fn to_all(state: Shares, query: QueryOf, body: BodyOf) -> Result<Json<Delivered>, AdminError> {
    publish(&state, name::ALL.to_owned(), query, body).await
}

/// Says 0 of an id that this process never gave, as of one whose session has ended.
pub async fn to_session(
    state: Shares,
    id: PathOf,
    query: Result<Query<Nothing>, QueryRejection>,
    body: BodyOf,
) -> Result<Json<Delivered>, AdminError> {
    let (Path(id), Query(Nothing {})) = (id?, query?);
    let message = message(body)?;
    deliver_to_session(&state, &id, message).await.map(Json)
}

async fn publish(state: &State, channel: String, query: QueryOf, body: BodyOf) -> Result<Json<Delivered>, AdminError> {
    let Query(Recipients { user_type, platform }) = query?;
    let message = message(body)?;
    deliver(state, channel, filter(user_type, platform), message).await.map(Json)
}

/// The channel of all sessions of a user.
pub(super) fn of_user(id: &str) -> String {
    format!("{}{id}", name::USER_PREFIX)
}

/// Who of a channel is meant. `None`: all.
pub(super) fn filter(user_type: Option<String>, platform: Option<String>) -> Option<Filter> {
    let filter = Filter { user_type, platform, near: None };
    (filter != Filter::default()).then_some(filter)
}

/// Hands a message to one connection.
pub(super) async fn deliver_to_session(state: &State, id: &str, message: String) -> Result<Delivered, AdminError> {
    let Some(to) = SessionId::parse(id).and_then(|session| state.context.session_key.connection(session)) else {
        return Ok(Delivered::default());
    };
    let ask = state.shards.deliver(move |bus, answer| bus.addressed(to, &message, Some(answer)));
    Delivered::of(ask.await, false)
}

/// Hands a message to who is in a channel, and keeps it before when its user is to confirm it.
pub(super) async fn deliver(
    state: &State,
    channel: String,
    filter: Option<Filter>,
    message: String,
) -> Result<Delivered, AdminError> {
    let kept = state.context.inlet.keep(&channel, &message, filter.as_ref());
    let ask = state.shards.deliver(move |bus, answer| bus.publication(&channel, &message, filter, Some(answer)));
    let delivered = Delivered::of(ask.await, kept.is_some_and(|kept| kept.is_some()))?;
    if let Some(Some(kept)) = kept.filter(|_| delivered.delivered > 0) {
        state.context.inlet.notifications.sent(kept);
    }
    Ok(Delivered { kept: kept.map(|kept| kept.is_some()), ..delivered })
}

impl Delivered {
    fn of(asked: Result<Answers<usize>, AdminError>, is_kept: bool) -> Result<Self, AdminError> {
        let (delivered, note) = match asked {
            Ok(answers) => (answers.values.iter().sum(), answers.note()),
            Err(AdminError::NoAnswer) => (0, Some(UNDER_WAY.into())),
            // It goes out later.
            Err(_) if is_kept => (0, Some(LATER.into())),
            Err(error) => return Err(error),
        };
        Ok(Self { delivered, kept: None, note })
    }
}

fn message(body: BodyOf) -> Result<String, AdminError> {
    let body = body?;
    if body.is_empty() {
        return Err(AdminError::BodyEmpty);
    }
    String::from_utf8(body.into()).map_err(|_| AdminError::BodyNotUtf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_under_way_or_kept_is_no_error() {
        let note = |error, is_kept| Delivered::of(Err(error), is_kept).map(|delivered| delivered.note);
        for is_kept in [false, true] {
            assert_eq!(note(AdminError::NoAnswer, is_kept), Ok(Some(UNDER_WAY.into())));
        }
        assert_eq!(note(AdminError::NotTaken, true), Ok(Some(LATER.into())));
        assert_eq!(note(AdminError::NotTaken, false), Err(AdminError::NotTaken));
        assert_eq!(note(AdminError::Busy, false), Err(AdminError::Busy));
    }
}
