//! Promise: nobody is refused while any shard has room, and nobody slips through on the way there.

use std::thread;

use crate::support::client::Client;
use crate::support::config::Config;
use crate::support::frozen::Frozen;
use crate::support::gateway::Gateway;
use crate::support::http::Response;
use crate::support::prometheus::{CONNECTIONS, HANDED_OVER};
use crate::support::tokens::token;
use crate::support::wait::eventually;

/// The limit of open files, which is what one ring takes. An eighth of them may be rings, so this is what all shards
/// take.
const OPEN_FILES: usize = 96;
const CAPACITY: usize = OPEN_FILES * OPEN_FILES / 8;
const SHARDS: usize = 2;

/// Connects of one user: the kernel puts about half of them on the shard that is full.
const CONNECTS: usize = 12;

fn upgrade(gateway: &Gateway, user: usize) -> Result<Client, Response> {
    upgrade_as(gateway, &format!("u{user}"))
}

fn upgrade_as(gateway: &Gateway, user: &str) -> Result<Client, Response> {
    let bearer = format!("Bearer {}", token(user));
    Client::upgrade(gateway, "/ws", &[("Authorization", &bearer)]).map(|(client, _)| client)
}

/// A gateway of which one shard is full, and the other has room.
fn with_one_full_shard() -> (Gateway, usize, Vec<Client>) {
    // That both are full at once is one chance in a hundred.
    loop {
        let gateway = Gateway::start_with_open_files(Config::new().set("server.shards", SHARDS as i64), OPEN_FILES);
        let is_full = |shard: &usize| of_shard(&gateway, CONNECTIONS, *shard) >= CAPACITY / SHARDS;
        let mut clients = Vec::new();
        while clients.len() + 1 < CAPACITY {
            clients.push(upgrade(&gateway, clients.len()).expect("there is room"));
            if clients.len() >= CAPACITY / SHARDS
                && let Some(full) = (0..SHARDS).find(is_full)
            {
                return (gateway, full, clients);
            }
        }
    }
}

fn of_shard(gateway: &Gateway, name: &str, shard: usize) -> usize {
    gateway.admin().metrics().labelled(name, "shard", &shard.to_string()) as usize
}

#[test]
fn a_full_shard_hands_over_to_one_with_room_and_503_comes_when_all_are_full() {
    let config = Config::new().set("server.shards", SHARDS as i64);
    let gateway = Gateway::start_with_open_files(config, OPEN_FILES);
    // The kernel's hash would have to spread them evenly to the last one.
    let mut clients: Vec<Client> = (0..CAPACITY)
        .map(|user| upgrade(&gateway, user).unwrap_or_else(|refusal| panic!("client {user} is refused: {refusal:?}")))
        .collect();
    for client in &mut clients {
        client.expect_type("connected");
        client.ping();
    }
    let Err(refusal) = upgrade(&gateway, clients.len()) else { panic!("there is no room") };
    refusal.assert_refusal("all shards are full", 503);
    gateway.admin().eventually_active(CAPACITY as u64);
}

#[test]
fn who_is_on_the_way_to_another_shard_is_turned_back_when_his_user_is_sent_away() {
    let (mut gateway, full, _clients) = with_one_full_shard();
    let before = of_shard(&gateway, HANDED_OVER, full);
    let frozen = Frozen::thread(gateway.process(), &format!("shard-{}", SHARDS - 1 - full));
    thread::scope(|scope| {
        let connects: Vec<_> = (0..CONNECTS).map(|_| scope.spawn(|| upgrade_as(&gateway, "ana").is_ok())).collect();
        eventually("some are handed over", || of_shard(&gateway, HANDED_OVER, full) > before);
        // The shard that stands still answers later.
        gateway.admin().post("/disconnect/user/ana?for=1h", "");
        frozen.thaw();
        for connect in connects {
            assert!(!connect.join().expect("it is answered"), "one of them is connected");
        }
    });
}
