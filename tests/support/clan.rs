//! The chat of a clan, of which a service is told: what is said there, who is in it, and how what the service brings
//! back is heard. The same for every kind of service that publishes.

use std::collections::HashMap;
use std::ops::Range;

use super::client::Client;
use super::gateway::Gateway;
use super::tokens::token;
use super::wire;

pub const CHAT: &str = r#"{"type":"chat","clanId":"k1","content":"hello","id":7}"#;

/// Messages that one connection may have waiting for answers, and a little less.
pub const AT_ONCE: usize = 25;

pub fn is_connected(gateway: &Gateway) -> bool {
    gateway.admin().get("/metrics").body.contains("ringway_service_connected{service=\"chat\"} 1")
}

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

/// Says so many things, no more than may wait at once, and returns what was answered to each.
pub fn say(client: &mut Client, numbers: Range<usize>) -> HashMap<u64, String> {
    let mut answers = HashMap::new();
    for some in numbers.collect::<Vec<_>>().chunks(AT_ONCE) {
        for n in some {
            client.send(&format!(r#"{{"type":"chat","clanId":"k1","content":"{n}","id":{n}}}"#));
        }
        for _ in some {
            let answer = next_answer(client);
            let code = wire::string(&answer, &["payload", "code"]);
            let said = if code.is_empty() { wire::kind(&answer) } else { code };
            answers.insert(wire::number(&answer, &["id"]).expect("the answer has the id"), said.to_owned());
        }
    }
    answers
}

/// Each client says its part of so many things, while something happens.
pub fn say_meanwhile(clients: &mut [Client], numbers: Range<usize>, happens: impl FnOnce()) -> HashMap<u64, String> {
    let each = numbers.len() / clients.len();
    std::thread::scope(|scope| {
        let begins = numbers.step_by(each);
        let saying: Vec<_> =
            clients.iter_mut().zip(begins).map(|(client, n)| scope.spawn(move || say(client, n..n + each))).collect();
        happens();
        saying.into_iter().flat_map(|client| client.join().expect("it is answered")).collect()
    })
}

/// The numbers of what was sent. The rest, and there is some of both, was refused since nobody was there to take it.
#[track_caller]
pub fn sent_of(answers: &HashMap<u64, String>) -> Vec<u64> {
    let (sent, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|(_, answer)| *answer == "message_sent");
    assert!(!sent.is_empty() && !refused.is_empty(), "{} were sent, {} refused", sent.len(), refused.len());
    assert!(refused.iter().all(|(_, code)| *code == "service_unavailable" || *code == "busy"), "{refused:?}");
    sent.into_iter().map(|(n, _)| *n).collect()
}

/// Passing over the messages of the clan that come meanwhile.
pub fn next_answer(client: &mut Client) -> sonic_rs::Value {
    loop {
        let message = client.next_json();
        if wire::kind(&message) != "chat" {
            return message;
        }
    }
}
