//! PostgreSQL decides: one prepared query, on a pool of connections.
//!
//! How it is shows in two ways. A look, again and again, tells whether the database is there and understands the query;
//! while it does not, nobody is asked. And what questions come to tells whether the query can be executed: it may lack
//! rights, or wait for a lock. Questions go on then, as the next one may be answered; and the query is tried for
//! nobody, so that one that is mended shows although nobody asks.
//!
//! Invariant: a database that is away, or does not understand the query, opens nothing.

mod connections;
mod failed;
mod outcomes;
mod query;

use std::cell::Cell;
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
use outcomes::{Health, Outcomes};

/// Between two looks at whether the database is there.
const PULSE: Duration = Duration::from_secs(1);

/// How long such a look may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(4);

pub struct Database {
    connections: Connections,
    /// One more, for looks: they are about the database and do not wait behind questions.
    own: Connections,
    sql: Arc<str>,
    /// How long one query may take.
    patience: Duration,
    /// For the log: without the password.
    address: Arc<str>,
    status: Arc<ServiceStatus>,
    /// Whether the last look found it.
    is_there: Cell<bool>,
    outcomes: Arc<Outcomes>,
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
        let access = Access::new(settings, config)?;
        let (connections, own) = (access.open(settings.pool)?, access.open(1)?);
        let (is_there, outcomes) = (Cell::new(false), Arc::default());
        Ok(Self { connections, own, sql: sql.into(), patience, address, status, is_there, outcomes })
    }

    /// Looks again and again whether the database is there and understands the query, and what questions come to.
    pub async fn keep_looking(&self) {
        let (mut backoff, mut health) = (Backoff::default(), Health::default());
        loop {
            let looked = self.look().await;
            if !self.is_there.replace(looked.is_ok()) {
                // What was asked before it was away says nothing about it now.
                self.outcomes.take();
                health = Health::default();
            }
            let delay = if looked.is_ok() { PULSE } else { backoff.delay() };
            match looked {
                Ok(()) => {
                    backoff.reset();
                    self.look_at_answers(&mut health).await;
                    match health.failing() {
                        None => self.tell_connected(),
                        Some(error) => self.tell_failed(error.to_owned()),
                    }
                }
                Err(failed) => self.tell_failed(failed.to_string()),
            }
            sleep(delay).await;
        }
    }

    fn tell_connected(&self) {
        if self.status.link.connected() {
            info!(postgres = %self.address, "connected");
        }
    }

    fn tell_failed(&self, error: String) {
        if self.status.link.disconnected(error.clone()) {
            warn!(postgres = %self.address, error, "joins are refused until PostgreSQL answers");
        } else {
            debug!(postgres = %self.address, error, "PostgreSQL still does not answer");
        }
    }

    async fn look_at_answers(&self, health: &mut Health) {
        if let Some(error) = health.see(self.outcomes.take()) {
            warn!(postgres = %self.address, error, "some joins are refused, as PostgreSQL does not answer all questions");
        }
        if health.failing().is_some() {
            health.tried(self.try_query().await.is_ok());
        }
    }

    async fn try_query(&self) -> Result<(), Failed> {
        let connection = self.own.get().await?;
        connection.within(LOOK_TIMEOUT, async |client| query::execute(client, &self.sql).await).await
    }

    async fn look(&self) -> Result<(), Failed> {
        let connection = self.own.get().await?;
        let looked = connection.within(LOOK_TIMEOUT, async |client| query::understand(client, &self.sql).await).await;
        if matches!(looked, Err(Failed::Late)) {
            self.connections.close_idle();
        }
        looked
    }

    /// Whether the query has a row that allows it. `None`: the database is known to be away.
    pub async fn decide(&self, user_id: &str, channel: &str) -> Option<Permission> {
        if !self.is_there.get() {
            return None;
        }
        let _under_way = self.status.enter(0, usize::MAX);
        Some(match self.query(user_id, channel).await {
            Ok(true) => Permission::Granted,
            Ok(false) => Permission::Denied,
            Err(failed) => {
                debug!(postgres = %self.address, error = %failed, "not decided");
                Permission::Unavailable
            }
        })
    }

    async fn query(&self, user_id: &str, channel: &str) -> Result<bool, Failed> {
        let connection = self.connections.get().await.inspect_err(|failed| self.outcomes.failed(failed.to_string()))?;
        let (sql, patience, outcomes) = (self.sql.clone(), self.patience, self.outcomes.clone());
        let (user_id, channel) = (Box::<str>::from(user_id), Box::<str>::from(channel));
        let asking = connection.within(patience, async move |client| {
            let id = channel.split_once(':').map_or(&*channel, |(_, id)| id);
            match query::is_allowed(client, &sql, [&user_id, id, &channel]).await {
                Err(failed) if failed.is_data_exception() => Ok(false),
                answer => answer,
            }
        });
        // Goes on when nobody waits for it any more, so that whether the connection is good comes out. These are no
        // more than there are connections.
        let asked = tokio::spawn(async move {
            let answer = asking.await;
            match &answer {
                Ok(_) => outcomes.answered(),
                Err(failed) => outcomes.failed(failed.to_string()),
            }
            answer
        });
        asked.await.expect("a query neither panics nor is ended from outside")
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
