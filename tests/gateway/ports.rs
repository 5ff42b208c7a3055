//! Promise: what the public and the admin port tell about the gateway has the shape that is documented.

use sonic_rs::JsonValueTrait;

use crate::support::admin::{ACTIVE, Admin, CONNECTED_USERS, SUBSCRIPTIONS, TOTAL};
use crate::support::client::Client;
use crate::support::config::Config;
use crate::support::gateway::Gateway;
use crate::support::http::{exchange, request};
use crate::support::tokens::token;
use crate::support::wire::{self, json};

#[test]
fn the_public_port_tells_who_it_is_and_how_it_does() {
    let gateway = Gateway::start(Config::new());
    let ask = |path| exchange(gateway.public, &request("GET", path, &[("Host", "gateway.test")]));
    let root = ask("/");
    assert_eq!((root.status, root.body.as_str()), (200, r#"{"service":"WebSocket Gateway","status":"ok"}"#));
    assert_eq!(ask("/health").body, r#"{"status":"ok","connections":0}"#);
    let _clients = [Client::connect(&gateway, &token("u1")), Client::connect(&gateway, &token("u2"))];
    let health = ask("/health");
    assert_eq!((health.status, health.body.as_str()), (200, r#"{"status":"ok","connections":2}"#));
    assert_eq!(health.header("Content-Type"), Some("application/json"));
}

#[test]
fn stats_count_connections_users_and_types() {
    let gateway = Gateway::start(Config::new().set("server.id", "node-7"));
    let connect = |user, target| Client::connect_at(&gateway, target, &token(user));
    let _clients = [
        connect("u1", "/ws?userType=driver"),
        connect("u1", "/ws?userType=driver"),
        connect("u2", "/ws?userType=rider"),
        connect("u3", "/ws"),
    ];
    let stats = gateway.admin().get("/stats").json();
    assert_eq!(wire::string(&stats, &["serverId"]), "node-7");
    assert_eq!(wire::number(&stats, &["totalConnections"]), Some(4));
    assert_eq!(wire::number(&stats, &["uniqueUsers"]), Some(3));
    assert_eq!(wire::number(&stats, &["byUserType", "driver"]), Some(2));
    assert_eq!(wire::number(&stats, &["byUserType", "rider"]), Some(1));
    assert!(wire::number(&stats, &["uptime"]).is_some(), "{stats:?}");
}

#[test]
fn websocket_health_counts_what_is_open_and_what_is_subscribed() {
    let gateway = Gateway::start(Config::new());
    let mut first = Client::connect(&gateway, &token("u1"));
    Client::connect(&gateway, &token("u1")).close();
    gateway.admin().eventually_active(1);
    first.subscribe(&["conv:a", "conv:b", "clan:c"]);
    let health = gateway.admin().get("/health/websocket").json();
    assert_eq!(wire::number(&health, &[TOTAL]), Some(2), "{health:?}");
    assert_eq!(wire::number(&health, &[ACTIVE]), Some(1), "{health:?}");
    assert_eq!(wire::number(&health, &[CONNECTED_USERS]), Some(1), "{health:?}");
    assert!(wire::at(&health, &[SUBSCRIPTIONS]).is_some_and(|counts| counts.is_object()), "{health:?}");
}

#[test]
fn the_admin_port_answers_for_probes() {
    let gateway = Gateway::start(Config::new());
    for path in ["/livez", "/readyz", "/health"] {
        assert_eq!(gateway.admin().get(path).status, 200, "{path}");
    }
    assert_eq!(wire::string(&gateway.admin().get("/health").json(), &["status"]), "ok");
    assert_eq!(gateway.admin().get("/nothing").status, 404);
}

#[test]
fn connections_and_channels_are_listed() {
    let gateway = Gateway::start(Config::new());
    let mut client = Client::connect_at(&gateway, "/ws?userType=driver", &token("u1"));
    client.subscribe(&["conv:c1"]);
    let listed = gateway.admin().connection_of("u1");
    assert!(listed.shard < 2, "{listed:?}");
    assert!(!listed.session_id.is_empty(), "{listed:?}");
    assert_eq!(listed.user_type.as_deref(), Some("driver"));
    assert!(listed.channels.iter().any(|channel| channel == "conv:c1"), "{listed:?}");
    let channels = gateway.admin().get("/channels");
    assert!(json(&channels.body).is_object() || json(&channels.body).is_array(), "{channels:?}");
    assert!(channels.body.contains(r#""conv:c1""#), "{channels:?}");
}

#[test]
fn metrics_are_prometheus_text() {
    let gateway = Gateway::start(Config::new());
    let mut client = Client::connect(&gateway, &token("u1"));
    client.ping();
    let answer = gateway.admin().get("/metrics");
    let kinds = ["text/plain", "application/openmetrics-text"];
    assert!(kinds.iter().any(|kind| answer.content_type.starts_with(kind)), "{}", answer.content_type);
    assert_eq!(gateway.admin().metrics().sum(crate::support::prometheus::CONNECTIONS), 1.0);
}

#[test]
fn a_configured_admin_token_is_asked_for() {
    let gateway = Gateway::start(Config::new().set("admin.token", "a token of the operators, long enough"));
    let strangers = [None, Some("another token of the operators"), Some("")];
    for token in strangers {
        let stranger = Admin { address: gateway.admin().address, token: token.map(str::to_owned) };
        for path in ["/stats", "/metrics", "/connections", "/channels", "/health/websocket"] {
            assert_eq!(stranger.get(path).status, 401, "{path} with {token:?}");
        }
        for path in [
            "/broadcast/all",
            "/broadcast/user/u1",
            "/broadcast/channel/conv:c1",
            "/send/session/x",
            "/disconnect/user/u1",
        ] {
            assert_eq!(stranger.post(path, "hello").status, 401, "{path} with {token:?}");
        }
    }
    assert_eq!(gateway.admin().get("/stats").status, 200);
    assert_eq!(gateway.admin().broadcast("/broadcast/all", "hello"), 0);
}
