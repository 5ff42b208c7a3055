//! PostgreSQL decides: one prepared query, on a pool of connections.
//!
//! Invariant: a database that is away, or does not understand the query, opens nothing.

mod connections;
mod failed;
mod query;

use std::io;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tokio_postgres::Config;
use tracing::{debug, info, warn};

use crate::config::{Postgres, Secret};
use crate::control::Backoff;
use crate::lane::Permission;
use crate::service::ServiceStatus;

use connections::{Access, Connections};
use failed::Failed;

/// Between two looks at whether the database is there.
const PULSE: Duration = Duration::from_secs(1);

/// How long such a look may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(4);

pub struct Database {
    connections: Connections,
    sql: Arc<str>,
    /// How long one query may take.
    patience: Duration,
    /// For the log: without the password.
    address: Arc<str>,
    status: Arc<ServiceStatus>,
}

impl Database {
    /// Makes the pool; nothing is connected yet. A query may take as long as `patience`.
    ///
    /// # Errors
    ///
    /// When the DSN is none, or its certificates cannot be read. The error never has the DSN in it.
    pub fn open(
        settings: &Postgres,
        dsn: &Secret,
        sql: &str,
        patience: Duration,
        status: Arc<ServiceStatus>,
    ) -> io::Result<Self> {
        let config = Config::from_str(dsn.expose()).map_err(|_| io::Error::other("postgres.dsn is no DSN"))?;
        let address: Arc<str> = address(&config).into();
        let connections = Access::new(settings, config)?.open(settings.pool)?;
        Ok(Self { connections, sql: sql.into(), patience, address, status })
    }

    /// Looks again and again whether the database is there and understands the query.
    pub async fn keep_looking(&self) {
        let mut backoff = Backoff::default();
        loop {
            match self.look().await {
                Ok(()) => {
                    if !self.status.link.is_connected() {
                        info!(postgres = %self.address, "connected");
                    }
                    self.status.link.connected();
                    backoff.reset();
                    sleep(PULSE).await;
                }
                Err(failed) => {
                    let delay = backoff.delay();
                    if self.status.link.disconnected(failed.to_string()) {
                        warn!(postgres = %self.address, error = %failed, "joins are refused until PostgreSQL answers");
                    } else {
                        debug!(postgres = %self.address, error = %failed, retry_in = ?delay, "still no PostgreSQL");
                    }
                    sleep(delay).await;
                }
            }
        }
    }

    async fn look(&self) -> Result<(), Failed> {
        let connection = self.connections.get().await?;
        let looked = connection.within(LOOK_TIMEOUT, async |client| query::understand(client, &self.sql).await).await;
        if matches!(looked, Err(Failed::Late)) {
            self.connections.close_idle();
        }
        looked
    }

    /// Whether the query has a row that allows it.
    pub async fn decide(&self, user_id: &str, channel: &str) -> Permission {
        if !self.status.link.is_connected() {
            return Permission::Unavailable;
        }
        match self.query(user_id, channel).await {
            Ok(true) => Permission::Granted,
            Ok(false) => Permission::Denied,
            Err(failed) if failed.is_data_exception() => Permission::Denied,
            Err(failed) => {
                debug!(postgres = %self.address, error = %failed, "not decided");
                Permission::Unavailable
            }
        }
    }

    async fn query(&self, user_id: &str, channel: &str) -> Result<bool, Failed> {
        let connection = self.connections.get().await?;
        let (sql, patience) = (self.sql.clone(), self.patience);
        let (user_id, channel) = (Box::<str>::from(user_id), Box::<str>::from(channel));
        // Goes on when nobody waits for it any more, so that whether the connection is good comes out. These are no more
        // than there are connections.
        let asking = tokio::spawn(connection.within(patience, async move |client| {
            let id = channel.split_once(':').map_or(&*channel, |(_, id)| id);
            query::is_allowed(client, &sql, [&user_id, id, &channel]).await
        }));
        asking.await.expect("a query neither panics nor is ended from outside")
    }
}

fn address(config: &Config) -> String {
    let host = match config.get_hosts().first() {
        Some(tokio_postgres::config::Host::Tcp(host)) => host.clone(),
        Some(tokio_postgres::config::Host::Unix(path)) => path.display().to_string(),
        None => "localhost".into(),
    };
    let port = config.get_ports().first().copied().unwrap_or(5432);
    format!("{host}:{port}/{}", config.get_dbname().unwrap_or_default())
}
