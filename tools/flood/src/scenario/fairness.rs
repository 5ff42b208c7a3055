//! `fairness`: some connections ping at a modest rate, first by themselves, then while messages go to everybody else on
//! the same shards. What the large channel does to people who have nothing to do with it.

use std::time::Duration;

use ringway::clock::now_us;

use super::phase::Figures;
use super::run::{Clients, Run};
use super::{LEAD_US, echo, to_a_group};
use crate::args::{Common, Fairness};
use crate::client::cast::Troupe;
use crate::limits::Trouble;
use crate::publish::Publisher;
use crate::worker::traffic::{self, Pace, Saying};

/// Of each phase.
const LENGTH: Duration = Duration::from_secs(10);

/// Those who ping, and the others.
pub(super) fn common(args: &Fairness) -> Common {
    Common { connections: args.common.connections.saturating_add(args.others), ..args.common.clone() }
}

/// Those who ping have a thread for themselves: receipts of the others must not delay what they send and hear.
pub(super) fn clients(args: &Fairness) -> Clients {
    let first = args.common.connections;
    Clients { apart: first, ..Clients::of(Troupe::Two { first }) }
}

pub(super) fn play(mut run: Run, args: &Fairness) -> Result<bool, Trouble> {
    run.connect()?;
    phase(&mut run, args, "alone", false)?;
    phase(&mut run, args, "together", true)?;
    run.finish()
}

fn phase(run: &mut Run, args: &Fairness, name: &'static str, publishes: bool) -> Result<(), Trouble> {
    let beginning = run.begin(name);
    let length = run.common.duration.unwrap_or(LENGTH);
    let before = run.fleet.gauge().totals;
    run.fleet.follow(0, 1);
    let publisher = publishes.then(|| run.publish(to_a_group(run, args.publish_rate))).transpose()?;
    send_pings(run, args, length);
    run.pass(&beginning, length + Duration::from_micros(LEAD_US))?;
    let published = publisher.map(Publisher::stop).transpose()?.map_or(0, |outcome| outcome.published);
    let expected = published * u64::from(args.others);
    run.fleet.finish_sending();
    let sent = run.fleet.gauge().totals.sent - before.sent;
    run.wait(&beginning, expected + sent, |_, gauge| {
        gauge.totals.unique - before.unique + gauge.totals.answered - before.answered
    })?;
    run.fleet.hush();
    let asked = u64::from(run.common.connections);
    run.end(beginning, |tally| Figures {
        messages: published + tally.sent,
        deliveries: tally.receipts + tally.answered,
        expected: expected + tally.sent,
        lost: expected.saturating_sub(tally.unique()) + tally.sent - tally.answered,
        units: tally.receipts + tally.answered,
        kind_of_loop: Some("open"),
        asked,
        latency: Some(tally.round_trip.clone()),
        receipt_latency: Some(tally.latency.clone()),
        ..Figures::default()
    })
}

fn send_pings(run: &Run, args: &Fairness, length: Duration) {
    let connections = f64::from(args.common.connections);
    let start_us = now_us() + LEAD_US;
    run.fleet.send(&traffic::Plan {
        saying: Saying::Message(echo::message(run.common.protocol, run.common.payload_bytes).into()),
        start_us,
        until_us: start_us + length.as_micros() as u64,
        pace: Pace::Interval { us: (connections * 1e6 / args.message_rate.unwrap_or(connections)) as u64 },
        is_answered: true,
    });
}
