//! Asks RabbitMQ which routing keys it lets us write to, before a message is sent there: in a transaction that is
//! rolled back, so that nothing comes about. It closes the channel for a key that it forbids, as it does for a message;
//! here nothing else is on its way.
//!
//! It has a connection of its own, which is there while something is asked and a while longer: RabbitMQ ends the whole
//! connection when something more comes through a channel that it has closed.

use std::pin::Pin;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{Stream, StreamExt};
use lapin::options::BasicPublishOptions;
use lapin::types::ShortString;
use lapin::{BasicProperties, Channel, Event};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use crate::broker::rabbitmq::{Broker, CONNECT_DEADLINE, Lost, Session};
use crate::control::Backoff;

use super::keys::refusal;

/// The connection is kept for so long after it was needed.
const KEPT_FOR: Duration = Duration::from_secs(60);

/// Which keys are to be written to, in the order in which they are asked.
pub type Question = Vec<ShortString>;

/// Nothing when all of them may be; else why the first one that may not is refused: those before it may be.
pub type Answer = Result<Option<String>, Lost>;

pub struct Asker<'a> {
    broker: &'a Broker,
    exchange: ShortString,
    /// Of its connection.
    name: String,
    open: Option<Open>,
}

struct Open {
    events: Pin<Box<dyn Stream<Item = Event>>>,
    /// Until RabbitMQ closes it.
    channel: Option<Channel>,
    session: Session,
}

impl<'a> Asker<'a> {
    pub fn new(broker: &'a Broker, exchange: ShortString, service: &str) -> Self {
        Self { broker, exchange, name: format!("ringway service {service}, permissions"), open: None }
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
        let open = match &mut self.open {
            Some(open) => open,
            None => self.open.insert(Open::new(self.broker.connect(&self.name).await?)),
        };
        let channel = open.channel().await?;
        let publishing = keys.into_iter().map(|key| {
            let (options, nothing) = (BasicPublishOptions::default(), BasicProperties::default());
            channel.basic_publish(self.exchange.clone(), key, options, b"", nothing)
        });
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
