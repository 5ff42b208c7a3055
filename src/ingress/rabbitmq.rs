//! The RabbitMQ source: a queue of this node, bound to the exchange by `{prefix}.#`, and every message goes to the
//! channel that its routing key has behind the prefix, or to those that its header `channels` names.
//!
//! Started by [`super::start`]. A message is acknowledged when it has been published; RabbitMQ sends no more than
//! `rabbitmq.prefetch` ahead of that. So while publishing waits for room in a lane, what comes on top stays in the
//! queue, which is bounded in bytes.
//!
//! RabbitMQ does not tell when the exchange or the binding is removed: both are made anew every [`BIND_EVERY`], which
//! changes nothing where they are there.
//!
//! Invariant: the source is `connected` exactly while RabbitMQ has confirmed that it sends us the queue's messages.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{FutureExt, StreamExt};
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Consumer};
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use crate::broker::rabbitmq::{Broker, CONNECT_DEADLINE, Lost, Session, declare_exchange, short};
use crate::broker::subject::channel_of;
use crate::config::{RabbitMq, RabbitMqUrl};
use crate::control::{Backoff, Control};

use super::intake::Intake;
use super::{Inlet, SourceStatus};

/// The header that may name channels.
const CHANNELS: &str = "channels";

/// That one message may name.
const CHANNELS_MAX: usize = 1000;

/// What goes through an exchange before it is bound again is not heard.
const BIND_EVERY: Duration = Duration::from_secs(10);

/// Starts the source and returns at once; whether RabbitMQ is there shows in the status.
///
/// # Errors
///
/// When its thread cannot be had, or the settings name no broker that could exist.
pub fn start(settings: &RabbitMq, url: &RabbitMqUrl, inlet: Inlet, control: &Control) -> io::Result<Arc<SourceStatus>> {
    let status = Arc::new(SourceStatus::new("rabbitmq"));
    let broker = Broker::new(settings, url)?;
    let topology = Topology::new(settings)?;
    let intake = Intake { prefix: settings.prefix.clone(), inlet, status: status.clone() };
    control.run_apart(status.name(), async move |stop| {
        stop.run_until_cancelled(follow(broker, topology, intake)).await;
    })?;
    Ok(status)
}

/// Consumes, again and again.
async fn follow(broker: Broker, topology: Topology, intake: Intake) -> Infallible {
    let mut backoff = Backoff::default();
    let (address, status) = (&broker.address, &intake.status);
    loop {
        let lost = match topology.open(&broker).await {
            Ok((_session, channel, consumer)) => {
                if status.link.connected() {
                    info!(rabbitmq = %address, queue = %consumer.queue(), "consuming");
                }
                let since = Instant::now();
                let lost = listen(&topology, &channel, consumer, &intake).await;
                backoff.lived(since.elapsed());
                lost
            }
            Err(lost) => lost,
        };
        let delay = backoff.delay();
        if status.link.disconnected(lost.to_string()) {
            warn!(rabbitmq = %address, error = %lost, "not connected to RabbitMQ, trying until it is back");
        } else {
            debug!(rabbitmq = %address, error = %lost, retry_in = ?delay, "still not connected to RabbitMQ");
        }
        sleep(delay).await;
    }
}

/// What there must be at the broker. It is made anew with every connection.
struct Topology {
    exchange: ShortString,
    /// Of the binding.
    key: ShortString,
    /// Empty: the broker finds a name.
    queue: ShortString,
    options: QueueDeclareOptions,
    arguments: FieldTable,
    prefetch: u16,
    /// Messages that are acknowledged together: few enough that others are on their way meanwhile.
    at_once: u16,
}

impl Topology {
    fn new(settings: &RabbitMq) -> io::Result<Self> {
        let is_named = settings.queue.is_some();
        let mut arguments = FieldTable::default();
        arguments.insert(short("x-max-length-bytes")?, AMQPValue::LongLongInt(settings.queue_bytes as i64));
        if is_named {
            let expires = AMQPValue::LongLongInt(settings.queue_expires.as_millis() as i64);
            arguments.insert(short("x-expires")?, expires);
        }
        let options = QueueDeclareOptions {
            durable: is_named,
            exclusive: !is_named,
            auto_delete: !is_named,
            ..QueueDeclareOptions::default()
        };
        let prefetch = u16::try_from(settings.prefetch).unwrap_or(u16::MAX);
        Ok(Self {
            exchange: short(&settings.exchange)?,
            key: short(&format!("{}.#", settings.prefix))?,
            queue: short(settings.queue.as_deref().unwrap_or_default())?,
            options,
            arguments,
            prefetch,
            at_once: (prefetch / 2).max(1),
        })
    }

    async fn open(&self, broker: &Broker) -> Result<(Session, Channel, Consumer), Lost> {
        let session = broker.connect("ringway source").await?;
        let consumer = timeout(CONNECT_DEADLINE, async {
            let channel = session.connection.create_channel().await?;
            let consumer = self.consume(&channel).await?;
            Ok::<_, lapin::Error>((channel, consumer))
        });
        let (channel, consumer) = consumer.await.map_err(|_| Lost::Silent)??;
        Ok((session, channel, consumer))
    }

    async fn consume(&self, channel: &Channel) -> lapin::Result<Consumer> {
        channel.basic_qos(self.prefetch, BasicQosOptions::default()).await?;
        let queue = channel.queue_declare(self.queue.clone(), self.options, self.arguments.clone()).await?;
        let (name, none) = (queue.name().clone(), FieldTable::default());
        self.bind(channel, &name).await?;
        // Of two nodes with one queue each would get half of the messages: the second is refused.
        let options = BasicConsumeOptions { exclusive: true, ..BasicConsumeOptions::default() };
        channel.basic_consume(name, ShortString::default(), options, none).await
    }

    /// Makes the exchange where there is none, and lets its messages into the queue.
    async fn bind(&self, channel: &Channel, queue: &ShortString) -> lapin::Result<()> {
        declare_exchange(channel, &self.exchange).await?;
        let (exchange, key) = (self.exchange.clone(), self.key.clone());
        channel.queue_bind(queue.clone(), exchange, key, QueueBindOptions::default(), FieldTable::default()).await
    }

    /// The same again and again, until it cannot be done.
    async fn keep_bound(&self, channel: &Channel, queue: &ShortString) -> Lost {
        loop {
            sleep(BIND_EVERY).await;
            if let Err(error) = self.bind(channel, queue).await {
                return error.into();
            }
        }
    }
}

/// Passes messages on while the connection lives.
async fn listen(topology: &Topology, channel: &Channel, consumer: Consumer, intake: &Intake) -> Lost {
    let queue = consumer.queue();
    tokio::select! {
        biased;
        lost = pass_on(consumer, intake, topology.at_once) => lost,
        lost = topology.keep_bound(channel, &queue) => lost,
    }
}

async fn pass_on(mut consumer: Consumer, intake: &Intake, at_once: u16) -> Lost {
    while let Some(delivery) = consumer.next().await {
        match take_what_is_there(delivery, &mut consumer, intake, at_once).await {
            Ok(()) => {}
            Err(error) => return error.into(),
        }
    }
    Lost::Ended
}

/// Takes a message, and those that have come behind it, and acknowledges them with one word.
async fn take_what_is_there(
    first: lapin::Result<Delivery>,
    consumer: &mut Consumer,
    intake: &Intake,
    at_once: u16,
) -> lapin::Result<()> {
    let mut last = first?;
    take(intake, &last);
    for _ in 1..at_once {
        // The end is found by whoever waits next.
        let Some(Some(next)) = consumer.next().now_or_never() else { break };
        last = next?;
        take(intake, &last);
    }
    last.acker.ack(BasicAckOptions { multiple: true }).await.map(drop)
}

/// Takes in a message, for the channels in its header or its routing key.
fn take(intake: &Intake, delivery: &Delivery) {
    let header = delivery.properties.headers().as_ref().and_then(|headers| headers.inner().get(CHANNELS));
    let channels = match header {
        Some(named) => named_channels(named),
        None => channel_of(&intake.prefix, delivery.routing_key.as_str()).map(|channel| vec![channel]),
    };
    intake.take(channels.as_deref(), &delivery.data);
}

/// What the header names, each once: a list of texts, or one text with commas. `None` when it is something else, names
/// nothing, or too many.
fn named_channels(header: &AMQPValue) -> Option<Vec<String>> {
    let texts: Vec<&str> = match header {
        AMQPValue::FieldArray(list) => list.as_slice().iter().map(text_of).collect::<Option<_>>()?,
        one => text_of(one)?.split(',').map(str::trim).collect(),
    };
    let is_bad = texts.is_empty() || texts.len() > CHANNELS_MAX || texts.iter().any(|text| text.is_empty());
    if is_bad {
        return None;
    }
    let mut seen = std::collections::HashSet::with_capacity(texts.len());
    Some(texts.into_iter().filter(|text| seen.insert(*text)).map(str::to_owned).collect())
}

fn text_of(value: &AMQPValue) -> Option<&str> {
    match value {
        AMQPValue::LongString(text) => std::str::from_utf8(text.as_bytes()).ok(),
        AMQPValue::ShortString(text) => Some(text.as_str()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingress::intake::tests::intake;

    #[test]
    fn a_source_stops_while_rabbitmq_is_away() {
        let (intake, _lane) = intake("conv:c1");
        // Port 1 of loopback: nobody listens there.
        let url = RabbitMqUrl::parse("amqp://127.0.0.1:1").expect("a URL");
        let settings = RabbitMq { url: Some(url.clone()), ..RabbitMq::default() };
        let control = Control::start().expect("a thread");
        let status = start(&settings, &url, intake.inlet.clone(), &control).expect("a thread");
        assert!(!status.link.is_connected());
        assert!(control.stop());
    }

    #[test]
    fn channels_are_named_by_texts_and_each_once() {
        let text = |text: &str| AMQPValue::LongString(text.into());
        let list = |items: Vec<AMQPValue>| AMQPValue::FieldArray(items.into());
        let channels = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        for (header, named) in [
            (text("a:1, b:2 ,a:1"), channels(&["a:1", "b:2"])),
            (list(vec![text("b:2"), text("a:1, b:2"), text("b:2")]), channels(&["b:2", "a:1, b:2"])),
            (list(vec![]), None),
            (list(vec![text("a"), AMQPValue::Void]), None),
            (list(vec![text("a"); CHANNELS_MAX + 1]), None),
            (text(""), None),
            (text("a,,b"), None),
            (AMQPValue::LongString(vec![0xff].into()), None),
            (AMQPValue::LongLongInt(5), None),
        ] {
            assert_eq!(named_channels(&header), named, "{header:?}");
        }
    }
}
