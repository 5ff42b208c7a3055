//! `saturate`: a given number of messages is always under way. One counts as under way until everybody who should have
//! it has it; then the next is published. What a server delivers when it has as much to do as it can take.

use std::sync::Arc;
use std::time::Duration;

use ringway::clock::now_us;
use ringway::shard::io::Shape;

use super::GROUP_CHANNEL;
use super::phase::{Figures, Rate};
use super::run::{Clients, Run};
use crate::args::Saturate;
use crate::client::cast::Troupe;
use crate::limits::Trouble;
use crate::publish::Publisher;
use crate::publish::steady::Plan;
use crate::publish::under_way::UnderWay;

const LENGTH: Duration = Duration::from_secs(10);

/// Of each worker: what has gathered for a connection is read at once.
const BUFFERS: Shape = Shape { count: 64, bytes: 64 << 10 };

pub(super) fn clients(args: &Saturate) -> Clients {
    let troupe = Troupe::Window { groups: args.channels, each: args.channels_per_connection };
    Clients { buffers: BUFFERS, ..Clients::of(troupe) }
}

pub(super) fn play(mut run: Run, args: &Saturate) -> Result<bool, Trouble> {
    run.connect()?;
    let under_way = Arc::new(UnderWay::new(args.channels)?);
    run.fleet.keep_books(&under_way);
    let beginning = run.begin("saturate");
    let (audience, start_us) = (run.fleet.gauge().held, now_us());
    let length = if args.messages.is_some() { Duration::MAX } else { run.common.duration.unwrap_or(LENGTH) };
    let plan = Plan {
        prefix: GROUP_CHANNEL,
        channels: args.channels,
        payload_bytes: run.common.payload_bytes,
        count: args.under_way,
        messages: args.messages.unwrap_or(u64::MAX),
        until_us: start_us.saturating_add(u64::try_from(length.as_micros()).unwrap_or(u64::MAX)),
    };
    let publisher = Publisher::keep_under_way(plan.clone(), &run.server.sink(&run.common)?, under_way)?;
    let before = run.fleet.gauge().totals;
    run.wait(&beginning, args.messages.unwrap_or(length.as_millis() as u64).max(1), |_, gauge| {
        let is_over = publisher.is_finished() || gauge.totals.lost > before.lost;
        match args.messages {
            _ if is_over => u64::MAX,
            Some(_) => publisher.published(),
            None => (now_us() - start_us) / 1000,
        }
    })?;
    let outcome = publisher.stop()?;
    let expected = receipts_expected(&plan, run.cast.troupe, audience, outcome.published);
    run.wait(&beginning, expected, |_, gauge| gauge.totals.unique - before.unique)?;
    let seconds = (now_us() - start_us) as f64 / 1e6;
    let asked = u64::from(run.common.connections);
    let payload_bytes = plan.payload_bytes as f64;
    run.end(beginning, |tally| Figures {
        kind_of_loop: Some("closed"),
        asked,
        rate: Some(Rate {
            under_way: args.under_way,
            deliveries_per_s: tally.receipts as f64 / seconds,
            payload_bytes_per_s: tally.receipts as f64 * payload_bytes / seconds,
        }),
        ..Figures::of_receipts(tally, outcome.published, expected)
    })?;
    run.finish()
}

/// How many receipts the first `published` messages must bring about, when the first `audience` connections listen.
fn receipts_expected(plan: &Plan, troupe: Troupe, audience: u64, published: u64) -> u64 {
    let (groups, each) = troupe.groups();
    let mut members = vec![0; groups as usize];
    for i in 0..audience as u32 {
        let first = troupe.part(i).group;
        (0..each).for_each(|place| members[((first + place) % groups) as usize] += 1);
    }
    members.iter().zip(0..).map(|(members, channel)| members * plan.published_to(channel, published)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_member_of_every_channel_is_expected_to_hear() {
        let plan =
            |channels| Plan { prefix: GROUP_CHANNEL, channels, payload_bytes: 64, count: 1, messages: 0, until_us: 0 };
        assert_eq!(receipts_expected(&plan(1), Troupe::Window { groups: 1, each: 1 }, 10, 7), 70);
        // Channels of 7, 7 and 6 members; the first two get two messages, the last one.
        assert_eq!(receipts_expected(&plan(3), Troupe::Window { groups: 3, each: 2 }, 10, 5), 7 * 2 + 7 * 2 + 6);
    }
}
