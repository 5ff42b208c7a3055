//! `echo`: round trips of one small message per connection.

use std::time::Duration;

use ringway::clock::now_us;

use super::LEAD_US;
use super::phase::Figures;
use super::run::Run;
use crate::args::Echo;
use crate::client::cast::Protocol;
use crate::limits::Trouble;
use crate::worker::traffic::{Pace, Plan, Saying};

const LENGTH: Duration = Duration::from_secs(10);

/// Messages per second, unless told otherwise.
const RATE_MAX: f64 = 20_000.0;

pub(super) fn play(mut run: Run, args: &Echo) -> Result<bool, Trouble> {
    run.connect()?;
    let beginning = run.begin("echo");
    let length = run.common.duration.unwrap_or(LENGTH);
    let connections = f64::from(run.common.connections);
    let start_us = now_us() + LEAD_US;
    let pace = match args.in_flight {
        Some(count) => Pace::InFlight { count },
        None => {
            let per_s = args.message_rate.unwrap_or(connections.min(RATE_MAX));
            Pace::Interval { us: (connections * 1e6 / per_s) as u64 }
        }
    };
    let before = run.fleet.gauge().totals;
    run.fleet.send(&Plan {
        saying: Saying::Message(message(run.common.protocol, run.common.payload_bytes).into()),
        start_us,
        until_us: start_us + length.as_micros() as u64,
        pace,
        is_answered: true,
    });
    run.pass(&beginning, length + Duration::from_micros(LEAD_US))?;
    run.fleet.finish_sending();
    let sent = run.fleet.gauge().totals.sent - before.sent;
    // The last answers.
    run.wait(&beginning, sent, |_, gauge| gauge.totals.answered - before.answered)?;
    run.fleet.hush();
    let asked = u64::from(run.common.connections);
    let kind_of_loop = Some(if args.in_flight.is_some() { "closed" } else { "open" });
    run.end(beginning, |tally| Figures {
        messages: tally.sent,
        deliveries: tally.answered,
        expected: tally.sent,
        lost: tally.sent - tally.answered,
        units: tally.answered,
        kind_of_loop,
        asked,
        latency: Some(tally.round_trip.clone()),
        ..Figures::default()
    })?;
    run.finish()
}

/// A message of this size that is answered: padded with spaces, which JSON allows.
pub(super) fn message(protocol: Protocol, bytes: usize) -> Vec<u8> {
    let mut message = match protocol {
        Protocol::Ringway => br#"{"type":"ping""#.to_vec(),
        Protocol::PlainEcho => br#"{"type":"echo""#.to_vec(),
    };
    message.resize(bytes.max(message.len() + 1) - 1, b' ');
    message.push(b'}');
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway::protocol::request::Request;

    #[test]
    fn the_message_has_the_asked_size_and_is_a_ping() {
        let message = message(Protocol::Ringway, 64);
        assert_eq!(message.len(), 64);
        let message = String::from_utf8(message).unwrap();
        assert_eq!(Request::parse(&message).unwrap().kind, "ping");
    }
}
