//! PostgreSQL decides: one prepared query, on a pool of connections.
//!
//! Parameters are sent as text, so that the server reads them as whatever the query compares them with: an id column
//! may be text, a number or a UUID. What a client says that is none of these is refused by the server, and is no
//! member.
//!
//! Invariant: a database that is away, or does not understand the query, opens nothing.

use std::error::Error;
use std::io;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Pool, PoolError, RecyclingMethod, Runtime, Timeouts};
use tokio::time::{sleep, timeout};
use tokio_postgres::config::SslMode;
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{Format, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Config, NoTls, Row};
use tokio_postgres_rustls::MakeRustlsConnect;
use tracing::{debug, info, warn};

use crate::broker::tls;
use crate::config::{Postgres, Secret};
use crate::control::Backoff;
use crate::lane::Permission;
use crate::service::ServiceStatus;

/// Between two looks at whether the database is there.
const PULSE: Duration = Duration::from_secs(1);

/// For a connection, and for its place in the pool.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Class 22 of SQLSTATE: what was given is no value of the type that the query compares it with.
const DATA_EXCEPTION: &str = "22";

pub struct Database {
    pool: Pool,
    sql: Arc<str>,
    /// For the log: without the password.
    address: Arc<str>,
    status: Arc<ServiceStatus>,
}

/// Why the database has not decided.
enum Failed {
    Pool(PoolError),
    Query(tokio_postgres::Error),
    /// It wants other parameters than there are.
    Parameters(usize),
    Late,
}

impl Database {
    /// Makes the pool; nothing is connected yet.
    ///
    /// # Errors
    ///
    /// When the DSN is none, or its certificates cannot be read. The error never has the DSN in it.
    pub fn open(settings: &Postgres, dsn: &Secret, sql: &str, status: Arc<ServiceStatus>) -> io::Result<Self> {
        let config = Config::from_str(dsn.expose()).map_err(|_| io::Error::other("postgres.dsn is no DSN"))?;
        let address: Arc<str> = address(&config).into();
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = if config.get_ssl_mode() == SslMode::Disable {
            Manager::from_config(config, NoTls, recycling)
        } else {
            let tls = MakeRustlsConnect::new(tls::client(settings.tls_ca_file.as_deref())?);
            Manager::from_config(config, tls, recycling)
        };
        let limits =
            Timeouts { wait: Some(CONNECT_TIMEOUT), create: Some(CONNECT_TIMEOUT), recycle: Some(CONNECT_TIMEOUT) };
        let pool = Pool::builder(manager).max_size(settings.pool).runtime(Runtime::Tokio1).timeouts(limits);
        Ok(Self { pool: pool.build().map_err(io::Error::other)?, sql: sql.into(), address, status })
    }

    /// Looks again and again whether the database is there and understands the query.
    pub async fn keep_looking(&self) {
        let mut backoff = Backoff::default();
        loop {
            match self.prepare().await {
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

    async fn prepare(&self) -> Result<(), Failed> {
        let looking = async {
            let client = self.pool.get().await?;
            let parameters = client.prepare_cached(&self.sql).await?.params().len();
            client.simple_query("").await?;
            if (2..=3).contains(&parameters) { Ok(()) } else { Err(Failed::Parameters(parameters)) }
        };
        timeout(2 * CONNECT_TIMEOUT, looking).await.unwrap_or(Err(Failed::Late))
    }

    /// Whether the query has a row that allows it.
    pub async fn decide(&self, user_id: &str, channel: &str) -> Permission {
        if !self.status.link.is_connected() {
            return Permission::Unavailable;
        }
        match self.query(user_id, channel).await {
            Ok(is_allowed) => {
                if is_allowed {
                    Permission::Granted
                } else {
                    Permission::Denied
                }
            }
            Err(Failed::Query(error)) if is_data_exception(&error) => Permission::Denied,
            Err(failed) => {
                debug!(postgres = %self.address, error = %failed, "not decided");
                Permission::Unavailable
            }
        }
    }

    async fn query(&self, user_id: &str, channel: &str) -> Result<bool, Failed> {
        let _waiting = self.status.enter(0, 0);
        let client = self.pool.get().await?;
        let statement = client.prepare_cached(&self.sql).await?;
        let id = channel.split_once(':').map_or(channel, |(_, id)| id);
        let values = [AsText(user_id), AsText(id), AsText(channel)];
        let wanted = statement.params().len();
        let values = values.iter().map(|value| value as &(dyn ToSql + Sync)).take(wanted);
        let values: Vec<_> = values.collect();
        if values.len() < wanted {
            return Err(Failed::Parameters(wanted));
        }
        let row = client.query_opt(&statement, &values).await;
        Ok(row.map(|row| row.is_some_and(|row| allows(&row)))?)
    }
}

/// A row allows it, unless it begins with a boolean that does not.
fn allows(row: &Row) -> bool {
    match row.columns().first() {
        Some(column) if *column.type_() == Type::BOOL => row.get::<_, Option<bool>>(0) == Some(true),
        _ => true,
    }
}

fn is_data_exception(error: &tokio_postgres::Error) -> bool {
    error.code().is_some_and(|state| state.code().starts_with(DATA_EXCEPTION))
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

/// A parameter in the text format of the protocol, whatever its type is.
#[derive(Debug)]
struct AsText<'a>(&'a str);

impl ToSql for AsText<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.extend_from_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    to_sql_checked!();
}

impl From<PoolError> for Failed {
    fn from(error: PoolError) -> Self {
        Self::Pool(error)
    }
}

impl From<tokio_postgres::Error> for Failed {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Query(error)
    }
}

impl std::fmt::Display for Failed {
    /// With what the server says, which `Error` of the library keeps as its source.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Pool(PoolError::Backend(error)) | Self::Query(error) => match error.as_db_error() {
                Some(said) => write!(f, "{}: {}", said.code().code(), said.message()),
                None => match error.source() {
                    Some(source) => write!(f, "{error}: {source}"),
                    None => error.fmt(f),
                },
            },
            Self::Pool(error) => error.fmt(f),
            Self::Parameters(count) => {
                write!(f, "authorize.sql has {count} parameters; $1 is the user, $2 the channel's id, $3 its name")
            }
            Self::Late => f.write_str("no answer in time"),
        }
    }
}
