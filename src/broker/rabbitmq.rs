//! From `[rabbitmq]` to an open connection, and the exchange that messages go through.
//!
//! The client library runs a thread for each connection, which ends when its socket does. Left to itself it says
//! goodbye and waits for an answer, for ever where the broker stands still: so the socket is ended below it as soon as
//! nobody has the [`Session`] any more, and no thread or socket is left behind by however many attempts.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use lapin::options::ExchangeDeclareOptions;
use lapin::tcp::OwnedTLSConfig;
use lapin::types::{FieldTable, ShortString};
use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo};
use lapin::{AsyncTcpStream, Channel, Connection, ConnectionProperties, ExchangeKind};
use tokio::time::timeout;

use crate::config::{RabbitMq, RabbitMqUrl};

/// From the first packet to a connection that can be used.
pub const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// Either side says something twice in this time. Who says nothing for twice as long is given up, which the client
/// library looks at no more often than it says something: 15 to 25 seconds after the broker came to a standstill.
const HEARTBEAT_S: u16 = 10;

/// Where RabbitMQ is.
pub struct Broker {
    uri: AMQPUri,
    tls: Option<OwnedTLSConfig>,
    /// For the log.
    pub address: String,
}

/// An open connection. Dropped, its socket is closed.
pub struct Session {
    pub connection: Connection,
    _socket: Arc<Socket>,
}

/// Why a connection was not made, or has ended.
#[derive(Debug)]
pub enum Lost {
    Library(lapin::Error),
    /// It says nothing.
    Silent,
    /// We may not do what we need to; in RabbitMQ's words.
    Refused(String),
    /// It takes what is published and confirms nothing.
    HeldBack,
    /// The queue is gone, or the connection was closed without a word.
    Ended,
}

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Library(error) => error.fmt(f),
            Self::Silent => write!(f, "no answer within {CONNECT_DEADLINE:?}"),
            Self::Refused(words) => f.write_str(words),
            Self::HeldBack => f.write_str("RabbitMQ confirms nothing any more: a queue may stand still"),
            Self::Ended => f.write_str("RabbitMQ has ended it"),
        }
    }
}

impl From<lapin::Error> for Lost {
    fn from(error: lapin::Error) -> Self {
        Self::Library(error)
    }
}

impl Broker {
    /// # Errors
    ///
    /// When the file of `rabbitmq.tls_ca_file` has no certificates.
    pub fn new(settings: &RabbitMq, url: &RabbitMqUrl) -> io::Result<Self> {
        let password = settings.password.as_ref().map_or(url.default_password(), |password| password.expose());
        let userinfo = AMQPUserInfo { username: url.username.clone(), password: password.to_owned() };
        let uri = AMQPUri {
            scheme: if url.tls { AMQPScheme::AMQPS } else { AMQPScheme::AMQP },
            authority: AMQPAuthority { userinfo, host: url.host.clone(), port: url.port },
            vhost: url.virtual_host.clone(),
            query: AMQPQueryString { heartbeat: Some(HEARTBEAT_S), ..AMQPQueryString::default() },
        };
        let cert_chain = settings.tls_ca_file.as_deref().map(certificates).transpose()?;
        let tls = url.tls.then_some(OwnedTLSConfig { identity: None, cert_chain });
        Ok(Self { uri, tls, address: url.to_string() })
    }

    /// Connects, and gives up after [`CONNECT_DEADLINE`]. `name` is what operators of the broker see.
    ///
    /// # Errors
    ///
    /// When there is no such broker, or it does not let us in.
    pub async fn connect(&self, name: &str) -> Result<Session, Lost> {
        let socket = Arc::<Socket>::default();
        let (kept, tls) = (Arc::downgrade(&socket), self.tls.clone());
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let runtime = lapin::runtime::default_runtime()?;
        let connecting = Connection::connector(
            self.uri.clone(),
            runtime,
            async move |uri, runtime| {
                let opening = async {
                    let (host, port) = (&uri.authority.host, uri.authority.port);
                    let addresses = runtime.to_socket_addrs((host.clone(), port));
                    let stream = AsyncTcpStream::connect(&runtime, addresses).await?;
                    // Nobody waits any more.
                    let socket = kept.upgrade().ok_or(io::ErrorKind::TimedOut)?;
                    if let AsyncTcpStream::Plain(stream) = &stream {
                        socket.keep(stream.get_ref())?;
                    }
                    match &tls {
                        Some(tls) => stream.into_tls(host, tls.as_ref()).await,
                        None => Ok(stream),
                    }
                };
                let opened = timeout(CONNECT_DEADLINE, opening).await;
                opened.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(lapin::Error::from)
            },
            properties,
        );
        let connection = timeout(CONNECT_DEADLINE, connecting).await.map_err(|_| Lost::Silent)??;
        Ok(Session { connection, _socket: socket })
    }
}

/// Makes the exchange where there is none. One of another kind is an error.
pub async fn declare_exchange(channel: &Channel, name: &ShortString) -> lapin::Result<()> {
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    channel.exchange_declare(name.clone(), ExchangeKind::Topic, options, FieldTable::default()).await
}

/// A name as AMQP can take it.
pub fn short(name: &str) -> io::Result<ShortString> {
    ShortString::try_new(name).map_err(io::Error::other)
}

fn certificates(file: &Path) -> io::Result<String> {
    let text = std::fs::read_to_string(file);
    let text = text.map_err(|error| io::Error::other(format!("rabbitmq.tls_ca_file {}: {error}", file.display())))?;
    if !text.contains("-----BEGIN CERTIFICATE-----") {
        return Err(io::Error::other(format!("rabbitmq.tls_ca_file {}: there is no certificate", file.display())));
    }
    Ok(text)
}

/// The socket of a connection once more, to end it by.
#[derive(Default)]
struct Socket(OnceLock<TcpStream>);

impl Socket {
    fn keep(&self, stream: &impl AsFd) -> io::Result<()> {
        let again = stream.as_fd().try_clone_to_owned()?;
        // There is one per attempt, so this is the first.
        let _ = self.0.set(again.into());
        Ok(())
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Some(stream) = self.0.get() {
            // An error says that it has ended already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}
