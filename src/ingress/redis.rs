//! The Redis source: `PSUBSCRIBE {prefix}:*`, and every message goes to the channel that
//! its name has behind the prefix.
//!
//! Started by [`super::start`]. Per message: take the prefix off, check that the payload can be a text message,
//! publish. The payload is neither parsed nor copied on its way into the frame.
//!
//! Publishing waits while a lane is full, within the bus's patience, and with it the whole thread: the client library
//! reads ahead into a queue without a bound, and only while its reader cannot run does what Redis sends stay in Redis'
//! own buffers and the socket's. Redis gives up on a subscriber that lags too far (`client-output-buffer-limit
//! pubsub`); that is a lost connection like any other.
//!
//! Invariant: the source is `connected` exactly while Redis has confirmed the subscription and answers, and, behind
//! sentinels, is the server that they name.

use std::cell::Cell;
use std::convert::Infallible;
use std::io;
use std::slice;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use redis::aio::{PubSub, PubSubSink, PubSubStream};
use redis::{RedisError, Value};
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use crate::broker::redis::Server;
use crate::config::Redis;
use crate::control::{Backoff, Control};

use super::intake::Intake;
use super::{Inlet, SourceStatus};

/// Silence is looked at this often: one span quiet, then a PING. Who does not answer that within
/// `redis.response_timeout` is given up.
const PULSE: Duration = Duration::from_secs(1);

/// Starts the source and returns at once; whether Redis is there shows in the status.
///
/// # Errors
///
/// When its thread cannot be had.
pub fn start(settings: &Redis, inlet: Inlet, control: &Control) -> io::Result<Arc<SourceStatus>> {
    let status = Arc::new(SourceStatus::new("redis"));
    let server = Server::of(settings)?;
    let intake = Intake { prefix: settings.prefix.clone(), inlet, status: status.clone() };
    let deadlines = Deadlines { connect: settings.connect_timeout, response: settings.response_timeout };
    control.run_apart(status.name(), async move |stop| {
        stop.run_until_cancelled(follow(server, deadlines, intake)).await;
    })?;
    Ok(status)
}

/// What Redis has for a connection, and for an answer.
struct Deadlines {
    connect: Duration,
    response: Duration,
}

/// Why a connection ended.
#[derive(Debug)]
enum Lost {
    Redis(RedisError),
    ConnectTimeout(Duration),
    Closed,
    Silent,
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Lost::Redis(error) => error.fmt(f),
            Lost::ConnectTimeout(deadline) => write!(f, "no answer within {deadline:?}"),
            Lost::Closed => f.write_str("Redis closed the connection"),
            Lost::Silent => f.write_str("Redis does not answer any more"),
        }
    }
}

impl From<RedisError> for Lost {
    fn from(error: RedisError) -> Self {
        Lost::Redis(error)
    }
}

/// Subscribes, again and again.
async fn follow(mut server: Server, deadlines: Deadlines, intake: Intake) -> Infallible {
    let address = server.address.clone();
    let mut backoff = Backoff::default();
    let pattern = format!("{}:*", intake.prefix);
    loop {
        let lost = match subscribe(&mut server, deadlines.connect, &pattern).await {
            Ok(pubsub) => {
                if intake.status.link.connected() {
                    info!(redis = %address, %pattern, "subscribed");
                }
                let since = Instant::now();
                let listening = listen(pubsub, &intake, deadlines.response);
                let lost = server.while_named(listening).await.unwrap_or_else(Lost::from);
                backoff.lived(since.elapsed());
                lost
            }
            Err(lost) => lost,
        };
        let delay = backoff.delay();
        if intake.status.link.disconnected(lost.to_string()) {
            warn!(redis = %address, error = %lost, "not connected to Redis, trying until it is back");
        } else {
            debug!(redis = %address, error = %lost, retry_in = ?delay, "still not connected to Redis");
        }
        sleep(delay).await;
    }
}

async fn subscribe(server: &mut Server, deadline: Duration, pattern: &str) -> Result<PubSub, Lost> {
    let connected = timeout(deadline, async {
        let client = server.client().await?;
        let subscribing = async {
            let mut pubsub = client.get_async_pubsub().await?;
            pubsub.psubscribe(pattern).await?;
            Ok::<_, RedisError>(pubsub)
        };
        server.while_named(subscribing).await?
    });
    Ok(connected.await.map_err(|_| Lost::ConnectTimeout(deadline))??)
}

/// Passes messages on while the connection lives.
async fn listen(pubsub: PubSub, intake: &Intake, patience: Duration) -> Lost {
    let (sink, messages) = pubsub.split();
    let heard = Cell::new(false);
    tokio::select! {
        biased;
        lost = pass_on(messages, intake, &heard) => lost,
        lost = watch(sink, &heard, patience) => lost,
    }
}

async fn pass_on(mut messages: PubSubStream, intake: &Intake, heard: &Cell<bool>) -> Lost {
    while let Some(message) = messages.next().await {
        let channel = channel_of(&intake.prefix, message.get_channel_name());
        intake.take(channel.as_ref().map(slice::from_ref), message.get_payload_bytes());
        heard.set(true);
    }
    Lost::Closed
}

/// Returns when Redis is silent. Messages are a sign of life too: while they wait behind a full
/// lane, so does the answer to a PING.
async fn watch(mut sink: PubSubSink, heard: &Cell<bool>, patience: Duration) -> Lost {
    loop {
        sleep(PULSE).await;
        if heard.take() {
            continue;
        }
        match timeout(patience, sink.ping::<Value>()).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return error.into(),
            Err(_) if heard.take() => {}
            Err(_) => return Lost::Silent,
        }
    }
}

/// What stands behind the prefix and a colon.
fn channel_of<'a>(prefix: &str, redis_channel: &'a str) -> Option<&'a str> {
    redis_channel.strip_prefix(prefix)?.strip_prefix(':').filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RedisUrl;
    use crate::ingress::intake::tests::intake;

    #[test]
    fn a_message_goes_to_the_channel_behind_the_prefix() {
        let channels = ["ws:conv:c1", "other:conv:c1", "ws:", "ws", "wsx:a", "?"].map(|name| channel_of("ws", name));
        assert_eq!(channels, [Some("conv:c1"), None, None, None, None, None]);
    }

    #[test]
    fn a_source_stops_while_redis_is_away() {
        let (intake, _lane) = intake("conv:c1");
        // Port 1 of loopback: nobody listens there.
        let url = RedisUrl::parse("redis://127.0.0.1:1").expect("a URL");
        let settings = Redis { url: Some(url), ..Redis::default() };
        let control = Control::start().expect("a thread");
        let status = start(&settings, intake.inlet.clone(), &control).expect("a thread");
        assert!(!status.link.is_connected());
        assert!(control.stop());
    }
}
