//! The command line of Ringway: reads the configuration, then does what was asked for.

use std::process::ExitCode;

use clap::Parser;
use ringway::cli::{Cli, Command};
use ringway::command::{check, doctor, print, serve, token};
use ringway::config::{self, EX_CONFIG};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let loaded = match config::load(&cli.flags, std::env::vars_os()) {
        Ok(loaded) => loaded,
        Err(problems) => {
            problems.iter().for_each(|problem| eprintln!("{problem}"));
            return ExitCode::from(EX_CONFIG);
        }
    };
    match cli.command() {
        Command::Serve => serve::run(&loaded),
        Command::CheckConfig => check::run(&loaded),
        Command::PrintConfig => print(&config::print(&loaded)),
        Command::Token(wish) => token::run(wish, &loaded),
        Command::Doctor(wish) => doctor::run(wish, &loaded.config),
    }
}
