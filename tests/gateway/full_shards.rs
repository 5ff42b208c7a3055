//! Promise: nobody is refused while any shard has room.

use crate::support::client::Client;
use crate::support::config::Config;
use crate::support::gateway::Gateway;
use crate::support::http::Response;
use crate::support::tokens::token;

/// The limit of open files, which is what one ring takes. An eighth of them may be rings, so this is what all shards take.
const OPEN_FILES: usize = 96;
const CAPACITY: usize = OPEN_FILES * OPEN_FILES / 8;
const SHARDS: usize = 2;

fn upgrade(gateway: &Gateway, user: usize) -> Result<Client, Response> {
    let bearer = format!("Bearer {}", token(&format!("u{user}")));
    Client::upgrade(gateway, "/ws", &[("Authorization", &bearer)]).map(|(client, _)| client)
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
