//! The command line: what can be typed, its help, its defaults. No logic but the choice of defaults.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use ringway::ws::frame::MESSAGE_BYTES_MAX;

use crate::addresses::Addresses;
use crate::baseline::BaselineArgs;
use crate::client::cast::Protocol;
use crate::client::stamp;

/// Opens WebSockets by the hundred thousand, checks every message, and measures what the server spends.
#[derive(Debug, Parser)]
#[command(name = "ringway-flood", version)]
pub struct Cli {
    #[command(subcommand)]
    pub scenario: Scenario,
}

#[derive(Debug, Subcommand)]
pub enum Scenario {
    /// Open connections at a pace, then keep them quiet
    Hold(Hold),
    /// Round trips of ping
    Echo(Echo),
    /// One publisher, every subscriber's receipt checked
    Fanout(Fanout),
    /// So many messages always under way: what a server delivers at most, and what that costs
    Saturate(Saturate),
    /// Pings on some connections while messages go to all others on the same shards
    Fairness(Fairness),
    /// Everybody drops at once and comes back
    Storm(Storm),
    /// The ride-hailing day: vendors and drivers who move, users who follow them, chat, stop reading or vanish
    Mix(Mix),
    /// The fan-out against the baseline: a bare loop that only sends
    BaselineFanout(Fanout),
    /// The same against the baseline
    BaselineSaturate(Saturate),
    /// The echo against the baseline: a bare loop that only sends back
    BaselineEcho(Echo),
    /// The baseline itself; started by the three above
    BaselineServer(BaselineArgs),
}

#[derive(Args, Clone, Debug)]
pub struct Common {
    /// Connections to open
    #[arg(long, short = 'c', default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub connections: u32,

    /// The server to connect to
    #[arg(long, default_value = "ws://127.0.0.1:4000/ws")]
    pub url: String,

    /// Start this gateway (path to the ringway binary) for the run, and stop it afterwards
    #[arg(long, value_name = "PATH", conflicts_with_all = ["url", "admin", "server_pid"])]
    pub spawn: Option<PathBuf>,

    /// Shards of the gateway that is started [default: one per core]
    #[arg(long)]
    pub shards: Option<usize>,

    /// Between two heartbeats of the gateway that is started, which waits twice as long for an answer [default: its
    /// own]
    #[arg(long, value_parser = humantime::parse_duration, requires = "spawn")]
    pub heartbeat: Option<Duration>,

    /// The server's admin port, such as http://127.0.0.1:4001
    #[arg(long, value_name = "URL")]
    pub admin: Option<String>,

    #[arg(long, value_name = "TOKEN")]
    pub admin_token: Option<String>,

    /// Where messages are posted; {channel} is filled in [default: ADMIN/broadcast/channel/{channel}]
    #[arg(long, value_name = "URL")]
    pub publish: Option<String>,

    /// Publish through this Redis instead; with --spawn, `spawn` starts one
    #[arg(long, value_name = "URL")]
    pub redis: Option<String>,

    /// First part of every Redis channel
    #[arg(long, default_value = "ws")]
    pub redis_prefix: String,

    /// Process of the server, to measure its CPU time and memory; may be repeated
    #[arg(long, value_name = "PID")]
    pub server_pid: Vec<u32>,

    /// Addresses to connect from, such as 127.1.0.1-127.1.0.64 [default: on loopback, one per 14,000 connections]
    #[arg(long, value_name = "RANGE")]
    pub source_addresses: Option<Addresses>,

    /// Secret that tokens are signed with, one per connection [default: that of --spawn, or of development mode]
    #[arg(long, value_name = "SECRET", conflicts_with = "token")]
    pub token_secret: Option<String>,

    /// The token of every connection; {i} and {group} are filled in; empty: none
    #[arg(long, value_name = "TEMPLATE")]
    pub token: Option<String>,

    /// Message that subscribes; {i} and {group} are filled in; empty: none
    #[arg(long, value_name = "TEMPLATE")]
    pub subscribe: Option<String>,

    /// Text in the server's first message that is awaited; empty: not awaited
    #[arg(long, value_name = "TEXT")]
    pub greeting: Option<String>,

    /// Text in the answer to the subscription that is awaited; empty: not awaited
    #[arg(long, value_name = "TEXT")]
    pub subscribed: Option<String>,

    #[arg(long, value_enum, default_value = "ringway")]
    pub protocol: Protocol,

    /// Connects per second [default: as fast as handshakes complete]
    #[arg(long, value_name = "PER_SECOND")]
    pub rate: Option<f64>,

    /// Threads, each with as many rings as the limit of open files calls for [default: one per core]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub workers: Option<u32>,

    /// Length of the phase that is measured [default: hold 60s, others 10s]
    #[arg(long, value_parser = humantime::parse_duration)]
    pub duration: Option<Duration>,

    /// How long nothing may move before what is missing counts as lost
    #[arg(long, default_value = "20s", value_parser = humantime::parse_duration)]
    pub patience: Duration,

    /// Bytes of a message
    #[arg(long, default_value_t = 64, value_parser = payload_bytes)]
    pub payload_bytes: usize,

    /// The server gets the first so many cores for itself, the tool (and a Redis that it starts) the others [default:
    /// all share all]
    #[arg(long, value_name = "COUNT")]
    pub server_cores: Option<usize>,

    /// Append one JSON line per phase to this file
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Write a page with curves and tables to this file
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,

    /// Name of this run in table and JSON [default: the server's]
    #[arg(long)]
    pub label: Option<String>,

    /// No progress bars
    #[arg(long, short)]
    pub quiet: bool,
}

#[derive(Args, Clone, Debug)]
pub struct Hold {
    #[command(flatten)]
    pub common: Common,
}

#[derive(Args, Clone, Debug)]
pub struct Echo {
    #[command(flatten)]
    pub common: Common,

    /// Messages per second of all connections together [default: one per connection, at most 20000]
    #[arg(long, value_name = "PER_SECOND", conflicts_with = "in_flight")]
    pub message_rate: Option<f64>,

    /// Closed loop instead: keep so many messages under way
    #[arg(long, value_name = "COUNT")]
    pub in_flight: Option<u32>,
}

#[derive(Args, Clone, Debug)]
pub struct Fanout {
    #[command(flatten)]
    pub common: Common,

    /// Messages to publish
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    pub messages: u64,

    /// Messages per second [default: so many that there are 50000 deliveries a second, at most 1000]
    #[arg(long, value_name = "PER_SECOND")]
    pub publish_rate: Option<f64>,

    /// Channels that the connections are spread over; messages go to one after the other
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub channels: u32,
}

#[derive(Args, Clone, Debug)]
pub struct Saturate {
    #[command(flatten)]
    pub common: Common,

    /// Messages under way at once; one is under way until everybody who should have it has it
    #[arg(long, value_name = "COUNT", default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub under_way: u32,

    /// Messages to publish, instead of publishing for --duration
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..), conflicts_with = "duration")]
    pub messages: Option<u64>,

    /// Channels that the connections are spread over; messages go to one after the other
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=i64::from(stamp::STREAMS_MAX)))]
    pub channels: u32,

    /// Channels that every connection is in: connection i in those from i on
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub channels_per_connection: u32,
}

#[derive(Args, Clone, Debug)]
pub struct Fairness {
    /// --connections are those that ping
    #[command(flatten)]
    pub common: Common,

    /// Connections beside those that ping, all in one channel
    #[arg(long, value_name = "COUNT", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub others: u32,

    /// Messages per second to the others
    #[arg(long, value_name = "PER_SECOND", default_value_t = 10.0)]
    pub publish_rate: f64,

    /// Pings per second of all that ping together [default: one per connection]
    #[arg(long, value_name = "PER_SECOND")]
    pub message_rate: Option<f64>,
}

#[derive(Args, Clone, Debug)]
pub struct Storm {
    #[command(flatten)]
    pub common: Common,

    /// Connections that stay and receive messages all the while, at most half of --connections
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub background: u32,

    /// Messages per second to those that stay
    #[arg(long, value_name = "PER_SECOND", default_value_t = 10.0)]
    pub publish_rate: f64,

    /// How the others drop: with an orderly end of their TCP connections instead of a reset
    #[arg(long)]
    pub orderly: bool,
}

#[derive(Args, Clone, Debug)]
pub struct Mix {
    #[command(flatten)]
    pub common: Common,

    /// Drivers for every vendor
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(..=100))]
    pub drivers: u32,

    /// Users who follow him by name, for every vendor
    #[arg(long, value_name = "COUNT", default_value_t = 4, value_parser = clap::value_parser!(u32).range(..=100))]
    pub followers: u32,

    /// Users who follow the four vendors of their town by where they are, for every vendor
    #[arg(long, value_name = "COUNT", default_value_t = 2, value_parser = clap::value_parser!(u32).range(..=100))]
    pub neighbours: u32,

    /// Users in clans, for every vendor; a clan is those of ten vendors, and four of them say something
    #[arg(long, value_name = "COUNT", default_value_t = 2, value_parser = clap::value_parser!(u32).range(..=100))]
    pub chatters: u32,

    /// Between two locations of a vendor or driver
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration)]
    pub location_interval: Duration,

    /// Between two messages of one who says something; he types before, and stops typing after
    #[arg(long, default_value = "10s", value_parser = chat_interval)]
    pub chat_interval: Duration,

    /// Notifications per second, each to one user
    #[arg(long, value_name = "PER_SECOND", default_value_t = 100.0)]
    pub notification_rate: f64,

    /// Percentage of those who only listen that stop reading
    #[arg(long, default_value_t = 1.0, value_parser = percent)]
    pub slow_percent: f64,

    /// Percentage of those who only listen that fall silent without a goodbye
    #[arg(long, default_value_t = 1.0, value_parser = percent)]
    pub vanishing_percent: f64,
}

fn payload_bytes(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(bytes) if (stamp::BYTES_MIN..=MESSAGE_BYTES_MAX).contains(&bytes) => Ok(bytes),
        _ => Err(format!("a message has {} bytes to {} MiB", stamp::BYTES_MIN, MESSAGE_BYTES_MAX >> 20)),
    }
}

/// A gateway tells others once in a second, unless it is told otherwise, that somebody types.
fn chat_interval(text: &str) -> Result<Duration, String> {
    const LEAST: Duration = Duration::from_secs(2);
    match humantime::parse_duration(text) {
        Ok(interval) if interval >= LEAST => Ok(interval),
        Ok(_) => Err("at least 2s are expected".into()),
        Err(error) => Err(error.to_string()),
    }
}

fn percent(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(percent) if (0.0..=50.0).contains(&percent) => Ok(percent),
        _ => Err("a percentage between 0 and 50 is expected".into()),
    }
}

impl Scenario {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Hold(_) => "hold",
            Self::Echo(_) => "echo",
            Self::Fanout(_) => "fanout",
            Self::Saturate(_) => "saturate",
            Self::BaselineSaturate(_) => "baseline-saturate",
            Self::Fairness(_) => "fairness",
            Self::Storm(_) => "storm",
            Self::Mix(_) => "mix",
            Self::BaselineFanout(_) => "baseline-fanout",
            Self::BaselineEcho(_) => "baseline-echo",
            Self::BaselineServer(_) => "baseline-server",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_message_must_have_room_for_its_stamp() {
        let parse = |bytes| Cli::try_parse_from(["ringway-flood", "fanout", "--payload-bytes", bytes]);
        assert!(parse("64").is_ok());
        assert!(parse("10").is_err());
    }
}
