//! How those outside do: of each source and service its state, what came or waits, what failed and how long it took;
//! and of who wants to join whether anybody could decide.
//!
//! Read by the [dashboard](super::dashboard). Every ten seconds a task of the control side remembers what was counted
//! so far, so that percentiles are those of the last ten to twenty seconds and not of all days, and writes a line into
//! the log for each that had failures since then. What is kept are two histograms for each, some 30 KiB at most.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{debug, warn};

use crate::authorize::decisions::{Decided, Decisions};
use crate::ingress::SourceStatus;
use crate::lane::Totals;
use crate::metrics::Times;

use super::health::{ServiceLine, SourceLine};
use super::latency::Summary;
use super::{Context, State};

const EVERY: Duration = Duration::from_secs(10);

/// What was counted at the last two looks, the older one first.
pub struct Outside(Mutex<[Look; 2]>);

/// Everything since the start, at one moment.
#[derive(Clone)]
struct Look {
    services: Vec<ServiceCounts>,
    sources: Vec<SourceCounts>,
    decided: Decided,
}

#[derive(Clone, Default)]
struct ServiceCounts {
    totals: Totals,
    times: Times,
}

#[derive(Clone, Serialize)]
struct SourceCounts {
    messages: u64,
    /// Could not be a text message of a channel.
    invalid: u64,
    /// Nobody had subscribed.
    unmatched: u64,
    /// Found no room.
    lost: u64,
    #[serde(skip)]
    times: Times,
}

#[derive(Serialize)]
pub struct SourceReport {
    #[serde(flatten)]
    line: SourceLine,
    /// Since the start.
    #[serde(flatten)]
    counts: SourceCounts,
    /// Of the last ten to twenty seconds.
    latency_us: Summary,
}

#[derive(Serialize)]
pub struct ServiceReport {
    #[serde(flatten)]
    line: ServiceLine,
    waiting_max: usize,
    /// Since the start. None for what clients do not call themselves.
    #[serde(flatten)]
    totals: Option<Totals>,
    /// Since the start.
    answered: u64,
    /// Of the last ten to twenty seconds.
    latency_us: Summary,
}

impl Outside {
    pub fn new(context: &Context) -> Self {
        let look = Look::at(context);
        Self(Mutex::new([look.clone(), look]))
    }

    /// Looks for ever.
    pub async fn watch(&self, state: &State) -> Infallible {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        loop {
            ticks.tick().await;
            self.look(&state.context);
        }
    }

    pub fn sources(&self, context: &Context) -> Vec<SourceReport> {
        let looks = self.looks();
        let report = context.sources.iter().zip(&looks[0].sources).map(|(source, before)| {
            let counts = SourceCounts::of(source);
            let latency_us = Summary::of(counts.times.since(&before.times).histogram());
            SourceReport { line: source.into(), counts, latency_us }
        });
        report.collect()
    }

    pub fn services(&self, context: &Context) -> Vec<ServiceReport> {
        let looks = self.looks();
        let services = context.backends.iter().zip(&looks[0].services);
        let report = services.map(|(service, before)| {
            let times = service.latency();
            ServiceReport {
                line: service.into(),
                waiting_max: service.waiting_max(),
                totals: context.services.totals(service.name()),
                answered: times.histogram().len(),
                latency_us: Summary::of(times.since(&before.times).histogram()),
            }
        });
        report.collect()
    }

    fn look(&self, context: &Context) {
        let now = Look::at(context);
        let mut looks = self.looks();
        now.tell(&looks[1], context);
        looks.rotate_left(1);
        looks[1] = now;
    }

    fn looks(&self) -> MutexGuard<'_, [Look; 2]> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Look {
    fn at(context: &Context) -> Self {
        let services = context.backends.iter().map(|service| ServiceCounts {
            totals: context.services.totals(service.name()).unwrap_or_default(),
            times: service.latency(),
        });
        Self {
            services: services.collect(),
            sources: context.sources.iter().map(SourceCounts::of).collect(),
            decided: context.decisions.as_deref().map(Decisions::read).unwrap_or_default(),
        }
    }

    /// Writes into the log what has happened since `before`: failures for everybody, all else for who wants to know.
    fn tell(&self, before: &Self, context: &Context) {
        for (backend, (now, before)) in context.backends.iter().zip(self.services.iter().zip(&before.services)) {
            let Totals { calls, refused, failed, late } = now.totals.since(before.totals);
            let [p50_us, p99_us] = quantiles(&now.times.since(&before.times));
            let (service, waiting, state) = (backend.name(), backend.waiting(), backend.link.status().state);
            if refused + failed + late > 0 {
                let why = backend.take_why();
                warn!(service, ?state, waiting, calls, refused, failed, late, p50_us, p99_us, why, "calls have failed");
            } else if calls > 0 || waiting > 0 {
                debug!(service, ?state, waiting, calls, p50_us, p99_us, "served");
            }
        }
        for (source, (now, before)) in context.sources.iter().zip(self.sources.iter().zip(&before.sources)) {
            let SourceCounts { messages, invalid, unmatched, lost, times } = now.since(before);
            let [p50_us, p99_us] = quantiles(&times);
            let (source, state) = (source.name(), source.link.status().state);
            if invalid + lost > 0 {
                warn!(source, ?state, messages, invalid, lost, p50_us, p99_us, "messages were dropped");
            } else if messages > 0 {
                debug!(source, ?state, messages, unmatched, p50_us, p99_us, "passed on");
            }
        }
        let Decided { granted, denied, unavailable } = self.decided.since(before.decided);
        if unavailable > 0 {
            warn!(granted, denied, unavailable, "nobody could decide about joins");
        }
    }
}

fn quantiles(times: &Times) -> [u64; 2] {
    [0.5, 0.99].map(|quantile| times.histogram().value_at_quantile(quantile))
}

impl SourceCounts {
    fn of(source: &Arc<SourceStatus>) -> Self {
        Self {
            messages: source.messages.get(),
            invalid: source.invalid.get(),
            unmatched: source.unmatched.get(),
            lost: source.lost.get(),
            times: source.latency.copy(),
        }
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            messages: self.messages - before.messages,
            invalid: self.invalid - before.invalid,
            unmatched: self.unmatched - before.unmatched,
            lost: self.lost - before.lost,
            times: self.times.since(&before.times),
        }
    }
}
