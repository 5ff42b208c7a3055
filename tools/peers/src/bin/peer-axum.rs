//! A WebSocket server as it is written with axum: `WebSocketUpgrade`, one task per connection, `select!` between the
//! socket and the connection's channels.
//!
//! `--read-buffer` sets the size of tungstenite's two buffers per connection; without it they are the library's
//! defaults (128 KiB each), which is what most servers run with.

use std::sync::Arc;

use axum::Router;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{FromRef, State};
use axum::response::Response;
use axum::routing::get;
use axum::serve::ListenerExt;
use clap::Parser;
use tokio_stream::StreamExt;

use ringway_peers::admin;
use ringway_peers::channels::{Channels, Subscriptions};
use ringway_peers::options::Addresses;
use ringway_peers::wire;

#[derive(Parser)]
#[command(about = "Reference server: axum and tokio-tungstenite, one task per connection")]
struct Options {
    #[command(flatten)]
    addresses: Addresses,
    /// Size of the read and the write buffer of each connection; the library's defaults when absent
    #[arg(long, value_name = "BYTES")]
    read_buffer: Option<usize>,
}

#[derive(Clone)]
struct Server {
    channels: Arc<Channels<Utf8Bytes>>,
    buffer_bytes: Option<usize>,
}

impl FromRef<Server> for Arc<Channels<Utf8Bytes>> {
    fn from_ref(server: &Server) -> Self {
        server.channels.clone()
    }
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let options = Options::parse();
    let server = Server { channels: Arc::default(), buffer_bytes: options.read_buffer };
    let admin = admin::router(server.channels.clone());
    let clients =
        Router::new().route("/ws", get(upgrade)).route("/health", get(admin::health::<Utf8Bytes>)).with_state(server);

    let listeners = options.addresses.bind()?;
    // Without Nagle's delay, as every server of small messages runs; a socket that refuses is slower, not wrong.
    let without_delay = listeners.clients.tap_io(|stream| drop(stream.set_nodelay(true)));
    tokio::try_join!(async { axum::serve(without_delay, clients).await }, async {
        axum::serve(listeners.admin, admin).await
    })?;
    Ok(())
}

async fn upgrade(mut upgrade: WebSocketUpgrade, State(server): State<Server>) -> Response {
    if let Some(bytes) = server.buffer_bytes {
        upgrade = upgrade.read_buffer_size(bytes).write_buffer_size(bytes);
    }
    upgrade.on_upgrade(move |socket| async move {
        // An error here is a client that went away; the connection ends with it.
        let _ = serve(socket, &server.channels).await;
    })
}

async fn serve(mut socket: WebSocket, channels: &Channels<Utf8Bytes>) -> Result<(), axum::Error> {
    let presence = channels.enter();
    let mut subscriptions = Subscriptions::new();
    socket.send(Message::text(wire::connected(presence.session_id, "peer-axum"))).await?;
    loop {
        tokio::select! {
            received = socket.recv() => match received {
                Some(Ok(Message::Text(text))) => {
                    let answer = wire::answer(text.as_bytes(), channels, &mut subscriptions);
                    socket.send(Message::text(answer)).await?;
                }
                // The library answers pings and closes by itself.
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error),
                None => return Ok(()),
            },
            Some((_, message)) = subscriptions.next() => {
                // Who fell behind goes on with what is still there; a client that counts sees the gap.
                let Ok(message) = message else { continue };
                socket.send(Message::Text(message)).await?;
            }
        }
    }
}
