//! `ringway check-config`: says that the configuration is valid, and on standard error what is worth knowing of it.

use std::process::ExitCode;

use super::print;
use crate::config::Loaded;

pub fn run(loaded: &Loaded) -> ExitCode {
    loaded.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
    loaded.notes.iter().for_each(|note| eprintln!("note: {note}"));
    print("the configuration is valid\n")
}
