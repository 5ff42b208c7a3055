//! The scenarios: each is a list of phases, and each [`phase`] ends with its own figures. [`run`] is what they share.

mod echo;
mod fairness;
mod fanout;
mod hold;
mod mix;
mod phase;
mod probe;
mod run;
mod saturate;
mod storm;

use ringway::clock::now_us;
use ringway::config::DEVELOPMENT_SECRET;

use crate::args::{Common, Fanout, Saturate, Scenario};
use crate::baseline::Mode;
use crate::client::cast::{Cast, Protocol, Token, Troupe};
use crate::limits::Trouble;
use crate::publish::Plan;
use crate::schedule::Schedule;
use crate::server::Server;

use run::{Clients, Run};

/// Runs a scenario. True when nothing was lost and everything asked for was reached.
pub fn play(scenario: &Scenario) -> Result<bool, Trouble> {
    let name = scenario.name();
    let alike = Troupe::Even { groups: 1 };
    match scenario {
        Scenario::Hold(args) => hold::play(run(name, &args.common, Clients::of(alike))?),
        Scenario::Echo(args) => echo::play(run(name, &args.common, Clients::of(alike))?, args),
        Scenario::Fanout(args) => fanout::play(run(name, &args.common, Clients::of(fanout::troupe(args)))?, args),
        Scenario::Saturate(args) => saturate::play(run(name, &args.common, saturate::clients(args))?, args),
        Scenario::Fairness(args) => fairness::play(run(name, &fairness::common(args), fairness::clients(args))?, args),
        Scenario::Storm(args) => storm::play(run(name, &args.common, storm::clients(args)?)?, args),
        Scenario::Mix(args) => mix::play(run(name, &args.common, Clients::of(mix::troupe(args)))?, args),
        Scenario::BaselineEcho(args) => {
            echo::play(baseline_run(name, Mode::Echo, &args.common, Clients::of(alike))?, args)
        }
        Scenario::BaselineFanout(Fanout { channels: 2.., .. })
        | Scenario::BaselineSaturate(Saturate { channels: 2.., .. }) => {
            Err(Trouble::new("the baseline knows no channels"))
        }
        Scenario::BaselineFanout(args) => {
            fanout::play(baseline_run(name, Mode::Fanout, &args.common, Clients::of(alike))?, args)
        }
        Scenario::BaselineSaturate(args) => {
            saturate::play(baseline_run(name, Mode::Fanout, &args.common, saturate::clients(args))?, args)
        }
        Scenario::BaselineServer(args) => crate::baseline::serve(args).map(|()| true).map_err(Trouble::from),
    }
}

fn run(name: &'static str, common: &Common, clients: Clients) -> Result<Run, Trouble> {
    Run::start(name, common, Server::find(common)?, clients)
}

/// Against the baseline, which knows no messages.
fn baseline_run(name: &'static str, mode: Mode, common: &Common, clients: Clients) -> Result<Run, Trouble> {
    let common = Common { protocol: Protocol::PlainEcho, ..common.clone() };
    Run::start(name, &common, Server::baseline(mode, &common)?, clients)
}

/// The channel that group `n` subscribes to is this with the number behind it. No conversation: there presence would be
/// told, which is not what is measured.
const GROUP_CHANNEL: &str = "group:flood-";

/// From an order to the first message, so that all workers have it in time.
const LEAD_US: u64 = 100_000;

/// So many messages a second to one group, until stopped.
fn to_a_group(run: &Run, per_s: f64) -> Plan {
    Plan {
        stream: 0,
        prefix: GROUP_CHANNEL.into(),
        channels: 1,
        payload_bytes: run.common.payload_bytes,
        first: 1,
        schedule: Schedule::new(now_us() + LEAD_US, per_s),
        messages: u64::MAX,
    }
}

fn cast(common: &Common, server: &Server, troupe: Troupe) -> Cast {
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
    let is_day = matches!(troupe, Troupe::Day(_));
    let answer = if is_day { r#""type":"subscription_confirmed""# } else { r#""type":"subscribed""# };
    let subscription = r#"{"type":"subscribe","channels":[{channels}]}"#;
    let subscribe = common.subscribe.clone().unwrap_or_else(|| only_ringway(subscription));
    Cast {
        protocol: common.protocol,
        troupe,
        host: server.url.authority(),
        path: server.url.path.clone(),
        token,
        group_channel: GROUP_CHANNEL,
        greeting: common.greeting.clone().unwrap_or_else(|| only_ringway(r#""type":"connected""#)),
        subscribed: common.subscribed.clone().unwrap_or_else(|| only_ringway(answer)),
        subscribe,
    }
}
