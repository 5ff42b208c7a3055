//! `ringway doctor`: examines the host and prints the table; exits 1 when something needed is missing.

use std::process::ExitCode;

use super::print;
use crate::cli::Doctor;
use crate::config::Config;
use crate::host::doctor::{Wish, examine};
use crate::host::limits;

pub fn run(wish: &Doctor, config: &Config) -> ExitCode {
    // As the gateway does at start: what counts is what it will have.
    limits::raise_open_files();
    let report = examine(&Wish::of(config, wish.connections));
    print(&if wish.json { report.json() } else { report.table() });
    ExitCode::from(report.exit_code())
}
