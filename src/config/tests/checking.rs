//! What is refused and why: development mode, secrets, and values that do not fit.

use super::*;

#[test]
fn without_any_configuration_it_is_development_on_loopback() {
    let loaded = load(&Flags::default(), no_environment()).expect("valid");
    assert!(loaded.config.development);
    assert_eq!(loaded.config.server.listen, address("127.0.0.1:4000"));
    assert_eq!(loaded.config.auth.secret.as_ref().map(Secret::expose), Some(DEVELOPMENT_SECRET));
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
fn public_keys_open_the_default_address_and_leave_no_secret() {
    for variable in
        [("RINGWAY_AUTH_PUBLIC_KEYS", PUBLIC_KEY), ("RINGWAY_AUTH_JWKS_URL", "https://issuer.example/jwks.json")]
    {
        let config = from_environment(&[variable]).expect(variable.0).config;
        assert!(!config.development && config.auth.secrets().count() == 0, "{variable:?}");
        assert_eq!(config.server.listen, address("0.0.0.0:4000"));
        let both = from_environment(&[variable, ("JWT_SECRET", SECRET)]).expect(variable.0).config;
        assert_eq!(both.auth.secrets().map(Secret::expose).collect::<Vec<_>>(), [SECRET]);
        let published = from_environment(&[variable, ("JWT_SECRET", DEVELOPMENT_SECRET)]).expect(variable.0).config;
        assert!(published.development, "whoever knows it can sign: loopback only");
        let old = from_environment(&[variable, ("RINGWAY_AUTH_PREVIOUS_SECRET", SECRET)]).expect_err("alone");
        assert!(old[0].contains("auth.secret is not"), "{old:?}");
    }
    let none = from_all(Some("[auth]\npublic_keys = []"), &[], Flags::default()).expect("valid").config;
    assert!(none.development, "an empty list is no key");
}

#[test]
fn a_bearer_without_a_url_is_told_and_one_in_the_clear_refused() {
    let loaded = from_environment(&[("JWT_SECRET", SECRET), ("CLERK_SECRET_KEY", "sk_test_hunter2")]).expect("valid");
    let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings, ["auth.jwks_bearer (environment CLERK_SECRET_KEY): has no effect: auth.jwks_url is not set"]);
    let with = |url| from_environment(&[("RINGWAY_AUTH_JWKS_URL", url), ("CLERK_SECRET_KEY", "sk_test_hunter2")]);
    let shown = print(&with("https://api.clerk.com/v1/jwks").expect("valid"));
    assert!(shown.contains("jwks_url = \"https://api.clerk.com/v1/jwks\"") && !shown.contains("hunter2"), "{shown}");
    assert!(with("http://127.0.0.1:1/jwks").is_ok());
    let bent = [("RINGWAY_AUTH_JWKS_URL", "https://issuer.example/jwks"), ("CLERK_SECRET_KEY", "hunter2\r\nX: y")];
    let problems = from_environment(&bent).expect_err("two headers");
    assert_eq!(problems, ["auth.jwks_bearer (environment CLERK_SECRET_KEY): cannot be sent in a header"]);
    let problems = with("http://api.clerk.com/v1/jwks").expect_err("in the clear");
    assert!(problems[0].starts_with("auth.jwks_url (environment RINGWAY_AUTH_JWKS_URL): would send"), "{problems:?}");
    let open = from_environment(&[("RINGWAY_AUTH_JWKS_URL", "http://issuer.example/jwks")]).expect("a warning");
    assert!(open.warnings.iter().any(|warning| warning.to_string().contains("is not https")));
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
        ("[redis]\nurl = 'unix:///h'", "redis.url", "socket"),
        ("[redis]\nprefix = 'ws:*'", "redis.prefix", "ws:*"),
        ("[redis]\ndatabase = -1", "redis.database", "-1"),
        ("[nats]\nurl = 'wss://h'", "nats.url", "WebSocket"),
        ("[nats]\nprefix = 'ws.>'", "nats.prefix", "ws.>"),
        ("[nats]\nprefix = 'ws.'", "nats.prefix", "`ws.`"),
        ("[nats]\nqueue_group = 'a b'", "nats.queue_group", "a b"),
        ("[nats]\njetstream = 'a.b'", "nats.jetstream", "a.b"),
        ("[nats]\njetstream_durable = ''", "nats.jetstream_durable", "``"),
        ("[nats]\njetstream_bytes = 1", "nats.jetstream_bytes", "1048576"),
        ("[nats]\nurl = 'nats://h'\nuser = 'u'", "nats.user", "nats.password"),
        ("[nats]\nurl = 'nats://h'\npassword = 'p'", "nats.password", "nats.user"),
        ("[nats]\nurl = 'nats://h'\ntoken = 't'\ncredentials_file = '/f'", "nats.url", "once"),
        ("[server]\nid = 'n1'\n[nats]\nurl = 'h'\njetstream = 'S'\nqueue_group = 'g'", "nats.queue_group", "jetstream"),
        ("[nats]\nurl = 'nats://h'\njetstream = 'S'", "nats.jetstream", "needs server.id"),
        ("[server]\nid = 'n.1'\n[nats]\nurl = 'h'\njetstream = 'S'", "nats.jetstream", "`n.1`"),
        ("[rabbitmq]\nurl = 'redis://h'", "rabbitmq.url", "amqp://"),
        ("[rabbitmq]\nexchange = ''", "rabbitmq.exchange", "no name"),
        ("[rabbitmq]\nqueue = 'a b'", "rabbitmq.queue", "`a b`"),
        ("[rabbitmq]\nprefix = 'ws.#'", "rabbitmq.prefix", "ws.#"),
        ("[rabbitmq]\nprefetch = 0", "rabbitmq.prefetch", "0 is not between"),
        ("[rabbitmq]\nqueue_bytes = 10", "rabbitmq.queue_bytes", "10 is not between"),
        ("[rabbitmq]\nqueue_expires = '0s'", "rabbitmq.queue_expires", "0ns"),
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
fn every_entry_of_a_list_that_is_wrong_is_named() {
    let problems = from_file("[auth]\norigins = ['a.example', '*', 'https://b.example/']").expect_err("two are wrong");
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].contains("\"a.example\"") && problems[0].contains("\"https://b.example/\""), "{problems:?}");
    let proxies = from_file("[server]\ntrusted_proxies = ['10.0.0.0/33']\nproxy_protocol = true").expect_err("wrong");
    assert_eq!(proxies.len(), 1, "what was refused counts as set: {proxies:?}");
}

#[test]
fn services_need_to_know_where_their_broker_is() {
    for (service, section, alias, url) in [
        ("kind = 'redis'\npublish = 'x'", "redis", "REDIS_URL", "redis://127.0.0.1"),
        ("kind = 'nats'\nsubject = 'x'", "nats", "NATS_URL", "nats://127.0.0.1"),
        ("kind = 'rabbitmq'", "rabbitmq", "RABBITMQ_URL", "amqp://127.0.0.1"),
    ] {
        let file = format!("[auth]\nsecret = '{SECRET}'\n[[services]]\nname = 'chat'\n{service}\n");
        let problems = from_all(Some(&file), &[], Flags::default()).expect_err("no URL");
        assert_eq!(problems, [format!("{section}.url (default): must be set for the service chat")]);
        from_all(Some(&file), &[(alias, url)], Flags::default()).expect("valid");
    }
}

#[test]
fn who_decides_is_a_service_outside() {
    let service = |kind: &str| format!("[authorize]\nservice = 'may'\n[[services]]\nname = 'may'\nkind = {kind}\n");
    for text in ["[authorize]\nservice = 'may'\n".to_owned(), service("'local'")] {
        let problems = from_file(&text).expect_err(&text);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(
            problems[0].starts_with("authorize.service (") && problems[0].contains("no service may outside"),
            "{problems:?}"
        );
    }
    from_file(&service("'http'\nurl = 'http://h/'")).expect("valid");
}

#[test]
fn events_go_to_a_service_outside() {
    let service = |kind: &str| format!("[events]\nservice = 'watch'\n[[services]]\nname = 'watch'\nkind = {kind}\n");
    for text in ["[events]\nservice = 'watch'\n".to_owned(), service("'local'")] {
        let problems = from_file(&text).expect_err(&text);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(
            problems[0].starts_with("events.service (") && problems[0].contains("no service watch"),
            "{problems:?}"
        );
    }
    from_file(&format!("[redis]\nurl = 'redis://h'\n{}publish = 'x'", service("'redis'"))).expect("valid");
    for (text, part) in [
        ("which = ['gone']", "unknown variant `gone`"),
        ("which = []", "is empty"),
        ("batch_max = 0", "0 is not between"),
        ("batch_delay = '2m'", "more than 60s"),
        ("buffer_bytes = 1", "1 is not between"),
    ] {
        let problems = from_file(&format!("[events]\n{text}")).expect_err(text);
        assert!(
            problems.len() == 1 && problems[0].starts_with("events.") && problems[0].contains(part),
            "{problems:?}"
        );
    }
}

#[cfg(feature = "postgres")]
#[test]
fn a_dsn_is_one_and_is_not_repeated_where_it_is_none() {
    let with = |dsn| from_environment(&[("JWT_SECRET", SECRET), ("POSTGRES_DSN", dsn)]);
    assert!(with("postgres://u:hunter2@127.0.0.1/db?sslmode=disable").is_ok() && with("host=h").is_ok());
    let problems = with("postgres://u:hunter2@h:port/db").expect_err("no DSN");
    assert!(problems[0].starts_with("postgres.dsn (environment POSTGRES_DSN): is no DSN"), "{problems:?}");
    assert!(!problems[0].contains("hunter2"), "{problems:?}");
}
