//! `GET /presence?channel=NAME`: who is online in a channel, as a client in it is told.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State as Shared};
use serde::{Deserialize, Serialize};

use crate::channel::presence::Listed;
use crate::protocol::presence::Status;

use super::State;
use super::error::AdminError;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Which {
    channel: String,
}

#[derive(Serialize)]
pub struct Present {
    channel: String,
    users: Vec<OneUser>,
    /// All, also those who are not listed.
    count: usize,
}

#[derive(Serialize)]
struct OneUser {
    user_id: Box<str>,
    status: Status,
}

pub async fn presence(
    Shared(state): Shared<Arc<State>>,
    which: Result<Query<Which>, QueryRejection>,
) -> Result<Json<Present>, AdminError> {
    let Query(Which { channel }) = which?;
    let Listed { users, count } = listed(&state, &channel)?;
    let online = |user_id| OneUser { user_id, status: Status::Online };
    Ok(Json(Present { channel, users: users.into_iter().map(online).collect(), count }))
}

/// Who is online there.
pub(super) fn listed(state: &State, channel: &str) -> Result<Listed, AdminError> {
    state.context.presence.list(channel).ok_or(AdminError::NoPresence)
}
