//! Logs: lines for people or JSON for collectors, on standard error. Standard output is
//! for what a command was asked for.

use tracing_subscriber::EnvFilter;

use crate::config::{Log, LogFormat};

/// Starts logging for the whole process. Called once.
pub fn start(settings: &Log) {
    let filter = EnvFilter::new(settings.level.as_str());
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    match settings.format {
        LogFormat::Text => subscriber.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
        LogFormat::Json => subscriber.json().flatten_event(true).init(),
    }
}
