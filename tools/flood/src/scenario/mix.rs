//! `mix`: the ride-hailing day. Drivers send where they are, riders follow a driver whose positions the backend
//! publishes, users get notifications, some riders stop reading, some fall silent.
//!
//! Phases: `drive` (locations only) and `day` (notifications as well).

use std::time::Duration;

use ringway::clock::now_us;

use super::phase::Figures;
use super::run::Run;
use super::{DRIVER_CHANNEL, LEAD_US, probe};
use crate::args::Mix;
use crate::client::cast::Troupe;
use crate::limits::Trouble;
use crate::publish::{Plan, Publisher};
use crate::schedule::Schedule;
use crate::worker::traffic::{self, Pace};

/// Of each phase.
const LENGTH: Duration = Duration::from_secs(20);

/// The driver's own message.
const LOCATION: &str =
    r#"{"type":"location_update","payload":{"latitude":52.52,"longitude":13.405,"heading":90,"speed":12.5}}"#;
/// Instead of it, where the server has no route for it: as long, and costs the server as much reading.
const STAND_IN: &str = r#"{"type":"ping","payload":{"latitude":52.52,"longitude":13.405,"heading":90,"speed":12.5}}"#;

/// Streams: each client follows its driver's numbers and its own notifications' numbers.
const POSITIONS: u8 = 0;
const NOTIFICATIONS: u8 = 1;

pub(super) fn troupe(args: &Mix) -> Troupe {
    let per_thousand = |percent: f64| (percent * 10.0).round() as u32;
    Troupe::Day {
        every: args.driver_every,
        drivers: drivers(args),
        vanishing: per_thousand(args.vanishing_percent),
        slow: per_thousand(args.slow_percent),
    }
}

fn drivers(args: &Mix) -> u32 {
    args.common.connections.div_ceil(args.driver_every)
}

pub(super) fn play(mut run: Run, args: &Mix) -> Result<bool, Trouble> {
    run.connect()?;
    let knows_locations = probe::knows(&run, LOCATION)?;
    if !knows_locations {
        eprintln!("mix: the server does not know location_update: drivers send ping instead");
    }
    phase(&mut run, args, "drive", knows_locations, false)?;
    phase(&mut run, args, "day", knows_locations, true)?;
    run.finish()
}

fn phase(run: &mut Run, args: &Mix, name: &'static str, knows_locations: bool, notifies: bool) -> Result<(), Trouble> {
    let beginning = run.begin(name);
    let length = run.common.duration.unwrap_or(LENGTH);
    let before = run.fleet.gauge().totals;
    send_locations(run, args, knows_locations, length);
    let mut plans = vec![positions(run, args, length)];
    if notifies && args.notification_rate > 0.0 {
        plans.push(notifications(run, args, length));
    }
    run.fleet.follow(POSITIONS.into(), 1);
    run.fleet.follow(NOTIFICATIONS.into(), 1);
    let publishers = plans.iter().map(|plan| run.publish(plan.clone())).collect::<Result<Vec<_>, _>>()?;
    run.pass(&beginning, length)?;
    run.wait(&beginning, 1, |_, _| publishers.iter().all(Publisher::is_finished).into())?;
    let (mut expected, mut published, mut lag) = (0, 0, None);
    for (plan, publisher) in plans.iter().zip(publishers) {
        let outcome = publisher.stop()?;
        expected += receipts_expected(args, plan, outcome.published);
        published += outcome.published;
        lag = lag.or(Some(outcome.lag));
    }
    run.wait(&beginning, expected, |_, gauge| gauge.totals.unique - before.unique)?;
    run.fleet.hush();
    let asked = run.fleet.gauge().held.max(expected_to_stay(args));
    run.end(beginning, |tally| Figures {
        messages: published + tally.sent,
        deliveries: tally.receipts,
        expected,
        lost: expected.saturating_sub(tally.unique()),
        units: tally.receipts + tally.sent,
        kind_of_loop: Some("open"),
        asked,
        latency: Some(tally.latency.clone()),
        lag,
        ..Figures::default()
    })
}

/// Drivers send where they are, evenly spread over the interval.
fn send_locations(run: &Run, args: &Mix, knows_locations: bool, length: Duration) {
    let start_us = now_us() + LEAD_US;
    let message = if knows_locations { LOCATION } else { STAND_IN };
    run.fleet.send(&traffic::Plan {
        message: message.as_bytes().into(),
        start_us,
        until_us: start_us + length.as_micros() as u64,
        pace: Pace::Interval { us: args.location_interval.as_micros() as u64 },
        // Answers to them would be measured together with the receipts, which come another way.
        is_answered: false,
    });
}

/// The backend publishes every driver's position once per interval.
fn positions(run: &Run, args: &Mix, length: Duration) -> Plan {
    let per_s = f64::from(drivers(args)) / args.location_interval.as_secs_f64();
    plan(run, POSITIONS, DRIVER_CHANNEL, drivers(args), per_s, length)
}

/// One user after the other is notified.
fn notifications(run: &Run, args: &Mix, length: Duration) -> Plan {
    plan(run, NOTIFICATIONS, "user:u", run.common.connections, args.notification_rate, length)
}

fn plan(run: &Run, stream: u8, prefix: &str, channels: u32, per_s: f64, length: Duration) -> Plan {
    Plan {
        stream,
        prefix: prefix.into(),
        channels,
        payload_bytes: run.common.payload_bytes,
        first: 1,
        schedule: Schedule::new(now_us() + LEAD_US, per_s),
        messages: (per_s * length.as_secs_f64()).ceil() as u64,
    }
}

/// How many receipts the first `published` messages of a plan must bring about.
fn receipts_expected(args: &Mix, plan: &Plan, published: u64) -> u64 {
    let troupe = troupe(args);
    let receipts = |i: u32| {
        let part = troupe.part(i);
        match plan.stream {
            POSITIONS if part.is_audience() => plan.published_to(part.group, published),
            NOTIFICATIONS if part.listens() => plan.published_to(i, published),
            _ => 0,
        }
    };
    (0..args.common.connections).map(receipts).sum()
}

/// Who neither stops reading nor falls silent must still be there at the end.
fn expected_to_stay(args: &Mix) -> u64 {
    let troupe = troupe(args);
    (0..args.common.connections).filter(|&i| troupe.part(i).listens()).count() as u64
}
