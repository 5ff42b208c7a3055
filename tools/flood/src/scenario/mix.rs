//! `mix`: the ride-hailing day. Vendors and drivers tell where they are, users follow vendors by name or nearby, some
//! chat in clans and type, the backend notifies everybody in turn; some users stop reading, some fall silent.
//!
//! Phases: `drive` (locations only) and `day` (chats, typing and notifications as well). What must come of each message
//! follows from who says it ([`Day`]); the workers add it up as they send.

use std::time::Duration;

use ringway::clock::now_us;

use super::phase::Figures;
use super::run::Run;
use super::{LEAD_US, probe};
use crate::args::Mix;
use crate::client::cast::Troupe;
use crate::client::day::{Day, Line};
use crate::limits::Trouble;
use crate::publish::{Plan, Publisher};
use crate::schedule::Schedule;
use crate::worker::tally::Totals;
use crate::worker::traffic::{self, Pace, Saying};

/// Of each phase.
const LENGTH: Duration = Duration::from_secs(20);

/// The stream of stamps that comes from the backend.
const NOTIFICATIONS: u8 = 1;

fn day(args: &Mix) -> Day {
    let per_thousand = |percent: f64| (percent * 10.0).round() as u32;
    let Mix { drivers, followers, neighbours, chatters, .. } = *args;
    Day {
        connections: args.common.connections,
        drivers,
        followers,
        neighbours,
        chatters,
        vanishing: per_thousand(args.vanishing_percent),
        slow: per_thousand(args.slow_percent),
    }
}

pub(super) fn troupe(args: &Mix) -> Troupe {
    Troupe::Day(day(args))
}

pub(super) fn play(mut run: Run, args: &Mix) -> Result<bool, Trouble> {
    // Connection 0 is a vendor.
    if !probe::knows(&run, &day(args).text(Line::Location, 0, 1, 1, 0))? {
        return Err(Trouble::new(
            "the server does not know location_update: mix needs the vocabularies dispatch, tracking and community",
        ));
    }
    run.connect()?;
    phase(&mut run, args, "drive", false)?;
    phase(&mut run, args, "day", true)?;
    run.finish()
}

fn phase(run: &mut Run, args: &Mix, name: &'static str, is_whole_day: bool) -> Result<(), Trouble> {
    let beginning = run.begin(name);
    let length = run.common.duration.unwrap_or(LENGTH);
    let before = run.fleet.gauge().totals;
    run.fleet.follow(NOTIFICATIONS.into(), 1);
    let mut sending_ends_after = length + Duration::from_micros(LEAD_US);
    send(run, Line::Location, args.location_interval, Duration::ZERO, length);
    if is_whole_day {
        let third = args.chat_interval / 3;
        for (line, later) in [(Line::Typing, Duration::ZERO), (Line::Chat, third), (Line::NotTyping, third * 2)] {
            send(run, line, args.chat_interval, later, length);
        }
        sending_ends_after += third * 2;
    }
    let plan = notifications(run, args, length);
    let notifies = is_whole_day && args.notification_rate > 0.0;
    let publisher = notifies.then(|| run.publish(plan.clone())).transpose()?;
    run.pass(&beginning, sending_ends_after)?;
    run.wait(&beginning, 1, |_, _| publisher.as_ref().is_none_or(Publisher::is_finished).into())?;
    let outcome = publisher.map(Publisher::stop).transpose()?;
    let published = outcome.as_ref().map_or(0, |outcome| outcome.published);
    let notified = receipts_expected(args, &plan, published);
    run.fleet.finish_sending();
    let said = run.fleet.gauge().totals.expected - before.expected;
    run.wait(&beginning, notified + said, |_, gauge| settled(&gauge.totals) - settled(&before))?;
    run.fleet.hush();
    let asked = run.fleet.gauge().held.max(expected_to_stay(args));
    run.end(beginning, |tally| {
        let mut latency = tally.latency.clone();
        latency.add(&tally.round_trip).expect("histograms grow");
        let mut totals = Totals::default();
        totals.add(tally);
        let (messages, deliveries) = (published + tally.sent, tally.receipts + tally.answered);
        let expected = notified + tally.expected;
        Figures {
            messages,
            deliveries,
            expected,
            lost: expected.saturating_sub(settled(&totals)) + tally.denied,
            units: messages + deliveries,
            kind_of_loop: Some("open"),
            asked,
            latency: Some(latency),
            ..Figures::default()
        }
    })
}

/// What needs not be waited for any more: it has come, or a later position in its place.
fn settled(totals: &Totals) -> u64 {
    totals.unique + totals.answered + totals.superseded
}

/// Everybody whose line it is says it once per interval, all evenly spread, `later` than the others for as long.
fn send(run: &Run, line: Line, interval: Duration, later: Duration, length: Duration) {
    let start_us = now_us() + LEAD_US + later.as_micros() as u64;
    run.fleet.send(&traffic::Plan {
        saying: Saying::Line { line, content_bytes: run.common.payload_bytes },
        start_us,
        until_us: start_us + length.as_micros() as u64,
        pace: Pace::Interval { us: interval.as_micros() as u64 },
        is_answered: line == Line::Chat,
    });
}

/// One user after the other is notified.
fn notifications(run: &Run, args: &Mix, length: Duration) -> Plan {
    let per_s = args.notification_rate;
    Plan {
        stream: NOTIFICATIONS,
        prefix: "user:u".into(),
        channels: run.common.connections,
        payload_bytes: run.common.payload_bytes,
        first: 1,
        schedule: Schedule::new(now_us() + LEAD_US, per_s),
        messages: (per_s * length.as_secs_f64()).ceil() as u64,
    }
}

/// How many receipts the first `published` notifications must bring about.
fn receipts_expected(args: &Mix, plan: &Plan, published: u64) -> u64 {
    let day = day(args);
    let listening = (0..day.connections).filter(|&i| day.part(i).listens());
    listening.map(|i| plan.published_to(i, published)).sum()
}

/// Who neither stops reading nor falls silent must still be there at the end.
fn expected_to_stay(args: &Mix) -> u64 {
    let day = day(args);
    (0..day.connections).filter(|&i| day.part(i).listens()).count() as u64
}
