//! The NATS source: a subscription to `{prefix}.>`, or a place in a stream of JetStream (`jetstream`), and every
//! message goes to the channel that its subject or its header names.
//!
//! Started by [`super::start`]. Publishing waits while a lane is full, within the bus's patience, and with it the whole
//! thread, on which the client library reads as well: so it reads no more than it has room for
//! ([`crate::broker::nats`]), and what else comes stays in the buffers of the server and the socket. The server ends a
//! connection that lags too far; that is a lost connection like any other. Should the library lack room nevertheless,
//! it is counted and told how many messages that cost.
//!
//! Invariant: the source is `connected` exactly while NATS has confirmed the subscription and the connection stands.

mod jetstream;

use std::convert::Infallible;
use std::io;
use std::slice;
use std::sync::Arc;
use std::time::Instant;

use async_nats::{HeaderName, Message, Subscriber};
use tokio::time::sleep;
use tracing::{debug, info, warn};

use crate::broker::nats::{Connection, Lost, News, header_value, next};
use crate::broker::subject::channel_of;
use crate::config::{Config, Nats, NatsUrl};
use crate::control::{Backoff, Control};

use super::intake::Intake;
use super::{Inlet, SourceStatus};

/// Names the channel, where a subject cannot.
const CHANNEL: HeaderName = HeaderName::from_static("Ringway-Channel");

/// Starts the source and returns at once; whether NATS is there shows in the status.
///
/// # Errors
///
/// When its thread cannot be had.
pub fn start(config: &Config, url: &NatsUrl, inlet: Inlet, control: &Control) -> io::Result<Arc<SourceStatus>> {
    let status = Arc::new(SourceStatus::new("nats"));
    let intake = Intake { prefix: config.nats.prefix.clone(), inlet, status: status.clone() };
    let way = Way { settings: config.nats.clone(), url: url.clone(), node: config.server.id.clone() };
    control.run_apart(status.name(), async move |stop| {
        stop.run_until_cancelled(follow(way, intake)).await;
    })?;
    Ok(status)
}

/// How NATS is reached, and what is wanted of it.
struct Way {
    settings: Nats,
    url: NatsUrl,
    /// `server.id`
    node: String,
}

/// Where messages come from.
enum Subscription {
    Subject(Subscriber),
    Stream(Box<jetstream::Place>),
}

/// Subscribes, again and again.
async fn follow(way: Way, intake: Intake) -> Infallible {
    let mut backoff = Backoff::default();
    loop {
        let lost = match subscribe(&way).await {
            Ok((connection, subscription)) => {
                if intake.status.link.connected() {
                    info!(nats = %way.url, subjects = %way.subjects(), "subscribed");
                }
                let since = Instant::now();
                let lost = match subscription {
                    Subscription::Subject(messages) => listen(connection, messages, &intake).await,
                    Subscription::Stream(place) => place.follow(connection, &intake).await,
                };
                backoff.lived(since.elapsed());
                lost
            }
            Err(lost) => lost,
        };
        let delay = backoff.delay();
        if intake.status.link.disconnected(lost.to_string()) {
            warn!(nats = %way.url, error = %lost, "not connected to NATS, trying until it is back");
        } else {
            debug!(nats = %way.url, error = %lost, retry_in = ?delay, "still not connected to NATS");
        }
        sleep(delay).await;
    }
}

async fn subscribe(way: &Way) -> Result<(Connection, Subscription), Lost> {
    let Nats { queue_group, jetstream, .. } = &way.settings;
    let mut connection = Connection::open(&way.settings, &way.url, &format!("ringway {}", way.node)).await?;
    let (client, subjects) = (connection.client.clone(), way.subjects());
    let subscription = match (jetstream, queue_group) {
        (Some(stream), _) => {
            let place = connection.unless_refused(jetstream::Place::find(way, client, stream)).await?;
            Subscription::Stream(Box::new(place))
        }
        (None, Some(group)) => {
            let messages = client.queue_subscribe(subjects, group.clone()).await;
            Subscription::Subject(messages.map_err(Lost::from)?)
        }
        (None, None) => Subscription::Subject(client.subscribe(subjects).await.map_err(Lost::from)?),
    };
    connection.confirm().await?;
    Ok((connection, subscription))
}

/// Passes messages on while the connection lives.
async fn listen(mut connection: Connection, mut messages: Subscriber, intake: &Intake) -> Lost {
    let mut taken = 0;
    loop {
        tokio::select! {
            biased;
            message = next(&mut messages) => match message {
                Ok(message) => {
                    take(intake, &message);
                    taken += 1;
                }
                Err(lost) => return lost,
            },
            // Comes when no message waits: what has come and was not taken never will be.
            news = connection.news() => match news {
                News::Lost(lost) => return lost,
                News::Refused(words) => debug!(words, "refused by NATS"),
                News::Overrun => {
                    let lost = connection.received() - taken;
                    tell_lost(intake, lost);
                    taken += lost;
                }
            },
        }
    }
}

impl Way {
    fn subjects(&self) -> String {
        format!("{}.>", self.settings.prefix)
    }
}

/// Takes in a message, for the channel in its header or its subject.
fn take(intake: &Intake, message: &Message) {
    let named = message.headers.as_ref().and_then(|headers| headers.get(CHANNEL));
    let channel = match named {
        Some(named) => header_value(named.as_str()).filter(|name| !name.is_empty()),
        None => channel_of(&intake.prefix, &message.subject),
    };
    intake.take(channel.as_ref().map(slice::from_ref), &message.payload);
}

/// Messages that have come and were dropped for lack of room.
fn tell_lost(intake: &Intake, messages: u64) {
    if messages > 0 {
        intake.status.lost.add(messages);
        warn!(messages, "more came from NATS at once than there is room for: messages are lost");
    }
}

#[cfg(test)]
mod tests {
    use async_nats::HeaderMap;

    use super::*;
    use crate::ingress::intake::tests::{intake, published};

    fn message(subject: &str, channel: Option<&str>, payload: &'static [u8]) -> Message {
        let headers = channel.map(|channel| {
            let mut headers = HeaderMap::new();
            headers.insert(CHANNEL, channel);
            headers
        });
        let subject = subject.into();
        Message { subject, reply: None, payload: payload.into(), headers, status: None, description: None, length: 0 }
    }

    #[test]
    fn a_message_goes_to_the_channel_behind_the_prefix_or_in_the_header() {
        let (intake, lane) = intake("conv:a.b c");
        take(&intake, &message("ws.conv.a", None, b"{}"));
        assert_eq!(intake.status.unmatched.get(), 1);
        take(&intake, &message("ws.conv.a", Some("conv:a.b%20c"), b"{}"));
        assert_eq!(published(&lane).0, "conv:a.b c");
        take(&intake, &message("ws.conv.a", Some("conv:a.b c"), b"{}"));
        assert_eq!(published(&lane).0, "conv:a.b c");
    }

    #[test]
    fn what_cannot_be_a_text_message_of_a_channel_is_dropped_and_counted() {
        let (intake, lane) = intake("conv:c1");
        take(&intake, &message("ws.conv.c1", None, b"\xff"));
        take(&intake, &message("other.conv.c1", None, b"{}"));
        take(&intake, &message("ws.conv.c1", Some(""), b"{}"));
        take(&intake, &message("ws.conv.c1", Some("conv:%ff"), b"{}"));
        assert!(lane.is_empty());
        assert_eq!((intake.status.messages.get(), intake.status.invalid.get()), (4, 4));
    }

    #[test]
    fn a_source_stops_while_nats_is_away() {
        let (intake, _lane) = intake("conv:c1");
        // Port 1 of loopback: nobody listens there.
        let url = NatsUrl::parse("nats://127.0.0.1:1").expect("a URL");
        let control = Control::start().expect("a thread");
        let status = start(&Config::default(), &url, intake.inlet.clone(), &control).expect("a thread");
        assert!(!status.link.is_connected());
        assert!(control.stop());
    }
}
