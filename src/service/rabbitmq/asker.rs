//! Asks RabbitMQ which routing keys it lets us write to, before a message is sent there: in a transaction that is
//! rolled back, so that nothing comes about. It closes the channel for a key that it forbids, as it does for a message;
//! here nothing else is on its way.
//!
//! It has a connection of its own, which is there while something is asked and a while longer: RabbitMQ ends the whole
//! connection when something more comes through a channel that it has closed. Where RabbitMQ does not let it have one,
//! it asks over the service's, one key after the other: nothing else is on its way through that channel then.

use std::pin::Pin;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::{Stream, StreamExt};
use lapin::options::BasicPublishOptions;
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Connection, Event};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tracing::warn;

use crate::broker::rabbitmq::{Broker, CONNECT_DEADLINE, Lost, Session};
use crate::control::Backoff;

use super::keys::refusal;

/// The connection is kept for so long after it was needed.
const KEPT_FOR: Duration = Duration::from_secs(60);

/// Between two attempts to have one, where there was none to be had.
const TRIED_EVERY: Duration = Duration::from_secs(60);

/// As AMQP calls an end without a reason.
const REPLY_SUCCESS: u16 = 200;

/// Which keys are to be written to, in the order in which they are asked.
pub type Question = Vec<ShortString>;

/// Nothing when all of them may be; else why the first one that may not is refused: those before it may be.
pub type Answer = Result<Option<String>, Lost>;

pub struct Asker<'a> {
    broker: &'a Broker,
    /// The service's.
    shared: &'a Connection,
    exchange: ShortString,
    service: &'a str,
    open: Option<Open>,
    /// There was no connection to be had.
    failed_at: Option<Instant>,
}

struct Open {
    events: Pin<Box<dyn Stream<Item = Event>>>,
    /// Until RabbitMQ closes it.
    channel: Option<Channel>,
    session: Session,
}

impl<'a> Asker<'a> {
    pub fn new(broker: &'a Broker, shared: &'a Connection, exchange: ShortString, service: &'a str) -> Self {
        Self { broker, shared, exchange, service, open: None, failed_at: None }
    }

    /// Answers each question, until nobody asks any more.
    /// One that cannot be asked has waited a little: whoever asks may ask again at once.
    pub async fn run(mut self, mut questions: mpsc::Receiver<Question>, answers: mpsc::Sender<Answer>) {
        let mut backoff = Backoff::default();
        loop {
            let question = match timeout(KEPT_FOR, questions.recv()).await {
                Ok(Some(question)) => question,
                Ok(None) => return,
                Err(_) => {
                    self.open = None;
                    continue;
                }
            };
            self.connect().await;
            let answer = timeout(CONNECT_DEADLINE, self.ask(question)).await.unwrap_or(Err(Lost::Silent));
            if answer.is_err() {
                self.open = None;
                sleep(backoff.delay()).await;
            } else {
                backoff.reset();
            }
            if answers.send(answer).await.is_err() {
                return;
            }
        }
    }

    async fn ask(&mut self, keys: Question) -> Answer {
        let Some(open) = &mut self.open else { return self.ask_each(keys).await };
        let channel = open.channel().await?;
        let publishing = keys.into_iter().map(|key| publish(&channel, &self.exchange, key));
        // Their errors are that of the rollback.
        join_all(publishing).await;
        if channel.tx_rollback().await.is_ok() {
            open.channel = Some(channel);
            return Ok(None);
        }
        // Whoever comes after the channel was closed is not told why, but the connection is.
        loop {
            if let Event::Error(error) = open.events.next().await.ok_or(Lost::Ended)? {
                return refusal(&error).map(str::to_owned).map(Some).ok_or(Lost::Library(error.clone()));
            }
        }
    }

    /// Unless there is a connection, or was none to be had a while ago.
    async fn connect(&mut self) {
        if self.open.is_some() || self.failed_at.is_some_and(|at| at.elapsed() < TRIED_EVERY) {
            return;
        }
        let name = format!("ringway service {}, permissions", self.service);
        match self.broker.connect(&name).await {
            Ok(session) => self.open = Some(Open::new(session)),
            Err(error) => {
                let (service, rabbitmq) = (self.service, &self.broker.address);
                let lacks = "no second connection to ask about permissions over: keys are asked about one by one";
                warn!(service, %rabbitmq, %error, "{lacks}");
                self.failed_at = Some(Instant::now());
            }
        }
    }

    /// The same over the service's connection.
    async fn ask_each(&self, keys: Question) -> Answer {
        let channel = self.shared.create_channel().await?;
        channel.tx_select().await?;
        for key in keys {
            let asked = async {
                publish(&channel, &self.exchange, key).await?;
                channel.tx_rollback().await
            };
            if let Err(error) = asked.await {
                return refusal(&error).map(str::to_owned).map(Some).ok_or(Lost::Library(error.clone()));
            }
        }
        // Who says goodbye is heard; what comes of it is of no interest.
        let _ = channel.close(REPLY_SUCCESS, ShortString::default()).await;
        Ok(None)
    }
}

/// Nothing, to be rolled back.
async fn publish(channel: &Channel, exchange: &ShortString, key: ShortString) -> lapin::Result<()> {
    let (options, nothing) = (BasicPublishOptions::default(), BasicProperties::default());
    channel.basic_publish(exchange.clone(), key, options, b"", nothing).await.map(drop)
}

impl Open {
    fn new(session: Session) -> Self {
        Self { events: Box::pin(session.connection.events_listener()), channel: None, session }
    }

    async fn channel(&mut self) -> lapin::Result<Channel> {
        if let Some(channel) = self.channel.take() {
            return Ok(channel);
        }
        let channel = self.session.connection.create_channel().await?;
        channel.tx_select().await?;
        Ok(channel)
    }
}
