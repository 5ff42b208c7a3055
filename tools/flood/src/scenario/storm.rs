//! `storm`: everybody but an audience drops at once and comes back as fast as possible. The audience receives messages
//! all the while: what it feels of the storm is what the storm costs.

use std::time::{Duration, Instant};

use super::phase::{Beginning, Figures};
use super::run::{Clients, Run};
use super::to_a_group;
use crate::args::Storm;
use crate::client::cast::Troupe;
use crate::limits::Trouble;
use crate::publish::Publisher;

/// Of the phases before and after.
const LENGTH: Duration = Duration::from_secs(10);

/// # Errors
///
/// When everybody would stay.
pub(super) fn clients(args: &Storm) -> Result<Clients, Trouble> {
    let troupe = troupe(args);
    if troupe.part(1).stays {
        let (all, background) = (args.common.connections, args.background);
        return Err(Trouble::new(format!(
            "nobody would drop of {all} connections: --background {background} may be half of them at most"
        )));
    }
    Ok(Clients { closes_by_reset: !args.orderly, ..Clients::of(troupe) })
}

fn troupe(args: &Storm) -> Troupe {
    Troupe::Storm { every: (args.common.connections / args.background).max(1) }
}

/// The audience's messages over all phases.
struct Background {
    publisher: Publisher,
    audience: u64,
    /// Messages that belong to earlier phases.
    told: u64,
    /// Receipts before the first message.
    unique_before: u64,
}

pub(super) fn play(mut run: Run, args: &Storm) -> Result<bool, Trouble> {
    run.connect()?;
    let length = run.common.duration.unwrap_or(LENGTH);
    let all = u64::from(run.common.connections);
    let mut background = Background::start(&run, args)?;

    let beginning = run.begin("before");
    run.pass(&beginning, length)?;
    background.end_phase(&mut run, beginning, 0, None)?;

    let beginning = run.begin("reconnect");
    let start = Instant::now();
    let dropped = all - background.audience;
    let opened = run.fleet.gauge().totals.opened;
    run.fleet.drop_all();
    run.fleet.open(run.common.rate);
    run.wait(&beginning, dropped, |_, gauge| gauge.totals.opened - opened)?;
    background.end_phase(&mut run, beginning, dropped, Some(start.elapsed().as_secs_f64()))?;

    let beginning = run.begin("after");
    run.pass(&beginning, length)?;
    background.end(&mut run, beginning)?;
    run.finish()
}

impl Background {
    fn start(run: &Run, args: &Storm) -> Result<Self, Trouble> {
        run.fleet.follow(0, 1);
        let troupe = troupe(args);
        Ok(Self {
            unique_before: run.fleet.gauge().totals.unique,
            publisher: run.publish(to_a_group(run, args.publish_rate))?,
            audience: (0..run.common.connections).filter(|&i| troupe.part(i).stays).count() as u64,
            told: 0,
        })
    }

    /// Ends a phase while messages go on: what is on its way now is counted in the next one.
    fn end_phase(
        &mut self,
        run: &mut Run,
        beginning: Beginning,
        connects: u64,
        connect_s: Option<f64>,
    ) -> Result<(), Trouble> {
        let published = self.publisher.published() - self.told;
        self.told += published;
        let asked = u64::from(run.common.connections);
        run.end(beginning, |tally| Figures {
            lost: 0,
            units: if connects > 0 { connects } else { tally.receipts },
            kind_of_loop: Some("open"),
            connect_s,
            asked,
            ..Figures::of_receipts(tally, published, tally.receipts)
        })
    }

    /// Ends the last phase: what is missing now is lost.
    fn end(self, run: &mut Run, beginning: Beginning) -> Result<(), Trouble> {
        let outcome = self.publisher.stop()?;
        let expected = outcome.published * self.audience;
        let (before, published) = (self.unique_before, outcome.published - self.told);
        run.wait(&beginning, expected, |_, gauge| gauge.totals.unique - before)?;
        let lost = expected.saturating_sub(run.fleet.gauge().totals.unique - before);
        let asked = u64::from(run.common.connections);
        run.end(beginning, |tally| Figures {
            lost,
            kind_of_loop: Some("open"),
            asked,
            lag: Some(outcome.lag),
            ..Figures::of_receipts(tally, published, tally.receipts + lost)
        })
    }
}
