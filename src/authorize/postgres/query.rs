//! The query of the configuration, put to the database over one connection.
//!
//! Parameters are sent as text, so that the server reads them as whatever the query compares them with: an id column
//! may be text, a number or a UUID. What a client says that is none of these is refused by the server, and is no
//! member.

use std::error::Error;

use deadpool_postgres::Client;
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{Format, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Row, Statement};

use super::failed::Failed;

/// Whether the database understands the query, as it is now.
pub async fn understand(client: &Client, sql: &str) -> Result<(), Failed> {
    // Anew each time: tables come and go.
    let wanted = client.prepare(sql).await?.params().len();
    if (2..=3).contains(&wanted) { Ok(()) } else { Err(Failed::Parameters(wanted)) }
}

/// Whether the database executes it: for nobody, of whom there should be no row.
pub async fn execute(client: &Client, sql: &str) -> Result<(), Failed> {
    let statement = client.prepare(sql).await?;
    row(client, &statement, [None; 3]).await.map(drop)
}

/// Whether the query has a row that allows it to a user, of a channel's id and its name.
pub async fn is_allowed(client: &Client, sql: &str, values: [&str; 3]) -> Result<bool, Failed> {
    let values = values.map(Some);
    let row = match row(client, &client.prepare_cached(sql).await?, values).await {
        Err(failed) if failed.is_outdated() => {
            client.statement_cache.clear();
            row(client, &client.prepare_cached(sql).await?, values).await?
        }
        row => row?,
    };
    Ok(row.is_some_and(|row| allows(&row)))
}

async fn row(client: &Client, statement: &Statement, values: [Option<&str>; 3]) -> Result<Option<Row>, Failed> {
    let wanted = statement.params().len();
    let values = values.map(AsText);
    let values: Vec<_> = values.iter().map(|value| value as &(dyn ToSql + Sync)).take(wanted).collect();
    if values.len() < wanted {
        return Err(Failed::Parameters(wanted));
    }
    Ok(client.query_opt(statement, &values).await?)
}

/// A row allows it, unless it begins with a boolean that does not.
fn allows(row: &Row) -> bool {
    match row.columns().first() {
        Some(column) if *column.type_() == Type::BOOL => row.get::<_, Option<bool>>(0) == Some(true),
        _ => true,
    }
}

/// A parameter in the text format of the protocol, whatever its type is.
#[derive(Debug)]
struct AsText<'a>(Option<&'a str>);

impl ToSql for AsText<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        let Some(text) = self.0 else { return Ok(IsNull::Yes) };
        out.extend_from_slice(text.as_bytes());
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
