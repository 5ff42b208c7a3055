//! The connection-flood benchmark: command line → scenario → table and exit code.
//!
//! `scenario` says what happens when; `fleet` and `worker` are the clients, `client` is what one of them knows;
//! `publish` is the backend's side; `sockets` is what clients and the baseline stand on; `server` finds or starts what
//! is measured, `measure` measures it, `report` tells it.

mod addresses;
mod args;
mod baseline;
mod client;
mod cores;
mod fleet;
mod interrupt;
mod limits;
mod measure;
mod publish;
mod report;
mod scenario;
mod schedule;
mod server;
mod sockets;
mod worker;

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Something was lost, or fewer connections were reached than asked for.
const EXIT_LOSS: u8 = 1;
/// A limit of the machine, or the server, stopped the run.
const EXIT_TROUBLE: u8 = 3;

fn main() -> ExitCode {
    let cli = args::Cli::parse();
    // The baseline is ended by the signals.
    let watched = if matches!(cli.scenario, args::Scenario::BaselineServer(_)) { Ok(()) } else { interrupt::watch() };
    match watched.and_then(|()| scenario::play(&cli.scenario)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(EXIT_LOSS),
        Err(trouble) => {
            eprintln!("ringway-flood: {trouble}");
            ExitCode::from(EXIT_TROUBLE)
        }
    }
}
