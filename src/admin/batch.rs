//! `POST /publish`: many messages for many channels in one request, with an answer for each, and once however often the
//! request is sent. What is asked over gRPC comes here as well.
//!
//! All of them are posted together, in their order. Under an `Idempotency-Key` the first request is carried out, and a
//! later one gets its answer ([`super::idempotency`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State as Shared;
use axum::extract::rejection::BytesRejection;
use axum::http::HeaderMap;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::ingress::Inlet;
use crate::lane::{Answer, Bus, Filter, Posting};
use crate::notification::{Kept, Notifications};
use crate::ws::frame::MESSAGE_BYTES_MAX;

use super::State;
use super::error::AdminError;
use super::idempotency::{KEY_BYTES_MAX, Place, Seen};
use super::publish::{self, LATER, UNDER_WAY};
use super::published::{Delivered, Published};

/// Messages of one request, and the channels that all of them together name.
const MESSAGES_MAX: usize = 1000;
pub const CHANNELS_MAX: usize = 10_000;

/// Bytes of all messages, each once for every channel: so much is under way in the lanes at once.
const BYTES_MAX: usize = MESSAGE_BYTES_MAX;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch {
    messages: Vec<Written>,
}

/// One message as it is posted. What stands in `message` is delivered as it stands there.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    channel: Option<String>,
    #[serde(default)]
    channels: Vec<String>,
    message: Box<RawValue>,
    user_type: Option<String>,
    platform: Option<String>,
}

/// One message.
pub struct Entry {
    pub channels: Vec<String>,
    pub message: String,
    pub filter: Option<Filter>,
}

/// A message on its way to one channel.
struct Way {
    /// Which message.
    entry: usize,
    kept: Option<Kept>,
}

/// Publishes, or says again what became of it.
pub async fn publish_list(
    Shared(state): Shared<Arc<State>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Published>, AdminError> {
    let body = body?;
    let Some(key) = key(&headers)? else { return carry_out(&state, entries(&body)?).await.map(Json) };
    once(state, key, &body.clone(), move || entries(&body)).await.map(Json)
}

/// Publishes, or says again what became of it: by a key, under which the same is asked each time.
pub async fn once(
    state: Arc<State>,
    key: &str,
    asked: &[u8],
    entries: impl FnOnce() -> Result<Vec<Entry>, AdminError>,
) -> Result<Published, AdminError> {
    match state.idempotency.begin(key, asked, Instant::now())? {
        Seen::Before(published) => Ok(published),
        Seen::First(place) => carry_out_once(state, entries()?, place).await,
    }
}

/// Goes on when whoever asked has gone: he will ask again under the same key.
async fn carry_out_once(state: Arc<State>, entries: Vec<Entry>, place: Place) -> Result<Published, AdminError> {
    let carrying_out = tokio::spawn(async move {
        let published = carry_out(&state, entries).await?;
        place.keep(&published);
        Ok(published)
    });
    carrying_out.await.unwrap_or(Err(AdminError::NoAnswer))
}

fn key(headers: &HeaderMap) -> Result<Option<&str>, AdminError> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let key = value.to_str().ok().filter(|key| is_key(key));
    key.map(Some).ok_or(AdminError::BadKey)
}

/// What a header may be as well.
pub fn is_key(key: &str) -> bool {
    (1..=KEY_BYTES_MAX).contains(&key.len()) && key.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t'))
}

/// Publishes all of them, in their order.
pub async fn carry_out(state: &State, entries: Vec<Entry>) -> Result<Published, AdminError> {
    check(&entries)?;
    let mut results = vec![Delivered::default(); entries.len()];
    let ways = keep(&state.context.inlet, &entries, &mut results);
    let is_any_kept = ways.iter().any(|way| way.kept.is_some());
    let notifications = state.context.inlet.notifications.clone();
    let ask = state.shards.deliver(move |bus, answer| posting(bus, &entries, ways, &notifications, &answer));
    let answers = match ask.await {
        Ok(answers) => answers,
        Err(AdminError::NoAnswer) => return Ok(Published { results, note: Some(UNDER_WAY.into()) }),
        Err(_) if is_any_kept => return Ok(Published { results, note: Some(LATER.into()) }),
        Err(error) => return Err(error),
    };
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
    Ok(messages.into_iter().map(Entry::from).collect())
}

/// Whether they may go together.
pub fn check(entries: &[Entry]) -> Result<(), AdminError> {
    let channels = |entry: &Entry| entry.channels.len();
    let names_none = entries.iter().any(|entry| entry.channels.is_empty());
    if names_none || entries.len() > MESSAGES_MAX || entries.iter().map(channels).sum::<usize>() > CHANNELS_MAX {
        return Err(AdminError::BadBatch);
    }
    let bytes: usize = entries.iter().map(Entry::bytes).sum();
    if bytes > BYTES_MAX { Err(AdminError::BodyTooLarge) } else { Ok(()) }
}

/// Keeps what users are to confirm, before anything is posted. One way for each channel of each message, in order.
fn keep(inlet: &Inlet, entries: &[Entry], results: &mut [Delivered]) -> Vec<Way> {
    let mut ways = Vec::new();
    for (at, entry) in entries.iter().enumerate() {
        for channel in &entry.channels {
            let kept = inlet.keep(channel, &entry.message, entry.filter.as_ref());
            if let Some(kept) = kept {
                results[at].kept = Some(kept.is_some() && results[at].kept.unwrap_or(true));
            }
            ways.push(Way { entry: at, kept: kept.flatten() });
        }
    }
    ways
}

/// All of them, each with the way of its answers.
fn posting(
    bus: &Bus,
    entries: &[Entry],
    ways: Vec<Way>,
    notifications: &Notifications,
    answer: &Answer<(usize, usize)>,
) -> Posting {
    let mut all = bus.nothing();
    let mut ways = ways.into_iter();
    for entry in entries {
        for (channel, way) in entry.channels.iter().zip(ways.by_ref()) {
            let answer = way.answer(notifications, answer.clone());
            all.append(bus.publication(channel, &entry.message, entry.filter.clone(), Some(answer)));
        }
    }
    all
}

impl Entry {
    /// What it brings into the lanes.
    pub fn bytes(&self) -> usize {
        self.channels.len() * self.message.len()
    }
}

impl From<Written> for Entry {
    fn from(written: Written) -> Self {
        let Written { channel, channels, message, user_type, platform } = written;
        let channels = channel.into_iter().chain(channels).collect();
        Self { channels, message: Box::<str>::from(message).into(), filter: publish::filter(user_type, platform) }
    }
}

impl Way {
    /// Notes once, whatever the number of shards, that what is kept was handed to somebody.
    fn answer(self, notifications: &Notifications, answer: Answer<(usize, usize)>) -> Answer<usize> {
        let Way { entry, kept } = self;
        let Some(kept) = kept else { return Arc::new(move |recipients| answer((entry, recipients))) };
        let (notifications, is_noted) = (notifications.clone(), AtomicBool::new(false));
        Arc::new(move |recipients| {
            if recipients > 0 && !is_noted.swap(true, Relaxed) {
                notifications.sent(kept);
            }
            answer((entry, recipients));
        })
    }
}
