//! From `[nats]` to a connection, and what becomes of that.
//!
//! The client library would connect again by itself, for ever, and send then what waited in it meanwhile, although
//! whoever said that has long been told that it failed. So it may try once, to find another server of the cluster; a
//! connection that is lost is dropped, and its owner makes a new one, with a pause of his own and an error that says
//! why.
//!
//! All subscriptions are our own, so one that the server refuses, or takes back when its permissions are loaded anew,
//! is a lost connection as well: it would stand there and hear nothing.
//!
//! Invariant: [`News::Lost`] is told once a connection is lost, and nothing is sent through it any more.

use std::fmt;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use async_nats::rustls::crypto::ring;
use async_nats::{Client, ConnectOptions, Event, ServerAddr, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use tokio::sync::mpsc;
use tokio::task::yield_now;
use tokio::time::timeout;

use crate::config::{Nats, NatsUrl, Secret};

/// From the first packet to a connection that can be used, and for the answer to whatever is asked of a server.
pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Between two looks at a connection on which nothing comes: three without an answer, and it is lost.
const PULSE: Duration = Duration::from_secs(2);

/// What the library reads at once.
const READ_BYTES: u16 = 16 << 10;

/// Reads of one turn of the library, before whoever takes the messages has his: tokio's budget of steps.
const READS_PER_TURN: usize = 128;

/// `MSG ws.a 1 0`, and two ends of lines: no message of ours is smaller.
const MESSAGE_BYTES_MIN: usize = 16;

/// Messages that wait for who takes them. What comes on top the library drops, so it has room for all that it can read
/// in a turn; what it does not read waits at the server.
const MESSAGES_MAX: usize = READ_BYTES as usize * READS_PER_TURN / MESSAGE_BYTES_MIN;

/// What the server refuses, until the library's task has told us of it: what comes on top it drops.
pub const REFUSALS_MAX: usize = 128;

/// What we say and the library has not written yet. Twice what is said without looking whether it has.
const COMMANDS_MAX: usize = 256;

/// How a server says that it has not made a subscription, or has taken it back; what follows is its subject.
const UNSUBSCRIBED: &str = "Permissions Violation for Subscription to ";

/// What is written otherwise in headers: an end of a line would end the header, and blanks at its ends would not come.
const IN_HEADERS: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

/// A connection to one of the servers.
pub struct Connection {
    pub client: Client,
    events: mpsc::Receiver<Event>,
    /// What the server said last was wrong, for when it ends the connection over it.
    complaint: Option<String>,
    /// Messages that were for nobody but ourselves.
    echoes: u64,
}

/// What a connection says of itself.
#[derive(Debug, PartialEq, Eq)]
pub enum News {
    Lost(Lost),
    /// The server has not published something; in its words.
    Refused(String),
    /// The library had no room for messages.
    Overrun,
}

/// Why there is no connection.
#[derive(Debug, PartialEq, Eq)]
pub struct Lost(pub String);

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Lost {
    pub fn from(error: impl fmt::Display) -> Self {
        Self(error.to_string())
    }

    pub fn silent() -> Self {
        Self(format!("no answer within {RESPONSE_TIMEOUT:?}"))
    }
}

impl Connection {
    /// Connects to one of the servers, as `name`.
    ///
    /// # Errors
    ///
    /// Why none of them takes the connection.
    pub async fn open(settings: &Nats, url: &NatsUrl, name: &str) -> Result<Self, Lost> {
        // Where several are built in, one has to be chosen; whoever was first may have.
        let _ = ring::default_provider().install_default();
        let (sender, events) = mpsc::channel(REFUSALS_MAX);
        let options = options(settings).await?.name(name).event_callback(move |event| {
            let sender = sender.clone();
            async move { _ = sender.send(event).await }
        });
        let servers = url.servers().iter().map(|server| ServerAddr::from_url(server.clone()));
        let servers: Vec<ServerAddr> = servers.collect::<Result<_, _>>().map_err(Lost::from)?;
        let client = options.max_reconnects(servers.len()).connect(servers).await.map_err(Lost::from)?;
        Ok(Self { client, events, complaint: None, echoes: 0 })
    }

    /// What is new; waits for it. May be dropped and asked again.
    pub async fn news(&mut self) -> News {
        loop {
            let event = self.events.recv().await;
            if let Some(news) = self.interpret(event.unwrap_or(Event::Closed)) {
                return news;
            }
        }
    }

    fn interpret(&mut self, event: Event) -> Option<News> {
        match event {
            Event::Connected | Event::LameDuckMode | Event::Draining => None,
            Event::SlowConsumer(_) => Some(News::Overrun),
            Event::ServerError(error) => {
                let words = error.to_string();
                self.complaint = Some(words.clone());
                let is_deaf = words.contains(UNSUBSCRIBED);
                Some(if is_deaf { News::Lost(Lost(words)) } else { News::Refused(words) })
            }
            Event::Disconnected | Event::Closed | Event::ClientError(_) => {
                let complaint = self.complaint.take().map(|complaint| format!(": {complaint}")).unwrap_or_default();
                Some(News::Lost(Lost(format!("the connection was lost{complaint}"))))
            }
        }
    }

    /// Returns when the server has done all that it was asked before.
    ///
    /// It is asked to send us a message back: it does one after the other. What the library calls flushing ends where
    /// the kernel has the bytes.
    ///
    /// # Errors
    ///
    /// The first thing that it has not done, in its words, or that the connection is lost.
    pub async fn confirm(&mut self) -> Result<(), Lost> {
        let inbox = self.client.new_inbox();
        let mut echo = self.client.subscribe(inbox.clone()).await.map_err(Lost::from)?;
        self.client.publish(inbox.clone(), Bytes::new()).await.map_err(Lost::from)?;
        let answered = timeout(RESPONSE_TIMEOUT, async {
            tokio::select! {
                biased;
                news = self.news() => Some(news),
                _ = echo.next() => None,
            }
        });
        let mut news = answered.await.map_err(|_| Lost::silent())?;
        if news.is_none() {
            self.echoes += 1;
            news = self.news_before().await.into_iter().next();
        }
        match news {
            // Who may not write to himself, or not hear it, has been answered as well.
            Some(News::Refused(words) | News::Lost(Lost(words))) if words.contains(&inbox) => Ok(()),
            Some(News::Refused(words)) => Err(Lost(words)),
            Some(News::Lost(lost)) => Err(lost),
            Some(News::Overrun) | None => Ok(()),
        }
    }

    /// Asks the server for something, unless the first that is heard is that it does not do it.
    ///
    /// # Errors
    ///
    /// Those of what is asked, the refusal in the server's words, or that the connection is lost.
    pub async fn unless_refused<T>(&mut self, asked: impl Future<Output = Result<T, Lost>>) -> Result<T, Lost> {
        tokio::select! {
            biased;
            news = self.news() => Err(match news {
                News::Lost(lost) => lost,
                News::Refused(words) => Lost(words),
                News::Overrun => Lost("more came than there is room for".into()),
            }),
            answer = asked => answer,
        }
    }

    /// What the server has said before an answer that is here. Its news is later than the answer, as it takes its way
    /// through a task of the library, and comes in several steps where there is much.
    pub async fn news_before(&mut self) -> Vec<News> {
        let mut news = Vec::new();
        loop {
            yield_now().await;
            let before = news.len();
            while let Ok(event) = self.events.try_recv() {
                news.extend(self.interpret(event));
            }
            if news.len() == before {
                return news;
            }
        }
    }

    /// Messages that have come for others than ourselves, also those that the library had no room for.
    pub fn received(&self) -> u64 {
        self.client.statistics().in_messages.load(Relaxed) - self.echoes
    }
}

async fn options(settings: &Nats) -> Result<ConnectOptions, Lost> {
    let mut options = ConnectOptions::new()
        .connection_timeout(RESPONSE_TIMEOUT)
        .request_timeout(Some(RESPONSE_TIMEOUT))
        .ping_interval(PULSE)
        .read_buffer_capacity(READ_BYTES)
        .subscription_capacity(MESSAGES_MAX)
        .client_capacity(COMMANDS_MAX);
    if let Some(path) = &settings.tls_ca_file {
        options = options.add_root_certificates(path.clone());
    }
    if let (Some(user), Some(password)) = (&settings.user, &settings.password) {
        options = options.user_and_password(user.clone(), password.expose().into());
    }
    if let Some(token) = settings.token.as_ref().map(Secret::expose) {
        options = options.token(token.into());
    }
    match &settings.credentials_file {
        Some(path) => {
            options.credentials_file(path).await.map_err(|error| Lost(format!("{}: {error}", path.display())))
        }
        None => Ok(options),
    }
}

/// What comes to a subject, as long as the connection lives.
///
/// # Errors
///
/// When it is lost.
pub async fn next(messages: &mut Subscriber) -> Result<async_nats::Message, Lost> {
    messages.next().await.ok_or_else(|| Lost("the connection was lost".into()))
}

/// A value as it stands in a header: percent-encoded where it is not printable ASCII, and blanks.
pub fn header(value: &str) -> String {
    utf8_percent_encode(value, IN_HEADERS).to_string()
}

/// The value that stands in a header; `None` when it is not UTF-8.
pub fn header_value(text: &str) -> Option<String> {
    percent_decode_str(text).decode_utf8().ok().map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_header_holds_comes_back_and_ends_no_line() {
        for value in ["ana", " ana ", "a.b", "x\r\nRingway-User-Id: bob", "100%", "größe", "\u{2003}", "", "\0"] {
            let header = header(value);
            assert!(header.bytes().all(|byte| byte.is_ascii_graphic()), "{header:?}");
            assert_eq!(header_value(&header).as_deref(), Some(value));
        }
        assert_eq!(header_value("%ff"), None);
        assert_eq!(header_value("50% off").as_deref(), Some("50% off"));
    }
}
