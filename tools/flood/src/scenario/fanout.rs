//! `fanout`: one publisher, everybody subscribed, every receipt checked; after a quiet time, if one is asked for.

use ringway::clock::now_us;

use super::phase::Figures;
use super::run::Run;
use super::{GROUP_CHANNEL, LEAD_US, hold};
use crate::args::Fanout;
use crate::limits::Trouble;
use crate::publish::Plan;
use crate::schedule::Schedule;

/// What a small machine with both ends on it can do without falling behind.
const DELIVERIES_PER_S: f64 = 50_000.0;
const MESSAGES_PER_S_MAX: f64 = 1000.0;

pub(super) fn play(mut run: Run, args: &Fanout) -> Result<bool, Trouble> {
    run.connect()?;
    if let Some(quiet) = run.common.duration {
        hold::soak(&mut run, quiet)?;
    }
    let beginning = run.begin("fanout");
    let audience = run.fleet.gauge().held;
    let per_s = args.publish_rate.unwrap_or((DELIVERIES_PER_S / audience.max(1) as f64).min(MESSAGES_PER_S_MAX));
    run.fleet.follow(0, 1);
    let plan = Plan {
        stream: 0,
        prefix: GROUP_CHANNEL.into(),
        channels: 1,
        payload_bytes: run.common.payload_bytes,
        first: 1,
        schedule: Schedule::new(now_us() + LEAD_US, per_s),
        messages: args.messages,
    };
    let publisher = run.publish(plan)?;
    let before = run.fleet.gauge().totals.unique;
    // A slow schedule must not look like a stall: what has been published moves it on as well.
    run.wait(&beginning, args.messages * (audience + 1), |_, gauge| {
        gauge.totals.unique - before + if publisher.is_finished() { args.messages } else { publisher.published() }
    })?;
    let outcome = publisher.stop();
    if let Some(trouble) = outcome.trouble {
        return Err(trouble);
    }
    let expected = outcome.published * audience;
    let asked = u64::from(run.common.connections);
    run.end(beginning, |tally| Figures {
        messages: outcome.published,
        deliveries: tally.receipts,
        expected,
        lost: expected.saturating_sub(tally.unique()),
        units: tally.receipts,
        kind_of_loop: Some("open"),
        asked,
        latency: Some(tally.latency.clone()),
        lag: Some(outcome.lag),
        ..Figures::default()
    })?;
    run.finish()
}
