//! A WebSocket server as it is written with fastwebsockets: its upgrade over hyper, one task per connection, `select!`
//! between the socket and the connection's channels.
//!
//! A read of this library loses its place when it is dropped halfway, so the socket is split and the read under way
//! is kept across the turns of the loop: the same single task, and correct.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;

use axum::body::Bytes;
use clap::Parser;
use fastwebsockets::upgrade::{self, UpgradeFut};
use fastwebsockets::{FragmentCollectorRead, Frame, OpCode, Payload, WebSocketError};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::Upgraded;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::ReadHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio_stream::StreamExt;

use ringway_peers::admin;
use ringway_peers::channels::{Channels, Subscriptions};
use ringway_peers::options::Addresses;
use ringway_peers::wire;

#[derive(Parser)]
#[command(about = "Reference server: fastwebsockets over hyper, one task per connection")]
struct Options {
    #[command(flatten)]
    addresses: Addresses,
}

/// A published message: bytes that are known to be UTF-8.
#[derive(Clone)]
struct Text(Bytes);

impl TryFrom<Bytes> for Text {
    type Error = std::str::Utf8Error;

    fn try_from(bytes: Bytes) -> Result<Self, Self::Error> {
        std::str::from_utf8(&bytes)?;
        Ok(Text(bytes))
    }
}

type Reader = FragmentCollectorRead<ReadHalf<TokioIo<Upgraded>>>;

#[tokio::main]
async fn main() -> io::Result<()> {
    let options = Options::parse();
    let channels = Arc::new(Channels::default());
    let admin = admin::router(channels.clone());
    let listeners = options.addresses.bind()?;
    tokio::try_join!(accept(listeners.clients, channels), async { axum::serve(listeners.admin, admin).await })?;
    Ok(())
}

async fn accept(listener: TcpListener, channels: Arc<Channels<Text>>) -> io::Result<()> {
    loop {
        // A client that is gone again, or a moment without descriptors, is no reason to stop.
        let Ok((stream, _)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        tokio::spawn(handle(stream, channels.clone()));
    }
}

async fn handle(stream: TcpStream, channels: Arc<Channels<Text>>) {
    // Without Nagle's delay, as every server of small messages runs; a socket that refuses is slower, not wrong.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let channels = channels.clone();
        async move { Ok::<_, Infallible>(respond(request, channels)) }
    });
    // An error here is a client that went away or did not speak HTTP.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await;
}

fn respond(mut request: Request<Incoming>, channels: Arc<Channels<Text>>) -> Response<Full<Bytes>> {
    match request.uri().path() {
        "/ws" => match upgrade::upgrade(&mut request) {
            Ok((response, socket)) => {
                tokio::spawn(async move {
                    // An error here is a client that went away; the connection ends with it.
                    let _ = serve(socket, &channels).await;
                });
                response.map(|_| Full::default())
            }
            Err(_) => status(StatusCode::BAD_REQUEST),
        },
        "/health" => {
            Response::new(format!(r#"{{"status":"ok","connections":{}}}"#, channels.connections()).into_bytes().into())
        }
        _ => status(StatusCode::NOT_FOUND),
    }
}

async fn serve(socket: UpgradeFut, channels: &Channels<Text>) -> Result<(), WebSocketError> {
    let mut socket = socket.await?;
    // The reading half cannot write, so control frames are answered below.
    socket.set_auto_close(false);
    socket.set_auto_pong(false);
    let (reader, mut writer) = socket.split(tokio::io::split);

    let presence = channels.enter();
    let mut subscriptions = Subscriptions::new();
    let first = wire::connected(presence.session_id, "peer-fastwebsockets");
    writer.write_frame(text(first.as_bytes())).await?;

    let mut reading = pin!(read(FragmentCollectorRead::new(reader)));
    loop {
        tokio::select! {
            (reader, received) = &mut reading => {
                let frame = received?;
                match frame.opcode {
                    OpCode::Text => {
                        let answer = wire::answer(&frame.payload, channels, &mut subscriptions);
                        writer.write_frame(text(answer.as_bytes())).await?;
                    }
                    OpCode::Ping => writer.write_frame(Frame::pong(frame.payload)).await?,
                    OpCode::Close => return writer.write_frame(Frame::close_raw(frame.payload)).await,
                    OpCode::Binary | OpCode::Continuation | OpCode::Pong => {}
                }
                reading.set(read(reader));
            },
            Some((_, message)) = subscriptions.next() => {
                // Who fell behind goes on with what is still there; a client that counts sees the gap.
                let Ok(message) = message else { continue };
                writer.write_frame(text(&message.0)).await?;
            }
        }
    }
}

/// One message, and the reader back.
async fn read(mut reader: Reader) -> (Reader, Result<Frame<'static>, WebSocketError>) {
    let received = reader.read_frame(&mut async |_| Ok::<_, WebSocketError>(())).await;
    (reader, received)
}

fn text(payload: &[u8]) -> Frame<'_> {
    Frame::text(Payload::Borrowed(payload))
}

fn status(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}
