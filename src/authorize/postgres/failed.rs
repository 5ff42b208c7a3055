//! Why the database has not decided, in words for the log and `/readyz`: they never have the DSN in them.

use std::error::Error;
use std::fmt;

use deadpool_postgres::PoolError;
use tokio_postgres::error::SqlState;

/// Class 22 of SQLSTATE: what was given is no value of the type that the query compares it with.
const DATA_EXCEPTION: &str = "22";

#[derive(Debug)]
pub enum Failed {
    Pool(PoolError),
    Query(tokio_postgres::Error),
    /// The query wants so many parameters, which are others than there are.
    Parameters(usize),
    Late,
}

impl Failed {
    /// Of this user or channel there can be no row.
    pub fn is_data_exception(&self) -> bool {
        self.state().is_some_and(|state| state.code().starts_with(DATA_EXCEPTION))
    }

    /// The statement was prepared for tables that have changed since, or is not there any more: it is to be prepared
    /// anew.
    pub fn is_outdated(&self) -> bool {
        let of_statements = [SqlState::FEATURE_NOT_SUPPORTED, SqlState::INVALID_SQL_STATEMENT_NAME];
        self.state().is_some_and(|state| of_statements.contains(state))
    }

    fn state(&self) -> Option<&SqlState> {
        match self {
            Self::Query(error) => error.code(),
            _ => None,
        }
    }
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

impl fmt::Display for Failed {
    /// With what the server says, which `Error` of the library keeps as its source.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
