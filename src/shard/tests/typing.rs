//! Who writes is told to the others, and that he does not any more, whatever ended it.

use super::*;
use crate::ws::close::CloseCode;

const START: &str = r#"{"type":"typing.start","payload":{"conversation_id":"1","user_id":"ann"}}"#;
const STOP: &str = r#"{"type":"typing.stop","payload":{"conversation_id":"1","user_id":"ann"}}"#;

impl Client {
    fn types_in(&self, conversation: &str) {
        self.say(&format!(r#"{{"type":"typing","payload":{{"conversation_id":"{conversation}"}}}}"#));
    }
}

/// Somebody who writes, and somebody who is told.
fn pair(shard: &mut Shard) -> [Client; 2] {
    ["ann", "bob"].map(|user| member(shard, user))
}

fn member(shard: &mut Shard, user: &str) -> Client {
    let mut client = shard.client(user);
    client.subscribe("conv:1");
    shard.settle();
    client.heard();
    client
}

#[test]
fn the_others_are_told_and_the_end_comes_by_itself() {
    under_faults(|mut shard| {
        let [mut ann, mut bob] = pair(&mut shard);
        let mut device = member(&mut shard, "ann");
        ann.types_in("1");
        shard.pass(9900);
        assert_eq!(bob.texts(), [START]);
        shard.pass(200);
        assert_eq!(bob.texts(), [STOP]);
        assert_eq!((ann.texts().len(), device.texts().len()), (0, 0), "a user knows what he does himself");
        assert!(shard.floor.state.typing.is_empty());
        shard.pass(4000);
        assert_eq!(bob.texts().len(), 0);
    });
}

#[test]
fn a_renewal_moves_the_end_and_is_told_once_in_a_second() {
    under_faults(|mut shard| {
        let [ann, mut bob] = pair(&mut shard);
        for _ in 0..50 {
            ann.types_in("1");
            shard.pass(100);
        }
        assert_eq!(bob.texts(), [START; 5]);
        shard.pass(9700);
        assert_eq!(bob.texts().len(), 0);
        shard.pass(300);
        assert_eq!(bob.texts(), [STOP]);
    });
}

#[test]
fn the_end_is_told_at_once_however_the_writer_goes() {
    type Way = (&'static str, fn(&mut Shard, &Client));
    const WAYS: [Way; 6] = [
        ("unsubscribes", |_, ann| ann.say(r#"{"type":"unsubscribe","channels":["conv:1"]}"#)),
        ("closes", |_, ann| ann.say_close(1000)),
        ("vanishes", |_, ann| ann.peer.close()),
        ("breaks the protocol", |_, ann| ann.peer.write(b"\x81\x02hi")),
        ("is closed for its token", |_, ann| ann.authenticate("nonsense")),
        ("is disconnected", |shard, _| {
            let (answer, _) = counted();
            shard.command(Command::Disconnect { user: "ann".into(), code: CloseCode::OPERATOR, answer });
        }),
    ];
    for (way, go) in WAYS {
        under_faults(|mut shard| {
            let [ann, mut bob] = pair(&mut shard);
            ann.types_in("1");
            shard.settle();
            go(&mut shard, &ann);
            shard.settle();
            assert_eq!(bob.texts(), [START, STOP], "{way}");
            shard.pass(11_000);
            assert_eq!((bob.texts().len(), shard.floor.state.typing.is_empty()), (0, true), "{way}");
        });
    }
}

#[test]
fn a_message_to_the_channel_ends_nothing() {
    under_faults(|mut shard| {
        let [ann, mut bob] = pair(&mut shard);
        ann.types_in("1");
        shard.settle();
        shard.publish("conv:1", "hello");
        assert_eq!(bob.texts(), [START, "hello"]);
    });
}

#[test]
fn who_is_not_in_the_channel_types_nowhere() {
    under_faults(|mut shard| {
        let [_, mut bob] = pair(&mut shard);
        let mut eve = shard.client("eve");
        for conversation in ["1", "2", r#"\"}"#, "a b", "", "1\\u0000"] {
            eve.types_in(conversation);
        }
        shard.settle();
        let errors = eve.errors();
        assert_eq!(errors[..3], ["not_subscribed"; 3]);
        assert!(errors.len() == 6 && bob.texts().is_empty() && shard.floor.state.typing.is_empty());
    });
}

#[test]
fn ids_with_quotes_and_braces_stay_texts() {
    under_faults_with(
        |rules| rules.default_grants = Grants::all(),
        |mut shard| {
            let (user, id) = (r#"a"}n{n\"#, r#""},{user_id}"#);
            let mut clients = [user, "bob"].map(|user| shard.client(user));
            let json = serde_json::json!({ "type": "subscribe", "conversation_ids": [id] }).to_string();
            clients.iter().for_each(|client| client.say(&json));
            shard.settle();
            clients.iter_mut().for_each(|client| _ = client.heard());
            clients[0].say(&serde_json::json!({ "type": "typing", "conversation_id": id }).to_string());
            shard.pass(10_000);
            let heard = clients[1].texts();
            for (text, kind) in heard.iter().zip(["typing.start", "typing.stop"]) {
                let expected =
                    serde_json::json!({ "type": kind, "payload": { "conversation_id": id, "user_id": user } });
                assert_eq!(serde_json::from_str::<serde_json::Value>(text).unwrap(), expected);
            }
            assert_eq!(heard.len(), 2);
        },
    );
}

#[test]
fn hundreds_of_channels_at_once_are_bounded_and_told() {
    let raise = |rules: &mut Rules| rules.channels_per_connection_max = 2000;
    under_faults_with(raise, |mut shard| {
        let [mut ann, mut bob] = pair(&mut shard);
        let ids: Vec<String> = (0..100).map(|n| n.to_string()).collect();
        ann.say(&serde_json::json!({ "type": "subscribe", "conversation_ids": ids }).to_string());
        shard.settle();
        ann.heard();
        for id in &ids {
            ann.types_in(id);
        }
        shard.settle();
        assert_eq!(ann.errors(), vec!["too_many_channels"; 100 - 8]);
        ann.say_close(1000);
        shard.settle();
        assert_eq!((bob.texts(), shard.floor.state.typing.is_empty()), (vec![START.to_owned(), STOP.to_owned()], true));
    });
}

#[test]
fn a_flag_begins_and_ends_it_and_flapping_is_told_once_in_a_second() {
    under_faults_with(
        |rules| rules.default_grants = Grants::all(),
        |mut shard| {
            let mut clients = ["ann", "bob"].map(|user| {
                let mut client = shard.client(user);
                client.subscribe("clan:k");
                shard.settle();
                client.heard();
                client
            });
            let say = |client: &Client, is: bool| {
                client.say(&format!(r#"{{"type":"typing","clanId":"k","isTyping":{is}}}"#));
            };
            let told = |is: bool| format!(r#"{{"type":"typing","userId":"ann","clanId":"k","isTyping":{is}}}"#);
            say(&clients[0], false);
            shard.settle();
            assert!(clients[1].texts().is_empty(), "nothing ends that has not begun");
            for _ in 0..20 {
                say(&clients[0], true);
                say(&clients[0], false);
                shard.pass(100);
            }
            assert_eq!(clients[1].texts(), [told(true), told(false), told(true), told(false)]);
            say(&clients[0], true);
            shard.pass(100);
            clients[0].say(r#"{"type":"typing","clanId":"k","isTyping":"yes"}"#);
            shard.settle();
            assert_eq!(clients[0].errors(), ["bad_field"]);
            assert_eq!(clients[1].texts(), [told(true)]);
        },
    );
}
