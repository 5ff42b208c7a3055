//! The promises of `load` as a whole: order of sources, development mode, secrets, printing, documentation.

use std::io::Write;
use std::time::Duration;

use super::*;

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
    for key in Key::all() {
        let value = match (key.to_string().as_str(), &table[key.section].get(key.name)) {
            ("redis.url", _) => "redis://h".to_owned(),
            ("server.trusted_proxies", _) => "10.0.0.0/8, ::1".to_owned(),
            ("debug.echo_path", _) => "/echo".to_owned(),
            (_, Some(toml::Value::Array(_))) => "https://a, https://b".to_owned(),
            (_, Some(toml::Value::String(text))) if !key.is_secret() => text.clone(),
            (_, Some(toml::Value::Integer(number))) => number.to_string(),
            (_, Some(toml::Value::Boolean(on))) => on.to_string(),
            _ => SECRET.to_owned(),
        };
        let variable = key.variable();
        let others = [("JWT_SECRET", SECRET), ("RINGWAY_SERVER_LISTEN", "127.0.0.1:4000")];
        let loaded = from_environment(&[others[0], others[1], (&variable, &value)]).expect(&variable);
        assert_eq!(loaded.sources.of(key), &Source::Environment(variable));
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
        ("LOGGER_LEVEL", "debug"),
        ("LOGGER_ENCODING", "json"),
    ])
    .expect("valid");
    let config = loaded.config;
    assert_eq!(config.server.listen, address("0.0.0.0:5004"));
    assert_eq!(config.server.max_connections, 10_000);
    assert_eq!(config.auth.secret.expose(), SECRET);
    let origins: Vec<String> = config.auth.origins.iter().map(ToString::to_string).collect();
    assert_eq!(origins, ["https://a.example", "https://b.example"]);
    assert_eq!((config.limits.messages, config.limits.messages_window), (50, Duration::from_secs(30)));
    assert_eq!(config.heartbeat.interval, Duration::from_secs(15));
    assert_eq!(config.heartbeat.idle_timeout, Duration::from_millis(45_500));
    let url = config.redis.url.expect("redis is on");
    assert_eq!((url.host.as_str(), url.port), ("cache", 7000));
    assert_eq!(config.redis.password.as_ref().map(Secret::expose), Some("hunter2"));
    assert_eq!(config.redis.database, 3);
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
fn without_any_configuration_it_is_development_on_loopback() {
    let loaded = load(&Flags::default(), no_environment()).expect("valid");
    assert!(loaded.config.development);
    assert_eq!(loaded.config.server.listen, address("127.0.0.1:4000"));
    assert_eq!(loaded.config.auth.secret.expose(), DEVELOPMENT_SECRET);
    assert!(loaded.warnings.is_empty());
}

#[test]
fn a_port_without_a_secret_stays_on_loopback() {
    let config = from_environment(&[("PORT", "4010")]).expect("valid").config;
    assert!(config.development);
    assert_eq!(config.server.listen, address("127.0.0.1:4010"));
}

#[test]
fn a_real_secret_opens_the_default_address() {
    let config = from_environment(&[("JWT_SECRET", SECRET)]).expect("valid").config;
    assert!(!config.development);
    assert_eq!(config.server.listen, address("0.0.0.0:4000"));
}

#[test]
fn other_addresses_than_loopback_need_a_real_secret() {
    for open in ["0.0.0.0:4000", "[::]:4000", "192.0.2.1:4000", "[::ffff:192.0.2.1]:4000"] {
        let none = from_all(None, &[], listen(open)).expect_err(open);
        assert_eq!(none.len(), 1, "{none:?}");
        assert!(none[0].starts_with(&format!("server.listen (flag --listen): {open} is not loopback")), "{none:?}");

        let published = from_all(None, &[("JWT_SECRET", DEVELOPMENT_SECRET)], listen(open)).expect_err(open);
        assert!(published[0].contains("published"), "{published:?}");

        let short = from_all(None, &[("JWT_SECRET", &SECRET[1..])], listen(open)).expect_err(open);
        assert!(short[0].starts_with("auth.secret (environment JWT_SECRET): has 31 bytes"), "{short:?}");

        assert!(from_all(None, &[("JWT_SECRET", SECRET)], listen(open)).is_ok());
    }
}

#[test]
fn a_short_secret_on_loopback_is_a_warning() {
    for local in ["127.0.0.1:4000", "127.3.2.1:4000", "[::1]:4000", "[::ffff:127.0.0.1]:4000"] {
        let loaded = from_all(None, &[("JWT_SECRET", "your-secret-key")], listen(local)).expect(local);
        assert!(!loaded.config.development);
        let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
        assert!(warnings[0].starts_with("auth.secret (environment JWT_SECRET): has 15 bytes"), "{warnings:?}");
    }
}

#[test]
fn the_published_secret_is_development_even_when_set() {
    let config = from_environment(&[("JWT_SECRET", DEVELOPMENT_SECRET)]).expect("valid").config;
    assert!(config.development);
    assert_eq!(config.server.listen, address("127.0.0.1:4000"));
}

#[test]
fn an_old_secret_is_held_to_the_same_rules() {
    let with = |old| from_environment(&[("JWT_SECRET", SECRET), ("RINGWAY_AUTH_PREVIOUS_SECRET", old)]);
    let rotated = with("fedcba9876543210fedcba9876543210").expect("valid").config;
    let secrets: Vec<&str> = rotated.auth.secrets().map(Secret::expose).collect();
    assert_eq!(secrets, [SECRET, "fedcba9876543210fedcba9876543210"]);
    assert!(with("short").expect_err("short")[0].starts_with("auth.previous_secret (environment "));
    assert!(with(DEVELOPMENT_SECRET).expect_err("published")[0].contains("published"));
    let alone = from_environment(&[("RINGWAY_AUTH_PREVIOUS_SECRET", SECRET)]).expect_err("alone");
    assert!(alone[0].contains("auth.secret is not"), "{alone:?}");
}

#[test]
fn the_admin_port_needs_a_token_beyond_loopback() {
    let open = ("RINGWAY_ADMIN_LISTEN", "0.0.0.0:4001");
    let problems = from_environment(&[("JWT_SECRET", SECRET), open]).expect_err("no token");
    assert_eq!(problems, ["admin.token (default): must be set, because admin.listen (0.0.0.0:4001) is not loopback"]);
    let with = |listen, token| {
        from_environment(&[("JWT_SECRET", SECRET), ("RINGWAY_ADMIN_LISTEN", listen), ("RINGWAY_ADMIN_TOKEN", token)])
    };
    assert!(with("0.0.0.0:4001", &SECRET[..16]).is_ok());
    for short in ["t", &SECRET[..15]] {
        let problems = with("0.0.0.0:4001", short).expect_err(short);
        let expected = format!("admin.token (environment RINGWAY_ADMIN_TOKEN): has {} bytes", short.len());
        assert!(problems.len() == 1 && problems[0].starts_with(&expected), "{problems:?}");
        assert!(with("127.0.0.1:4001", short).is_ok(), "on loopback");
    }
    let development = from_environment(&[open, ("RINGWAY_ADMIN_TOKEN", SECRET)]).expect_err("development");
    assert!(development[0].starts_with("admin.listen (environment RINGWAY_ADMIN_LISTEN): "), "{development:?}");
}

#[test]
fn all_problems_of_all_sources_are_reported_at_once() {
    let file = "[server]\nshards = 1000\npath = 'ws'\nlissten = ''\n[heartbeat]\ninterval = 30";
    let problems =
        from_all(Some(file), &[("PORT", "x"), ("RINGWAY_NO", "1")], listen("localhost:1")).expect_err("much is wrong");
    for part in [
        "server.lissten (file ",
        "server.shards (file ",
        "server.path (file ",
        "heartbeat.interval (file ",
        "server.listen (environment PORT)",
        "environment RINGWAY_NO",
        "server.listen (flag --listen): `localhost:1` is no address",
    ] {
        assert!(problems.iter().any(|line| line.contains(part)), "{part}: {problems:#?}");
    }
    assert_eq!(problems.len(), 7, "{problems:#?}");
}

#[test]
fn bad_values_name_the_key_and_the_value() {
    for (text, key, part) in [
        ("[server]\nshards = 129", "server.shards", "129 is not between 0 and 128"),
        ("[server]\nshards = -1", "server.shards", "-1"),
        ("[server]\nshards = 'two'", "server.shards", "two"),
        ("[server]\nbacklog = 0", "server.backlog", "0 is not between"),
        ("[server]\nlisten = 4000", "server.listen", "expected an address"),
        ("[server]\nlisten = ':http'", "server.listen", ":http"),
        ("[server]\npath = '/health'", "server.path", "/health"),
        ("[server]\npath = '/w s'", "server.path", "/w s"),
        ("[server]\nid = 'a b'", "server.id", "blanks"),
        ("[server]\nlisten = '127.0.0.1:4001'", "admin.listen", "public port"),
        ("[limits]\nmessage_bytes = 16777217", "limits.message_bytes", "16777217"),
        ("[limits]\nchannel_name_bytes = 256", "limits.channel_name_bytes", "256"),
        ("[limits]\nmessages_window = '0s'", "limits.messages_window", "0ns"),
        ("[limits]\nclose_deadline = '2days'", "limits.close_deadline", "24h"),
        ("[limits]\nhandshake_deadline = '5'", "limits.handshake_deadline", "`5` is no duration"),
        ("[auth]\ndeadline = 10", "auth.deadline", "in quotes"),
        ("[auth]\norigins = ['example.com']", "auth.origins", "example.com"),
        ("[auth]\norigins = ['https://example.com/']", "auth.origins", "https://example.com/"),
        ("[auth]\norigins = 'https://example.com'", "auth.origins", "sequence"),
        ("[auth]\nroles = ['']", "auth.roles", "empty"),
        ("[heartbeat]\nidle_timeout = '30s'", "heartbeat.idle_timeout", "longer than heartbeat.interval"),
        ("[redis]\nurl = 'rediss://h'", "redis.url", "TLS"),
        ("[redis]\nprefix = 'ws:*'", "redis.prefix", "ws:*"),
        ("[redis]\ndatabase = -1", "redis.database", "-1"),
        ("[server]\nlisten = '127.0.0.1:0'\n[debug]\necho_path = 'echo'", "debug.echo_path", "no path"),
        ("[server]\nlisten = '127.0.0.1:0'\n[debug]\necho_path = '/ws'", "debug.echo_path", "taken"),
        ("[server]\nlisten = '[::1]:0'\n[debug]\necho_path = '/health'", "debug.echo_path", "taken"),
        ("[debug]\necho_message_bytes = 16777217", "debug.echo_message_bytes", "16777217"),
        ("[log]\nlevel = 'loud'", "log.level", "loud"),
        ("[log]\nformat = 'xml'", "log.format", "xml"),
    ] {
        let problems = from_file(text).expect_err(text);
        assert_eq!(problems.len(), 1, "{text}: {problems:?}");
        assert!(problems[0].starts_with(&format!("{key} (")) && problems[0].contains(part), "{text}: {problems:?}");
    }
}

#[test]
fn an_echo_without_a_token_is_refused_off_loopback() {
    let on = |listen| {
        from_environment(&[
            ("JWT_SECRET", SECRET),
            ("RINGWAY_SERVER_LISTEN", listen),
            ("RINGWAY_DEBUG_ECHO_PATH", "/echo"),
        ])
    };
    for open in ["0.0.0.0:0", "192.0.2.1:1", "[::]:0", "[2001:db8::1]:0"] {
        let problems = on(open).expect_err(open);
        let expected = "debug.echo_path (environment RINGWAY_DEBUG_ECHO_PATH): must not be set";
        assert!(problems.len() == 1 && problems[0].starts_with(expected), "{open}: {problems:?}");
    }
    for loopback in ["127.0.0.1:0", "127.9.9.9:0", "[::1]:0", "[::ffff:127.0.0.1]:0"] {
        let loaded = on(loopback).expect(loopback);
        assert_eq!(loaded.warnings.len(), 1, "{loopback}: {:?}", loaded.warnings);
    }
}

#[test]
fn the_bounds_themselves_are_allowed() {
    let text = "[server]\nshards = 128\ndrain = '0s'\n[limits]\nmessage_bytes = 16777216\nmessages = 0\n\
                connects_per_address = 0\n[auth]\nexpiry_warning = '0s'\norigins = ['*', 'http://localhost:3000']";
    from_file(text).expect("valid");
}

#[test]
fn an_outbox_smaller_than_a_message_is_a_warning() {
    let loaded = from_file("[limits]\nmessage_bytes = 65537").expect("valid");
    assert!(loaded.warnings[0].to_string().starts_with("limits.outbox_bytes (default): "), "{:?}", loaded.warnings);
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
fn a_password_without_a_server_is_a_warning() {
    let loaded = from_environment(&[("REDIS_PASSWORD", "hunter2")]).expect("valid");
    assert_eq!(
        loaded.warnings[0].to_string(),
        "redis.password (environment REDIS_PASSWORD): has no effect: redis.url is not set"
    );
}

#[test]
fn server_ids_differ_unless_one_is_given() {
    let id = || load(&Flags::default(), no_environment()).expect("valid").config.server.id;
    let (one, other) = (id(), id());
    assert_ne!(one, other);
    assert!(one.len() == 8 && one.bytes().all(|byte| byte.is_ascii_hexdigit()), "{one}");
    assert_eq!(from_environment(&[("RINGWAY_SERVER_ID", "node-1")]).expect("valid").config.server.id, "node-1");
}

#[test]
fn no_output_shows_a_secret() {
    const HIDDEN: &str = "hunter2-hunter2-hunter2-hunter2-hunter2";
    let url = format!("redis://user:{HIDDEN}@h/1");
    let secrets = [
        ("RINGWAY_AUTH_SECRET", HIDDEN),
        ("RINGWAY_AUTH_PREVIOUS_SECRET", HIDDEN),
        ("RINGWAY_ADMIN_TOKEN", HIDDEN),
        ("REDIS_URL", &url),
    ];
    let loaded = from_environment(&secrets).expect("valid");
    let shown = format!("{}\n{loaded:?}\n{loaded:#?}", print(&loaded));
    assert!(!shown.contains("hunter2"), "{shown}");

    let wrong = [("RINGWAY_SERVER_SHARDS", "x"), ("RINGWAY_REDIS_URL", &format!("rediss://:{HIDDEN}@h"))];
    let problems = from_environment(&[&secrets[..], &wrong[..]].concat()).expect_err("wrong");
    assert!(!problems.concat().contains("hunter2"), "{problems:?}");
}

#[test]
fn what_is_printed_reads_back_as_the_same_configuration() {
    let environment = [("RINGWAY_AUTH_SECRET", SECRET), ("PORT", "5004"), ("REDIS_URL", "redis://u:pw@h:1/4")];
    let file = "[server]\nid = 'node-1'\npath = \"/a'b\"\n[auth]\naudience = ['x\"y', 'z']\n[limits]\nmessages_window = '1500ms'\n\
                [[channels]]\npattern = \"ven'dor:*\"\nbatch_delay = '20ms'\n[[channels]]\npattern = 'x\"y'";
    let first = from_all(Some(file), &environment, Flags::default()).expect("valid");
    let printed = print(&first);
    let again = from_all(Some(&printed), &[("JWT_SECRET", SECRET), ("REDIS_PASSWORD", "pw")], Flags::default());
    assert_eq!(again.expect(&printed).config, first.config);
    assert_eq!(first.config.channels.len(), 2);
    assert!(printed.contains("\n[[channels]] # file "), "{printed}");

    let without_secrets = from_file(&printed).expect_err("the secret is not in the text");
    assert!(without_secrets[0].starts_with("server.listen"), "{without_secrets:?}");
}

#[test]
fn development_mode_is_printed_as_such_and_reads_back() {
    let first = load(&Flags::default(), no_environment()).expect("valid");
    let printed = print(&first);
    assert!(printed.contains("# Development mode"), "{printed}");
    let mut again = from_file(&printed).expect(&printed).config;
    again.server.id.clone_from(&first.config.server.id);
    assert_eq!(again, first.config);
}

#[test]
fn what_development_mode_prints_opens_with_a_secret() {
    for (environment, port) in [(&[][..], 4000), (&[("PORT", "4010")], 4010)] {
        let printed = print(&from_environment(environment).expect("valid"));
        let closed = from_file(&printed).expect(&printed).config;
        assert_eq!(closed.server.listen, address(&format!("127.0.0.1:{port}")), "{printed}");
        let open = from_all(Some(&printed), &[("JWT_SECRET", SECRET)], Flags::default()).expect(&printed).config;
        assert_eq!(open.server.listen, address(&format!("0.0.0.0:{port}")), "{printed}");
    }
    let written = print(&from_all(None, &[], listen("127.0.0.2:4000")).expect("valid"));
    let loaded = from_all(Some(&written), &[("JWT_SECRET", SECRET)], Flags::default()).expect(&written);
    assert_eq!(loaded.config.server.listen, address("127.0.0.2:4000"), "what somebody wrote stays");
}

#[test]
fn every_entry_of_a_list_that_is_wrong_is_named() {
    let problems = from_file("[auth]\norigins = ['a.example', '*', 'https://b.example/']").expect_err("two are wrong");
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].contains("\"a.example\"") && problems[0].contains("\"https://b.example/\""), "{problems:?}");
    let proxies = from_file("[server]\ntrusted_proxies = ['10.0.0.0/33']\nproxy_protocol = true").expect_err("wrong");
    assert_eq!(proxies.len(), 1, "what was refused counts as set: {proxies:?}");
}

#[test]
fn what_is_printed_names_its_sources() {
    let printed =
        print(&from_all(None, &[("PORT", "4010"), ("REDIS_URL", "redis://:p@h")], listen(":4011")).expect("valid"));
    for line in [
        "listen = \":4011\" # flag --listen",
        "path = \"/ws\"",
        "url = \"redis://h\" # environment REDIS_URL",
        "# password is not shown; set by: environment REDIS_URL",
        "# secret is not shown; set by: development mode",
        "# token is not set",
    ] {
        assert!(printed.lines().any(|printed| printed == line), "{line}\n{printed}");
    }
}

/// The rows of `docs/OPERATIONS.md` whose second column is a variable of ours, as (key, variable, default).
fn documented() -> Vec<[String; 3]> {
    let rows = include_str!("../../docs/OPERATIONS.md").lines().filter(|line| line.contains("| `RINGWAY_"));
    rows.map(|row| {
        let mut cells = row.trim_matches('|').split(" | ").map(|cell| cell.trim().trim_matches('`').to_owned());
        std::array::from_fn(|_| cells.next().expect("a cell"))
    })
    .collect()
}

#[test]
fn the_documentation_lists_every_key_with_its_default() {
    let defaults = Config::default();
    let keys: Vec<[String; 3]> = Key::all()
        .into_iter()
        .map(|key| {
            let default = defaults.value(key).filter(|_| !key.is_secret());
            let default = default.map_or("not set".to_owned(), |value| value.to_string());
            [key.to_string(), key.variable(), default]
        })
        .collect();
    assert_eq!(documented(), keys);
}

#[test]
fn the_documentation_lists_every_alias() {
    let text = include_str!("../../docs/OPERATIONS.md");
    for alias in &environment::ALIASES {
        let row = text.lines().find(|line| line.starts_with(&format!("| `{}` |", alias.variable)));
        assert!(row.is_some_and(|row| row.contains(&format!("`{}`", alias.key))), "{}", alias.variable);
    }
    for name in environment::WITHOUT_EFFECT {
        assert!(text.contains(&format!("`{name}`")), "{name}");
    }
}
