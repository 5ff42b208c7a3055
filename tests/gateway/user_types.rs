//! Promise: a role is what the token says. What a client says of itself makes a user type only where that is allowed,
//! and however many types clients make up, the admin port stays quick and small.

use crate::support::client::Client;
use crate::support::config::Config;
use crate::support::gateway::Gateway;
use crate::support::http;
use crate::support::process::run;
use crate::support::tokens::{Claims, token};
use crate::support::wire;

#[test]
fn the_query_is_no_role_in_an_auth_message_either() {
    let gateway = Gateway::start(Config::new().list("auth.roles", &["admin"]));
    let (mut client, _) = Client::upgrade(&gateway, "/ws?userType=admin", &[]).expect("a token may come later");
    client.send(&format!(r#"{{"type":"auth","token":"{}"}}"#, token("u1")));
    let error = client.expect_type("error");
    assert_eq!(wire::string(&error, &["payload", "code"]), "role_not_allowed");
    assert_eq!(client.expect_close(), 4503);
}

#[test]
fn the_query_names_a_type_by_default() {
    let gateway = Gateway::start(Config::new());
    let mut client = Client::connect_at(&gateway, "/ws?userType=driver", &token("u1"));
    assert_eq!(gateway.admin().broadcast("/broadcast/channel/type:driver", "for drivers"), 1);
    assert_eq!(client.next_text(), "for drivers");
    assert!(gateway.log().contains("auth.user_type"), "it is said at start");
}

#[test]
fn with_the_token_as_the_only_source_the_query_is_ignored() {
    let gateway = Gateway::start(Config::new().set("auth.user_type", "token"));
    let _claimed = Client::connect_at(&gateway, "/ws?userType=admin", &token("u1"));
    let mut vouched = Client::connect_at(&gateway, "/ws?userType=admin", &Claims::of("u2").role("driver").sign());
    assert_eq!(gateway.admin().connection_of("u1").user_type, None);
    assert_eq!(gateway.admin().broadcast("/broadcast/channel/type:admin", "for admins"), 0);
    assert_eq!(gateway.admin().broadcast("/broadcast/all?userType=admin", "for admins"), 0);
    assert_eq!(gateway.admin().broadcast("/broadcast/channel/type:driver", "for drivers"), 1);
    assert_eq!(vouched.next_text(), "for drivers");
    assert!(!gateway.log().contains("auth.user_type"), "there is nothing to say");
}

#[test]
fn check_config_says_whose_word_makes_the_type() {
    let folder = tempfile::tempdir().expect("a temp dir");
    for (from, said) in [("query", true), ("token", false)] {
        let path = Config::new().set("auth.user_type", from).write(folder.path());
        let finished = run(crate::support::gateway::command().args(["check-config", "--config"]).arg(path));
        assert_eq!(finished.code, Some(0), "{finished:?}");
        assert_eq!(finished.stderr.contains("note: auth.user_type"), said, "{finished:?}");
    }
}

#[test]
fn types_that_clients_make_up_count_as_other_beyond_a_bound() {
    const CLIENTS: u64 = 600;
    let gateway = Gateway::start(Config::new().set("server.shards", 1));
    let bearer = format!("Bearer {}", token("u1"));
    let _clients: Vec<_> = (0..CLIENTS)
        .map(|n| {
            let mut stream = http::open(gateway.public);
            let target = format!("/ws?userType=type-{n}");
            http::upgrade(&mut stream, &target, &[("Authorization", &bearer)]).expect("an upgrade");
            stream
        })
        .collect();
    let stats = gateway.admin().get("/stats").json();
    let other = wire::number(&stats, &["byUserType", "other"]).expect("those beyond the bound are counted");
    assert!((CLIENTS - 256..CLIENTS).contains(&other), "{other} of {CLIENTS} are other");
    let numbers = gateway.admin().get("/dashboard.json").json();
    assert_eq!(wire::number(&numbers, &["sessions"]), Some(CLIENTS), "{numbers:?}");
    // The channel of a type is the client's word all the same.
    assert_eq!(gateway.admin().broadcast("/broadcast/channel/type:type-599", "hello"), 1);
}
