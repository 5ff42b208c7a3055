//! `fanout`: one publisher, everybody subscribed to one of the channels, every receipt checked; after a quiet time, if
//! one is asked for.

use super::phase::Figures;
use super::run::Run;
use super::{hold, to_a_group};
use crate::args::Fanout;
use crate::client::cast::Troupe;
use crate::limits::Trouble;
use crate::publish::Plan;

/// What a small machine with both ends on it can do without falling behind.
const DELIVERIES_PER_S: f64 = 50_000.0;
const MESSAGES_PER_S_MAX: f64 = 1000.0;

pub(super) fn troupe(args: &Fanout) -> Troupe {
    Troupe::Even { groups: args.channels }
}

pub(super) fn play(mut run: Run, args: &Fanout) -> Result<bool, Trouble> {
    run.connect()?;
    if let Some(quiet) = run.common.duration {
        hold::soak(&mut run, quiet)?;
    }
    let beginning = run.begin("fanout");
    let audience = run.fleet.gauge().held;
    let subscribers = audience.max(1) as f64 / f64::from(args.channels);
    let per_s = args.publish_rate.unwrap_or((DELIVERIES_PER_S / subscribers).min(MESSAGES_PER_S_MAX));
    run.fleet.follow(0, 1);
    let plan = Plan { channels: args.channels, messages: args.messages, ..to_a_group(&run, per_s) };
    let publisher = run.publish(plan.clone())?;
    let before = run.fleet.gauge().totals.unique;
    // A slow schedule must not look like a stall: what has been published moves it on as well.
    let total = receipts_expected(&plan, run.cast.troupe, audience, args.messages) + args.messages;
    run.wait(&beginning, total, |_, gauge| {
        gauge.totals.unique - before + if publisher.is_finished() { args.messages } else { publisher.published() }
    })?;
    let outcome = publisher.stop()?;
    let expected = receipts_expected(&plan, run.cast.troupe, audience, outcome.published);
    let asked = u64::from(run.common.connections);
    run.end(beginning, |tally| Figures {
        kind_of_loop: Some("open"),
        asked,
        lag: Some(outcome.lag),
        ..Figures::of_receipts(tally, outcome.published, expected)
    })?;
    run.finish()
}

/// How many receipts the first `published` messages must bring about. With several channels exact only when everybody
/// could connect.
fn receipts_expected(plan: &Plan, troupe: Troupe, audience: u64, published: u64) -> u64 {
    (0..audience as u32).map(|i| plan.published_to(troupe.part(i).group, published)).sum()
}

#[cfg(test)]
mod tests {
    use super::super::GROUP_CHANNEL;
    use super::*;
    use crate::schedule::Schedule;

    #[test]
    fn every_subscriber_of_every_channel_is_expected_to_hear() {
        let plan = |channels| Plan {
            stream: 0,
            prefix: GROUP_CHANNEL.into(),
            channels,
            payload_bytes: 64,
            first: 1,
            schedule: Schedule::new(0, 1.0),
            messages: 0,
        };
        assert_eq!(receipts_expected(&plan(1), Troupe::Even { groups: 1 }, 10, 7), 70);
        // Channels of 4, 3 and 3 connections; the first two get one message more.
        assert_eq!(receipts_expected(&plan(3), Troupe::Even { groups: 3 }, 10, 5), 4 * 2 + 3 * 2 + 3);
    }
}
