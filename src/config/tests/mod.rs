//! The promises of `load` as a whole: file, environment and flags, their order, and what each can say.

mod checking;
mod documentation;
mod printing;

use std::io::Write;
use std::time::Duration;

use super::*;

/// A file with a public key.
const PUBLIC_KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/keys/rsa.pub.pem");

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn no_environment() -> [(&'static str, &'static str); 0] {
    []
}

fn from_environment(environment: &[(&str, &str)]) -> Result<Loaded, Vec<String>> {
    from_all(None, environment, Flags::default())
}

fn from_file(text: &str) -> Result<Loaded, Vec<String>> {
    from_all(Some(text), &[], Flags::default())
}

fn from_all(file: Option<&str>, environment: &[(&str, &str)], flags: Flags) -> Result<Loaded, Vec<String>> {
    let mut written = tempfile::NamedTempFile::new().expect("a temporary file");
    written.write_all(file.unwrap_or_default().as_bytes()).expect("a writable file");
    let config = file.map(|_| written.path().to_owned());
    load(&Flags { config, ..flags }, environment.iter().copied())
        .map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

fn listen(text: &str) -> Flags {
    Flags { listen: Some(text.into()), ..Flags::default() }
}

fn address(text: &str) -> std::net::SocketAddr {
    text.parse().expect("an address")
}

#[test]
fn later_sources_win() {
    let file = format!("[auth]\nsecret = '{SECRET}'\n[server]\nlisten = '127.0.0.1:1'\n[heartbeat]\ninterval = '1s'");
    let alias = ("PORT", "2");
    let own = ("RINGWAY_SERVER_LISTEN", "127.0.0.1:3");
    let port = |environment: &[(&str, &str)], flags| {
        let loaded = from_all(Some(&file), environment, flags).expect("valid");
        assert_eq!(loaded.config.heartbeat.interval, Duration::from_secs(1));
        loaded.config.server.listen.port()
    };
    assert_eq!(port(&[], Flags::default()), 1);
    assert_eq!(port(&[alias], Flags::default()), 2);
    assert_eq!(port(&[own, alias], Flags::default()), 3);
    assert_eq!(port(&[own, alias], listen("127.0.0.1:4")), 4);
}

#[test]
fn every_flag_sets_its_key() {
    let flags =
        Flags { config: None, listen: Some("127.0.0.1:1".into()), admin: Some("127.0.0.1:2".into()), shards: Some(3) };
    let config = load(&flags, no_environment()).expect("valid").config;
    assert_eq!(config.server.listen, address("127.0.0.1:1"));
    assert_eq!(config.admin.listen, address("127.0.0.1:2"));
    assert_eq!(config.server.shards, 3);
}

#[test]
fn every_key_can_be_set_by_its_variable() {
    let loaded = from_environment(&[("RINGWAY_AUTH_SECRET", SECRET)]).expect("valid");
    let table = toml::Table::try_from(&loaded.config).expect("plain data");
    // A service has to stand in a list, which is a file's.
    for key in Key::all().into_iter().filter(|key| key.name != "service") {
        let value = match (key.to_string().as_str(), &table[key.section].get(key.name)) {
            ("auth.public_keys", _) => PUBLIC_KEY.to_owned(),
            ("auth.jwks_url", _) => "https://h/jwks.json".to_owned(),
            ("postgres.dsn", _) => "host=h".to_owned(),
            ("redis.url", _) => "redis://h".to_owned(),
            ("redis.nodes", _) => "h:1, g:2".to_owned(),
            ("nats.url", _) => "nats://h".to_owned(),
            ("rabbitmq.url", _) => "amqp://h".to_owned(),
            ("rabbitmq.queue", _) => "node-1".to_owned(),
            ("admin.grpc_listen", _) => "127.0.0.1:4002".to_owned(),
            ("grpc.location" | "grpc.chat" | "grpc.notification", _) => "backend:50051".to_owned(),
            ("server.trusted_proxies", _) => "10.0.0.0/8, ::1".to_owned(),
            (_, None) if key.name == "tls_ca_file" => "Cargo.toml".to_owned(),
            ("debug.echo_path", _) => "/echo".to_owned(),
            ("events.which", _) => "connected, subscribed".to_owned(),
            (_, Some(toml::Value::Array(_))) => "https://a, https://b".to_owned(),
            (_, Some(toml::Value::String(text))) if !key.is_secret() => text.clone(),
            (_, Some(toml::Value::Integer(number))) => number.to_string(),
            (_, Some(toml::Value::Boolean(on))) => on.to_string(),
            _ => SECRET.to_owned(),
        };
        let variable = key.variable();
        let others = [("JWT_SECRET", SECRET), ("RINGWAY_SERVER_LISTEN", "127.0.0.1:4000"), ("POSTGRES_DSN", "host=h")];
        let loaded = from_environment(&[&others[..], &[(&*variable, &*value)]].concat()).expect(&variable);
        assert_eq!(loaded.provenance.of(key), &SetBy::Environment(variable));
    }
}

#[test]
fn lists_in_variables_are_separated_by_commas() {
    let config = from_environment(&[("RINGWAY_AUTH_ROLES", "driver, rider,,")]).expect("valid").config;
    assert_eq!(config.auth.roles, ["driver", "rider"]);
}

#[test]
fn every_alias_sets_what_its_system_means_by_it() {
    let origins = "https://a.example, https://b.example";
    let loaded = from_environment(&[
        ("PORT", "5004"),
        ("WEBSOCKET_MAX_CONNECTIONS", "10000"),
        ("JWT_SECRET", SECRET),
        ("WEBSOCKET_GATEWAY_CORS_ORIGIN", origins),
        ("WEBSOCKET_RATE_LIMIT_MESSAGES", "50"),
        ("WEBSOCKET_RATE_LIMIT_WINDOW", "30000"),
        ("WEBSOCKET_HEARTBEAT_INTERVAL", "15000"),
        ("WEBSOCKET_CONNECTION_TIMEOUT", "45500"),
        ("REDIS_HOST", "cache:7000"),
        ("REDIS_PASSWORD", "hunter2"),
        ("REDIS_DATABASE", "3"),
        ("NATS_URL", "nats://n:4222,nats://m"),
        ("LOCATION_SERVICE_ADDRESS", "location:50051"),
        ("CHAT_SERVICE_ADDRESS", "https://chat.example"),
        ("NOTIFICATION_SERVICE_ADDRESS", "http://10.0.0.7:9090"),
        ("LOGGER_LEVEL", "debug"),
        ("LOGGER_ENCODING", "json"),
    ])
    .expect("valid");
    let config = loaded.config;
    assert_eq!(config.server.listen, address("0.0.0.0:5004"));
    assert_eq!(config.server.max_connections, 10_000);
    assert_eq!(config.auth.secret.as_ref().map(Secret::expose), Some(SECRET));
    let origins: Vec<String> = config.auth.origins.iter().map(ToString::to_string).collect();
    assert_eq!(origins, ["https://a.example", "https://b.example"]);
    assert_eq!((config.limits.messages, config.limits.messages_window), (50, Duration::from_secs(30)));
    assert_eq!(config.heartbeat.interval, Duration::from_secs(15));
    assert_eq!(config.heartbeat.idle_timeout, Duration::from_millis(45_500));
    let services = config.all_services().into_iter().map(|service| match service.backend {
        Backend::Grpc(grpc) => (service.common.name, grpc.contract, grpc.address.to_string()),
        other => panic!("{other:?}"),
    });
    let expected = [
        ("location", Contract::Location, "http://location:50051"),
        ("chat", Contract::Chat, "https://chat.example:443"),
        ("notifications", Contract::Notification, "http://10.0.0.7:9090"),
    ];
    assert!(services.eq(expected.map(|(name, contract, address)| (name.to_owned(), contract, address.to_owned()))));
    let url = config.redis.url.expect("redis is on");
    assert_eq!((url.host.as_str(), url.port), ("cache", 7000));
    assert_eq!(config.redis.password.as_ref().map(Secret::expose), Some("hunter2"));
    assert_eq!(config.redis.database, 3);
    assert_eq!(config.nats.url.map(|url| url.to_string()).as_deref(), Some("nats://n:4222,nats://m"));
    assert_eq!((config.log.level, config.log.format), (Level::Debug, LogFormat::Json));
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
}

#[test]
fn the_more_particular_of_two_aliases_wins() {
    let ports = [("WSGATEWAY_PORT", "8081"), ("PORT", "1"), ("WEBSOCKET_GATEWAY_SERVICE_PORT", "5004")];
    assert_eq!(from_environment(&ports).expect("valid").config.server.listen.port(), 8081);
    assert_eq!(from_environment(&ports[1..]).expect("valid").config.server.listen.port(), 5004);
    let redis = [("REDIS_URL", "redis://a"), ("REDIS_HOST", "b:1")];
    assert_eq!(from_environment(&redis).expect("valid").config.redis.url.expect("on").host, "a");
}

#[test]
fn logger_names_of_zap_are_understood() {
    for (level, meant) in [("fatal", Level::Error), ("WARN", Level::Warn), ("info", Level::Info)] {
        assert_eq!(from_environment(&[("LOGGER_LEVEL", level)]).expect("valid").config.log.level, meant);
    }
    let console = from_environment(&[("LOGGER_ENCODING", "console")]).expect("valid");
    assert_eq!(console.config.log.format, LogFormat::Text);
}

#[test]
fn a_port_alone_keeps_the_address() {
    let file = format!("[auth]\nsecret = '{SECRET}'\n[server]\nlisten = '10.1.2.3:4000'\n[admin]\nlisten = ':9000'");
    let config = from_all(Some(&file), &[("PORT", "80")], Flags::default()).expect("valid").config;
    assert_eq!(config.server.listen, address("10.1.2.3:80"));
    assert_eq!(config.admin.listen, address("127.0.0.1:9000"));
    let flagged = from_all(Some(&file), &[], listen(":81")).expect("valid").config;
    assert_eq!(flagged.server.listen, address("10.1.2.3:81"));
}

#[test]
fn the_password_of_the_rabbitmq_url_counts_where_no_key_says_one() {
    let url = ("RABBITMQ_URL", "amqp://u:hunter2@h:1/v");
    let loaded = from_environment(&[url]).expect("valid");
    let rabbitmq = &loaded.config.rabbitmq;
    assert_eq!(rabbitmq.password.as_ref().map(Secret::expose), Some("hunter2"));
    assert_eq!(loaded.provenance.of(Key::of("rabbitmq", "password")), &SetBy::Environment("RABBITMQ_URL".into()));
    let rabbitmq = from_environment(&[url, ("RINGWAY_RABBITMQ_PASSWORD", "other")]).expect("valid").config.rabbitmq;
    assert_eq!(rabbitmq.password.as_ref().map(Secret::expose), Some("other"));
}

#[test]
fn the_redis_url_gives_what_no_key_says() {
    let url = ("REDIS_URL", "redis://u:hunter2@h:1/4");
    let redis = from_environment(&[url]).expect("valid").config.redis;
    assert_eq!(redis.password.as_ref().map(Secret::expose), Some("hunter2"));
    assert_eq!(redis.database, 4);
    assert_eq!(redis.url.as_ref().and_then(|url| url.username.as_deref()), Some("u"));
    let own = [url, ("REDIS_PASSWORD", "other"), ("REDIS_DATABASE", "0")];
    let redis = from_environment(&own).expect("valid").config.redis;
    assert_eq!(redis.password.as_ref().map(Secret::expose), Some("other"));
    assert_eq!(redis.database, 0);
}

#[test]
fn the_nats_url_says_who_connects_where_no_key_does() {
    let nats = |variables: &[(&str, &str)]| from_environment(variables).map(|loaded| loaded.config.nats);
    let secret = |secret: &Option<Secret>| secret.as_ref().map(|secret| secret.expose().to_owned());
    let user = ("NATS_URL", "nats://u:hunter2@a,nats://b");
    let read = nats(&[user]).expect("valid");
    assert_eq!((read.user.as_deref(), secret(&read.password).as_deref()), (Some("u"), Some("hunter2")));
    let read = nats(&[user, ("RINGWAY_NATS_PASSWORD", "other")]).expect("valid");
    assert_eq!((read.user.as_deref(), secret(&read.password).as_deref()), (Some("u"), Some("other")));
    let read = nats(&[user, ("RINGWAY_NATS_TOKEN", "other")]).expect("valid");
    assert_eq!((read.user, read.password, secret(&read.token).as_deref()), (None, None, Some("other")));
    let token = ("NATS_URL", "nats://s3cret@h");
    assert_eq!(secret(&nats(&[token]).expect("valid").token).as_deref(), Some("s3cret"));
    let read = nats(&[token, ("RINGWAY_NATS_CREDENTIALS_FILE", "/x.creds")]).expect("valid");
    assert_eq!((read.token, read.credentials_file), (None, Some("/x.creds".into())));
}

#[test]
fn a_password_without_a_server_is_a_warning() {
    let loaded = from_environment(&[("REDIS_PASSWORD", "hunter2")]).expect("valid");
    assert_eq!(
        loaded.warnings[0].to_string(),
        "redis.password (environment REDIS_PASSWORD): has no effect: redis.url is not set"
    );
}

#[test]
fn an_entry_of_the_list_stands_in_the_place_of_a_backends_address() {
    let file = "[grpc]\nchat = 'h:1'\nlocation = 'h:2'\n[[services]]\nname = 'chat'\nkind = 'local'";
    let loaded = from_file(file).expect("valid");
    let services = loaded.config.all_services();
    let names: Vec<_> = services.iter().map(|service| (&*service.common.name, service.common.kind.name())).collect();
    assert_eq!(names, [("chat", "local"), ("location", "grpc")]);
    let warnings: Vec<_> = loaded.warnings.iter().map(ToString::to_string).collect();
    assert!(warnings[0].ends_with("has no effect: [[services]] has an entry chat"), "{warnings:?}");
}

#[test]
fn server_ids_differ_unless_one_is_given() {
    let id = || load(&Flags::default(), no_environment()).expect("valid").config.server.id;
    let (one, other) = (id(), id());
    assert_ne!(one, other);
    assert!(one.len() == 8 && one.bytes().all(|byte| byte.is_ascii_hexdigit()), "{one}");
    assert_eq!(from_environment(&[("RINGWAY_SERVER_ID", "node-1")]).expect("valid").config.server.id, "node-1");
}
