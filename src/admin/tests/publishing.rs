//! What is posted reaches the shards as it was sent.

use super::*;

#[test]
fn a_message_is_delivered_byte_for_byte_to_the_shards_that_have_subscribers() {
    let node = Node::start(3, None);
    node.subscribe(1, "user:42");
    let message = "{ \"type\":\"größe\",\n \"not\": json".as_bytes();
    let answer = node.post("/broadcast/user/42", message);
    assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"delivered":2}"#));
    let told = Told::Publish { shard: 1, channel: "user:42".into(), message: message.into(), filter: None };
    assert_eq!(node.told(1), [told]);

    assert_eq!(node.post("/broadcast/user/43", message).body, r#"{"delivered":0}"#);
    assert_eq!(node.post("/broadcast/all", message).body, r#"{"delivered":6}"#);
    assert_eq!(node.told(3).len(), 3);
    node.stop();
}

#[test]
fn names_in_paths_are_percent_decoded_and_may_hold_slashes() {
    let node = Node::start(1, None);
    for (path, channel) in [
        ("/broadcast/channel/conv:c1", "conv:c1"),
        ("/broadcast/channel/conv%3Ac1", "conv:c1"),
        ("/broadcast/channel/room:a/b", "room:a/b"),
        ("/broadcast/channel/room%3Aa%2Fb", "room:a/b"),
        ("/broadcast/channel/conv:Z%C3%BCrich", "conv:Zürich"),
        ("/broadcast/user/auth0%7C1%2F2", "user:auth0|1/2"),
    ] {
        node.subscribe(0, channel);
        assert_eq!(node.post(path, b"x").body, r#"{"delivered":1}"#, "{path}");
        let told = Told::Publish { shard: 0, channel: channel.into(), message: b"x".into(), filter: None };
        assert_eq!(node.told(1), [told]);
    }
    assert_eq!(node.post("/broadcast/channel/%ff", b"x").error(), (400, "bad_path".into()));
    node.stop();
}

#[test]
fn filters_narrow_the_recipients_and_an_unknown_one_is_refused() {
    let node = Node::start(1, None);
    assert_eq!(node.post("/broadcast/all?userType=driver&platform=ios", b"x").status, 200);
    let filter = crate::lane::Filter { user_type: Some("driver".into()), platform: Some("ios".into()), near: None };
    let told = Told::Publish { shard: 0, channel: "all".into(), message: b"x".into(), filter: Some(filter) };
    assert_eq!(node.told(1), [told]);
    assert_eq!(node.post("/broadcast/all?usertype=driver", b"x").error(), (400, "bad_query".into()));
    node.stop();
}

#[test]
fn what_cannot_be_a_text_message_is_refused() {
    let node = Node::start(1, None);
    assert_eq!(node.post("/broadcast/all", b"").error(), (400, "body_empty".into()));
    assert_eq!(node.post("/broadcast/all", b"\xff").error(), (400, "body_not_utf8".into()));
    let largest = vec![b'x'; MESSAGE_BYTES_MAX + 1];
    assert_eq!(node.post("/broadcast/all", &largest).error(), (413, "body_too_large".into()));
    assert_eq!(node.told(0), []);
    node.stop();
}

#[test]
fn a_user_is_disconnected_on_every_shard() {
    let node = Node::start(2, None);
    assert_eq!(node.post("/disconnect/user/u%201", b"").body, r#"{"disconnected":2}"#);
    let told = |shard| Told::Disconnect { shard, user: "u 1".into(), code: 4004 };
    assert_eq!(node.told(2), [told(0), told(1)]);
    node.stop();
}

#[test]
fn a_message_to_a_session_goes_to_its_shard_and_no_other() {
    let node = Node::start(2, None);
    let send = |to: ConnectionId, query: &str| {
        let session = node.context.session_key.session(to);
        node.post(&format!("/send/session/{session}{query}"), "größe".as_bytes())
    };
    for (generation, delivered) in [(7, r#"{"delivered":1}"#), (8, r#"{"delivered":0}"#)] {
        let to = ConnectionId { shard: 1, slot: 70_000, generation };
        let answer = send(to, "");
        assert_eq!((answer.status, answer.body.as_str()), (200, delivered));
        assert_eq!(node.told(1), [Told::Send { shard: 1, to, message: "größe".into() }]);
    }
    let elsewhere = ConnectionId { shard: 2, slot: 0, generation: 7 };
    assert_eq!(send(elsewhere, "").body, r#"{"delivered":0}"#, "a shard that is not there");
    assert_eq!(send(ConnectionId { shard: 1, ..elsewhere }, "?userType=driver").error(), (400, "bad_query".into()));
    for id in ["6a9c41d2-07be-8001-8000-00a100000007", "x", "%20"] {
        let answer = node.post(&format!("/send/session/{id}"), b"x");
        assert_eq!((answer.status, answer.body.as_str()), (200, r#"{"delivered":0}"#), "{id}");
    }
    assert_eq!(node.post("/send/session/x", b"").error(), (400, "body_empty".into()));
    assert_eq!(node.told(0), []);
    node.stop();
}
