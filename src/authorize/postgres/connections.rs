//! Connections to the database: how they are made, and what becomes of one on which an answer does not come.
//!
//! A path that drops everything without a word, or a proxy that acknowledges what it passes on to nobody, leaves a
//! connection that looks open for a quarter of an hour. So what is late ends its connection: it is closed and never
//! used again, and the server is asked to end the query that may still run there.
//!
//! Invariant: of `open`'s number of connections no more are in use.

use std::io;
use std::time::Duration;

use deadpool_postgres::{Client, Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime, Timeouts};
use tokio::time::timeout;
use tokio_postgres::config::SslMode;
use tokio_postgres::{CancelToken, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;
use tracing::debug;

use crate::broker::tls;
use crate::config::Postgres;

use super::failed::Failed;

/// For a connection, and for a word to the server about another one.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The kernel's for a connection, where the DSN does not say otherwise: data without an acknowledgement, silence before
/// it asks whether anybody is there, and between two and how many such questions.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(10);
const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_RETRIES: u32 = 3;

/// What the library takes for a DSN that has no `keepalives_idle`.
const KEEPALIVE_IDLE_UNSET: Duration = Duration::from_secs(2 * 60 * 60);

/// How to reach the database.
#[derive(Clone)]
pub struct Access {
    config: Config,
    /// `None`: the DSN wants no TLS.
    tls: Option<MakeRustlsConnect>,
}

pub struct Connections {
    pool: Pool,
    access: Access,
}

impl Access {
    /// # Errors
    ///
    /// When the certificates cannot be read.
    pub fn new(settings: &Postgres, mut config: Config) -> io::Result<Self> {
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(TCP_USER_TIMEOUT);
        }
        if config.get_keepalives_idle() == KEEPALIVE_IDLE_UNSET {
            config.keepalives_idle(KEEPALIVE_IDLE);
        }
        if config.get_keepalives_interval().is_none() {
            config.keepalives_interval(KEEPALIVE_INTERVAL);
        }
        if config.get_keepalives_retries().is_none() {
            config.keepalives_retries(KEEPALIVE_RETRIES);
        }
        let tls = match config.get_ssl_mode() {
            SslMode::Disable => None,
            _ => Some(MakeRustlsConnect::new(tls::client(settings.tls_ca_file.as_deref())?)),
        };
        Ok(Self { config, tls })
    }

    /// Makes room for so many connections; nothing is connected yet.
    ///
    /// # Errors
    ///
    /// When the library does not want to.
    pub fn open(&self, connections_max: usize) -> io::Result<Connections> {
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = match &self.tls {
            None => Manager::from_config(self.config.clone(), NoTls, recycling),
            Some(tls) => Manager::from_config(self.config.clone(), tls.clone(), recycling),
        };
        // Whoever waits for a place among the connections has a deadline of his own.
        let limits = Timeouts { wait: None, create: Some(CONNECT_TIMEOUT), recycle: Some(CONNECT_TIMEOUT) };
        let pool = Pool::builder(manager).max_size(connections_max).runtime(Runtime::Tokio1).timeouts(limits).build();
        Ok(Connections { pool: pool.map_err(io::Error::other)?, access: self.clone() })
    }

    /// Asks the server to end what runs on a connection.
    async fn cancel(self, token: CancelToken) {
        let asking = async {
            match self.tls {
                None => token.cancel_query(NoTls).await,
                Some(tls) => token.cancel_query(tls).await,
            }
        };
        match timeout(CONNECT_TIMEOUT, asking).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!(%error, "a query that is late could not be cancelled"),
            Err(_) => debug!("a query that is late could not be cancelled in time"),
        }
    }
}

impl Connections {
    /// One that nobody else uses meanwhile; waits for it.
    pub async fn get(&self) -> Result<Used, Failed> {
        Ok(Used { object: self.pool.get().await?, access: self.access.clone() })
    }

    /// Closes those that nobody uses now: they may be as dead as another one was found to be.
    pub fn close_idle(&self) {
        self.pool.retain(|_, _| false);
    }
}

/// A connection in use.
pub struct Used {
    object: Object,
    access: Access,
}

impl Used {
    /// Does something over the connection, in this time. What is late ends it.
    ///
    /// The future must be waited for: one that is dropped in between leaves the connection to the next who wants one,
    /// wherever it stands.
    pub async fn within<T>(
        self,
        time: Duration,
        work: impl AsyncFnOnce(&Client) -> Result<T, Failed>,
    ) -> Result<T, Failed> {
        if let Ok(done) = timeout(time, work(&self.object)).await {
            return done;
        }
        let token = self.object.cancel_token();
        drop(Object::take(self.object));
        tokio::spawn(self.access.cancel(token));
        Err(Failed::Late)
    }
}
