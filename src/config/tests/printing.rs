//! What is printed: no secret, what set each value, and what reads back as the same configuration.

use super::*;

#[test]
fn no_output_shows_a_secret() {
    const HIDDEN: &str = "hunter2-hunter2-hunter2-hunter2-hunter2";
    let url = format!("redis://user:{HIDDEN}@h/1");
    let rabbitmq = format!("amqp://user:{HIDDEN}@h/v");
    let secrets = [
        ("RINGWAY_AUTH_SECRET", HIDDEN),
        ("RINGWAY_AUTH_PREVIOUS_SECRET", HIDDEN),
        ("RINGWAY_ADMIN_TOKEN", HIDDEN),
        ("REDIS_URL", &url),
        ("NATS_URL", &format!("nats://user:{HIDDEN}@h")),
        ("RABBITMQ_URL", &rabbitmq),
    ];
    let loaded = from_environment(&secrets).expect("valid");
    let shown = format!("{}\n{loaded:?}\n{loaded:#?}", print(&loaded));
    assert!(!shown.contains("hunter2"), "{shown}");

    let wrong = [("RINGWAY_SERVER_SHARDS", "x"), ("RINGWAY_REDIS_URL", &format!("rediss://:{HIDDEN}@h"))];
    let token = [("RINGWAY_NATS_URL", &*format!("nats://{HIDDEN}@h"))];
    let loaded = from_environment(&token).expect("valid");
    assert!(!format!("{}\n{loaded:?}", print(&loaded)).contains("hunter2"));
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

#[cfg(feature = "http")]
#[test]
fn services_are_printed_without_their_secrets_and_read_back() {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(b"hunter2-hunter2-hunter2-hunter2-hunter2\n").expect("it is writable");
    let service = "[[services]]\nkind = 'http'\nurl = 'https://a.example/{type}?x=1'\nname = ";
    let secret = "secret = 'hunter2-hunter2-hunter2-hunter2'";
    let first = format!("{service}'a'\n{secret}\n{service}'b'\nsecret_file = '{}'\n", file.path().display());
    let first = from_file(&first).expect("valid");
    let printed = print(&first);
    assert!(!printed.contains("hunter2") && printed.contains("# secret is not shown"), "{printed}");
    let mut again = from_file(&printed).expect(&printed).config;
    assert_eq!(again.services[1], first.config.services[1]);
    let Backend::Http(a) = &mut again.services[0].backend else { panic!("{printed}") };
    assert_eq!(a.secret.replace(Secret::new("hunter2-hunter2-hunter2-hunter2")), None, "a mask is no secret");
    assert_eq!(again.services, first.config.services);
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
