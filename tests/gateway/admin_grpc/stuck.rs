//! What goes on behind the port while a shard stands still, so that a message is under way for as long as a test likes.

use std::time::{Duration, Instant};

use super::raw::{GOOD_END, framed};
use super::*;

use crate::support::frozen::Frozen;
use crate::support::prometheus::LANE_LOST;

/// A port whose only shard stands still, before which a subscriber of `conv:c1` waits.
struct Scene {
    port: Port,
    ana: Client,
    frozen: Frozen,
}

impl Scene {
    #[track_caller]
    fn start(config: Config) -> Scene {
        let mut port = Port::start(config.set("server.shards", 1));
        let mut ana = Client::connect(&port.gateway, &token("ana"));
        ana.subscribe(&["conv:c1"]);
        let frozen = Frozen::thread(port.gateway.process(), "shard-0");
        Scene { port, ana, frozen }
    }
}

impl Port {
    /// Returns when the port has heard all that a connection was told to say so far.
    #[track_caller]
    fn expect_heard(&self, client: &mut Raw) {
        // What is asked behind it is answered when it has come; the first one may still overtake it in the client.
        for _ in 0..2 {
            let asked = stream::iter([framed(&PresenceRequest { channel: "conv:c1".into() })]);
            let end = self.wait(async { client.call("Presence", asked.boxed()).await.next().await });
            assert_eq!(end, Err((Code::NotFound, "no_presence".into())));
        }
    }
}

fn message(text: &str) -> Bytes {
    framed(&publish(&["conv:c1"], text))
}

#[test]
fn whoever_gives_up_a_message_that_is_under_way_holds_no_place() {
    let config = Config::new().set("admin.connections", 1).set("admin.head_deadline", "1h");
    let Scene { port, ana: _ana, frozen } = Scene::start(config);
    let mut client = port.wait(Raw::connect(port.address));
    let (say, answers) = port.wait(client.publish_many());
    say.send(message("x")).expect("it is asked for");
    port.expect_heard(&mut client);
    // The stream is reset; the connection stays.
    drop((say, answers));
    port.eventually("another one has the place", || {
        let endpoint = Endpoint::from_shared(format!("http://{}", port.address)).expect("an address");
        let answer = port.wait(async {
            let mut admin = AdminServiceClient::new(endpoint.connect().await.ok()?);
            admin.presence(PresenceRequest { channel: "conv:c1".into() }).await.err()
        });
        answer.is_some_and(|status| word(&status) == "no_presence")
    });
    frozen.thaw();
}

#[test]
fn whoever_has_a_message_under_way_keeps_the_place_although_another_body_is_refused() {
    let config = Config::new().set("admin.connections", 1).set("admin.head_deadline", "1h");
    let Scene { port, mut ana, frozen } = Scene::start(config);
    let mut client = port.wait(Raw::connect(port.address));
    let whole = client.call("Publish", stream::iter([message("x")]).boxed());
    let whole = port.runtime.spawn(async { whole.await.next().await });
    port.expect_heard(&mut client);
    let end = port.wait(async {
        let frames = stream::iter([Bytes::from_static(b"\0\x01")]).chain(stream::pending());
        client.call_promising(17 << 20, "Publish", frames.boxed()).await.next().await
    });
    assert_eq!(end, Err((Code::ResourceExhausted, "body_too_large".into())));
    let mut other = TcpStream::connect(port.address).expect("it listens");
    other.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    assert_eq!(other.read(&mut [0]).expect("an end"), 0, "there is no place");
    frozen.thaw();
    assert_eq!(port.wait(whole).expect("no panic").expect("an answer").delivered, 1);
    assert_eq!(ana.next_text(), "x");
}

#[test]
fn a_stream_goes_on_although_its_first_message_was_under_way_for_longer_than_a_body_may_take() {
    const DEADLINE_OF_BODIES: Duration = Duration::from_secs(2);
    let Scene { port, mut ana, frozen } = Scene::start(Config::new().set("admin.transfer_deadline", "2s"));
    let mut client = port.wait(Raw::connect(port.address));
    let (say, mut answers) = port.wait(client.publish_many());
    say.send(message("1")).expect("it is asked for");
    port.expect_heard(&mut client);
    say.send(message("2")).expect("it is asked for");
    port.expect_heard(&mut client);
    let began = Instant::now();
    port.eventually("the time is over", || began.elapsed() > DEADLINE_OF_BODIES);
    frozen.thaw();
    for text in ["1", "2"] {
        assert_eq!(port.wait(answers.next()).expect("an answer").delivered, 1, "{text}");
        assert_eq!(ana.next_text(), text);
    }
    say.send(message("3")).expect("it goes on");
    assert_eq!(port.wait(answers.next()).expect("an answer").delivered, 1);
    drop(say);
    assert_eq!(port.wait(answers.next()), Err(GOOD_END));
}

#[test]
fn messages_that_wait_together_for_more_channels_than_may_go_together_are_all_published() {
    const MESSAGES: usize = 11;
    let Scene { port, ana: _ana, frozen } = Scene::start(Config::new());
    let mut client = port.wait(Raw::connect(port.address));
    let (say, mut answers) = port.wait(client.publish_many());
    say.send(message("x")).expect("it is asked for");
    port.expect_heard(&mut client);
    let to_many = framed(&publish(&["c"; 1000], "x"));
    say.send(to_many.repeat(MESSAGES).into()).expect("it is asked for");
    port.expect_heard(&mut client);
    frozen.thaw();
    for n in 0..=MESSAGES {
        let reply = port.wait(answers.next()).expect("an answer");
        assert_eq!(reply.error, None, "{n}");
    }
}

#[test]
fn what_no_shard_took_is_refused_although_it_came_with_what_is_kept() {
    let Scene { port, ana: _ana, frozen } = Scene::start(Config::new().set("server.lane_patience", "200ms"));
    let mut client = port.wait(Raw::connect(port.address));
    // More than a lane takes.
    let flood = client.call("Publish", stream::iter([framed(&publish(&["conv:c1"; 5000], "x"))]).boxed());
    let flood = port.runtime.spawn(flood);
    port.eventually("the lane is full", || port.gateway.admin().metrics().sum(LANE_LOST) > 0.0);
    let (say, mut answers) = port.wait(client.publish_many());
    let notification = framed(&publish(&["user:ana"], r#"{"type":"notification","id":"n1"}"#));
    say.send([message("x"), notification].concat().into()).expect("it is asked for");
    let [lost, kept] = [(); 2].map(|()| port.wait(answers.next()).expect("an answer"));
    assert_eq!(lost.error.expect("it is lost").code, "not_taken");
    assert_eq!((kept.error, kept.kept), (None, Some(true)));
    assert!(kept.note.contains("kept"), "{}", kept.note);
    let narrowed = PublishRequest {
        user_type: Some("driver".into()),
        ..publish(&["user:ana"], r#"{"type":"notification","id":"n2"}"#)
    };
    let narrowed = stream::iter([framed(&narrowed)]).boxed();
    let end = port.wait(async { client.call("Publish", narrowed).await.next().await });
    assert_eq!(end, Err((Code::Unavailable, "not_taken".into())), "with a filter nothing is kept");
    flood.abort();
    frozen.thaw();
}
