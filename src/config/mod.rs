//! What can be set, by whom, and whether it makes sense.
//!
//! `load` is called once, by `main`, before anything is bound. It reads every source into one list of settings
//! (`file`, `environment`, `flags`), lays them over the defaults (`settle`), and checks the whole (`check`).
//! Nothing here reads the process' environment or a clock: the caller hands the environment in.
//!
//! Invariant: a `Config` that leaves this module has passed every check, and no text that leaves it (problems,
//! warnings, `print`, `Debug`) contains a secret.

mod address;
mod channels;
mod check;
mod duration;
mod environment;
mod file;
mod finding;
mod flags;
mod key;
mod pin;
mod print;
mod redis_url;
mod schema;
mod secret;
mod settle;

use std::ffi::OsString;

pub use channels::ChannelRule;
pub use finding::Finding;
pub use flags::Flags;
pub use key::Key;
pub use pin::Pin;
pub use print::print;
pub use redis_url::RedisUrl;
pub use schema::{Admin, Auth, Config, Debug, Heartbeat, Level, Limits, Log, LogFormat, Redis, Server, UserTypeFrom};
pub use secret::Secret;
pub use settle::{Source, Sources};

/// The exit code of a process that was configured wrongly: `EX_CONFIG` of `sysexits.h`. The systemd unit knows it and
/// does not restart after it.
pub const EX_CONFIG: u8 = 78;

/// Signs tokens in development mode. Published on purpose, and therefore refused on any address but loopback.
pub const DEVELOPMENT_SECRET: &str = "ringway-development-secret-known-to-everybody";

/// A checked configuration, and what a person may want to know about how it came about.
#[derive(Debug)]
pub struct Loaded {
    pub config: Config,
    /// Where each value that is not a plain default came from.
    pub sources: Sources,
    /// One line each, to be logged at start: allowed, but probably not meant.
    pub warnings: Vec<Finding>,
    /// One line each, to be logged at start: as it is meant to be, and worth knowing.
    pub notes: Vec<Finding>,
}

/// Reads defaults, the file named by `flags`, the environment and the flags, each over the one before.
///
/// `environment` is usually `std::env::vars_os()`.
///
/// # Errors
///
/// Every problem of every source at once, each one line that names the key and what set it.
pub fn load<N, V>(flags: &Flags, environment: impl IntoIterator<Item = (N, V)>) -> Result<Loaded, Vec<Finding>>
where
    N: Into<OsString>,
    V: Into<OsString>,
{
    let mut findings = finding::Findings::default();
    let file = flags.config.as_deref().map(|path| file::read(path, &mut findings)).unwrap_or_default();
    let mut settings = file.settings;
    settings.extend(environment::read(environment, &mut findings));
    settings.extend(flags.settings());

    let (mut config, mut sources) = settle::settle(settings, &mut findings);
    config.channels = file.channels;
    sources.channels = flags.config.clone().map(Source::File).unwrap_or_default();
    check::check(&config, &sources, &mut findings);

    match findings.problems.is_empty() {
        true => Ok(Loaded { config, sources, warnings: findings.warnings, notes: findings.notes }),
        false => Err(findings.problems),
    }
}

#[cfg(test)]
mod tests;
