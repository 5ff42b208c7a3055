//! Who is slow, silent or too fast on the admin port: it costs nobody else anything.

use super::raw::{GOOD_END, framed};
use super::*;

#[test]
fn a_message_that_does_not_come_whole_is_given_up() {
    let port = Port::start(Config::new().set("admin.transfer_deadline", SHORT));
    for method in ["Publish", "PublishMany"] {
        let end = port.wait(async {
            let half = stream::iter([Bytes::from_static(b"\0\0\0\0\x09\x0a")]).chain(stream::pending());
            Raw::connect(port.address).await.call(method, half.boxed()).await.next().await
        });
        assert_eq!(end, Err((Code::DeadlineExceeded, "body_too_slow".into())), "{method}");
    }
}

#[test]
fn half_a_message_that_came_with_a_whole_one_is_given_up_as_well() {
    let port = Port::start(Config::new().set("admin.transfer_deadline", "1s"));
    port.wait(async {
        let (say, mut answers) = Raw::connect(port.address).await.publish_many().await;
        let message = framed(&publish(&["conv:c1"], "x"));
        say.send([&message[..], &message[..9]].concat().into()).expect("it is asked for");
        assert!(answers.next().await.is_ok(), "the whole one is answered");
        assert_eq!(answers.next().await, Err((Code::DeadlineExceeded, "body_too_slow".into())));
    });
}

#[test]
fn messages_that_come_faster_than_they_are_taken_hold_up_their_own_stream_alone() {
    const MESSAGES: usize = 12_000;
    const STREAMS: usize = 6;
    let port = Port::start(Config::new());
    port.wait(async {
        let message = framed(&publish(&["q"], "x"));
        let mut client = Raw::connect(port.address).await;
        let (say, mut quiet) = client.publish_many().await;
        let mut loud = Vec::new();
        for _ in 0..STREAMS {
            loud.push(client.call("PublishMany", stream::iter(vec![message.clone(); MESSAGES]).boxed()).await);
        }
        for _ in 0..20 {
            say.send(message.clone()).expect("it is asked for");
            assert!(quiet.next().await.is_ok(), "the quiet one goes on");
        }
        for mut answers in loud {
            for _ in 0..MESSAGES {
                answers.next().await.expect("an answer to each");
            }
            assert_eq!(answers.next().await, Err(GOOD_END));
        }
        drop(say);
        assert_eq!(quiet.next().await, Err(GOOD_END));
    });
}

#[test]
fn silent_connections_and_idle_streams_keep_nobody_out_and_end() {
    let port = Port::start(Config::new().set("admin.connections", 4).set("admin.head_deadline", "1h"));
    let silent: Vec<_> = (0..20).map(|_| TcpStream::connect(port.address).expect("it listens")).collect();
    let mut admin = port.caller(None);
    assert!(port.wait(admin.stats(StatsRequest {})).is_ok());
    // Streams without a message are idle as well.
    let idle: Vec<_> = (0..6)
        .map(|_| {
            let mut admin = port.caller(None);
            port.wait(admin.publish_many(stream::pending())).expect("a stream").into_inner()
        })
        .collect();
    let mut ended = 0;
    for mut answers in idle {
        let next = port
            .runtime
            .block_on(async { tokio::time::timeout(std::time::Duration::from_millis(1), answers.next()).await });
        ended += usize::from(next.is_ok());
    }
    assert!(ended >= 2, "{ended} of 6 had to go where 4 have room");
    drop(silent);

    let mut port = Port::start(Config::new().set("admin.head_deadline", SHORT));
    let mut silent = TcpStream::connect(port.address).expect("it listens");
    silent.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    let mut rest = Vec::new();
    silent.read_to_end(&mut rest).expect("it is ended");
    // Whoever has been served is ended in good order, and calls again without noticing.
    let mut admin = port.caller(None);
    for _ in 0..3 {
        assert!(port.runtime.block_on(admin.stats(StatsRequest {})).is_ok());
        let open = port.gateway.process().descriptors();
        eventually("the connection is closed", || {
            // The client's side has to run, or it does not hear of it.
            port.runtime.block_on(async { tokio::time::sleep(PAUSE).await });
            port.gateway.process().descriptors() < open
        });
    }
}
