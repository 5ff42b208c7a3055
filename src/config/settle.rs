//! Lays the settings over the defaults, in order, and makes one `Config` of them.
//!
//! Called by `load` between reading and checking. A value is tried alone before it is taken, so that each wrong one is
//! reported with its own key and what set it, and the rest can still be checked. Invariant: what is returned
//! deserialised, and its `server.id` is set.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::Deserialize;
use toml::{Table, Value};

use super::finding::Findings;
use super::value::Identity;
use super::{Config, DEVELOPMENT_SECRET, Key, Secret};

/// One value, and what gave it.
#[derive(Debug, Clone)]
pub struct Setting {
    pub key: Key,
    pub value: Value,
    pub set_by: SetBy,
}

/// What gave a key its value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum SetBy {
    #[default]
    Default,
    /// A default that only holds in development mode.
    Development,
    /// Made up at start, different every time.
    Random,
    File(PathBuf),
    /// The name of the variable.
    Environment(String),
    Flag(&'static str),
}

impl fmt::Display for SetBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SetBy::Default => f.write_str("default"),
            SetBy::Development => f.write_str("development mode"),
            SetBy::Random => f.write_str("random at every start"),
            SetBy::File(path) => write!(f, "file {}", path.display()),
            SetBy::Environment(variable) => write!(f, "environment {variable}"),
            SetBy::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

/// What set every key that is not a plain default.
#[derive(Debug, Clone, Default)]
pub struct Provenance {
    keys: BTreeMap<Key, SetBy>,
    /// Keys with a value that could not be read.
    refused: BTreeSet<Key>,
    /// Of the address in `server.listen`, which a port alone leaves as it is.
    pub(super) listen_address: SetBy,
    /// Of the lists, such as `[[channels]]`, which are no keys.
    pub lists: SetBy,
}

impl Provenance {
    pub fn of(&self, key: Key) -> &SetBy {
        self.keys.get(&key).unwrap_or(&SetBy::Default)
    }

    pub(super) fn is_refused(&self, key: Key) -> bool {
        self.refused.contains(&key)
    }

    fn has(&self, key: Key) -> bool {
        self.keys.contains_key(&key)
    }
}

/// The values taken so far, by section.
type Sections = BTreeMap<&'static str, Table>;

pub const LISTEN: Key = Key::of("server", "listen");
const ADMIN_LISTEN: Key = Key::of("admin", "listen");
const ADMIN_GRPC_LISTEN: Key = Key::of("admin", "grpc_listen");
pub const SECRET: Key = Key::of("auth", "secret");
const PUBLIC_KEYS: Key = Key::of("auth", "public_keys");
const JWKS_URL: Key = Key::of("auth", "jwks_url");

/// `settings` come in their order of precedence: of two for the same key, the later wins.
pub fn settle(settings: Vec<Setting>, findings: &mut Findings) -> (Config, Provenance) {
    let development = is_development(&settings);
    let mut provenance = Provenance::default();
    let mut accepted = Sections::new();
    for Setting { key, value, set_by } in development_settings(development).chain(settings) {
        let is_port_alone = value.as_str().is_some_and(|text| text.starts_with(':'));
        let value = with_address(value, || listen_address(&accepted, key));
        match Config::deserialize(alone(key, value.clone())) {
            Ok(_) => {
                if key == LISTEN && !is_port_alone {
                    provenance.listen_address = set_by.clone();
                }
                accepted.entry(key.section).or_default().insert(key.name.to_owned(), value);
                provenance.keys.insert(key, set_by);
            }
            Err(error) => {
                provenance.refused.insert(key);
                findings.problem_at(key, &set_by, error.message());
            }
        }
    }
    let mut config = Config::deserialize(document(accepted)).unwrap_or_else(|error| {
        // Each value was accepted alone and no two share a place, so this is a fault of ours; it must still not start.
        findings.problem(&SetBy::Default, error.message());
        Config::default()
    });
    config.development = development;
    move_from_redis_url(&mut config, &mut provenance);
    move_from_nats_url(&mut config, &mut provenance);
    move_from_rabbitmq_url(&mut config, &mut provenance);
    fill_in(&mut config, &mut provenance);
    (config, provenance)
}

/// Nothing says what tokens are checked with, or what sets the secret last sets it to the published one.
fn is_development(settings: &[Setting]) -> bool {
    let last = |key: Key| settings.iter().rev().find(|setting| setting.key == key).map(|setting| &setting.value);
    let is_empty = |list: &Value| list.as_array().is_some_and(Vec::is_empty);
    match last(SECRET) {
        Some(secret) => secret.as_str() == Some(DEVELOPMENT_SECRET),
        None => last(JWKS_URL).is_none() && last(PUBLIC_KEYS).is_none_or(is_empty),
    }
}

/// The defaults that differ in development mode, as the weakest settings of all.
fn development_settings(development: bool) -> impl Iterator<Item = Setting> {
    let listen = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), Config::default().server.listen.port());
    let value = Value::String(listen.to_string());
    development.then_some(Setting { key: LISTEN, value, set_by: SetBy::Development }).into_iter()
}

/// `:4010` is a port that keeps the address which holds without it, so that `PORT=4010` opens nothing to the world
/// that was closed before.
fn with_address(value: Value, held: impl FnOnce() -> Option<SocketAddr>) -> Value {
    let port = value.as_str().and_then(|text| text.strip_prefix(':')).and_then(|port| port.parse().ok());
    match port.and_then(|port| held().map(|address| SocketAddr::new(address.ip(), port))) {
        Some(address) => Value::String(address.to_string()),
        None => value,
    }
}

/// What `key` is at this point; `None` for a key that is no address.
fn listen_address(accepted: &Sections, key: Key) -> Option<SocketAddr> {
    let config = Config::deserialize(document(accepted.clone())).ok()?;
    match key {
        LISTEN => Some(config.server.listen),
        ADMIN_LISTEN => Some(config.admin.listen),
        ADMIN_GRPC_LISTEN => Some(config.admin.grpc_listen.unwrap_or((Ipv4Addr::LOCALHOST, 0).into())),
        _ => None,
    }
}

fn alone(key: Key, value: Value) -> Table {
    document(Sections::from([(key.section, Table::from_iter([(key.name.to_owned(), value)]))]))
}

fn document(sections: Sections) -> Table {
    sections.into_iter().map(|(name, section)| (name.to_owned(), Value::Table(section))).collect()
}

/// `redis.password` and `redis.database`, however they are set, win over what the URL says.
fn move_from_redis_url(config: &mut Config, provenance: &mut Provenance) {
    let Some(url) = &mut config.redis.url else { return };
    let (password, database) = (url.password.take(), url.database.take());
    let set_by = provenance.of(Key::of("redis", "url")).clone();
    if let (Some(password), false) = (password, provenance.has(Key::of("redis", "password"))) {
        config.redis.password = Some(password);
        provenance.keys.insert(Key::of("redis", "password"), set_by.clone());
    }
    if let (Some(database), false) = (database, provenance.has(Key::of("redis", "database"))) {
        config.redis.database = database;
        provenance.keys.insert(Key::of("redis", "database"), set_by);
    }
}

/// The same for who connects to NATS. A key for another way than the URL's stands for all that the URL says.
fn move_from_nats_url(config: &mut Config, provenance: &mut Provenance) {
    let Some(identity) = config.nats.url.as_mut().and_then(|url| url.identity.take()) else { return };
    let set_by = provenance.of(Key::of("nats", "url")).clone();
    let mut is_free = |name, others: &[&'static str]| {
        let key = Key::of("nats", name);
        let is_free = !provenance.has(key) && !others.iter().any(|other| provenance.has(Key::of("nats", other)));
        if is_free {
            provenance.keys.insert(key, set_by.clone());
        }
        is_free
    };
    match identity {
        Identity::User(user, password) => {
            const OTHERS: [&str; 2] = ["token", "credentials_file"];
            if is_free("user", &OTHERS) {
                config.nats.user = Some(user);
            }
            if is_free("password", &OTHERS) {
                config.nats.password = Some(password);
            }
        }
        Identity::Token(token) => {
            if is_free("token", &["user", "password", "credentials_file"]) {
                config.nats.token = Some(token);
            }
        }
    }
}

/// `rabbitmq.password`, however it is set, wins over what the URL says.
fn move_from_rabbitmq_url(config: &mut Config, provenance: &mut Provenance) {
    let password = config.rabbitmq.url.as_mut().and_then(|url| url.password.take());
    let key = Key::of("rabbitmq", "password");
    if let (Some(password), false) = (password, provenance.has(key)) {
        config.rabbitmq.password = Some(password);
        provenance.keys.insert(key, provenance.of(Key::of("rabbitmq", "url")).clone());
    }
}

fn fill_in(config: &mut Config, provenance: &mut Provenance) {
    if config.development && !provenance.has(SECRET) {
        config.auth.secret = Some(Secret::new(DEVELOPMENT_SECRET));
        provenance.keys.insert(SECRET, SetBy::Development);
    }
    if config.server.id.is_empty() {
        config.server.id = format!("{:08x}", fastrand::u32(..));
        provenance.keys.insert(Key::of("server", "id"), SetBy::Random);
    }
}
