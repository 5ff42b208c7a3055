//! `[postgres]`: the database that is asked who may join what.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::check::Check;
use crate::config::value::Secret;

/// The database; unused without `authorize.sql`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Postgres {
    /// `postgres://user:password@host:5432/database?sslmode=disable`, or `host=… user=…`. Secret, as it has the
    /// password.
    pub dsn: Option<Secret>,
    /// Connections that are kept.
    pub pool: usize,
    /// Certificates that the server's is verified with, as PEM; not set: those of the system.
    pub tls_ca_file: Option<PathBuf>,
}

impl Default for Postgres {
    fn default() -> Self {
        Self { dsn: None, pool: 4, tls_ca_file: None }
    }
}

impl Postgres {
    pub(super) fn check(&self, check: &mut Check<'_>) {
        check.number("pool", self.pool, 1..=256);
        check.readable("tls_ca_file", self.tls_ca_file.as_deref());
        if self.dsn.is_some() && cfg!(not(feature = "postgres")) {
            check.problem("dsn", "this build has no PostgreSQL (feature `postgres`)");
        }
        #[cfg(feature = "postgres")]
        if self.dsn.as_ref().is_some_and(|dsn| dsn.expose().parse::<tokio_postgres::Config>().is_err()) {
            check.problem("dsn", "is no DSN such as postgres://user:password@host:5432/database");
        }
    }
}
