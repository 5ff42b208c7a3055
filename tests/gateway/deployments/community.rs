//! Community: an exchange of RabbitMQ, to which the gateway publishes what clans say and from which it takes what the
//! services say, and one connection per user.

use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldArray};
use sonic_rs::{Value, json};

use super::{all_connected, expect, one_is_away, refused};
use crate::support::client::Client;
use crate::support::config::Config;
use crate::support::gateway::Gateway;
use crate::support::rabbitmq::RabbitMq;
use crate::support::tokens::token;
use crate::support::wait::eventually;
use crate::support::wire::{self, CLOSE_REPLACED};

const CHATS: &str = "the chats of all clans";

fn config(broker: &RabbitMq) -> Config {
    let chat = "[[services]]\nname = 'chat'\nkind = 'rabbitmq'";
    Config::new().set("server.sessions", "single").set("rabbitmq.url", broker.url()).with(chat)
}

fn member(gateway: &Gateway, user: &str) -> Client {
    let (mut client, _) = Client::upgrade(gateway, &format!("/ws?token={}", token(user)), &[]).expect("an upgrade");
    assert_eq!(wire::string(&client.expect_type("connected"), &["userId"]), user);
    for (request, service) in [
        (r#"{"type":"subscribe_clan_chat","clanId":"k1"}"#, "clan_chat"),
        (r#"{"type":"subscribe_notifications"}"#, "notifications"),
    ] {
        client.send(request);
        assert_eq!(wire::string(&client.expect_type("subscription_confirmed"), &["service"]), service);
    }
    client
}

fn say(client: &mut Client, content: &str) {
    client.send(&json!({"type": "chat", "content": content, "clanId": "k1", "messageType": "TEXT"}).to_string());
}

/// Both things that come to who says something, in whichever order.
#[track_caller]
fn said(client: &mut Client) -> Value {
    let both = [client.next_json(), client.next_json()];
    let [Some(sent), Some(chat)] =
        ["message_sent", "chat"].map(|kind| both.iter().find(|message| wire::kind(message) == kind))
    else {
        panic!("{both:?}")
    };
    assert_eq!(wire::string(sent, &["messageId"]), wire::string(chat, &["messageId"]));
    chat.clone()
}

fn content(delivery: &Delivery) -> String {
    wire::string(&wire::json(&String::from_utf8_lossy(&delivery.data)), &["content"]).to_owned()
}

#[test]
fn clans_and_their_services_meet_at_an_exchange() {
    let mut broker = RabbitMq::start();
    let gateway = Gateway::start(config(&broker));
    all_connected(&gateway, 2);
    let backend = broker.client();
    backend.keep(CHATS, "ws", "ws.clan.*");
    let [mut ana, mut ben] = ["ana", "ben"].map(|user| member(&gateway, user));

    say(&mut ana, "Who is in?");
    let chat = said(&mut ana);
    assert_eq!((wire::string(&chat, &["userId"]), wire::string(&chat, &["content"])), ("ana", "Who is in?"));
    expect(&mut ben, &chat);
    // The service of the clans has it as well, since before the sender was told.
    let kept = backend.take_all(CHATS);
    assert_eq!(kept.iter().map(content).collect::<Vec<_>>(), ["Who is in?"]);
    ben.send(r#"{"type":"typing","isTyping":true,"clanId":"k1"}"#);
    expect(&mut ana, &json!({"type": "typing", "userId": "ben", "clanId": "k1", "isTyping": true}));

    // The services: to one user, to several channels at once, to all who want to know.
    let notification = json!({"type": "notification", "id": "n1", "title": "New Message", "message": "From ben"});
    backend.publish("ws", "ws.user.ana", &[], notification.to_string());
    expect(&mut ana, &notification);
    ana.send(r#"{"type":"notification_ack","notificationId":"n1"}"#);
    eventually("it is confirmed", || gateway.admin().get("/notifications/n1?user=ana").body.contains("confirmed"));
    let names = ["user:ana", "user:ben"].map(|name| AMQPValue::LongString(name.into()));
    let channels = AMQPValue::FieldArray(FieldArray::from(names.to_vec()));
    backend.publish("ws", "ws.several", &[("channels", channels)], r#"{"type":"clan_renamed"}"#);
    backend.publish("ws", "ws.notifications", &[], r#"{"type":"notification","title":"The season begins"}"#);
    for client in [&mut ana, &mut ben] {
        client.expect_type("clan_renamed");
        client.expect_type("notification");
    }
    let health = gateway.admin().get("/health/websocket").json();
    for (name, count) in [("clans", 2), ("notifications", 2)] {
        assert_eq!(wire::number(&health, &["subscriptions", name]), Some(count), "{health:?}");
    }
    let newer = member(&gateway, "ben");
    assert_eq!(ben.expect_close(), CLOSE_REPLACED);
    drop(newer);

    broker.kill();
    one_is_away(&gateway);
    eventually("the service is known to be away", || {
        say(&mut ana, "Anybody?");
        refused(&mut ana) == "service_unavailable"
    });
    ana.ping();
    broker.restart();
    all_connected(&gateway, 2);
    say(&mut ana, "Here we are");
    assert_eq!(wire::string(&said(&mut ana), &["content"]), "Here we are");
    // What was taken before the broker died may come once more: it did not write down everything.
    let kept: Vec<_> = broker.client().take_all(CHATS).iter().map(content).collect();
    assert!(kept.contains(&"Here we are".to_owned()) && !kept.contains(&"Anybody?".to_owned()), "{kept:?}");
}
