//! The command line of Ringway: reads the configuration where one is needed, then does what was asked for.

use std::process::ExitCode;

use clap::Parser;
use ringway::cli::{Cli, Command};
use ringway::command::{bench, check, doctor, manual, print, routes, serve, token};
use ringway::config::{self, EX_CONFIG, Loaded};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command() {
        Command::Serve => configured(&cli, serve::run),
        Command::CheckConfig => configured(&cli, check::run),
        Command::PrintConfig => configured(&cli, |loaded| print(&config::print(loaded))),
        Command::Token(wish) => configured(&cli, |loaded| token::run(wish, loaded)),
        Command::Doctor(wish) => configured(&cli, |loaded| doctor::run(wish, &loaded.config)),
        Command::Routes(wish) => configured(&cli, |loaded| routes::run(wish, loaded)),
        Command::Bench { arguments } => bench::run(arguments),
        Command::Completions { shell } => print(&manual::completions(*shell)),
        Command::Man => print(&manual::man()),
    }
}

/// What needs a configuration gets a valid one, or the user hears what is wrong with it.
fn configured(cli: &Cli, run: impl FnOnce(&Loaded) -> ExitCode) -> ExitCode {
    match config::load(&cli.flags, std::env::vars_os()) {
        Ok(loaded) => run(&loaded),
        Err(problems) => {
            problems.iter().for_each(|problem| eprintln!("{problem}"));
            ExitCode::from(EX_CONFIG)
        }
    }
}
