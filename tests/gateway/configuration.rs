//! Promise: a configuration is checked whole before any port is bound; what is wrong is one line naming it, exit 78.

use std::process::Command;

use crate::support::client::Client;
use crate::support::config::Config;
use crate::support::gateway::{Gateway, command};
use crate::support::ports;
use crate::support::process::{Finished, run};
use crate::support::tokens::SECRET;

const MIB: i64 = 1024 * 1024;

/// `EX_CONFIG` of sysexits.h.
const EXIT_CONFIG: i32 = 78;

#[test]
fn a_bad_value_or_an_unknown_key_is_named() {
    let bad = [
        (Config::new().set("server.shards", 1_000_000), "shards"),
        (Config::new().set("server.shards", "many"), "shards"),
        (Config::new().set("server.listen", "nowhere"), "listen"),
        (Config::new().set("server.colour", "blue"), "colour"),
        (Config::new().set("kitchen.sink", true), "kitchen"),
        (Config::new().set("auth.deadline", "soon"), "deadline"),
        (Config::new().set("heartbeat.interval", "-1s"), "interval"),
        (Config::new().set("limits.outbox_bytes", MIB * 32).set("limits.message_bytes", MIB * 17), "message_bytes"),
        (Config::new().set("redis.url", "http://127.0.0.1"), "url"),
        (Config::new().set("log.level", "loud"), "level"),
        (Config::new().set("log.format", "xml"), "format"),
        (Config::new().channel("vendor:*", "2s"), "channels[0].batch_delay"),
        (Config::new().channel("vendor:*", "20ms").channel("", "20ms"), "channels[1].pattern"),
        (Config::new().set("channels.pattern", "vendor:*"), "[[channels]]"),
    ];
    for (config, key) in bad {
        for subcommand in [&["serve"][..], &["check-config"]] {
            let finished = run_with(&config, subcommand);
            assert_refused(&finished, key);
        }
    }
}

#[test]
fn a_bad_environment_is_named() {
    let folder = tempfile::tempdir().expect("a temp dir");
    let path = Config::new().write(folder.path());
    // Commands start with an empty environment: env(1) adds to it.
    let mut with_environment = Command::new("env");
    with_environment.arg("RINGWAY_SERVER_SHARDS=many").arg(command().get_program());
    let finished = run(with_environment.args(["check-config", "--config"]).arg(path));
    assert_eq!(finished.code, Some(EXIT_CONFIG), "{finished:?}");
    assert!(finished.stderr.contains("RINGWAY_SERVER_SHARDS") || finished.stderr.contains("shards"), "{finished:?}");
}

#[test]
fn a_file_that_is_missing_or_not_toml_is_named() {
    let folder = tempfile::tempdir().expect("a temp dir");
    let missing = folder.path().join("missing.toml");
    let broken = folder.path().join("broken.toml");
    std::fs::write(&broken, "[server\nlisten = ").expect("the temp dir is writable");
    for path in [missing, broken] {
        let finished = run(command().args(["check-config", "--config"]).arg(&path));
        assert_refused(&finished, path.file_name().and_then(|name| name.to_str()).expect("a name"));
    }
}

#[test]
fn anything_but_loopback_needs_a_secret() {
    let port = ports::free().port();
    let open = Config::empty().set("server.listen", format!("0.0.0.0:{port}"));
    assert_refused(&run_with(&open, &["serve"]), "secret");
    assert_refused(&run_with(&open.clone().set("auth.secret", "short"), &["check-config"]), "secret");
    let finished = run_with(&open.set("auth.secret", SECRET), &["check-config"]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
}

#[test]
fn an_open_admin_port_needs_a_token() {
    let port = ports::free().port();
    let open = Config::new().set("admin.listen", format!("0.0.0.0:{port}"));
    assert_refused(&run_with(&open, &["check-config"]), "token");
    assert_refused(&run_with(&open.clone().set("admin.token", "t"), &["check-config"]), "has 1 bytes");
    let finished = run_with(&open.set("admin.token", "a token of the operators, long enough"), &["check-config"]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
}

#[test]
fn a_good_configuration_is_checked_and_printed_without_its_secrets() {
    let config = Config::new().set("redis.password", "a password that nobody prints").set("server.id", "node-7");
    assert_eq!(run_with(&config, &["check-config"]).code, Some(0));
    let printed = run_with(&config, &["print-config"]);
    assert_eq!(printed.code, Some(0), "{printed:?}");
    assert!(printed.stdout.contains("node-7"), "{printed:?}");
    for secret in [SECRET, "a password that nobody prints"] {
        assert!(!printed.stdout.contains(secret) && !printed.stderr.contains(secret), "a secret was printed");
    }
}

#[test]
fn the_token_command_mints_tokens_that_connect() {
    let folder = tempfile::tempdir().expect("a temp dir");
    let path = Config::new().write(folder.path());
    let arguments =
        ["token", "--user", "u1", "--user-type", "driver", "--ttl", "1h", "--claim", r#"channels=["conv:*"]"#];
    let minted = run(command().args(arguments).arg("--config").arg(path));
    assert_eq!(minted.code, Some(0), "{minted:?}");
    let gateway = Gateway::start(Config::new());
    let mut client = Client::connect(&gateway, minted.stdout.trim());
    assert_eq!(gateway.admin().connection_of("u1").user_type.as_deref(), Some("driver"));
    client.subscribe(&["conv:c1"]);
    client.send(r#"{"type":"subscribe","payload":{"channels":["clan:c1"]}}"#);
    client.expect_type("error");
}

#[test]
fn the_token_command_says_with_which_secret_it_signs() {
    let own = run_with(&Config::new(), &["token", "--user", "u1"]);
    assert_eq!(own.code, Some(0), "{own:?}");
    assert!(own.stderr.starts_with("signed with auth.secret (file "), "{own:?}");
    let published = run(command().args(["token", "--user", "u1"]));
    assert_eq!(published.code, Some(0), "{published:?}");
    assert!(published.stderr.starts_with("signed with the published development secret"), "{published:?}");
    for finished in [own, published] {
        assert_eq!((finished.stdout.lines().count(), finished.stderr.lines().count()), (1, 1), "{finished:?}");
    }
}

#[test]
fn a_token_that_cannot_work_is_not_made() {
    let strict = Config::new().list("auth.audience", &["chat"]);
    for (config, arguments, why) in [
        (Config::new(), ["--claim", "channels=conv:*"], "is a list"),
        (Config::new(), ["--ttl", "0s"], "expired"),
        (Config::new(), ["--claim", "exp=1"], "expired"),
        (strict.clone(), ["--ttl", "1h"], "audience"),
    ] {
        let finished = run_with(&config, &[&["token", "--user", "u1"][..], &arguments].concat());
        assert_eq!(finished.code, Some(1), "{arguments:?}: {finished:?}");
        assert!(finished.stdout.is_empty() && finished.stderr.contains(why), "{arguments:?}: {finished:?}");
    }
    for (config, arguments) in [(strict, ["--claim", "aud=chat"]), (Config::new(), ["--claim", "nbf=99999999999"])] {
        let finished = run_with(&config, &[&["token", "--user", "u1"][..], &arguments].concat());
        assert_eq!(finished.code, Some(0), "{arguments:?}: {finished:?}");
    }
}

#[track_caller]
fn run_with(config: &Config, subcommand: &[&str]) -> Finished {
    let folder = tempfile::tempdir().expect("a temp dir");
    run(command().args(subcommand).arg("--config").arg(config.write(folder.path())))
}

#[track_caller]
fn assert_refused(finished: &Finished, key: &str) {
    assert_eq!(finished.code, Some(EXIT_CONFIG), "{finished:?}");
    let lines: Vec<_> = finished.stderr.lines().collect();
    assert_eq!(lines.len(), 1, "one line was expected: {finished:?}");
    assert!(lines[0].contains(key), "{key} is not named: {finished:?}");
    assert!(finished.stdout.is_empty(), "{finished:?}");
}
