//! `GET /latency` and `GET /latency.hlog`: what the shards have timed, merged, and how long each source and service
//! took, as percentiles or as the log that the tools of HdrHistogram read.
//!
//! With `interval=true` an answer holds what came after the previous answer of that kind. There is one such series for
//! the whole port: whoever wants one of their own reads totals and subtracts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State as Shared};
use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Response};
use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
use serde::{Deserialize, Serialize, Serializer};
use tokio::sync::Mutex;

use crate::clock::Now;
use crate::lane;
use crate::lane::report::ShardLatency;
use crate::metrics::{Latency, Timed, Times};

use super::error::AdminError;
use super::shards::Answers;
use super::{Context, State, aside};

#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Which {
    /// Each shard too, not only the sum.
    #[serde(default)]
    shards: bool,
    /// Only since the previous reading of this kind.
    #[serde(default)]
    interval: bool,
    #[serde(default)]
    format: Format,
}

#[derive(Clone, Copy, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Format {
    #[default]
    Json,
    Hlog,
}

/// What was found at the previous reading, by shard.
#[derive(Default)]
pub struct Intervals(Arc<Mutex<Option<Previous>>>);

struct Previous {
    at: Now,
    shards: Vec<Option<Latency>>,
    outside: Vec<Times>,
}

/// What was timed in a span.
struct Reading {
    from: Now,
    until: Now,
    /// Ordered by number.
    shards: Vec<ShardLatency>,
    outside: Vec<OutsideTimes>,
    note: Option<String>,
}

/// Of a service from calls to last answers, of a source from messages that were read until the shards have them.
struct OutsideTimes {
    kind: Kind,
    name: Box<str>,
    times: Times,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Source,
    Service,
}

#[derive(Serialize)]
struct Report {
    /// Length of the span that it covers.
    seconds: f64,
    latency_us: Summaries,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    sources_us: BTreeMap<Box<str>, Summary>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    services_us: BTreeMap<Box<str>, Summary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shards: Option<Vec<ShardReport>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

#[derive(Serialize)]
struct ShardReport {
    shard: usize,
    latency_us: Summaries,
}

/// A summary for each name.
struct Summaries(Latency);

/// A histogram in eight numbers; where nothing was recorded there is none but the count.
#[derive(Serialize)]
pub struct Summary {
    count: u64,
    min: Option<u64>,
    mean: Option<f64>,
    p50: Option<u64>,
    p90: Option<u64>,
    p99: Option<u64>,
    p99_9: Option<u64>,
    max: Option<u64>,
}

pub async fn latency(
    Shared(state): Shared<Arc<State>>,
    query: Result<Query<Which>, QueryRejection>,
) -> Result<Response, AdminError> {
    let Query(which) = query?;
    answer(&state, which).await
}

pub async fn hlog(
    Shared(state): Shared<Arc<State>>,
    query: Result<Query<Which>, QueryRejection>,
) -> Result<Response, AdminError> {
    let Query(which) = query?;
    answer(&state, Which { format: Format::Hlog, ..which }).await
}

/// What each shard has timed since its start.
pub async fn ask(state: &State) -> Result<Answers<ShardLatency>, AdminError> {
    state.shards.ask(|bus, answer| bus.ask_all(|| lane::Query::Latency { answer: answer.clone() })).await
}

/// All shards' histograms as one set.
pub fn merge<'a>(shards: impl IntoIterator<Item = &'a ShardLatency>) -> Latency {
    let mut merged = Latency::default();
    shards.into_iter().for_each(|shard| merged.merge(&shard.latency));
    merged
}

/// One histogram of all shards.
pub fn merge_one(shards: &[ShardLatency], timed: Timed) -> Histogram<u64> {
    let mut merged = Latency::default().of(timed).clone();
    for shard in shards {
        merged.add(shard.latency.of(timed)).expect("a histogram of this kind grows to what is added");
    }
    merged
}

async fn answer(state: &State, which: Which) -> Result<Response, AdminError> {
    let reading = if which.interval { state.intervals.read(state).await? } else { since_start(state).await? };
    aside(move || match which.format {
        Format::Json => Json(Report::new(reading, which.shards)).into_response(),
        Format::Hlog => {
            let headers: [(HeaderName, &str); 1] = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
            (headers, log(&reading, which.shards)).into_response()
        }
    })
    .await
}

async fn since_start(state: &State) -> Result<Reading, AdminError> {
    let answers = ask(state).await?;
    let note = answers.note();
    let mut shards = answers.values;
    shards.sort_unstable_by_key(|shard| shard.shard);
    Ok(Reading { from: state.context.started, until: Now::read(), shards, outside: outside(&state.context), note })
}

/// Always the same ones, in the same order.
fn outside(context: &Context) -> Vec<OutsideTimes> {
    let sources = context.sources.iter().map(|source| OutsideTimes {
        kind: Kind::Source,
        name: source.name().into(),
        times: source.latency.copy(),
    });
    let services = context.backends.iter().map(|service| OutsideTimes {
        kind: Kind::Service,
        name: service.name().into(),
        times: service.latency(),
    });
    sources.chain(services).collect()
}

impl Intervals {
    async fn read(&self, state: &State) -> Result<Reading, AdminError> {
        // Held while asking: two readers at once get two intervals, one after the other.
        let mut previous = self.0.clone().lock_owned().await;
        let reading = since_start(state).await?;
        let (at, shards) = (state.context.started, state.context.counters.len());
        let nothing = move || Previous { at, shards: vec![None; shards], outside: vec![] };
        aside(move || previous.get_or_insert_with(nothing).replace(reading)).await
    }
}

impl Previous {
    /// Takes the place of what it was, and returns what came since then.
    fn replace(&mut self, mut reading: Reading) -> Reading {
        reading.from = std::mem::replace(&mut self.at, reading.until);
        for ShardLatency { shard, latency } in &mut reading.shards {
            let Some(place) = self.shards.get_mut(*shard) else { continue };
            let total = latency.clone();
            if let Some(before) = place {
                *latency = total.since(before);
            }
            *place = Some(total);
        }
        let totals = reading.outside.iter().map(|outside| outside.times.clone()).collect();
        let before = std::mem::replace(&mut self.outside, totals);
        for (outside, before) in reading.outside.iter_mut().zip(&before) {
            outside.times = outside.times.since(before);
        }
        reading
    }
}

impl Reading {
    fn span(&self) -> Duration {
        Duration::from_micros(self.until.us.saturating_sub(self.from.us))
    }
}

impl Report {
    fn new(reading: Reading, with_shards: bool) -> Self {
        let seconds = reading.span().as_secs_f64();
        let latency_us = Summaries(merge(&reading.shards));
        let one = |ShardLatency { shard, latency }| ShardReport { shard, latency_us: Summaries(latency) };
        let shards = with_shards.then(|| reading.shards.into_iter().map(one).collect());
        let of = |kind| {
            let those = reading.outside.iter().filter(|outside| outside.kind == kind);
            those.map(|outside| (outside.name.clone(), Summary::of(outside.times.histogram()))).collect()
        };
        let (sources_us, services_us) = (of(Kind::Source), of(Kind::Service));
        Self { seconds, latency_us, sources_us, services_us, shards, note: reading.note }
    }
}

impl Serialize for Summaries {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(timed, histogram)| (timed.name(), Summary::of(histogram))))
    }
}

impl Summary {
    pub fn of(histogram: &Histogram<u64>) -> Self {
        let known = |value: u64| (!histogram.is_empty()).then_some(value);
        let quantile = |quantile: f64| known(histogram.value_at_quantile(quantile));
        Self {
            count: histogram.len(),
            min: known(histogram.min()),
            mean: (!histogram.is_empty()).then(|| (histogram.mean() * 10.0).round() / 10.0),
            p50: quantile(0.5),
            p90: quantile(0.9),
            p99: quantile(0.99),
            p99_9: quantile(0.999),
            max: known(histogram.max()),
        }
    }
}

/// One line per histogram, tagged with its name; those of one shard with `shard-N.` before it, that of a source with
/// `source.`, that of a service with `service.`.
fn log(reading: &Reading, with_shards: bool) -> Vec<u8> {
    let merged = merge(&reading.shards);
    let sets = std::iter::once((String::new(), &merged));
    let by_shard = reading.shards.iter().filter(|_| with_shards);
    let sets = sets.chain(by_shard.map(|s| (format!("shard-{}.", s.shard), &s.latency)));
    let mut page = Vec::new();
    let mut serializer = V2DeflateSerializer::new();
    let mut log = IntervalLogWriterBuilder::new()
        .add_comment("Values are microseconds.")
        .begin_log_with(&mut page, &mut serializer)
        .expect("writing to memory does not fail");
    let from = Duration::from_millis(reading.from.unix_ms);
    let mut write = |tag: String, histogram: &Histogram<u64>| {
        let written = log.write_histogram(histogram, from, reading.span(), Tag::new(&tag));
        written.expect("writing to memory does not fail");
    };
    for (prefix, set) in sets {
        set.iter().for_each(|(timed, histogram)| write(format!("{prefix}{}", timed.name()), histogram));
    }
    for OutsideTimes { kind, name, times } in &reading.outside {
        let kind = match kind {
            Kind::Source => "source",
            Kind::Service => "service",
        };
        write(format!("{kind}.{name}"), times.histogram());
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_recorded_is_not_zero_microseconds() {
        let json = sonic_rs::to_string(&Summary::of(Latency::default().of(Timed::Message))).unwrap();
        let expected = r#"{"count":0,"min":null,"mean":null,"p50":null,"p90":null,"p99":null,"p99_9":null,"max":null}"#;
        assert_eq!(json, expected);
    }

    #[test]
    fn percentiles_are_those_of_the_values() {
        let mut latency = Latency::default();
        (1..=200).for_each(|us| latency.record(Timed::Message, us));
        let summary = Summary::of(latency.of(Timed::Message));
        assert_eq!((summary.count, summary.min, summary.max), (200, Some(1), Some(200)));
        assert_eq!((summary.p50, summary.p90, summary.p99), (Some(100), Some(180), Some(198)));
        assert_eq!((summary.p99_9, summary.mean), (Some(200), Some(100.5)));
    }
}
