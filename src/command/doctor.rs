//! `ringway doctor`: examines the host and prints the table; exits 1 when something needed is missing.

use std::io::Write;
use std::process::ExitCode;

use crate::cli::Doctor;
use crate::config::Config;
use crate::host::doctor::{Wish, examine};
use crate::host::limits;

pub fn run(wish: &Doctor, config: &Config) -> ExitCode {
    // As the gateway does at start: what counts is what it will have.
    limits::raise_open_files();
    let report = examine(&Wish {
        connections: wish.connections,
        connections_max: config.server.max_connections,
        shards: limits::shards(config.server.shards),
        listen: config.server.listen,
    });
    let text = if wish.json { report.json() } else { report.table() };
    // Whoever closes the pipe early has seen enough.
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::from(report.exit_code())
}
