//! The scenarios: each is a list of phases, and each phase ends with its own figures. [`run`] is what they share.

mod echo;
mod fanout;
mod hold;
mod mix;
mod probe;
mod run;
mod storm;

use crate::args::Scenario;
use crate::client::cast::{Cast, Protocol, Token, Troupe};
use crate::floor::Mode;
use crate::limits::Trouble;
use crate::server::Server;
use ringway::config::DEVELOPMENT_SECRET;

use run::Run;

/// Runs a scenario. True when nothing was lost and everything asked for was reached.
pub fn play(scenario: &Scenario) -> Result<bool, Trouble> {
    let name = scenario.name();
    match scenario {
        Scenario::Hold(args) => {
            let server = Server::find(&args.common)?;
            hold::play(Run::start(name, &args.common, server, Troupe::Even { groups: 1 }, false)?)
        }
        Scenario::Echo(args) => {
            let server = Server::find(&args.common)?;
            echo::play(Run::start(name, &args.common, server, Troupe::Even { groups: 1 }, false)?, args)
        }
        Scenario::FloorEcho(args) => {
            let mut args = args.clone();
            args.common.protocol = Protocol::PlainEcho;
            let server = Server::floor(Mode::Echo, &args.common)?;
            echo::play(Run::start(name, &args.common, server, Troupe::Even { groups: 1 }, false)?, &args)
        }
        Scenario::Fanout(args) => {
            let server = Server::find(&args.common)?;
            fanout::play(Run::start(name, &args.common, server, Troupe::Even { groups: 1 }, false)?, args)
        }
        Scenario::FloorFanout(args) => {
            let mut args = args.clone();
            args.common.protocol = Protocol::PlainEcho;
            let server = Server::floor(Mode::Fanout, &args.common)?;
            fanout::play(Run::start(name, &args.common, server, Troupe::Even { groups: 1 }, false)?, &args)
        }
        Scenario::Storm(args) => {
            let server = Server::find(&args.common)?;
            let troupe = storm::troupe(args);
            storm::play(Run::start(name, &args.common, server, troupe, !args.orderly)?, args)
        }
        Scenario::Mix(args) => {
            let server = Server::find(&args.common)?;
            let troupe = mix::troupe(args);
            mix::play(Run::start(name, &args.common, server, troupe, false)?, args)
        }
        Scenario::FloorServer(args) => crate::floor::serve(args).map(|()| true).map_err(Trouble::from),
    }
}

/// The channel that group `n` subscribes to is this with the number behind it.
const GROUP_CHANNEL: &str = "conv:flood-";

/// The same where groups follow a driver.
const DRIVER_CHANNEL: &str = "vendor:flood-";

/// From an order to the first message, so that all workers have it in time.
const LEAD_US: u64 = 100_000;

fn cast(common: &crate::args::Common, server: &Server, troupe: Troupe) -> Cast {
    let is_ringway = common.protocol == Protocol::Ringway;
    let only_ringway = |text: &str| if is_ringway { text.to_owned() } else { String::new() };
    let secret = common.token_secret.clone().or_else(|| server.secret.clone());
    let token = match (&common.token, secret) {
        (Some(template), _) if template.is_empty() => Token::None,
        (Some(template), _) => Token::Text(template.clone()),
        (None, Some(secret)) => Token::Secret(secret),
        (None, None) if is_ringway => Token::Secret(DEVELOPMENT_SECRET.into()),
        (None, None) => Token::None,
    };
    let channel = if matches!(troupe, Troupe::Day { .. }) { DRIVER_CHANNEL } else { GROUP_CHANNEL };
    let subscription = format!(r#"{{"type":"subscribe","channels":["{channel}{{group}}"]}}"#);
    let subscribe = common.subscribe.clone().unwrap_or_else(|| only_ringway(&subscription));
    Cast {
        protocol: common.protocol,
        troupe,
        host: server.url.authority(),
        path: server.url.path.clone(),
        token,
        greeting: common.greeting.clone().unwrap_or_else(|| only_ringway(r#""type":"connected""#)),
        subscribed: common.subscribed.clone().unwrap_or_else(|| only_ringway(r#""type":"subscribed""#)),
        subscribe,
    }
}
