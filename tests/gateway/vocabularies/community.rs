//! Community: clans that chat, notifications that are acknowledged, one connection per user.
//!
//! What is not played here stands in docs/migration/community.md, with the reason.

use sonic_rs::{Value, json};

use super::{assert_nothing_came, expect, send_unanswered};
use crate::support::client::Client;
use crate::support::config::Config;
use crate::support::gateway::Gateway;
use crate::support::http::{exchange, request};
use crate::support::ports;
use crate::support::tokens::{Claims, token};
use crate::support::wait::eventually;
use crate::support::wire::{self, CLOSE_REPLACED, CLOSE_TOKEN_INVALID, CLOSE_TOO_MANY_MESSAGES};

/// A client with its token in the request, which is told that it is connected.
#[track_caller]
fn connect(gateway: &Gateway, user: &str) -> Client {
    let (mut client, _) = Client::upgrade(gateway, &format!("/ws?token={}", token(user)), &[]).expect("an upgrade");
    let connected = client.expect_type("connected");
    assert_eq!(wire::string(&connected, &["userId"]), user);
    assert_eq!(wire::string(&connected, &["message"]), "Connected to WebSocket Gateway");
    client
}

/// The gateway confirms that a subscription begins or ends.
#[track_caller]
fn subscribe(client: &mut Client, request: Value, service: &str, status: &str) {
    client.send(&request.to_string());
    let mut confirmed = json!({"type": "subscription_confirmed", "service": service, "status": status});
    if let Some(clan) = wire::at(&request, &["clanId"]) {
        confirmed = json!({"type": "subscription_confirmed", "service": service, "status": status, "clanId": clan});
    }
    expect(client, &confirmed);
}

#[track_caller]
fn join_clan(client: &mut Client, clan: &str) {
    subscribe(client, json!({"type": "subscribe_clan_chat", "clanId": clan}), "clan_chat", "subscribed");
}

fn chat(clan: &str, content: &str) -> String {
    json!({"type": "chat", "content": content, "clanId": clan, "messageType": "TEXT"}).to_string()
}

#[test]
fn a_clan_chats() {
    let gateway = Gateway::start(Config::new());
    let [mut ana, mut ben, mut eve] = ["ana", "ben", "eve"].map(|user| connect(&gateway, user));
    join_clan(&mut ana, "k1");
    join_clan(&mut ben, "k1");
    join_clan(&mut eve, "k2");
    ana.send(&chat("k1", "Who \"is\" in {user_id}?"));
    let sent = ana.await_type("message_sent");
    let id = wire::string(&sent, &["messageId"]);
    assert_eq!(sent, json!({"type": "message_sent", "messageId": id}));
    for client in [&mut ana, &mut ben] {
        let said = client.expect_type("chat");
        let timestamp = wire::string(&said, &["timestamp"]);
        assert!(timestamp.ends_with('Z'), "{said:?}");
        assert_eq!(
            said,
            json!({"type": "chat", "messageId": id, "userId": "ana", "content": "Who \"is\" in {user_id}?",
                "clanId": "k1", "messageType": "TEXT", "timestamp": timestamp})
        );
    }
    assert_nothing_came(&gateway, "eve", &mut eve);
    subscribe(&mut ben, json!({"type": "unsubscribe_clan_chat", "clanId": "k1"}), "clan_chat", "unsubscribed");
    ana.send(&chat("k1", "Still there?"));
    ana.await_type("chat");
    assert_nothing_came(&gateway, "ben", &mut ben);
}

#[test]
fn the_others_see_who_writes_and_who_has_stopped() {
    let gateway = Gateway::start(Config::new());
    let [mut ana, mut ben] = ["ana", "ben"].map(|user| connect(&gateway, user));
    join_clan(&mut ana, "k1");
    join_clan(&mut ben, "k1");
    for is_typing in [true, false] {
        send_unanswered(&mut ana, &json!({"type": "typing", "isTyping": is_typing, "clanId": "k1"}));
        expect(&mut ben, &json!({"type": "typing", "userId": "ana", "clanId": "k1", "isTyping": is_typing}));
    }
    assert_nothing_came(&gateway, "ana", &mut ana);
}

#[test]
fn who_is_not_in_the_clan_neither_chats_nor_types_there() {
    let gateway = Gateway::start(Config::new());
    let [mut ana, mut eve] = ["ana", "eve"].map(|user| connect(&gateway, user));
    join_clan(&mut ana, "k1");
    join_clan(&mut eve, "k2");
    for message in [chat("k1", "Let me in"), json!({"type": "typing", "isTyping": true, "clanId": "k1"}).to_string()] {
        eve.send(&message);
        let error = eve.expect_type("error");
        assert_eq!(wire::string(&error, &["payload", "code"]), "not_subscribed");
        assert!(!wire::string(&error, &["message"]).is_empty(), "{error:?}");
    }
    assert_nothing_came(&gateway, "ana", &mut ana);
}

#[test]
fn notifications_reach_those_who_want_them_and_are_acknowledged() {
    let gateway = Gateway::start(Config::new());
    let [mut ana, mut ben] = ["ana", "ben"].map(|user| connect(&gateway, user));
    subscribe(&mut ana, json!({"type": "subscribe_notifications"}), "notifications", "subscribed");
    let notification =
        json!({"type": "notification", "id": "n1", "title": "News", "message": "The clan has a new name"});
    assert_eq!(gateway.admin().broadcast("/broadcast/channel/notifications", &notification.to_string()), 1);
    expect(&mut ana, &notification);
    assert_eq!(gateway.admin().broadcast("/broadcast/user/ben", &notification.to_string()), 1);
    expect(&mut ben, &notification);
    for client in [&mut ana, &mut ben] {
        send_unanswered(client, &json!({"type": "notification_ack", "notificationId": "n1"}));
    }
    subscribe(&mut ana, json!({"type": "unsubscribe_notifications"}), "notifications", "unsubscribed");
    assert_eq!(gateway.admin().broadcast("/broadcast/channel/notifications", &notification.to_string()), 0);
}

/// What the clan says goes out to an exchange and comes back from it, as does what services publish.
#[cfg(feature = "rabbitmq")]
#[test]
fn events_go_to_rabbitmq_and_come_from_it() {
    use crate::support::rabbitmq::shared;

    const EXCHANGE: &str = "community";
    let broker = shared();
    let gateway = Gateway::start(super::shown("community").set("rabbitmq.url", broker.url()));
    eventually("both services are connected", || gateway.admin().metrics().sum("ringway_service_connected") == 2.0);
    let backend = broker.client();
    backend.keep("community.chats", EXCHANGE, "ws.clan.#");
    backend.keep("community.acknowledged", EXCHANGE, "acknowledged.#");

    let [mut ana, mut ben] = ["ana", "ben"].map(|user| connect(&gateway, user));
    join_clan(&mut ana, "k1");
    join_clan(&mut ben, "k1");
    ana.send(&chat("k1", "Hello!"));
    let said = ben.expect_type("chat");
    let heard = [ana.next_json(), ana.next_json()];
    let sent = json!({"type": "message_sent", "messageId": wire::string(&said, &["messageId"])});
    assert!(heard.contains(&sent) && heard.contains(&said), "{heard:?}");
    let kept = backend.take_all("community.chats");
    let kept: Vec<_> = kept.iter().map(|kept| wire::json(str::from_utf8(&kept.data).expect("text"))).collect();
    assert_eq!(kept, [said]);

    let notification = |id: &str| json!({"type": "notification", "id": id, "title": "News", "message": "A new name"});
    subscribe(&mut ana, json!({"type": "subscribe_notifications"}), "notifications", "subscribed");
    for (key, client) in [("ws.notifications", &mut ana), ("ws.user.ben", &mut ben)] {
        backend.publish(EXCHANGE, key, &[], notification(key).to_string());
        expect(client, &notification(key));
    }
    send_unanswered(&mut ben, &json!({"type": "notification_ack", "notificationId": "ws.user.ben"}));
    eventually("the service has the acknowledgement", || backend.waiting("community.acknowledged") == 1);
    let told = &backend.take_all("community.acknowledged")[0];
    assert_eq!(told.routing_key.as_str(), "acknowledged.ben");
    assert!(gateway.admin().get("/notifications/ws.user.ben?user=ben").body.contains("confirmed"));
}

#[test]
fn a_ping_is_answered_with_the_time_and_what_cannot_be_used_with_an_error() {
    let gateway = Gateway::start(Config::new());
    let mut ana = connect(&gateway, "ana");
    ana.send(r#"{"type":"ping"}"#);
    let pong = ana.expect_type("pong");
    assert!(wire::string(&pong, &["timestamp"]).starts_with("20"), "{pong:?}");
    for bad in ["{", r#"{"type":"chat"}"#, r#"{"type":"future_service"}"#] {
        ana.send(bad);
        assert!(!wire::string(&ana.expect_type("error"), &["message"]).is_empty(), "{bad}");
    }
}

#[test]
fn the_health_endpoints_count_connections_users_and_subscriptions() {
    let gateway = Gateway::start(Config::new());
    let mut clients = ["ana", "ben", "ben"].map(|user| connect(&gateway, user));
    clients[..2].iter_mut().for_each(|client| join_clan(client, "k1"));
    subscribe(&mut clients[2], json!({"type": "subscribe_notifications"}), "notifications", "subscribed");
    eventually("the subscriptions are counted", || {
        let health = gateway.admin().get("/health/websocket").json();
        let counted = |service| wire::number(&health, &["subscriptions", service]);
        (counted("clans"), counted("notifications")) == (Some(2), Some(1))
    });
    let health = gateway.admin().get("/health/websocket").json();
    for (name, count) in [("totalConnections", 3), ("activeConnections", 3), ("connectedUsers", 2)] {
        assert_eq!(wire::number(&health, &[name]), Some(count), "{name} in {health:?}");
    }
    let answer = exchange(gateway.public, &request("GET", "/health", &[("Host", "x"), ("Connection", "close")]));
    assert_eq!(wire::json(&answer.body), json!({"status": "ok", "connections": 3}));
}

#[test]
fn the_newest_connection_of_a_user_takes_the_place_of_the_older() {
    let gateway = Gateway::start(Config::new().set("server.sessions", "single"));
    let mut other = connect(&gateway, "ben");
    let mut older = connect(&gateway, "ana");
    for _ in 0..3 {
        let newer = connect(&gateway, "ana");
        assert_eq!(older.expect_close(), CLOSE_REPLACED);
        older = newer;
    }
    gateway.admin().eventually_active(2);
    assert_eq!(gateway.admin().broadcast("/broadcast/user/ana", "for the newest"), 1);
    assert_eq!(older.next_text(), "for the newest");
    other.ping();
}

#[test]
fn only_a_valid_token_is_taken() {
    let gateway = Gateway::start(Config::new());
    let ana = Claims::of("ana");
    for (what, token) in [
        ("no token at all", "x".to_owned()),
        ("one that has expired", ana.clone().expires_in(-60).sign()),
        ("one of somebody else's", ana.sign_with(jsonwebtoken::Algorithm::HS256, "not the secret")),
        ("one that nobody signed", ana.unsigned()),
    ] {
        let opened = Client::upgrade(&gateway, &format!("/ws?token={token}"), &[]);
        opened.err().unwrap_or_else(|| panic!("{what} is taken")).assert_refusal(what, 401);
        let (mut client, _) = Client::upgrade(&gateway, "/ws", &[]).expect("nobody is asked yet");
        client.send(&json!({"type": "auth", "token": token}).to_string());
        client.expect_type("error");
        assert_eq!(client.expect_close(), CLOSE_TOKEN_INVALID, "{what}");
    }
    connect(&gateway, "ana").ping();
}

#[test]
fn who_says_too_much_is_closed_and_who_connects_too_often_has_to_wait() {
    let config = Config::new().set("limits.messages", 5).set("limits.connects_per_address", 2);
    let gateway = Gateway::start(config.set("limits.connects_window", "1h"));
    let [mut ana, mut ben] = ["ana", "ben"].map(|user| connect(&gateway, user));
    join_clan(&mut ana, "k1");
    (0..4).for_each(|_| ana.ping());
    ana.send(&chat("k1", "One too many"));
    assert_eq!(ana.expect_close(), CLOSE_TOO_MANY_MESSAGES);
    ben.ping();
    let again = Client::upgrade(&gateway, &format!("/ws?token={}", token("ana")), &[]);
    again.err().expect("a third connection within the window").assert_refusal("a third connection", 429);
}

#[test]
fn messages_and_errors_are_counted() {
    let gateway = Gateway::start(Config::new());
    let [mut ana, mut ben] = ["ana", "ben"].map(|user| connect(&gateway, user));
    join_clan(&mut ana, "k1");
    join_clan(&mut ben, "k1");
    let before = gateway.admin().metrics();
    ana.send(&chat("k1", "Hello!"));
    ana.await_type("chat");
    ben.expect_type("chat");
    ana.send(r#"{"type":"chat"}"#);
    ana.await_type("error");
    let grew = |name: &str| gateway.admin().metrics().sum(name) - before.sum(name);
    for (name, by) in [("messages_received", 2.0), ("deliveries", 2.0), ("errors_sent", 1.0)] {
        eventually(name, || grew(&format!("ringway_{name}_total")) == by);
    }
}

#[test]
fn the_log_says_as_much_as_it_is_asked_for() {
    // A broker that is away is told once as a warning, and whenever it still is for those who look for the reason.
    let away = format!("redis://{}", ports::free());
    for (level, expected) in
        [("error", &[][..]), ("warn", &["WARN"]), ("info", &["INFO", "WARN"]), ("debug", &["INFO", "WARN", "DEBUG"])]
    {
        let config = Config::new().set("log.level", level).set("redis.url", away.as_str());
        let gateway = Gateway::start_alive(config);
        eventually("the broker is away", || gateway.admin().get("/readyz").status == 503);
        let has = |level: &str| gateway.log().contains(level);
        eventually("all is said", || expected.iter().all(|level| has(level)));
        for other in ["INFO", "WARN", "DEBUG"].iter().filter(|level| !expected.contains(level)) {
            assert!(!has(other), "{other} at {level}: {}", gateway.log());
        }
    }
}
