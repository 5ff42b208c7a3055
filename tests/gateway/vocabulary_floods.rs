//! Promise: who types in many places, has his circle jump about, asks who is there without a pause, comes and goes, or
//! acknowledges whatever ids he likes, has memory of his own grow within bounds, and nobody else waits for his pong.

use std::collections::HashMap;

use crate::support::client::Client;
use crate::support::config::Config;
use crate::support::gateway::Gateway;
use crate::support::tokens::token;
use crate::support::wait::eventually;
use crate::support::wire;

const ATTACKERS: usize = 6;

/// Messages of one attacker in one round, and what is read behind them.
const BURST: usize = 300;

/// Of these, as many as may be sent before anything is read.
const PART: usize = 10;

/// Of all attackers in all rounds.
const MESSAGES: usize = ATTACKERS * ROUNDS * BURST;

/// What the first rounds leave is what there is room for; what comes on top of it in the later ones would grow for
/// ever.
const ROUNDS: usize = 12;
const ROUNDS_TO_FILL: usize = 4;
const GROWTH_MAX_BYTES: f64 = (2 << 20) as f64;

/// A gateway, and somebody else on each of its shards. The limit of messages is another promise: here it lets
/// everything through.
fn start() -> (Gateway, [Client; 2]) {
    let config =
        Config::new().set("server.shards", 2).set("limits.messages", 10_000_000).list("presence.channels", &["conv:*"]);
    let gateway = Gateway::start(config.set("heartbeat.interval", "1h").set("heartbeat.idle_timeout", "2h"));
    let bystanders = Client::two_on_different_shards(&gateway);
    (gateway, bystanders.into())
}

fn resident(gateway: &Gateway) -> f64 {
    gateway.admin().metrics().sum("process_resident_memory_bytes")
}

/// Has attackers send what `message` makes of who they are and of a number that never comes again, and sees to it that
/// the bystanders have their pongs meanwhile and hear nothing, and that memory stays where it was. Returns how many
/// messages of each type the attackers got.
#[track_caller]
fn withstand(
    (gateway, bystanders): (&Gateway, &mut [Client; 2]),
    mut attackers: Vec<Client>,
    message: impl Fn(usize, usize) -> String,
) -> HashMap<String, usize> {
    let (mut filled, mut heard) = (0.0, HashMap::new());
    for round in 0..ROUNDS {
        if round == ROUNDS_TO_FILL {
            filled = resident(gateway);
        }
        for part in (0..BURST).collect::<Vec<_>>().chunks(PART) {
            for (attacker, client) in attackers.iter_mut().enumerate() {
                part.iter().for_each(|n| client.send(&message(attacker, round * BURST + n)));
            }
            bystanders.iter_mut().for_each(Client::ping);
            for client in &mut attackers {
                client.send(r#"{"type":"ping"}"#);
                loop {
                    match wire::kind(&client.next_json()) {
                        "pong" => break,
                        kind => *heard.entry(kind.to_owned()).or_default() += 1,
                    }
                }
            }
        }
    }
    let grown = resident(gateway) - filled;
    assert!(grown < GROWTH_MAX_BYTES, "{grown} bytes more after {} rounds", ROUNDS - ROUNDS_TO_FILL);
    heard
}

fn attackers(gateway: &Gateway) -> Vec<Client> {
    let connect = |n| Client::connect_at(gateway, "/ws?userType=vendor", &token(&format!("m{n}")));
    (0..ATTACKERS).map(connect).collect()
}

#[test]
fn typing_in_ever_new_channels() {
    let (gateway, mut bystanders) = start();
    let heard = withstand((&gateway, &mut bystanders), attackers(&gateway), |attacker, n| {
        let conversation = format!("{attacker}-{}-{}", n / 3, "x".repeat(100));
        let list = format!(r#""conversation_ids":["{conversation}"]"#);
        match n % 3 {
            0 => format!(r#"{{"type":"subscribe",{list}}}"#),
            1 => format!(r#"{{"type":"typing","conversation_id":"{conversation}"}}"#),
            _ => format!(r#"{{"type":"unsubscribe",{list}}}"#),
        }
    });
    // Eight at a time, and another one when the interval of one of them is over.
    assert!(heard["error"] > MESSAGES / 3 / 2, "{heard:?}");
    assert_eq!((heard["subscribed"], heard["unsubscribed"]), (MESSAGES / 3, MESSAGES / 3));
}

#[test]
fn circles_and_vendors_that_jump_over_the_globe() {
    let (gateway, mut bystanders) = start();
    withstand((&gateway, &mut bystanders), attackers(&gateway), |attacker, n| {
        // Poles, antimeridian and all sizes of circles are among them.
        let latitude = (n * 7919 % 361) as f64 / 2.0 - 90.0;
        let longitude = (n * 104_729 % 721) as f64 / 2.0 - 180.0;
        let radius = 1 + n * 31 % 50_000;
        match (n + attacker) % 2 {
            0 => format!(
                r#"{{"type":"subscribe_nearby","latitude":{latitude},"longitude":{longitude},"radius":{radius}}}"#
            ),
            _ => format!(r#"{{"type":"location_update","latitude":{latitude},"longitude":{longitude}}}"#),
        }
    });
    eventually("circles leave nothing behind", || {
        let listed = gateway.admin().get("/channels?prefix=cell:").body;
        !listed.contains("cell:")
    });
}

#[test]
fn ids_of_notifications_that_are_huge_new_or_always_the_same() {
    let (gateway, mut bystanders) = start();
    let padding = "x".repeat(200);
    withstand((&gateway, &mut bystanders), attackers(&gateway), |attacker, n| match n % 8 {
        0 => format!(r#"{{"type":"notification_ack","notificationId":"{}"}}"#, "9".repeat(7000)),
        1 => format!(r#"{{"type":"notification_ack","notificationId":{}}}"#, "9".repeat(400)),
        2 => r#"{"type":"notification.read","notification_id":"n1"}"#.into(),
        // So many that what stays of them would show.
        _ => format!(r#"{{"type":"notification.read","notification_id":"{n}-{attacker}-{padding}"}}"#),
    });
    let metrics = gateway.admin().metrics();
    for name in ["ringway_notifications_pending", "ringway_notifications_ended", "ringway_notifications_bytes"] {
        assert_eq!(metrics.sum(name), 0.0, "{name}: what nobody sent is not remembered");
    }
}

#[test]
fn questions_who_is_there_in_a_crowd() {
    let (gateway, mut bystanders) = start();
    let mut crowd: Vec<Client> = (0..150).map(|n| Client::connect(&gateway, &token(&format!("c{n}")))).collect();
    crowd.iter_mut().for_each(|client| client.send(r#"{"type":"subscribe","channels":["conv:crowd"]}"#));
    let mut attackers = attackers(&gateway);
    attackers.iter_mut().for_each(|attacker| attacker.subscribe(&["conv:crowd"]));
    let heard = withstand((&gateway, &mut bystanders), attackers, |_, n| match n % 2 {
        0 => r#"{"type":"presence.get","conversation_id":"crowd"}"#.into(),
        _ => format!(r#"{{"type":"presence.get","channel":"conv:{n}"}}"#),
    });
    assert_eq!((heard["presence.state"], heard["error"]), (MESSAGES / 2, MESSAGES / 2));
}

#[test]
fn coming_and_going_over_and_over() {
    let (gateway, mut bystanders) = start();
    let mut listener = Client::connect(&gateway, &token("listener"));
    listener.subscribe(&["conv:door"]);
    let told = || gateway.admin().metrics().sum("ringway_presence_updates_total");
    // In by the end of one part, out by the end of the next.
    let heard = withstand((&gateway, &mut bystanders), attackers(&gateway), |_, n| {
        let comes = (n / PART + n % PART).is_multiple_of(2);
        format!(r#"{{"type":"{}","channels":["conv:door"]}}"#, if comes { "subscribe" } else { "unsubscribe" })
    });
    assert!(heard["subscribed"] >= MESSAGES / 2, "{heard:?}");
    let told = told();
    assert!(told < MESSAGES as f64 / 20.0, "{told} times it was told that somebody comes or goes, of {MESSAGES}");
    listener.send(r#"{"type":"ping","id":"behind"}"#);
    while wire::string(&listener.next_json(), &["id"]) != "behind" {}
}
