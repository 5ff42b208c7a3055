//! The command line of Ringway: reads the configuration, then serves, checks, prints or signs.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use ringway::cli::{Cli, Command};
use ringway::command::{doctor, token};
use ringway::config::{self, EX_CONFIG, Loaded};
use ringway::host::limits;
use ringway::{gateway, logging};

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
        Command::Serve => serve(loaded),
        Command::CheckConfig => {
            loaded.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
            loaded.notes.iter().for_each(|note| eprintln!("note: {note}"));
            print("the configuration is valid\n")
        }
        Command::PrintConfig => print(&config::print(&loaded)),
        Command::Token(wish) => token::run(wish, &loaded.config),
        Command::Doctor(wish) => doctor::run(wish, &loaded.config),
    }
}

fn serve(loaded: Loaded) -> ExitCode {
    limits::keep_pages_small();
    logging::start(&loaded.config.log);
    loaded.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    loaded.notes.iter().for_each(|note| tracing::info!("{note}"));
    match gateway::serve(&loaded.config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Prints what was asked for. Whoever closes the pipe early has seen enough.
fn print(text: &str) -> ExitCode {
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}
