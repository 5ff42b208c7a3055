//! Tracking: NATS and Redis bring what services say, a location service takes positions over gRPC, and an issuer like
//! Clerk signs the tokens.

use sonic_rs::json;

use super::{all_connected, expect, one_is_away};
use crate::support::client::Client;
use crate::support::gateway::Gateway;
use crate::support::grpc::Backend;
use crate::support::issuer::{Issuer, Manner};
use crate::support::nats::Nats;
use crate::support::redis::Redis;
use crate::support::tokens::{Claims, jwks_of};
use crate::support::wait::eventually;
use crate::support::wire;

const PASSWORD: &str = "your-redis-password";

fn connect(gateway: &Gateway, user: &str, role: &str) -> Client {
    let iss = Some("https://venta.clerk.accounts.dev".to_owned());
    let session = Claims { iss, ..Claims::of(user).role(role).expires_in(60).issued_in(0) };
    Client::connect(gateway, &session.sign_by("RS256", "rsa", Some("rsa")))
}

#[test]
fn events_positions_and_identities_come_from_the_systems_that_have_them() {
    let (mut redis, mut nats, mut location) = (Redis::start(), Nats::start(), Backend::start());
    let issuer = Issuer::start_as(Manner::says(jwks_of(&["rsa"])));
    redis.require_password(PASSWORD);
    let (host, address, jwks) = (redis.host(), location.address.to_string(), issuer.url());
    let gateway = Gateway::start_by_variables(
        "WEBSOCKET_GATEWAY_SERVICE_PORT",
        &[
            ("WEBSOCKET_MAX_CONNECTIONS", "10000"),
            ("WEBSOCKET_HEARTBEAT_INTERVAL", "30000"),
            ("WEBSOCKET_CONNECTION_TIMEOUT", "60000"),
            ("WEBSOCKET_RATE_LIMIT_MESSAGES", "100"),
            ("WEBSOCKET_RATE_LIMIT_WINDOW", "60000"),
            ("REDIS_HOST", &host),
            ("REDIS_PASSWORD", PASSWORD),
            ("NATS_URL", &nats.url()),
            ("LOCATION_SERVICE_ADDRESS", &address),
            ("RINGWAY_AUTH_JWKS_URL", &jwks),
            ("CLERK_SECRET_KEY", "your-clerk-secret"),
        ],
    );
    all_connected(&gateway, 3);
    let (mut vendor, mut user) = (connect(&gateway, "v1", "vendor"), connect(&gateway, "u1", "user"));
    user.send(r#"{"type":"subscribe_vendor","vendorId":"v1"}"#);
    user.expect_type("subscription_confirmed");
    let position = r#"{"type":"location_update","latitude":48.2082,"longitude":16.3738,"isAvailable":true}"#;
    vendor.send(position);
    user.expect_type("vendor_location");
    eventually("the location service has it", || location.asked().len() == 1);
    let asked = location.asked().remove(0);
    assert_eq!((asked.method, &*asked.identity.user_id), ("ReportLocation", "v1"));

    let mut services = nats.peer();
    let notification = json!({"type": "notification", "id": "n1", "payload": {"title": "Your order is ready"}});
    services.publish("ws.user.u1", &notification.to_string());
    expect(&mut user, &notification);
    user.send(r#"{"type":"notification_ack","notificationId":"n1"}"#);
    eventually("it is confirmed", || gateway.admin().get("/notifications/n1?user=u1").body.contains("confirmed"));
    services.publish("ws.vendor.v1", r#"{"type":"vendor_status","payload":{"open":false}}"#);
    user.expect_type("vendor_status");
    redis.publish("ws:type:user", r#"{"type":"offer"}"#);
    user.expect_type("offer");

    // Each of them dies: what the others bring goes on, and it goes on when it is back.
    nats.kill();
    one_is_away(&gateway);
    redis.publish("ws:user:u1", r#"{"type":"while NATS is away"}"#);
    user.expect_type("while NATS is away");
    nats.restart();
    all_connected(&gateway, 3);
    nats.peer().publish("ws.user.u1", r#"{"type":"NATS is back"}"#);
    user.expect_type("NATS is back");
    location.kill();
    one_is_away(&gateway);
    vendor.send(position);
    user.expect_type("vendor_location");
    location.restart();
    all_connected(&gateway, 3);
    let before = location.asked().len();
    vendor.send(position);
    user.expect_type("vendor_location");
    eventually("the location service has it", || location.asked().len() > before);
    assert_eq!(wire::string(&gateway.admin().get("/readyz").json(), &["issuer", "state"]), "connected");
}
