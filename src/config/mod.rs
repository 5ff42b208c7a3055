//! What can be set, by whom, and whether it makes sense.
//!
//! `load` is called once, by `main`, before anything is bound. It reads the file, the environment and the flags into
//! one list of settings (`file`, `environment`, `flags`), lays them over the defaults (`settle`), and checks the whole.
//! What can be set stands in `section/`, a file per section; how a value is written, in `value/`. Nothing here reads
//! the process' environment or a clock: the caller hands the environment in.
//!
//! Invariant: a `Config` that leaves this module has passed every check and holds what its texts mean (origins,
//! networks, patterns), which nobody parses again; and no text that leaves it (problems, warnings, `print`, `Debug`)
//! contains a secret.

mod check;
mod environment;
mod file;
mod finding;
mod flags;
mod key;
mod print;
mod section;
mod settle;
mod value;

use std::ffi::OsString;

use check::Checks;

use crate::route::Routes;

pub use finding::Finding;
pub use flags::Flags;
pub use key::Key;
pub use print::print;
pub use section::{
    AUTHORIZE, Admin, Auth, Authorize, Backend, Body, ChannelRule, Config, Contract, DEVELOPMENT_SECRET, Debug, Events,
    Grpc, GrpcService, Heartbeat, HttpService, Level, Limits, Log, LogFormat, Nats, NatsService, Notifications,
    Postgres, Presence, RabbitMq, RabbitMqService, Redis, RedisMode, RedisService, Server, ServiceRule, Typing,
    UserTypeFrom, Vocabularies,
};
pub use settle::{Provenance, SetBy};
pub use value::{
    Endpoint, JwksUrl, NatsUrl, Pin, PublicKeys, RabbitMqUrl, RedisUrl, Secret, Subject, SubjectValue, UrlTemplate,
};

/// The exit code of a process that was configured wrongly: `EX_CONFIG` of `sysexits.h`. The systemd unit knows it and
/// does not restart after it.
pub const EX_CONFIG: u8 = 78;

/// A checked configuration, and what a person may want to know about how it came about.
#[derive(Debug)]
pub struct Loaded {
    pub config: Config,
    /// What is done with the messages of clients.
    pub routes: &'static Routes,
    /// Where each value that is not a plain default came from.
    pub provenance: Provenance,
    /// One line each, to be logged at start: allowed, but probably not meant.
    pub warnings: Vec<Finding>,
    /// One line each, to be logged at start: as it is meant to be, and worth knowing.
    pub notes: Vec<Finding>,
}

impl Loaded {
    /// What set the secret that tokens are signed with.
    pub fn secret_set_by(&self) -> &SetBy {
        self.provenance.of(settle::SECRET)
    }
}

/// Reads defaults, the file named by `flags`, the environment and the flags, each over the one before.
///
/// `environment` is usually `std::env::vars_os()`.
///
/// # Errors
///
/// Every problem of all of them at once, each one line that names the key and what set it.
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

    let (mut config, mut provenance) = settle::settle(settings, &mut findings);
    config.channels = file.channels;
    config.services = file.services;
    config.routes = file.routes;
    provenance.lists = flags.config.clone().map(SetBy::File).unwrap_or_default();
    config.check(&mut Checks { provenance: &provenance, findings: &mut findings });

    let on = config.vocabularies.on();
    match section::routes::compile(&on, &config, &provenance, &mut findings) {
        Some(routes) if findings.problems.is_empty() => {
            Ok(Loaded { config, routes, provenance, warnings: findings.warnings, notes: findings.notes })
        }
        _ => Err(findings.problems),
    }
}

#[cfg(test)]
mod tests;
