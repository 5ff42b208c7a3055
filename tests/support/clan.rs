//! The chat of a clan, of which a service is told: what is said there, who is in it, and how what the service brings
//! back is heard. The same for every kind of service that publishes.

use super::client::Client;
use super::gateway::Gateway;
use super::tokens::token;
use super::wire;

pub const CHAT: &str = r#"{"type":"chat","clanId":"k1","content":"hello","id":7}"#;

/// Connected, and in the clan.
#[track_caller]
pub fn member(gateway: &Gateway, user: &str) -> Client {
    let mut client = Client::connect(gateway, &token(user));
    client.send(r#"{"type":"subscribe_clan_chat","clanId":"k1"}"#);
    assert_eq!(wire::kind(&client.next_json()), "subscription_confirmed");
    client
}

/// What is said on one of the nodes is confirmed to who says it, and heard by him and by a member on the other one.
#[track_caller]
pub fn assert_heard_on_every_node(nodes: &[Gateway; 2]) {
    let (mut ana, mut bob) = (member(&nodes[0], "ana"), member(&nodes[1], "bob"));
    ana.send(CHAT);
    // To the sender two things come, in either order: the broker has it, and the broker brings it.
    let heard = [ana.next_json(), ana.next_json()];
    let of_type = |kind| heard.iter().find(|message| wire::kind(message) == kind).expect(kind);
    assert_eq!(wire::number(of_type("message_sent"), &["id"]), Some(7));
    let id = wire::string(of_type("message_sent"), &["messageId"]);
    for message in [of_type("chat"), &bob.next_json()] {
        assert_eq!(wire::string(message, &["messageId"]), id);
        assert_eq!((wire::string(message, &["userId"]), wire::string(message, &["content"])), ("ana", "hello"));
    }
}
