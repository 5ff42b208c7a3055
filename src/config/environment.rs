//! The environment: `RINGWAY_SECTION_KEY` for every key, and the names that the systems Ringway takes over from use.
//!
//! Called by `load` with pairs of name and value. An empty variable counts as not set: compose files and service
//! managers pass on what they do not know as empty. Invariant: every variable of this process that begins with
//! `RINGWAY_` is either used or a problem.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use toml::Value;

use super::Config;
use super::finding::Findings;
use super::key::{Key, nearest};
use super::settle::{SetBy, Setting};

/// A foreign name of one of our keys.
pub(super) struct Alias {
    pub variable: &'static str,
    pub key: Key,
    form: Form,
}

/// How the foreign value is written.
enum Form {
    /// As ours.
    Same,
    /// Only the port of a listening address.
    Port,
    /// A whole number of milliseconds.
    Milliseconds,
    /// `host:port` of Redis.
    RedisHost,
    /// A level of the zap logger, whose three worst are all errors here.
    ZapLevel,
    /// An encoding of the zap logger: `console` or `json`.
    ZapEncoding,
}

/// Of two that name the same key, the later wins: the more particular one.
pub(super) const ALIASES: [Alias; 23] = [
    alias("PORT", Key::of("server", "listen"), Form::Port),
    alias("WEBSOCKET_GATEWAY_SERVICE_PORT", Key::of("server", "listen"), Form::Port),
    alias("WSGATEWAY_PORT", Key::of("server", "listen"), Form::Port),
    alias("WEBSOCKET_MAX_CONNECTIONS", Key::of("server", "max_connections"), Form::Same),
    alias("JWT_SECRET", Key::of("auth", "secret"), Form::Same),
    alias("CLERK_SECRET_KEY", Key::of("auth", "jwks_bearer"), Form::Same),
    alias("WEBSOCKET_GATEWAY_CORS_ORIGIN", Key::of("auth", "origins"), Form::Same),
    alias("WEBSOCKET_RATE_LIMIT_MESSAGES", Key::of("limits", "messages"), Form::Same),
    alias("WEBSOCKET_RATE_LIMIT_WINDOW", Key::of("limits", "messages_window"), Form::Milliseconds),
    alias("WEBSOCKET_HEARTBEAT_INTERVAL", Key::of("heartbeat", "interval"), Form::Milliseconds),
    alias("WEBSOCKET_CONNECTION_TIMEOUT", Key::of("heartbeat", "idle_timeout"), Form::Milliseconds),
    alias("REDIS_HOST", Key::of("redis", "url"), Form::RedisHost),
    alias("REDIS_URL", Key::of("redis", "url"), Form::Same),
    alias("REDIS_PASSWORD", Key::of("redis", "password"), Form::Same),
    alias("REDIS_DATABASE", Key::of("redis", "database"), Form::Same),
    alias("POSTGRES_DSN", Key::of("postgres", "dsn"), Form::Same),
    alias("NATS_URL", Key::of("nats", "url"), Form::Same),
    alias("RABBITMQ_URL", Key::of("rabbitmq", "url"), Form::Same),
    alias("LOCATION_SERVICE_ADDRESS", Key::of("grpc", "location"), Form::Same),
    alias("CHAT_SERVICE_ADDRESS", Key::of("grpc", "chat"), Form::Same),
    alias("NOTIFICATION_SERVICE_ADDRESS", Key::of("grpc", "notification"), Form::Same),
    alias("LOGGER_LEVEL", Key::of("log", "level"), Form::ZapLevel),
    alias("LOGGER_ENCODING", Key::of("log", "format"), Form::ZapEncoding),
];

/// Names that those systems set for parts that Ringway does not have yet: not an error, but not silent either.
pub(super) const WITHOUT_EFFECT: [&str; 1] = ["MODE"];

const OWN_PREFIX: &str = "RINGWAY_";

/// Settings from the aliases, then those from our own names, which therefore win.
pub fn read<N, V>(environment: impl IntoIterator<Item = (N, V)>, findings: &mut Findings) -> Vec<Setting>
where
    N: Into<OsString>,
    V: Into<OsString>,
{
    let variables = relevant(environment, findings);
    for name in WITHOUT_EFFECT.iter().filter(|name| variables.contains_key(**name)) {
        findings.warning(&set_by(name), "has no effect: it belongs to a part that this version does not have");
    }
    let mut settings = Vec::new();
    for alias in &ALIASES {
        if let Some(text) = variables.get(alias.variable) {
            settings.extend(setting(alias.variable, alias.key, translate(alias, text), findings));
        }
    }
    let keys: BTreeMap<String, Key> = Key::all().into_iter().map(|key| (key.variable(), key)).collect();
    for (name, text) in variables.range(OWN_PREFIX.to_owned()..).take_while(|(name, _)| name.starts_with(OWN_PREFIX)) {
        match keys.get(name) {
            Some(key) => settings.extend(setting(name, *key, typed(*key, text), findings)),
            None => unknown_variable(name, keys.keys().cloned(), findings),
        }
    }
    settings
}

const fn alias(variable: &'static str, key: Key, form: Form) -> Alias {
    Alias { variable, key, form }
}

fn set_by(variable: &str) -> SetBy {
    SetBy::Environment(variable.to_owned())
}

/// The variables that concern us and have a value, as text.
fn relevant<N, V>(environment: impl IntoIterator<Item = (N, V)>, findings: &mut Findings) -> BTreeMap<String, String>
where
    N: Into<OsString>,
    V: Into<OsString>,
{
    let mut variables = BTreeMap::new();
    for (name, value) in environment {
        let name = name.into().to_string_lossy().into_owned();
        let value: OsString = value.into();
        if !is_known(&name) || value.is_empty() || is_service_link(&name, &value) {
            continue;
        }
        match value.into_string() {
            Ok(text) => drop(variables.insert(name, text)),
            Err(_) => findings.problem(&set_by(&name), "is not UTF-8"),
        }
    }
    variables
}

fn is_known(name: &str) -> bool {
    name.starts_with(OWN_PREFIX) || WITHOUT_EFFECT.contains(&name) || ALIASES.iter().any(|alias| alias.variable == name)
}

/// For a service `ringway` or `wsgateway` Kubernetes puts `RINGWAY_SERVICE_HOST`, `WSGATEWAY_PORT=tcp://10.0.0.7:80`
/// and the like into every container of the namespace. They look like ours and mean nothing to us.
fn is_service_link(name: &str, value: &OsStr) -> bool {
    let own = name.starts_with(OWN_PREFIX);
    let is_link = |text: &str| ["tcp://", "udp://", "sctp://"].iter().any(|scheme| text.starts_with(scheme));
    own && (name.ends_with("_SERVICE_HOST") || name.contains("_SERVICE_PORT") || is_port_link(name))
        || value.to_str().is_some_and(is_link)
}

/// `…_PORT_4000_TCP_ADDR` and its siblings.
fn is_port_link(name: &str) -> bool {
    name.split_once("_PORT_").is_some_and(|(_, rest)| rest.starts_with(|c: char| c.is_ascii_digit()))
}

fn unknown_variable(name: &str, known: impl Iterator<Item = String>, findings: &mut Findings) {
    let hint = nearest(name, known).map(|name| format!("; did you mean {name}?")).unwrap_or_default();
    findings.problem(&set_by(name), format_args!("unknown variable{hint}"));
}

fn setting(variable: &str, key: Key, value: Result<Value, String>, findings: &mut Findings) -> Option<Setting> {
    let set_by = set_by(variable);
    match value {
        Ok(value) => Some(Setting { key, value, set_by }),
        Err(message) => {
            findings.problem_at(key, &set_by, message);
            None
        }
    }
}

fn translate(alias: &Alias, text: &str) -> Result<Value, String> {
    let trimmed = text.trim();
    match alias.form {
        Form::Same => typed(alias.key, text),
        Form::Port => match trimmed.parse::<u16>() {
            Ok(port) => Ok(format!(":{port}").into()),
            Err(_) => Err(format!("`{trimmed}` is no port number")),
        },
        Form::Milliseconds => match trimmed.parse::<u64>() {
            Ok(count) => Ok(format!("{count}ms").into()),
            Err(_) => Err(format!("`{trimmed}` is no whole number of milliseconds")),
        },
        // Not quoted when wrong, as with a URL: someone may have put a password before the host.
        Form::RedisHost if trimmed.contains("://") => Err("expected host:port; REDIS_URL takes a URL".into()),
        Form::RedisHost => Ok(format!("redis://{trimmed}").into()),
        Form::ZapLevel => match trimmed.to_ascii_lowercase().as_str() {
            "dpanic" | "panic" | "fatal" => Ok("error".into()),
            level => Ok(level.into()),
        },
        Form::ZapEncoding => match trimmed {
            "console" => Ok("text".into()),
            "json" => Ok("json".into()),
            other => Err(format!("`{other}` is neither `console` nor `json`")),
        },
    }
}

/// The text as the type that the key's default has. Lists are separated by commas. Secrets are taken as they are,
/// blanks included.
fn typed(key: Key, text: &str) -> Result<Value, String> {
    if key.is_secret() {
        return Ok(text.into());
    }
    let text = text.trim();
    // `None` for the keys that are not set by default; all of those are text.
    match Config::default().value(key) {
        Some(Value::Integer(_)) => match text.parse::<i64>() {
            Ok(number) => Ok(number.into()),
            Err(_) => Err(format!("`{text}` is no whole number")),
        },
        Some(Value::Boolean(_)) => match text.parse::<bool>() {
            Ok(on) => Ok(on.into()),
            Err(_) => Err(format!("`{text}` is neither `true` nor `false`")),
        },
        Some(Value::Array(_)) => {
            Ok(text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect::<Vec<_>>().into())
        }
        _ => Ok(text.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(environment: &[(&str, &str)]) -> Vec<String> {
        let mut findings = Findings::default();
        read(environment.iter().copied(), &mut findings);
        findings.problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_alias_names_a_key() {
        for alias in &ALIASES {
            assert!(Key::all().contains(&alias.key), "{}", alias.variable);
        }
    }

    #[test]
    fn unknown_variables_of_ours_are_refused_and_foreign_ones_are_not() {
        assert_eq!(
            problems(&[("HOME", "/"), ("REDIS_PORT", "1"), ("LOGGER_COLOUR", "red"), ("RINGWAY", "1")]),
            [""; 0]
        );
        assert_eq!(
            problems(&[("RINGWAY_SERVER_LISTN", "x")]),
            ["environment RINGWAY_SERVER_LISTN: unknown variable; did you mean RINGWAY_SERVER_LISTEN?"]
        );
        assert_eq!(problems(&[("RINGWAY_BANANA", "x")]), ["environment RINGWAY_BANANA: unknown variable"]);
    }

    #[test]
    fn service_links_of_kubernetes_are_not_settings() {
        let links = [
            ("RINGWAY_SERVICE_HOST", "10.0.0.7"),
            ("RINGWAY_SERVICE_PORT", "4000"),
            ("RINGWAY_SERVICE_PORT_WS", "4000"),
            ("RINGWAY_ADMIN_SERVICE_HOST", "10.0.0.8"),
            ("RINGWAY_PORT", "tcp://10.0.0.7:4000"),
            ("RINGWAY_PORT_4000_TCP", "tcp://10.0.0.7:4000"),
            ("RINGWAY_PORT_4000_TCP_PROTO", "tcp"),
            ("RINGWAY_PORT_4000_TCP_PORT", "4000"),
            ("RINGWAY_PORT_4000_TCP_ADDR", "10.0.0.7"),
            ("WSGATEWAY_PORT", "tcp://10.0.0.9:8081"),
        ];
        let mut findings = Findings::default();
        assert!(read(links, &mut findings).is_empty());
        assert!(findings.problems.is_empty(), "{findings:?}");
        for key in Key::all() {
            assert!(!is_service_link(&key.variable(), OsStr::new("1")), "{key}");
        }
    }

    #[test]
    fn empty_variables_count_as_not_set() {
        let mut findings = Findings::default();
        let empty = [("JWT_SECRET", ""), ("RINGWAY_AUTH_SECRET", ""), ("NATS_URL", ""), ("RINGWAY_BANANA", "")];
        assert!(read(empty, &mut findings).is_empty());
        assert!(findings.problems.is_empty() && findings.warnings.is_empty());
    }

    #[test]
    fn names_of_parts_to_come_are_ignored_with_one_warning_each() {
        let mut findings = Findings::default();
        assert!(read(WITHOUT_EFFECT.map(|name| (name, "x")), &mut findings).is_empty());
        let warnings: Vec<String> = findings.warnings.iter().map(ToString::to_string).collect();
        assert_eq!(warnings.len(), WITHOUT_EFFECT.len());
        let first = format!("environment {}: has no effect", WITHOUT_EFFECT[0]);
        assert!(warnings[0].starts_with(&first), "{warnings:?}");
        assert!(findings.problems.is_empty());
    }

    #[test]
    fn values_that_cannot_be_read_name_key_and_variable() {
        for (name, value, line) in [
            ("PORT", "http", "server.listen (environment PORT): `http` is no port number"),
            ("PORT", "70000", "server.listen (environment PORT): `70000` is no port number"),
            (
                "WEBSOCKET_RATE_LIMIT_MESSAGES",
                "many",
                "limits.messages (environment WEBSOCKET_RATE_LIMIT_MESSAGES): `many` is no whole number",
            ),
            (
                "WEBSOCKET_HEARTBEAT_INTERVAL",
                "30s",
                "heartbeat.interval (environment WEBSOCKET_HEARTBEAT_INTERVAL): `30s` is no whole number of milliseconds",
            ),
            (
                "REDIS_HOST",
                "redis://:hunter2@h",
                "redis.url (environment REDIS_HOST): expected host:port; REDIS_URL takes a URL",
            ),
            (
                "LOGGER_ENCODING",
                "xml",
                "log.format (environment LOGGER_ENCODING): `xml` is neither `console` nor `json`",
            ),
            (
                "RINGWAY_SERVER_SHARDS",
                "all",
                "server.shards (environment RINGWAY_SERVER_SHARDS): `all` is no whole number",
            ),
        ] {
            assert_eq!(problems(&[(name, value)]), [line]);
        }
    }

    #[test]
    fn a_value_that_is_not_utf8_is_a_problem_and_not_a_panic() {
        use std::os::unix::ffi::OsStringExt;
        let mut findings = Findings::default();
        let pairs = [("JWT_SECRET", OsString::from_vec(vec![0xff, 0xfe])), ("HOME", OsString::from_vec(vec![0xff]))];
        assert!(read(pairs, &mut findings).is_empty());
        assert_eq!(findings.problems[0].to_string(), "environment JWT_SECRET: is not UTF-8");
        assert_eq!(findings.problems.len(), 1);
    }
}
