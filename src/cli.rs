//! The command line: what can be typed, and its help. Read by `main`, which acts on it; there is no logic here.

use std::ffi::OsString;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::auth::mint::parse_claim;
use crate::config::Flags;

/// A WebSocket gateway: backends publish, Ringway holds the connections.
///
/// Without a command it serves. Without any configuration it serves on loopback only, in development mode, and prints
/// a token and the commands that send a first message.
///
/// Settings come from the file, the environment (RINGWAY_SECTION_KEY) and the flags below; a later one wins.
#[derive(Debug, Parser)]
#[command(name = "ringway", version, subcommand_precedence_over_arg = true)]
pub struct Cli {
    #[command(flatten)]
    pub flags: Flags,

    #[command(subcommand)]
    command: Option<Command>,
}

impl Cli {
    /// What to do: serve, unless something else was asked for.
    pub fn command(&self) -> &Command {
        self.command.as_ref().unwrap_or(&Command::Serve)
    }
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Hold connections until SIGTERM, then drain (the default)
    Serve,
    /// Check the whole configuration, bind nothing; exit code 78 and one line per problem if something is wrong
    CheckConfig,
    /// Print the configuration as it would run, with what set each value and without secrets
    PrintConfig,
    /// Print a token that this gateway accepts, signed with the configured secret
    Token(Token),
    /// Check whether this host can hold the connections, and say what stops it first; exit code 1 if it cannot
    Doctor(Doctor),
    /// Print what is done with the messages of clients: vocabularies and the routes of the configuration
    Routes(RoutesWish),
    /// Flood a gateway with clients and check every message: becomes ringway-flood, which is installed apart
    #[command(disable_help_flag = true)]
    Bench {
        /// What ringway-flood is told: see `ringway bench --help`
        #[arg(value_name = "ARGUMENT", trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Print the script that completes this command line in a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Print the manual page, for `man -l -`
    Man,
}

#[derive(Debug, Args)]
pub struct RoutesWish {
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Doctor {
    /// How many connections the host should hold
    #[arg(long, value_name = "N")]
    pub connections: Option<u64>,

    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Token {
    /// The user id (claim `sub`)
    #[arg(long, value_name = "ID")]
    pub user: String,

    /// The user's type, such as driver
    #[arg(long, value_name = "TYPE")]
    pub user_type: Option<String>,

    /// How long the token is valid, such as 30m or 12h
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = humantime::parse_duration)]
    pub ttl: Duration,

    /// A further claim; may be repeated. A value that is JSON is taken as such: --claim 'channels=["conv:*"]'
    #[arg(long = "claim", value_name = "NAME=VALUE", value_parser = parse_claim)]
    pub claims: Vec<(String, serde_json::Value)>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_definition_is_consistent() {
        <Cli as CommandFactory>::command().debug_assert();
    }

    #[test]
    fn serving_is_the_default() {
        for line in ["ringway", "ringway serve", "ringway --listen :4010"] {
            assert!(matches!(parse(line).expect(line).command(), Command::Serve), "{line}");
        }
    }

    #[test]
    fn flags_stand_before_or_after_the_command() {
        for line in
            ["ringway --config c.toml --shards 4 check-config", "ringway check-config --config c.toml --shards 4"]
        {
            let cli = parse(line).expect(line);
            assert!(matches!(cli.command(), Command::CheckConfig), "{line}");
            assert_eq!(cli.flags.config.as_deref(), Some(std::path::Path::new("c.toml")), "{line}");
            assert_eq!(cli.flags.shards, Some(4), "{line}");
        }
    }

    #[test]
    fn what_stands_behind_bench_is_not_ours() {
        for line in ["ringway bench hold --shards 4 --config c.toml -h", "ringway --shards 2 bench --help"] {
            let cli = parse(line).expect(line);
            let Command::Bench { arguments } = cli.command() else { panic!("{cli:?}") };
            let behind = line.split_once("bench ").expect(line).1.split(' ');
            assert!(arguments.iter().map(|argument| argument.to_str()).eq(behind.map(Some)), "{arguments:?}");
        }
    }

    #[test]
    fn a_token_has_a_user_and_may_have_claims() {
        let line = "ringway token --user u1 --user-type driver --ttl 90m --claim a=b=c --claim channels=[\"x\"]";
        let cli = parse(line).expect(line);
        let Command::Token(token) = cli.command() else { panic!("{cli:?}") };
        assert_eq!((token.user.as_str(), token.user_type.as_deref()), ("u1", Some("driver")));
        assert_eq!(token.ttl, Duration::from_secs(90 * 60));
        assert_eq!(token.claims, [("a".into(), "b=c".into()), ("channels".into(), serde_json::json!(["x"]))]);
        assert!(parse("ringway token").is_err());
        assert!(parse("ringway token --user u1 --claim nonsense").is_err());
        assert!(parse("ringway token --user u1 --ttl soon").is_err());
    }
}
