//! A place in a stream of JetStream: a durable consumer, one for each node, which goes on where it stopped.
//!
//! The node pulls what it has room for, and acknowledges each message when it is in the lanes. What was on its way when
//! a connection was lost comes again after [`ACK_WAIT`]: at least once.

use std::time::Duration;

use async_nats::Client;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::{self, stream};
use futures_util::StreamExt;
use tokio::time::timeout;
use tracing::debug;

use crate::broker::nats::{Connection, Lost, News, RESPONSE_TIMEOUT};

use super::{Way, take};
use crate::ingress::intake::Intake;

/// Messages that are on their way to us or wait here, not acknowledged.
const PULLED_MAX: usize = 512;

/// After so long without an acknowledgement a message comes again. Longer than a lane's patience; where that is set
/// longer a message may come twice.
const ACK_WAIT: Duration = Duration::from_secs(5);

/// A signal of life while nothing is published; two that fail to come, and the place is looked for anew.
const PULSE: Duration = Duration::from_secs(5);

/// A request for messages is made again after so long.
const PULL_EXPIRES: Duration = Duration::from_secs(30);

pub struct Place {
    messages: pull::Stream,
}

impl Place {
    /// Finds this node's place in the stream, or makes it, at the stream's end.
    ///
    /// # Errors
    ///
    /// When there is no such stream and none is to be made, or JetStream does not answer.
    pub async fn find(way: &Way, client: Client, name: &str) -> Result<Self, Lost> {
        let found = timeout(RESPONSE_TIMEOUT, Self::look_for(way, client, name)).await;
        found.map_err(|_| Lost::silent())?
    }

    async fn look_for(way: &Way, client: Client, name: &str) -> Result<Self, Lost> {
        let context = jetstream::new(client);
        let stream = if way.settings.jetstream_create {
            context.get_or_create_stream(stream_config(way, name)).await.map_err(Lost::from)?
        } else {
            context.get_stream(name).await.map_err(Lost::from)?
        };
        let durable = durable(way);
        let config = pull::Config {
            durable_name: Some(durable.clone()),
            filter_subject: way.subjects(),
            deliver_policy: DeliverPolicy::New,
            ack_policy: AckPolicy::Explicit,
            ack_wait: ACK_WAIT,
            max_ack_pending: PULLED_MAX as i64,
            ..pull::Config::default()
        };
        let consumer = stream.get_or_create_consumer(&durable, config).await.map_err(Lost::from)?;
        let pulled = consumer.stream().max_messages_per_batch(PULLED_MAX / 2).expires(PULL_EXPIRES).heartbeat(PULSE);
        Ok(Self { messages: pulled.messages().await.map_err(Lost::from)? })
    }

    /// Passes messages on while the connection lives.
    pub async fn follow(mut self, mut connection: Connection, intake: &Intake) -> Lost {
        loop {
            tokio::select! {
                biased;
                message = self.messages.next() => match message {
                    Some(Ok(message)) => {
                        take(intake, &message);
                        if let Err(error) = message.ack().await {
                            return Lost::from(error);
                        }
                    }
                    Some(Err(error)) => return Lost::from(error),
                    None => return Lost("the connection was lost".into()),
                },
                news = connection.news() => match news {
                    News::Lost(lost) => return lost,
                    // What finds no room comes again.
                    News::Refused(_) | News::Overrun => debug!(?news, "from NATS"),
                },
            }
        }
    }
}

fn stream_config(way: &Way, name: &str) -> stream::Config {
    stream::Config {
        name: name.into(),
        subjects: vec![way.subjects()],
        max_age: way.settings.jetstream_age,
        max_bytes: way.settings.jetstream_bytes as i64,
        ..stream::Config::default()
    }
}

/// The name of this node's place.
fn durable(way: &Way) -> String {
    way.settings.jetstream_durable.clone().unwrap_or_else(|| format!("ringway-{}", way.node))
}
