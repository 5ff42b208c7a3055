//! `[[services]]`: who takes the messages of clients that routes forward. A list, so only a file can set it; a file per
//! kind has the keys that only that kind has.
//!
//! Invariant: no two entries have the same name, and none is left out but for a problem.

mod grpc;
mod http;
mod nats;
mod rabbitmq;
mod redis;

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::config::SetBy;
use crate::config::finding::Findings;
use crate::config::key::field_names;
use crate::config::value::duration;

use super::entry::Entry;

pub use grpc::{Contract, GrpcService};
pub use http::HttpService;
pub use nats::NatsService;
pub use rabbitmq::RabbitMqService;
pub use redis::{Body, RedisService};

/// Its name in the file.
pub const LIST: &str = "services";

/// The name under which operators see the database behind `authorize.sql`, beside the services. None of them has it.
pub const AUTHORIZE: &str = "authorize";

/// Each has a queue, and a row in every table.
const SERVICES_MAX: usize = 64;

const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(120);

const QUEUES: RangeInclusive<usize> = 1..=1_000_000;

/// One entry.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceRule {
    pub common: Common,
    pub backend: Backend,
}

/// What every entry has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Common {
    /// As routes name it.
    pub name: String,
    pub kind: Kind,
    /// How long a client waits for its answer; then `error` with the code `service_unavailable`.
    #[serde(with = "duration")]
    pub timeout: Duration,
    /// Messages that may wait for the backend. What comes on top is refused with `busy`.
    pub queue: usize,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// What the route says is all that is done.
    #[default]
    Local,
    RabbitMq,
    Redis,
    Http,
    Nats,
    Grpc,
}

impl Kind {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::RabbitMq => "rabbitmq",
            Self::Redis => "redis",
            Self::Http => "http",
            Self::Nats => "nats",
            Self::Grpc => "grpc",
        }
    }

    /// Whether this build has it.
    fn is_built(self) -> bool {
        match self {
            Self::Local => true,
            Self::Redis => cfg!(feature = "redis"),
            Self::Http => cfg!(feature = "http"),
            Self::Nats => cfg!(feature = "nats"),
            Self::RabbitMq => cfg!(feature = "rabbitmq"),
            Self::Grpc => cfg!(feature = "grpc"),
        }
    }
}

/// What only its kind has.
#[derive(Debug, Clone, PartialEq)]
pub enum Backend {
    Local,
    RabbitMq(RabbitMqService),
    Redis(RedisService),
    Http(HttpService),
    Nats(NatsService),
    Grpc(GrpcService),
}

impl Default for Common {
    fn default() -> Self {
        Self { name: String::new(), kind: Kind::Local, timeout: Duration::from_secs(5), queue: 10_000 }
    }
}

impl ServiceRule {
    /// As it is written, secrets masked.
    pub fn table(&self) -> Table {
        let mut table = Table::try_from(&self.common).unwrap_or_default();
        table.extend(match &self.backend {
            Backend::Local => Table::new(),
            Backend::RabbitMq(rabbitmq) => Table::try_from(rabbitmq).unwrap_or_default(),
            Backend::Redis(redis) => Table::try_from(redis).unwrap_or_default(),
            Backend::Http(http) => Table::try_from(http).unwrap_or_default(),
            Backend::Nats(nats) => Table::try_from(nats).unwrap_or_default(),
            Backend::Grpc(grpc) => Table::try_from(grpc).unwrap_or_default(),
        });
        table
    }
}

pub fn read(list: Value, set_by: &SetBy, findings: &mut Findings) -> Vec<ServiceRule> {
    let Value::Array(entries) = list else {
        findings.problem_at(LIST, set_by, "expected a list: [[services]], in two brackets, for each service");
        return vec![];
    };
    if entries.len() > SERVICES_MAX {
        findings.problem_at(LIST, set_by, format_args!("more than {SERVICES_MAX} entries"));
    }
    let mut rules: Vec<ServiceRule> = Vec::new();
    for (index, value) in entries.into_iter().enumerate() {
        let mut entry = Entry { list: LIST, index, set_by, findings };
        let Some(rule) = rule(&mut entry, value) else { continue };
        if rules.iter().any(|earlier| earlier.common.name == rule.common.name) {
            entry.problem("name", format_args!("there is a service {} already", rule.common.name));
        }
        rules.push(rule);
    }
    rules
}

/// `None`: there is a problem.
fn rule(entry: &mut Entry<'_>, value: Value) -> Option<ServiceRule> {
    let keys = entry.keys(value)?;
    for key in ["name", "kind"] {
        if !keys.contains_key(key) {
            entry.problem(key, "must be set");
            return None;
        }
    }
    let of_all = field_names::<Common>();
    let (common, own): (Table, Table) = keys.into_iter().partition(|(name, _)| of_all.contains(&name.as_str()));
    let common = entry.read(common)?;
    let common = check(entry, common)?;
    if !common.kind.is_built() {
        let name = common.kind.name();
        entry.problem("kind", format_args!("this build has no {name}: it was made without the feature `{name}`"));
        return None;
    }
    let backend = match common.kind {
        Kind::Local => entry.read::<Nothing>(own).map(|Nothing {}| Backend::Local),
        Kind::RabbitMq => RabbitMqService::read(entry, own).map(Backend::RabbitMq),
        Kind::Redis => RedisService::read(entry, own).map(Backend::Redis),
        Kind::Http => HttpService::read(entry, own).map(Backend::Http),
        Kind::Nats => NatsService::read(entry, own).map(Backend::Nats),
        Kind::Grpc => GrpcService::read(entry, own).map(Backend::Grpc),
    };
    Some(ServiceRule { common, backend: backend? })
}

fn check(entry: &mut Entry<'_>, common: Common) -> Option<Common> {
    let Common { name, timeout, queue, .. } = &common;
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
    if !is_name || name == "local" {
        entry.problem("name", format_args!("`{name}` is no name such as `chat`"));
    } else if name == AUTHORIZE {
        entry.problem("name", format_args!("`{name}` is how the database behind authorize.sql is called"));
    } else if !TIMEOUTS.contains(timeout) {
        entry.problem("timeout", format_args!("{timeout:?} is not between 100ms and 2m"));
    } else if !QUEUES.contains(queue) {
        entry.problem("queue", format_args!("{queue} is not between {} and {}", QUEUES.start(), QUEUES.end()));
    } else {
        return Some(common);
    }
    None
}

/// The keys of a kind that has none.
#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Nothing {}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(text: &str) -> (Vec<ServiceRule>, Vec<String>) {
        let mut document: Table = text.parse().expect("valid TOML");
        let mut findings = Findings::default();
        let set_by = SetBy::File("r.toml".into());
        let rules = read(document.remove(LIST).expect("the list"), &set_by, &mut findings);
        (rules, findings.problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn entries_are_read_in_their_order() {
        let (rules, problems) = findings(
            "[[services]]\nname = 'chat'\nkind = 'redis'\nstream = 'chat.{key}'\ntimeout = '2s'\n\
             [[services]]\nname = 'location'\nkind = 'local'\n",
        );
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!((rules[0].common.name.as_str(), rules[0].common.timeout.as_secs()), ("chat", 2));
        assert_eq!((rules[1].common.name.as_str(), &rules[1].backend), ("location", &Backend::Local));
        let printed = rules[0].table().to_string();
        assert!(printed.contains("stream = \"chat.{key}\"") && printed.contains("kind = \"redis\""), "{printed}");
    }

    #[test]
    fn what_is_sent_with_every_call_is_not_printed() {
        let grpc = "kind = 'grpc'\naddress = 'h:1'\nmetadata = { x-api-key = 'hunter2' }";
        let (rules, problems) = findings(&format!("[[services]]\nname = 'chat'\n{grpc}"));
        assert!(problems.is_empty(), "{problems:?}");
        let printed = format!("{} {:?}", rules[0].table(), rules[0]);
        assert!(printed.contains("x-api-key") && !printed.contains("hunter2"), "{printed}");
        let Backend::Grpc(service) = &rules[0].backend else { panic!("{:?}", rules[0]) };
        assert_eq!(service.headers()["x-api-key"], "hunter2");
    }

    #[test]
    fn what_is_wrong_is_named_by_entry_and_key() {
        let chat = "[[services]]\nname = 'chat'\n";
        for (text, line) in [
            ("services = 1".to_owned(), "services (file r.toml): expected a list: [[services]]"),
            (chat.to_owned(), "services[0].kind (file r.toml): must be set"),
            (format!("{chat}kind = 'rediss'"), "services[0].kind (file r.toml): unknown variant `rediss`"),
            (format!("{chat}kind = 'local'\nstream = 'x'"), "services[0].stream (file r.toml): unknown key"),
            (
                format!("{chat}kind = 'redis'\nstreem = 'x'"),
                "services[0].streem (file r.toml): unknown key; did you mean stream?",
            ),
            (
                format!("{chat}kind = 'redis'\nstream = 'x{{y}}'"),
                "services[0].stream (file r.toml): there is no {y} here",
            ),
            (
                format!("{chat}kind = 'redis'"),
                "services[0].publish (file r.toml): one of publish and stream must be set",
            ),
            (format!("{chat}kind = 'nats'"), "services[0].subject (file r.toml): must be set"),
            (format!("{chat}kind = 'nats'\nsubject = 'x.>'"), "services[0].subject (file r.toml): `x.>` is no subject"),
            (format!("{chat}kind = 'nats'\nsubject = 'x..{{key}}'"), "services[0].subject (file r.toml): `x..{key}`"),
            (
                format!("{chat}kind = 'nats'\nsubject = 'x'\nrequest = true\njetstream = true"),
                "services[0].jetstream (file r.toml): a message has one answer",
            ),
            (format!("{chat}kind = 'grpc'"), "services[0].address (file r.toml): must be set"),
            (
                format!("{chat}kind = 'grpc'\naddress = 'u:hunter2@h'"),
                "services[0].address (file r.toml): there is no place for a user",
            ),
            (
                format!("{chat}kind = 'grpc'\naddress = 'h:1'\nconcurrency = 0"),
                "services[0].concurrency (file r.toml): 0 is not between 1 and 10000",
            ),
            (
                format!("{chat}kind = 'grpc'\naddress = 'h:1'\nmetadata = {{ grpc-timeout = '1S' }}"),
                "services[0].metadata (file r.toml): `grpc-timeout` is no name of metadata",
            ),
            (
                format!("{chat}kind = 'grpc'\naddress = 'h:1'\nmetadata = 'x-api-key: hunter2'"),
                "services[0].metadata (file r.toml): expected a table of names, each with text in quotes",
            ),
            (
                format!("{chat}kind = 'grpc'\naddress = 'h:1'\ntls_ca_file = '/nonexistent/ca.pem'"),
                "services[0].tls_ca_file (file r.toml): cannot be read",
            ),
            (
                format!("{chat}kind = 'rabbitmq'\nrouting_key = 'ws.#'"),
                "services[0].routing_key (file r.toml): `ws.#` is no routing key",
            ),
            (
                format!("{chat}kind = 'rabbitmq'\nexchange = 'a b'"),
                "services[0].exchange (file r.toml): `a b` is no name",
            ),
            (format!("{chat}kind = 'local'\ntimeout = '1ms'"), "services[0].timeout (file r.toml): 1ms is not between"),
            (format!("{chat}kind = 'local'\nqueue = 0"), "services[0].queue (file r.toml): 0 is not between"),
        ] {
            assert_problem(&text, line);
        }
    }

    #[test]
    fn a_name_is_a_word_that_nothing_else_is_called_by() {
        for (names, line) in [
            (&[""][..], "services[0].name (file r.toml): must be set"),
            (&["name = 'a b'"], "services[0].name (file r.toml): `a b` is no name such as `chat`"),
            (&["name = 'authorize'"], "services[0].name (file r.toml): `authorize` is how the database behind"),
            (&["name = 'x'"; 2], "services[1].name (file r.toml): there is a service x already"),
        ] {
            let entries = names.iter().map(|name| format!("[[services]]\n{name}\nkind = 'local'\n"));
            assert_problem(&entries.collect::<String>(), line);
        }
    }

    #[track_caller]
    fn assert_problem(text: &str, line: &str) {
        let (_, problems) = findings(text);
        assert_eq!(problems.len(), 1, "{text}: {problems:?}");
        assert!(problems[0].starts_with(line), "{text}: {problems:?}");
    }
}
