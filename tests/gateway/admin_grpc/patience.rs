//! Who is slow, silent or too fast on the admin port: it costs nobody else anything.

use super::*;

#[test]
fn a_message_that_does_not_come_whole_is_given_up() {
    let port = Port::start(Config::new().set("admin.transfer_deadline", SHORT));
    for method in ["Publish", "PublishMany"] {
        let (status, code) = port.wait(async {
            let stream = tokio::net::TcpStream::connect(port.address).await.expect("it listens");
            let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
            let (mut sender, connection) = handshake.expect("HTTP/2");
            tokio::spawn(connection);
            let request =
                hyper::Request::post(format!("http://{}/ringway.admin.v1.AdminService/{method}", port.address));
            let request = request.header("content-type", "application/grpc").header("te", "trailers");
            let response = sender.send_request(request.body(Half(Some(b"\0\0\0\0\x09\x0a"))).expect("a request")).await;
            let mut response = response.expect("an answer");
            let mut headers = response.headers().clone();
            while let Some(frame) = std::future::poll_fn(|cx| Pin::new(response.body_mut()).poll_frame(cx)).await {
                headers.extend(frame.expect("a frame").into_trailers().expect("no message"));
            }
            let text = |name: &str| headers.get(name).map(|value| value.to_str().expect("text").to_owned());
            (text("grpc-status").expect("a status"), text("ringway-code"))
        });
        assert_eq!(status, (Code::DeadlineExceeded as i32).to_string(), "{method}");
        assert_eq!(code.as_deref(), Some("body_too_slow"), "{method}");
    }
}

/// Messages of a stream, each in a frame of its own, as they are asked for.
struct Crumbs(BoxStream<'static, &'static [u8]>);

impl Body for Crumbs {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_next_unpin(context).map(|crumb| crumb.map(|bytes| Ok(Frame::data(Bytes::from_static(bytes)))))
    }
}

/// The next answer, without its length; `None` when the stream has ended well.
async fn next_reply(answers: &mut Incoming, gathered: &mut BytesMut) -> Option<Bytes> {
    loop {
        if gathered.len() >= 5 && gathered.len() >= 5 + gathered[4] as usize {
            let reply = gathered.split_to(5 + gathered[4] as usize).freeze();
            return Some(reply.slice(5..));
        }
        let frame =
            std::future::poll_fn(|cx| Pin::new(&mut *answers).poll_frame(cx)).await.expect("an end that is told");
        match frame.expect("the connection lives").into_data() {
            Ok(data) => gathered.extend_from_slice(&data),
            Err(end) => {
                assert_eq!(end.into_trailers().expect("an end")["grpc-status"], "0");
                return None;
            }
        }
    }
}

#[test]
fn messages_that_come_faster_than_they_are_taken_hold_up_their_own_stream_alone() {
    const MESSAGES: usize = 12_000;
    const STREAMS: usize = 6;
    // The text `x` for the channel `q`.
    const MESSAGE: &[u8] = b"\0\0\0\0\x06\x0a\x01q\x12\x01x";
    let port = Port::start(Config::new());
    port.wait(async {
        let stream = tokio::net::TcpStream::connect(port.address).await.expect("it listens");
        // Nobody's answers have much room before they are read.
        let client = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(1000)
            .handshake(TokioIo::new(stream));
        let (mut sender, connection) = client.await.expect("HTTP/2");
        tokio::spawn(connection);
        let mut ask = |crumbs| {
            let request =
                hyper::Request::post(format!("http://{}/ringway.admin.v1.AdminService/PublishMany", port.address));
            let request = request.header("content-type", "application/grpc").header("te", "trailers");
            sender.send_request(request.body(Crumbs(crumbs)).expect("a request"))
        };
        let (say, said) = tokio::sync::mpsc::unbounded_channel();
        let said = stream::unfold(said, async |mut said| Some((said.recv().await?, said)));
        let mut quiet = ask(said.boxed()).await.expect("an answer");
        let mut loud = Vec::new();
        for _ in 0..STREAMS {
            loud.push(ask(stream::iter(vec![MESSAGE; MESSAGES]).boxed()).await.expect("an answer"));
        }
        let mut gathered = BytesMut::new();
        for _ in 0..20 {
            say.send(MESSAGE).expect("it is asked for");
            assert!(next_reply(quiet.body_mut(), &mut gathered).await.is_some(), "the quiet one goes on");
        }
        for mut answers in loud {
            let (mut replies, mut gathered) = (0, BytesMut::new());
            while next_reply(answers.body_mut(), &mut gathered).await.is_some() {
                replies += 1;
            }
            assert_eq!(replies, MESSAGES);
        }
        drop(say);
        assert_eq!(next_reply(quiet.body_mut(), &mut gathered).await, None);
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
