//! `POST /publish`: many messages for many channels in one request, with an answer for each, and once however often the
//! request is sent.
//!
//! All of them are posted together, in their order. Under an `Idempotency-Key` the first request is carried out, and a
//! later one gets its answer ([`super::idempotency`]).

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State as Shared;
use axum::extract::rejection::BytesRejection;
use axum::http::HeaderMap;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::lane::{Answer, Bus, Filter, Posting};
use crate::ws::frame::MESSAGE_BYTES_MAX;

use super::State;
use super::error::AdminError;
use super::idempotency::{KEY_BYTES_MAX, Seen};

/// Messages of one request, and the channels that all of them together name.
const MESSAGES_MAX: usize = 1000;
const CHANNELS_MAX: usize = 10_000;

/// Bytes of all messages, each once for every channel: so much is under way in the lanes at once.
const BYTES_MAX: usize = MESSAGE_BYTES_MAX;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch {
    messages: Vec<Entry>,
}

/// One message. What stands in `message` is delivered as it stands there.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Entry {
    channel: Option<String>,
    #[serde(default)]
    channels: Vec<String>,
    message: Box<RawValue>,
    user_type: Option<String>,
    platform: Option<String>,
}

#[derive(Clone, Default, Serialize)]
pub struct Published {
    /// In the order of the messages.
    results: Vec<Delivered>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

#[derive(Clone, Default, Serialize)]
struct Delivered {
    /// Connections of this node, of all channels of the message together.
    delivered: usize,
}

/// Publishes, or says again what became of it.
pub async fn publish(
    Shared(state): Shared<Arc<State>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Published>, AdminError> {
    let body = body?;
    let Some(key) = key(&headers)? else { return carry_out(&state, &body).await.map(Json) };
    match state.idempotency.begin(key, &body, Instant::now())? {
        Seen::Before(published) => Ok(Json(published)),
        Seen::First(place) => {
            let published = carry_out(&state, &body).await?;
            place.keep(published.clone());
            Ok(Json(published))
        }
    }
}

fn key(headers: &HeaderMap) -> Result<Option<&str>, AdminError> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let key = value.to_str().ok().filter(|key| (1..=KEY_BYTES_MAX).contains(&key.len()));
    key.map(Some).ok_or(AdminError::BadKey)
}

async fn carry_out(state: &State, body: &[u8]) -> Result<Published, AdminError> {
    let entries = entries(body)?;
    let mut results = vec![Delivered::default(); entries.len()];
    let ask = state.shards.deliver(move |bus, answer| posting(bus, &entries, &answer));
    let answers = ask.await?;
    for (entry, recipients) in &answers.values {
        results[*entry].delivered += recipients;
    }
    let missing = answers.missing();
    let note =
        format!("partial: {missing} of the messages did not reach a shard in time, or it did not answer: see /readyz");
    Ok(Published { results, note: (missing > 0).then_some(note) })
}

fn entries(body: &[u8]) -> Result<Vec<Entry>, AdminError> {
    if body.is_empty() {
        return Err(AdminError::BodyEmpty);
    }
    let Batch { messages } = serde_json::from_slice(body).map_err(|_| AdminError::BadBatch)?;
    let channels = |entry: &Entry| entry.channels.len() + usize::from(entry.channel.is_some());
    let names_none = messages.iter().any(|entry| channels(entry) == 0);
    if names_none || messages.len() > MESSAGES_MAX || messages.iter().map(channels).sum::<usize>() > CHANNELS_MAX {
        return Err(AdminError::BadBatch);
    }
    let bytes: usize = messages.iter().map(|entry| channels(entry) * entry.message.get().len()).sum();
    if bytes > BYTES_MAX { Err(AdminError::BodyTooLarge) } else { Ok(messages) }
}

/// All of them, each with the way of its answers.
fn posting(bus: &Bus, entries: &[Entry], answer: &Answer<(usize, usize)>) -> Posting {
    let mut all = bus.nothing();
    for (at, entry) in entries.iter().enumerate() {
        let filter = Filter { user_type: entry.user_type.clone(), platform: entry.platform.clone(), near: None };
        let filter = (filter != Filter::default()).then_some(filter);
        for channel in entry.channel.iter().chain(&entry.channels) {
            let answer = answer.clone();
            let answer: Answer<usize> = Arc::new(move |recipients| answer((at, recipients)));
            all.append(bus.publication(channel, entry.message.get(), filter.clone(), Some(answer)));
        }
    }
    all
}
