//! Promise: where a user, or each device of one, may have only one session, the newest has it, and the older one is
//! told with 4000, on whatever shards they are.

use crate::support::client::{Client, Event};
use crate::support::config::Config;
use crate::support::crowd::Crowd;
use crate::support::gateway::Gateway;
use crate::support::raw::{Raw, close_payload};
use crate::support::tokens::{Claims, token};
use crate::support::wire;

const REPLACED: u16 = 4000;

fn gateway(sessions: &str, shards: i64) -> Gateway {
    Gateway::start(Config::new().set("server.sessions", sessions).set("server.shards", shards))
}

fn auth(gateway: &Gateway, target: &str) -> Client {
    let (mut client, _) = Client::upgrade(gateway, target, &[]).expect("there is room");
    client.send(&wire::auth(&token("ann")));
    client
}

#[test]
fn the_older_connection_is_told_why_it_ends() {
    let gateway = gateway("single", 2);
    let mut older = Raw::connect(&gateway, "/ws", &token("ann"));
    let mut newer = Client::connect(&gateway, &token("ann"));
    assert_eq!(older.next_frame().payload, close_payload(REPLACED, b"replaced by a newer connection"));
    Client::connect(&gateway, &token("bob")).ping();
    newer.ping();
}

#[test]
fn of_hundreds_at_once_exactly_one_stays() {
    const AT_ONCE: usize = 8;
    const EACH: usize = 25;
    let gateway = gateway("single", 4);
    for round in 1..=4 {
        let user = token(&format!("ann{round}"));
        let connect = || (0..EACH).map(|_| Client::connect(&gateway, &user)).collect::<Vec<_>>();
        let mut clients = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(connect)).collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("all are let in")).collect::<Vec<_>>()
        });
        gateway.admin().eventually_active(1);
        // Who has heard of no end by now is the one that stays.
        let (admin, id) = (gateway.admin(), format!("ann{round}"));
        let stays = admin.connection_of(&id);
        assert_eq!(admin.broadcast(&format!("/broadcast/user/{id}"), r#"{"type":"news"}"#), 1);
        let replaced = admin.metrics().labelled("ringway_closed_total", "code", "replaced");
        assert_eq!(replaced as usize, round * (AT_ONCE * EACH - 1), "{stays:?}");
        clients.iter_mut().for_each(Client::set_nonblocking);
        assert_eq!(one_stays(clients), (AT_ONCE * EACH - 1, 1));
        gateway.admin().eventually_active(0);
    }
}

/// How many were closed with 4000, and how many got the message instead and then closed by themselves.
fn one_stays(clients: Vec<Client>) -> (usize, usize) {
    let mut replaced = 0;
    let mut open = Vec::new();
    for mut client in clients {
        match client.next() {
            Event::Closed(Some(REPLACED)) => replaced += 1,
            Event::Text(_) => open.push(client),
            other => panic!("neither closed nor open: {other:?}"),
        }
    }
    (replaced, open.into_iter().map(Client::close).count())
}

#[test]
fn each_device_has_one_session_and_who_names_none_is_left_alone() {
    let gateway = gateway("per_device", 4);
    let connect = |target: &str| Client::connect_at(&gateway, target, &token("ann"));
    let mut stay = vec![connect("/ws?deviceId=desk"), connect("/ws"), connect("/ws"), connect("/ws?deviceId=")];
    let too_long = format!("/ws?deviceId={}", "x".repeat(129));
    stay.extend([connect(&too_long), connect(&too_long)]);
    stay.push(Client::connect_at(&gateway, "/ws?deviceId=phone", &token("bob")));
    let mut phone = connect("/ws?deviceId=phone");
    for _ in 0..8 {
        let newer = connect("/ws?deviceId=phone");
        assert_eq!(std::mem::replace(&mut phone, newer).expect_close(), REPLACED);
    }
    stay.push(phone);
    stay.iter_mut().for_each(Client::ping);
}

#[test]
fn an_auth_message_begins_a_session_and_a_fresh_one_replaces_nobody() {
    let gateway = gateway("single", 2);
    let mut older = Client::connect(&gateway, &token("ann"));
    let mut newer = auth(&gateway, "/ws");
    newer.expect_type("auth.success");
    assert_eq!(older.expect_close(), REPLACED);
    newer.send(&wire::auth(&token("ann")));
    newer.expect_type("auth.success");
    newer.ping();
}

#[test]
fn a_token_that_is_refused_takes_nobodys_place() {
    let gateway = Gateway::start(Config::new().set("server.sessions", "single").list("auth.roles", &["driver"]));
    let driver = Claims::of("ann").role("driver").sign();
    let mut ann = Client::connect(&gateway, &driver);
    let bearer = format!("Bearer {}", token("ann"));
    assert!(Client::upgrade(&gateway, "/ws", &[("Authorization", &bearer)]).is_err());
    let mut stranger = auth(&gateway, "/ws");
    stranger.expect_type("error");
    ann.ping();
}

#[test]
fn the_newest_gets_in_where_a_user_may_have_so_many_connections() {
    for sessions in ["single", "per_device"] {
        let limit = if sessions == "single" { 1 } else { 2 };
        let config = Config::new().set("server.sessions", sessions).set("limits.connections_per_user", limit);
        let gateway = Gateway::start(config);
        let _other = (limit == 2).then(|| Client::connect_at(&gateway, "/ws?deviceId=desk", &token("ann")));
        let mut phone = Client::connect_at(&gateway, "/ws?deviceId=phone", &token("ann"));
        for _ in 0..5 {
            let newer = Client::connect_at(&gateway, "/ws?deviceId=phone", &token("ann"));
            assert_eq!(std::mem::replace(&mut phone, newer).expect_close(), REPLACED);
            let mut newer = auth(&gateway, "/ws?deviceId=phone");
            newer.expect_type("auth.success");
            assert_eq!(std::mem::replace(&mut phone, newer).expect_close(), REPLACED);
        }
        gateway.admin().eventually_active(limit as u64);
        let bearer = format!("Bearer {}", token("ann"));
        let third = Client::upgrade(&gateway, "/ws?deviceId=watch", &[("Authorization", &bearer)]);
        assert_eq!(third.is_err(), sessions == "per_device", "a further device needs a place of its own");
    }
}

#[test]
fn those_who_are_replaced_by_others_keep_theirs() {
    let gateway = gateway("single", 4);
    let mut crowd = Crowd::subscribed(&gateway, "user", 100, "conv:1");
    let mut again = Crowd::subscribed(&gateway, "user", 100, "conv:1");
    assert!(crowd.close_codes(|| {}).iter().all(|code| *code == Some(REPLACED)));
    assert_eq!(gateway.admin().broadcast("/broadcast/channel/conv:1", r#"{"type":"news"}"#), 100);
    again.receive(1, |_, _, text| assert_eq!(text, r#"{"type":"news"}"#));
}
