//! Which channels a session gets into, and what it is told.

use crate::auth::Grants;

use super::client::Said;
use super::{token, under_faults};

#[test]
fn subscribing_and_unsubscribing_are_confirmed_in_the_words_of_the_request() {
    under_faults(|mut shard| {
        let mut ann = shard.client("ann");
        for (words, list) in
            [("channels", r#"["conv:1","news"]"#), ("conversation_ids", r#"["1","2"]"#), ("channels", "[]")]
        {
            for (ask, confirm) in [("subscribe", "subscribed"), ("unsubscribe", "unsubscribed")] {
                ann.say(&format!(r#"{{"type":"{ask}","id":"a","payload":{{"{words}":{list}}}}}"#));
                ann.say(&format!(r#"{{"type":"{ask}","{words}":[]}}"#));
                shard.settle();
                let confirmed = format!(r#"{{"type":"{confirm}","payload":{{"{words}":{list}}},"id":"a"}}"#);
                let nothing = format!(r#"{{"type":"{confirm}","payload":{{"{words}":[]}}}}"#);
                assert_eq!(ann.texts(), [confirmed, nothing]);
            }
        }
        assert_eq!(shard.floor.state.table.membership_count(), 1);
    });
}

#[test]
fn conversation_ids_are_channels_without_their_prefix() {
    under_faults(|mut shard| {
        let mut ann = shard.client("ann");
        ann.say(r#"{"type":"subscribe","conversation_ids":["c1"]}"#);
        shard.settle();
        ann.heard();
        assert_eq!(shard.publish("conv:c1", "hello"), 1);
        assert_eq!(ann.texts(), ["hello"]);
    });
}

#[test]
fn refused_channels_are_named_and_the_rest_holds() {
    under_faults(|mut shard| {
        let mut ann = shard.client("ann");
        ann.say(r#"{"type":"subscribe","id":5,"channels":["conv:1","secret","conv: ","news","clan:1"]}"#);
        shard.settle();
        assert_eq!(
            ann.texts(),
            [
                r#"{"type":"subscribed","payload":{"channels":["conv:1","news"]},"id":5}"#.to_owned(),
                error("not_allowed", "not allowed to subscribe to these channels", r#"["secret","clan:1"]"#),
                error("bad_channel", "these are not channel names", r#"["conv: "]"#),
            ]
        );
        assert_eq!((shard.publish("conv:1", "a"), shard.publish("secret", "b")), (1, 0));
        assert_eq!(ann.texts(), ["a"]);
        assert_eq!(shard.counters().errors_sent.get(), 2);
    });
}

fn error(code: &str, message: &str, list: &str) -> String {
    format!(
        r#"{{"type":"error","message":"{message}","payload":{{"code":"{code}","message":"{message}","request":"subscribe","channels":{list}}},"id":5}}"#
    )
}

#[test]
fn implicit_channels_are_joined_by_nobody_and_left_by_nobody() {
    under_faults(|mut shard| {
        let mut ann = shard.client_with("ann", |identity, _| {
            identity.user_type = Some("driver".into());
            identity.grants = Some(Grants::parse(["*"]).unwrap());
        });
        for channel in ["all", "user:ann", "user:bob", "type:driver", "type:rider"] {
            ann.subscribe(channel);
            ann.say(&format!(r#"{{"type":"unsubscribe","channels":["{channel}"]}}"#));
            shard.settle();
            assert_eq!(ann.errors(), ["not_allowed", "not_subscribed"], "{channel}");
        }
        let reached = ["all", "user:ann", "user:bob", "type:driver", "type:rider"].map(|c| shard.publish(c, "x"));
        assert_eq!(reached, [1, 1, 0, 1, 0]);
    });
}

#[test]
fn the_channels_of_a_token_replace_the_default() {
    under_faults(|mut shard| {
        let mut ann = shard.client_with("ann", |identity, _| {
            identity.grants = Some(Grants::parse(["clan:*"]).unwrap());
        });
        ann.subscribe("clan:red");
        ann.subscribe("conv:1");
        shard.settle();
        let heard = ann.heard();
        assert_eq!(heard[0], Said::text(r#"{"type":"subscribed","payload":{"channels":["clan:red"]}}"#));
        assert_eq!(heard[1].error_code().unwrap(), "not_allowed");
    });
}

#[test]
fn a_connection_has_a_limited_number_of_channels() {
    under_faults(|mut shard| {
        let mut ann = shard.client("ann");
        ann.say(r#"{"type":"subscribe","conversation_ids":["1","2","3","4","5","6","7"]}"#);
        shard.settle();
        let heard = ann.heard();
        let joined = r#"{"type":"subscribed","payload":{"conversation_ids":["1","2","3","4","5","6"]}}"#;
        assert_eq!(heard[0], Said::text(joined));
        assert_eq!(heard[1].error_code().unwrap(), "too_many_channels");
        // What is joined already may be asked for again.
        ann.subscribe("conv:1");
        shard.settle();
        assert_eq!(ann.errors(), [""; 0]);
        // Leaving one makes room for another.
        ann.say(r#"{"type":"unsubscribe","conversation_ids":["1"]}"#);
        ann.subscribe("conv:8");
        shard.settle();
        assert_eq!(ann.errors(), [""; 0]);
    });
}

#[test]
fn a_channel_that_was_not_joined_cannot_be_left() {
    under_faults(|mut shard| {
        let [mut ann] = shard.subscribers("conv:1");
        ann.say(r#"{"type":"unsubscribe","channels":["conv:2","conv:1"]}"#);
        shard.settle();
        let heard = ann.heard();
        assert_eq!(heard[0], Said::text(r#"{"type":"unsubscribed","payload":{"channels":["conv:1"]}}"#));
        assert_eq!(heard[1].error_code().unwrap(), "not_subscribed");
        assert!(!shard.is_of_interest("conv:1"));
    });
}

#[test]
fn without_a_token_nothing_but_auth_and_ping_is_served() {
    under_faults(|mut shard| {
        let mut stranger = shard.stranger();
        for kind in ["subscribe", "unsubscribe", "heartbeat_ack", "whatever"] {
            stranger.say(&format!(r#"{{"type":"{kind}","channels":["conv:1"]}}"#));
            shard.settle();
            assert_eq!(stranger.errors(), ["not_authenticated"], "{kind}");
        }
        stranger.say(r#"{"type":"ping"}"#);
        stranger.authenticate(&token("ann", None, 60));
        stranger.subscribe("conv:1");
        shard.settle();
        assert_eq!(stranger.texts().len(), 3);
        assert_eq!(shard.publish("conv:1", "x"), 1);
    });
}

#[test]
fn a_message_that_cannot_be_used_is_answered_and_the_connection_stays() {
    under_faults(|mut shard| {
        let mut ann = shard.client("ann");
        for (message, code) in [
            ("", "bad_json"),
            ("[]", "bad_json"),
            (r#"{"type":1}"#, "missing_type"),
            (r#"{"type":"fly"}"#, "unknown_type"),
            (r#"{"type":"subscribe"}"#, "missing_field"),
            (r#"{"type":"subscribe","channels":"conv:1"}"#, "bad_field"),
            (r#"{"type":"auth"}"#, "missing_field"),
        ] {
            ann.say(message);
            shard.settle();
            assert_eq!(ann.errors(), [code], "{message}");
        }
        assert!(!ann.peer.is_closed());
        assert_eq!(shard.counters().errors_sent.get(), 7);
    });
}
