//! What the command line can ask for, a file each, whose functions `main` calls; what is printed at a start is
//! `welcome`, which `serve` calls.

pub mod bench;
pub mod check;
pub mod doctor;
pub mod manual;
pub mod routes;
pub mod serve;
pub mod token;
mod welcome;

use std::io::Write;
use std::process::ExitCode;

/// Prints what was asked for. Whoever closes the pipe early has seen enough.
pub fn print(text: &str) -> ExitCode {
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}
